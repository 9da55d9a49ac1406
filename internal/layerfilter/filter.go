package layerfilter

import (
	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/seqmap"
)

// None stands for no layer.
const None int8 = -1

// A layers is a spatial and a temporal layer; None where there is none.
type layers struct{ spatial, temporal int8 }

// A Filter is what one Consumer knows about the layers of the stream it forwards.
// It allocates nothing per packet. Make it with [New].
type Filter struct {
	kind   codec.Kind
	ksvc   bool
	size   layers // how many there are
	target layers
	// current is what was last let through.
	current layers

	sync bool // the next packet continues the numbering
	// VP8: what replaces the numbers of the payload.
	picture seqmap.Map[uint16]
	tl0     seqmap.Map[uint8]
	// VP9: what was current when, for packets that come late.
	history history
}

// New returns a Filter for a stream of so many spatial and temporal layers,
// ksvc when the spatial ones depend on each other at key frames only. There is no
// target yet, and the first packet continues the numbering.
func New(kind codec.Kind, spatial, temporal int, ksvc bool) *Filter {
	none := layers{None, None}
	return &Filter{
		kind: kind, ksvc: ksvc, size: layers{int8(min(spatial, 8)), int8(min(temporal, 8))},
		target: none, current: none, sync: true,
		picture: seqmap.New[uint16](15, 0), tl0: seqmap.New[uint8](8, 0),
	}
}

// SetTarget sets the layers to move to. Either may be [None]: then no packet is
// let through.
func (f *Filter) SetTarget(spatial, temporal int8) { f.target = layers{spatial, temporal} }

// Target returns what [Filter.SetTarget] set.
func (f *Filter) Target() (spatial, temporal int8) { return f.target.spatial, f.target.temporal }

// Current returns the layers that the last packets were of, None before.
func (f *Filter) Current() (spatial, temporal int8) { return f.current.spatial, f.current.temporal }

// SetCurrent sets the current layers: None for both when the stream stops, so that
// it begins anew; those of the first packet after a switch of simulcast streams.
func (f *Filter) SetCurrent(spatial, temporal int8) {
	f.current = layers{spatial, temporal}
	f.history.replace(f.current)
}

// Sync makes the next packet let through continue the numbering of the last one,
// whatever its own numbers are: it is the first one after a pause or of another
// stream. It should begin a key frame.
func (f *Filter) Sync() { f.sync = true }

// NeedsKeyFrame reports whether the current spatial layer can become the target
// one at a key frame only.
func (f *Filter) NeedsKeyFrame() bool {
	switch f.kind {
	case codec.VP9, codec.AV1:
		return f.target.spatial > f.current.spatial || f.ksvc && f.target.spatial != f.current.spatial
	}
	return false
}

// A Decision is what becomes of a packet.
type Decision struct {
	// Forward: the packet goes on. All else is zero if not.
	Forward bool
	// Marker: its RTP marker must be set, because a later packet of its picture
	// that has it stays behind. If false the marker is left as it is.
	Marker bool
	// HasPicture: PictureID, of 15 bits, and TL0PICIDX replace those of the
	// payload, now and when it is sent again; see [codec.Info.RewriteVP8].
	HasPicture bool
	PictureID  uint16
	TL0PICIDX  uint8
}

// Process decides about the next packet and updates the current layers. Packets
// come in the order in which they were received, not of their sequence numbers.
func (f *Filter) Process(info *codec.Info) Decision {
	if f.target.temporal < 0 || f.target.spatial < 0 {
		return Decision{}
	}
	switch f.kind {
	case codec.VP8:
		return f.vp8(info)
	case codec.VP9:
		return f.vp9(info)
	case codec.H264:
		return f.h264(info)
	case codec.AV1:
		return f.av1(info)
	}
	return Decision{Forward: true}
}

// h264 knows temporal layers only if there is a dependency descriptor.
func (f *Filter) h264(info *codec.Info) Decision {
	t := int8(info.TemporalLayer)
	if t > f.target.temporal {
		return Decision{}
	}
	f.current.temporal = min(max(f.current.temporal, t), f.target.temporal)
	return Decision{Forward: true}
}

// announced reports whether the layers of a packet are among those that the
// stream was said to have.
func (f *Filter) announced(p layers) bool {
	return p.spatial < f.size.spatial && p.temporal < f.size.temporal
}

func of(info *codec.Info) layers { return layers{int8(info.SpatialLayer), int8(info.TemporalLayer)} }
