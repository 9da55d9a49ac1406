package engine

import (
	"encoding/binary"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/bwe"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/timer"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

// How the peer is told what arrives.
type feedbackMode uint8

const (
	feedbackOff         feedbackMode = iota
	feedbackTransportCC              // all about each packet
	feedbackREMB                     // a bitrate
)

const (
	feedbackInterval = 100 * time.Millisecond  // of transport-cc
	rembInterval     = 1500 * time.Millisecond // of a bitrate limit
	rembGoodbyes     = 4                       // how often a lifted limit is told
)

// A feedback tells the peer of a transport what arrives and how much it may
// send (media-plane §5.11).
type feedback struct {
	t        *transport
	mode     feedbackMode
	recorder *twcc.Recorder // of transport-cc
	receiver *bwe.Receiver  // of REMB
	max      uint64         // bit/s that the peer may send; 0: no limit

	timer    timer.Timer
	rembAt   time.Duration
	rembSent bool
	goodbyes int      // how often the end of a limit is still to be told
	ssrcs    []uint32 // scratch
}

func (f *feedback) init(t *transport) {
	f.t = t
	f.timer.Init(func(now time.Duration) {
		f.send()
		f.t.m.wheel.Set(&f.timer, periodic(&f.timer, now, feedbackInterval))
	})
}

// choose takes the mode of the first Producer that negotiated one.
func (f *feedback) choose(p *producer) {
	if f.mode != feedbackOff {
		return
	}
	has := func(typ string) bool {
		for i := range p.params.Codecs {
			if p.params.Codecs[i].feedback(typ, "") {
				return true
			}
		}
		return false
	}
	switch {
	case p.ids.twcc != 0 && has("transport-cc"):
		f.mode = feedbackTransportCC
		f.recorder = twcc.New()
	case p.ids.absSendTime != 0 && has("goog-remb"):
		f.mode = feedbackREMB
		if !f.t.direct {
			f.receiver = new(bwe.Receiver)
		}
	default:
		return
	}
	if f.t.connected {
		f.start()
	}
}

func (f *feedback) start() {
	if f.mode == feedbackTransportCC && !f.t.direct {
		f.t.m.wheel.Set(&f.timer, f.t.m.now+feedbackInterval)
	}
}

func (f *feedback) pause() { f.t.m.wheel.Stop(&f.timer) }
func (f *feedback) stop()  { f.t.m.wheel.Stop(&f.timer) }

// received takes note of a packet, whether or not anybody wants it.
func (f *feedback) received(pkt rtp.Packet) {
	if f.mode == feedbackOff {
		return
	}
	if f.recorder != nil {
		if id := f.t.recvIDs.twcc; id != 0 {
			if v := pkt.Extension(id); len(v) == 2 {
				f.recorder.Received(f.t.m.now, binary.BigEndian.Uint16(v), pkt.SSRC())
			}
		}
	}
	if f.receiver != nil {
		if id := f.t.recvIDs.absSendTime; id != 0 {
			if v := pkt.Extension(id); len(v) == 3 && f.receiver.Received(f.t.m.now, rtp.Uint24(v), len(pkt)-pkt.HeaderLen()) {
				f.sendEstimate()
			}
		}
	}
	if f.max != 0 || f.goodbyes > 0 {
		f.limit()
	}
}

// available returns the estimate of what the peer may send, in bit/s; 0 while
// there is none, and with transport-cc, where the peer makes it.
func (f *feedback) available() uint64 {
	if f.receiver == nil {
		return 0
	}
	return f.receiver.Available()
}

// sendEstimate tells the estimate, or the limit if that is lower.
func (f *feedback) sendEstimate() {
	bitrate := f.available()
	if f.max != 0 {
		bitrate = min(bitrate, f.max)
	}
	f.ssrcs = f.ssrcs[:0]
	for _, p := range f.t.producers {
		for _, s := range p.streams {
			f.ssrcs = append(f.ssrcs, s.ssrc)
		}
	}
	f.t.sendRTCP(rtcp.AppendREMB(f.t.m.compound[:0], 0, 0, bitrate, f.ssrcs))
}

func (f *feedback) send() {
	m := f.t.m
	for {
		b, ok := f.recorder.Next(m.compound[:0])
		if !ok {
			return
		}
		f.t.sendRTCP(b)
	}
}

// setMax sets the limit. What is there no more is told a few times, since a
// report may get lost.
func (f *feedback) setMax(bitrate uint64) {
	lifted := f.max != 0 && bitrate == 0
	f.max = bitrate
	f.rembSent = false
	f.goodbyes = 0
	if f.available() != 0 {
		f.sendEstimate()
		return
	}
	if lifted {
		f.goodbyes = rembGoodbyes
		f.limit()
	}
}

// limit tells the limit, where no estimate does.
func (f *feedback) limit() {
	m := f.t.m
	if f.mode == feedbackOff || f.available() != 0 || f.rembSent && m.now-f.rembAt <= rembInterval {
		return
	}
	f.rembSent, f.rembAt = true, m.now
	if f.max == 0 {
		f.goodbyes--
	}
	f.t.sendRTCP(rtcp.AppendREMB(m.compound[:0], 0, 0, f.max, nil))
}

// loss returns the weighted loss of what the peer sends, 0 to 1.
func (f *feedback) loss() float64 {
	if f.recorder == nil {
		return 0
	}
	return f.recorder.Loss()
}
