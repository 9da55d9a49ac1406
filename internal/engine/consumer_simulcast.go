package engine

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/layers"
	"github.com/mafalda-sfu/mafalda/internal/rtx"
	"github.com/mafalda-sfu/mafalda/internal/seqnum"
)

const (
	// lateAfterSwitch is for how many sequence numbers after a switch packets from
	// before it are looked for.
	lateAfterSwitch = 100
	// maxExtraOffset is how much later than it was captured a frame may seem to
	// be for the sake of timestamps that grow; for a frame that would need more, a
	// later key frame is awaited, once.
	maxExtraOffset = 75 * time.Millisecond
	// frameOffset is from the last timestamp of a stream to the first one of the
	// next, where the latter is not newer: a frame at 30 Hz.
	frameOffset = 33 * time.Millisecond
)

// A switching is the state of switching between the streams of a simulcast
// (media-plane §7.6). Spatial layers are numbered like the encodings.
type switching struct {
	// reference is the spatial layer whose timestamps are sent as they are, the
	// others are aligned to it by the time of capture.
	reference int8
	offset    uint32 // subtracted from the current stream's timestamps
	// extraTried: a key frame was thrown away because of its timestamp.
	extraTried bool
	// mapped: the time of capture of the reference was known at its last report.
	mapped bool
	// Of the packet that began the current stream.
	switchedAt  uint16
	watchLate   bool
	broken      bool // the last packet sent was not the last one of its frame
	lastStarted bool // broken means something
}

func (l *layered) targetSimulcast(target Layers) {
	if l.reference == layers.None || !l.streamOf(l.reference).captureKnown() {
		l.reference = target.Spatial
	}
	if target.Spatial == l.chooser.Current.Spatial {
		l.filter.SetTarget(0, target.Temporal)
		return
	}
	if s := l.streamOf(target.Spatial); s != nil {
		s.requestKeyFrame()
	}
}

// reported is called for a sender report about a stream, with learnt when it was
// the first one that told the time, or the first one since long.
func (l *layered) reported(learnt bool) {
	if l.c.typ != SimulcastType {
		return
	}
	known := l.reference != layers.None && l.streamOf(l.reference).captureKnown()
	if (learnt || known && !l.mapped) && l.c.active {
		l.reconsider(false)
	}
	l.mapped = known
}

// simulcast forwards a packet of the current stream, or switches to another.
func (l *layered) simulcast(pk *packet) {
	o := &l.c.main
	spatial, seq := int8(pk.stream.index), pk.pkt.SequenceNumber()
	current, target := l.chooser.Current.Spatial, l.chooser.Target.Spatial
	isCurrent := spatial == current
	change := !isCurrent && spatial == target
	switch {
	case !isCurrent && !change:
		return
	case !l.c.sends(pk.out.pt):
		if isCurrent {
			o.seq.Drop(seq)
		}
		return
	case (change || o.wantKey) && !pk.info.KeyFrame:
		o.wait(pk)
		return
	case pk.out.payload() == 0:
		if isCurrent {
			o.seq.Drop(seq)
		}
		return
	}
	anew := change || o.wantKey
	switch {
	case anew:
		if !l.align(pk, change) {
			return
		}
		// Who gets a gap knows that the frame before is not complete.
		before := seq - 1
		if l.lastStarted && l.broken {
			before--
		}
		o.seq.Sync(before)
		l.filter.Sync()
		o.sync, o.wantKey, l.extraTried = false, false, false
	case o.sync: // the source numbers anew
		o.seq.Sync(seq - 1)
		l.filter.Sync()
		o.sync, l.watchLate = false, false
	}
	if l.watchLate && !change {
		switch {
		case seqnum.Newer16(l.switchedAt, seq):
			o.seq.Drop(seq)
			return
		case seqnum.Newer16(seq, l.switchedAt+lateAfterSwitch):
			l.watchLate = false
		}
	}
	if change {
		if spatial < current && spatial < l.chooser.Preferred.Spatial {
			// The line became narrow. What it lost before must not compete with the
			// key frame. Unlike mediasoup.
			o.send.Forget()
		}
		l.switchedAt, l.watchLate = seq, true
		l.filter.SetTarget(0, l.chooser.Target.Temporal)
		l.filter.SetCurrent(0, int8(pk.info.TemporalLayer))
		l.chooser.Current = Layers{Spatial: spatial, Temporal: int8(pk.info.TemporalLayer)}
	}
	d := l.filter.Process(&pk.info)
	if !d.Forward {
		o.seq.Drop(seq)
		return
	}
	_, temporal := l.filter.Current()
	moved := temporal != l.chooser.Current.Temporal
	l.chooser.Current.Temporal = temporal
	if change {
		o.send.ResetScore(l.c.m.now)
		l.notifyLayers()
		l.c.notifyScore()
	} else if moved {
		l.notifyLayers()
	}
	out, ok := o.seq.Input(seq)
	if !ok {
		return
	}
	marker := pk.pkt.Marker() || d.Marker
	if o.emit(pk, rtx.Item{
		Timestamp: pk.pkt.Timestamp() - l.offset, Marker: marker,
		HasPicture: d.HasPicture, PictureID: d.PictureID, TL0PICIDX: d.TL0PICIDX,
	}, out) && out == o.seq.MaxOutput() {
		l.broken, l.lastStarted = !marker, true
	}
	if anew && len(o.waiting) > 0 {
		o.forwardWaiting(pk)
	}
}

// align computes the offset of timestamps for the stream that begins with pk, and
// reports whether it may; change is a switch from another stream.
func (l *layered) align(pk *packet, change bool) bool {
	s, spatial := pk.stream, int8(pk.stream.index)
	rate := s.recv.Params().ClockRate
	offset := uint32(0)
	if spatial != l.reference {
		timestamp1, at1, ok := l.streamOf(l.reference).captureMapping()
		if ok {
			timestamp2, at2, ok := s.captureMapping()
			if !ok {
				s.requestKeyFrame()
				return false
			}
			offset = timestamp2 - ticks(at2-at1, rate) - timestamp1
		} else {
			l.reference = spatial
		}
	}
	last, sent := l.c.main.send.MaxTimestamp()
	if now := pk.pkt.Timestamp() - offset; change && sent && !seqnum.Newer32(now, last) {
		extra := last - now + ticks(frameOffset, rate)
		if extra > ticks(maxExtraOffset, rate) {
			if !l.extraTried {
				l.extraTried = true
				s.requestKeyFrame()
				return false
			}
			extra = 1
		}
		offset -= extra
	}
	l.offset = offset
	return true
}

// ticks converts a time to units of an RTP clock.
func ticks(d time.Duration, clockRate uint32) uint32 {
	return uint32(int64(d/time.Microsecond) * int64(clockRate) / 1_000_000)
}
