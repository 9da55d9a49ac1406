package engine

import (
	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
)

func (l *layered) targetSVC(target Layers) {
	l.filter.SetTarget(target.Spatial, target.Temporal)
	spatial, _ := l.filter.Current()
	// Layers that depend on each other can be left at any frame.
	key := l.c.params.Encodings[0].layers().key
	if target.Spatial > spatial || key && target.Spatial != spatial {
		if s := l.streamOf(target.Spatial); s != nil {
			s.requestKeyFrame()
		}
	}
}

// layersChanged is called when a spatial layer of the stream came or went.
func (l *layered) layersChanged() {
	if l.c.typ == SVCType {
		l.reconsider(false)
	}
}

// svc forwards a packet if it is of the layers that are sent (media-plane §7.7).
func (l *layered) svc(pk *packet) {
	o := &l.c.main
	seq := pk.pkt.SequenceNumber()
	switch {
	case l.chooser.Target.Spatial < 0 || l.chooser.Target.Temporal < 0 || !l.c.sends(pk.out.pt):
		o.seq.Drop(seq)
		return
	case o.wantKey && !pk.info.KeyFrame:
		o.wait(pk)
		return
	case pk.out.payload() == 0:
		o.seq.Drop(seq)
		return
	}
	first := o.wantKey
	if o.sync {
		o.seq.Sync(seq - 1)
		l.filter.Sync()
		o.sync, o.wantKey = false, false
		if k := pk.stream.codec; first && (k == codec.VP8 || k == codec.H264) {
			l.filter.SetCurrent(0, int8(pk.info.TemporalLayer)) // they have one spatial layer
		}
	}
	d := l.filter.Process(&pk.info)
	if !d.Forward {
		o.seq.Drop(seq)
		return
	}
	if s, t := l.filter.Current(); (s != l.chooser.Current.Spatial || t != l.chooser.Current.Temporal) && s >= 0 {
		if s != l.chooser.Current.Spatial {
			o.send.ResetScore(l.c.m.now)
		}
		l.chooser.Current = Layers{Spatial: s, Temporal: t}
		l.notifyLayers()
	}
	out, ok := o.seq.Input(seq)
	if !ok {
		return
	}
	o.emit(pk, rtx.Item{
		Timestamp: pk.pkt.Timestamp(), Marker: pk.pkt.Marker() || d.Marker,
		HasPicture: d.HasPicture, PictureID: d.PictureID, TL0PICIDX: d.TL0PICIDX,
	}, out)
	if first && len(o.waiting) > 0 {
		o.forwardWaiting(pk)
	}
}
