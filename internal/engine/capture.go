package engine

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/capture"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// ntpEpoch is how long before 1970 NTP begins to count.
const ntpEpoch = 2_208_988_800 * time.Second

// A captureSource is the clock that the Producers of a transport with one CNAME
// share (media-plane §6.13).
type captureSource struct {
	capture.Source
	cname     string
	producers int
	compound  uint64 // the last one with a report
}

// captureSource returns the clock for a new Producer.
func (t *transport) captureSource(cname string, extension bool) *captureSource {
	for _, s := range t.captures {
		if s.cname == cname {
			s.Join(extension)
			s.producers++
			return s
		}
	}
	s := &captureSource{Source: capture.NewSource(extension), cname: cname, producers: 1}
	t.captures = append(t.captures, s)
	return s
}

// leaveCaptureSource is called when a Producer closes.
func (t *transport) leaveCaptureSource(s *captureSource) {
	if s.producers--; s.producers > 0 {
		return
	}
	for i, x := range t.captures {
		if x == s {
			t.captures = append(t.captures[:i], t.captures[i+1:]...)
			return
		}
	}
}

// senderReport ties the timestamps of the stream to the clock of its sender and
// tells Consumers of it. As in mediasoup these see the clock as it was before.
func (s *producerStream) senderReport(sr rtcp.SenderReport) {
	source := s.p.clock
	known := s.captureKnown() // not so before the first report, or long after the last
	learnt := s.reference.Report(&source.Source, sr.NTP, sr.RTPTimestamp) || !known && s.captureKnown()
	for _, c := range s.p.consumers {
		if c.layers != nil {
			c.layers.reported(learnt)
		}
	}
	// The reports of one compound say the same.
	if m := s.p.m; source.compound != m.compounds {
		source.compound = m.compounds
		source.Add(m.now, sr.NTP, s.recv.RTT())
	}
}

// captured returns when, on the Worker's clock, the sender captured what has the
// timestamp; ok is false while that is not known.
func (s *producerStream) captured(timestamp uint32) (at time.Duration, ok bool) {
	return s.reference.Local(&s.p.clock.Source, timestamp, s.recv.Params().ClockRate)
}

// captureMapping returns a timestamp of the stream and when, on the Worker's clock,
// the sender captured what has it. The stream may be nil.
func (s *producerStream) captureMapping() (timestamp uint32, at time.Duration, ok bool) {
	if s == nil {
		return 0, 0, false
	}
	timestamp, _, _ = s.recv.MaxTimestamp()
	at, ok = s.captured(timestamp)
	return timestamp, at, ok
}

// captureKnown reports whether captureMapping knows something.
func (s *producerStream) captureKnown() bool {
	_, _, ok := s.captureMapping()
	return ok
}

// noteCapture reads the abs-capture-time of a packet and attaches to it what is
// known of when it was captured.
func (pk *packet) noteCapture(p *producer) {
	s, source := pk.stream, &p.clock.Source
	if id := p.ids.captureTime; id != 0 && source.UsesExtension() {
		if at, ahead, ok := rtp.ParseAbsCaptureTime(pk.pkt.Extension(id)); ok {
			s.reference.Extension(source, at, ahead, pk.pkt.Timestamp())
		}
	}
	pk.captured, pk.hasCaptured = s.captured(pk.pkt.Timestamp())
}

// noClock marks a clock so far from ours that no abs-capture-time can say it.
const noClock = math.MinInt64

// ahead returns by how much our NTP clock is ahead of the sender's, in units of
// 2⁻³² s: 0 while unknown, noClock when it is too much.
func (s *captureSource) ahead(m *Machine) int64 {
	offset, ok := s.Offset()
	if !ok {
		return 0
	}
	ahead, ok := capture.Fixed(offset + m.ntpOffset + ntpEpoch)
	if !ok {
		return noClock
	}
	return ahead
}

// appendCaptureTime appends the abs-capture-time v, of 8 or 16 bytes, as who gets
// it from us must see it: how much the capturer's clock is ahead of ours, not of
// the sender's, than which ours is ahead by that much. It appends nothing when
// this can't be said.
func (o *outgoing) appendCaptureTime(b, v []byte, ahead int64) []byte {
	at, offset, ok := rtp.ParseAbsCaptureTime(v)
	out := offset - ahead
	if !ok || ahead == noClock || (offset >= 0) != (ahead >= 0) && (out >= 0) != (offset >= 0) {
		return b
	}
	b = o.element(b, rtp.IDAbsCaptureTime, 16)
	return rtp.AppendAbsCaptureTime(b, at, out)
}

// An added is what is put on a packet on arrival.
type added struct {
	sendTime uint32 // value of abs-send-time
	packetID uint32 // of the packet-id extension, 0 for none
	ahead    int64  // see captureSource.ahead
}

// write puts a behind the n bytes of a packet in its slot, so that it can be sent
// again byte by byte: SRTP must never see two different packets with one index
// (RFC 7714 §8.1).
func (a added) write(slot []byte, n int) {
	binary.BigEndian.PutUint32(slot[n:], a.sendTime)
	binary.BigEndian.PutUint32(slot[n+4:], a.packetID)
	binary.BigEndian.PutUint64(slot[n+8:], uint64(a.ahead))
}

// readAdded returns what write wrote.
func readAdded(slot []byte, n int) added {
	return added{
		binary.BigEndian.Uint32(slot[n:]), binary.BigEndian.Uint32(slot[n+4:]), int64(binary.BigEndian.Uint64(slot[n+8:])),
	}
}
