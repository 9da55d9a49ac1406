package layerfilter

import (
	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

// vp9 leaves out spatial and temporal layers. Picture ids stay as they are: all
// layers of a picture share one, and gaps mean nothing to a decoder.
func (f *Filter) vp9(info *codec.Info) Decision {
	p := of(info)
	if !f.announced(p) {
		return Decision{}
	}
	if info.HasPictureID {
		if f.sync {
			f.history.begin(info.PictureID, f.current)
			f.sync = false
		}
		if f.history.late(info.PictureID) {
			return f.lateVP9(info, p)
		}
	}
	next := f.spatial(info, p)
	if p.spatial > next.spatial || f.ksvc && info.InterPicture && p.spatial != next.spatial {
		return Decision{}
	}
	switch {
	case f.target.temporal > f.current.temporal:
		if p.temporal > f.current.temporal && (f.current.temporal < 0 || info.SwitchingUp) && info.StartOfFrame {
			next.temporal = p.temporal
		}
	case f.target.temporal < f.current.temporal:
		if p.temporal == f.target.temporal && info.EndOfFrame {
			next.temporal = f.target.temporal
		}
	}
	if p.temporal > next.temporal {
		return Decision{}
	}
	if info.HasPictureID {
		f.history.advance(info.PictureID)
		if next != f.current {
			f.history.add(info.PictureID, next)
		}
	}
	f.current = next
	return Decision{Forward: true, Marker: info.EndOfFrame && p.spatial == next.spatial}
}

// lateVP9 decides about a packet of an earlier picture as if it had come in time.
func (f *Filter) lateVP9(info *codec.Info, p layers) Decision {
	then := f.history.at(info.PictureID)
	if p.spatial > then.spatial || p.temporal > then.temporal || f.ksvc && info.InterPicture && p.spatial != then.spatial {
		return Decision{}
	}
	return Decision{Forward: true, Marker: info.EndOfFrame && p.spatial == then.spatial}
}

// av1 leaves out spatial and temporal layers by the dependency descriptor. A
// packet without one goes on. The descriptor stays as it is.
//
// Unlike mediasoup, in K-SVC it leaves out what only lower spatial layers need, by
// the decode target indications, and goes down at a key frame only: between key
// frames the layers below are nothing but bitrate.
func (f *Filter) av1(info *codec.Info) Decision {
	if !info.HasLayers {
		return Decision{Forward: true}
	}
	p := of(info)
	if !f.announced(p) {
		return Decision{}
	}
	next := f.spatial(info, p)
	if p.spatial > next.spatial {
		return Decision{}
	}
	switch {
	case f.target.temporal > f.current.temporal:
		if p.temporal > f.current.temporal {
			next.temporal = p.temporal
		}
	case f.target.temporal < f.current.temporal:
		if p.temporal == f.target.temporal && info.EndOfFrame {
			next.temporal = f.target.temporal
		}
	}
	if p.temporal > next.temporal {
		return Decision{}
	}
	if f.ksvc && p.spatial < next.spatial {
		needed, known := info.Needed(uint8(next.spatial), uint8(next.temporal))
		if known && !needed {
			return Decision{}
		}
	}
	f.current = next
	return Decision{Forward: true, Marker: info.EndOfFrame && p.spatial == next.spatial}
}

// spatial returns the current layers after a possible change of the spatial one,
// with which the temporal one begins at 0 again.
func (f *Filter) spatial(info *codec.Info, p layers) layers {
	change := false
	switch {
	case f.target.spatial > f.current.spatial || f.ksvc && f.target.spatial != f.current.spatial:
		change = info.KeyFrame
	case f.target.spatial < f.current.spatial:
		change = p.spatial == f.target.spatial && info.EndOfFrame
	}
	if change {
		return layers{f.target.spatial, 0}
	}
	return f.current
}

const (
	// changes is how many changes of layers are remembered. They come no faster
	// than somebody chooses other targets.
	changes = 8
	// memory is how many pictures back they matter.
	memory = 1000
)

// A change of the current layers, in effect from a picture on.
type change struct {
	picture uint16
	layers  layers
}

// A history knows the current layers of the last [memory] pictures.
type history struct {
	newest  uint16 // picture let through
	n       uint8
	changes [changes]change // the oldest first
}

// begin forgets all but the current layers, which are valid from now on.
func (h *history) begin(picture uint16, now layers) {
	h.newest = picture
	h.n = 0
	h.add(picture, now)
}

// replace makes now the layers since the newest picture.
func (h *history) replace(now layers) {
	if h.n > 0 {
		h.add(h.newest, now)
	}
}

// late reports whether the picture is an earlier one. One from before the memory
// is new: the sender began to count anew.
func (h *history) late(picture uint16) bool {
	return seqnum.Newer(h.newest, picture, 15) && h.ago(picture) <= memory
}

// ago returns how many pictures before the newest one that was.
func (h *history) ago(picture uint16) uint16 { return (h.newest - picture) & (1<<15 - 1) }

// advance takes the next picture and forgets what is no longer asked for.
func (h *history) advance(picture uint16) {
	if seqnum.Newer(h.newest, picture, 15) {
		h.begin(picture, h.changes[max(1, h.n)-1].layers)
		return
	}
	h.newest = picture
	if h.n > 1 && h.ago(h.changes[1].picture) > memory {
		h.n--
		copy(h.changes[:], h.changes[1:])
	}
	if h.n > 0 && h.ago(h.changes[0].picture) > memory {
		h.changes[0].picture = h.newest - memory
	}
}

func (h *history) add(picture uint16, now layers) {
	if h.n > 0 && h.changes[h.n-1].picture == picture {
		h.changes[h.n-1].layers = now
		return
	}
	if h.n == changes {
		copy(h.changes[:], h.changes[1:])
		h.n--
	}
	h.changes[h.n] = change{picture, now}
	h.n++
}

// at returns the layers that were current at an earlier picture.
func (h *history) at(picture uint16) layers {
	for i := int(h.n) - 1; i >= 0; i-- {
		if h.ago(h.changes[i].picture) >= h.ago(picture) {
			return h.changes[i].layers
		}
	}
	return layers{None, None}
}
