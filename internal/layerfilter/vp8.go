package layerfilter

import (
	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

// vp8 leaves out temporal layers and renumbers pictures, so that the receiver
// takes none for lost (RFC 7741 §4.2). Without a picture id, TL0PICIDX and layer
// a packet goes on unchanged.
func (f *Filter) vp8(info *codec.Info) Decision {
	numbered := info.HasPictureID && info.HasTL0PICIDX
	if f.sync && numbered {
		f.picture.Sync(info.PictureID - 1)
		f.tl0.Sync(info.TL0PICIDX - 1)
		f.sync = false
	}
	t := int8(info.TemporalLayer)
	late := numbered && seqnum.Newer(f.picture.MaxInput(), info.PictureID, 15)
	if f.refuses(t, late, info) {
		if numbered && info.HasLayers {
			f.picture.Drop(info.PictureID) // unless it is late
		}
		return Decision{}
	}
	var d Decision
	if info.HasPictureID {
		id, ok := f.picture.Input(info.PictureID)
		if !ok {
			return Decision{}
		}
		d.PictureID = id
	}
	if info.HasTL0PICIDX {
		n, ok := f.tl0.Input(info.TL0PICIDX)
		if !ok {
			return Decision{}
		}
		d.TL0PICIDX = n
	}
	switch {
	case !info.HasLayers:
		f.current.temporal = 0
	case !late:
		f.current.temporal = min(max(f.current.temporal, t), f.target.temporal)
	}
	d.Forward = true
	if d.HasPicture = numbered; !numbered {
		d.PictureID, d.TL0PICIDX = 0, 0
	}
	return d
}

// refuses reports whether a packet of temporal layer t stays behind. Who got only
// lower layers can decode a higher one from a picture with the Y bit on.
// Unlike mediasoup, which moves up at a picture of the target layer only and, until
// it comes, leaves gaps in the picture ids.
func (f *Filter) refuses(t int8, late bool, info *codec.Info) bool {
	switch {
	case t > f.target.temporal:
		return true
	case late:
		return t > f.current.temporal
	}
	return t > max(0, f.current.temporal) && !info.SwitchingUp
}
