package harness

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"
)

const (
	rtpHeader  = 12
	rtcpHeader = 8
	// Of a payload: VP8 descriptor, VP8 header, the number of the packet, the
	// index of its source. What follows is derived from the number. Audio has the
	// same: nobody looks into it.
	vp8Descriptor = 4
	numberAt      = vp8Descriptor + 10
	patternAt     = numberAt + 4 + 2
	minPayload    = 32
	videoClock    = 90000
	audioClock    = 48000
)

// SizeVar defines the flag of how large packets are.
func (f *Flags) SizeVar(p *int) {
	f.IntVar(p, "size", 1100, minPayload, 1300, "bytes of RTP payload")
}

// A source makes the packets of one stream: each burst is a frame.
type source struct {
	sourceInfo
	index    int
	clock    uint64        // RTP clock rate
	interval time.Duration // of frames, in the run under way
	due      time.Duration // of the next frame in it

	seq     uint16
	mockSeq uint16  // of what went to the reference loop
	wide    *uint16 // sequence number of its peer
	number  uint32
	time    uint32 // RTP time stamp of the frame under way
	frame   uint32
	buf     []byte
	octets  uint32 // of payload, in all

	sinks []*sink
	first uint16        // sequence number of the first packet in the run
	key   bool          // somebody wants a key frame; guarded by the load's mu
	keyAt time.Duration // when it may be sent, since the load began
	keys  []time.Duration
	mock  *srtp.Context // seals for the reference loop

	enteredAt [sentKept]atomic.Int64 // ns since the load began, by sequence number
}

// sentKept is a power of two.
const sentKept = 8192

// entered says when n packets went to the SFU, the first of them with this
// sequence number.
func (s *source) entered(first uint16, n int, at time.Duration) {
	for i := range n {
		s.enteredAt[(first+uint16(i))%sentKept].Store(int64(at))
	}
}

// next returns packet i of n of a frame, which is sent at now. It is valid
// until the following call.
func (s *source) next(now time.Duration, i, n int, key bool) []byte {
	if i == 0 {
		s.frame++
		s.time = uint32(uint64(now) * s.clock / uint64(time.Second))
	}
	s.seq++
	*s.wide++
	s.number++
	s.octets += uint32(s.Layer.Size)
	info := &s.Stream
	b := s.buf[:0]
	b = append(b, 0x90, info.PayloadType)
	if i == n-1 {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, s.seq)
	b = binary.BigEndian.AppendUint32(b, s.time)
	b = binary.BigEndian.AppendUint32(b, info.SSRC)
	b = append(b, 0xbe, 0xde, 0, 0)
	if id := info.MIDExtension; id != 0 {
		b = append(append(b, id<<4|byte(len(info.MID)-1)), info.MID...)
	}
	if id := info.AbsSendTimeExtension; id != 0 {
		t := uint32(uint64(now) << 18 / uint64(time.Second))
		b = append(b, id<<4|2, byte(t>>16), byte(t>>8), byte(t))
	}
	if id := info.WideExtension; id != 0 {
		b = append(b, id<<4|1, byte(*s.wide>>8), byte(*s.wide))
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[rtpHeader+2:], uint16(len(b)-rtpHeader-4)/4)
	b = s.payload(b, i == 0, key)
	s.buf = b
	return b
}

func (s *source) payload(b []byte, start, key bool) []byte {
	descriptor := byte(0x80) // extended
	if start {
		descriptor |= 0x10
	}
	b = append(b, descriptor, 0x80 /* picture id */, 0x80|byte(s.frame>>8)&0x7f, byte(s.frame))
	header := [numberAt - vp8Descriptor]byte{0x31} // not a key frame
	if key {
		header = [...]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
	}
	b = append(b, header[:]...)
	b = binary.BigEndian.AppendUint32(b, s.number)
	b = binary.BigEndian.AppendUint16(b, uint16(s.index))
	return append(b, pattern(s.number, s.Layer.Size-patternAt)...)
}

// ramp counts, from 0 on.
var ramp = func() (r [256 + mtu]byte) {
	for i := range r {
		r[i] = byte(i)
	}
	return r
}()

// pattern is what n bytes of a payload behind the number are.
func pattern(number uint32, n int) []byte { return ramp[byte(number>>8)^byte(number):][:n] }

// checkPayload returns the number of a packet whose payload is as it was made,
// and the index of its source.
func checkPayload(b []byte) (number uint32, index int, ok bool) {
	if len(b) < patternAt {
		return 0, 0, false
	}
	number = binary.BigEndian.Uint32(b[numberAt:])
	if rest := b[patternAt:]; len(rest) > mtu || !bytes.Equal(rest, pattern(number, len(rest))) {
		return 0, 0, false
	}
	return number, int(binary.BigEndian.Uint16(b[numberAt+4:])), true
}

// headerLen returns the length of an RTP header with one extension block, 0 if
// b is too short for it.
func headerLen(b []byte) int {
	n := rtpHeader
	if len(b) < n {
		return 0
	}
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if len(b) < n {
		return 0
	}
	return n
}

// extension returns the value of a one-byte header extension, nil if absent.
func extension(b []byte, id uint8) []byte {
	end := headerLen(b)
	if end == 0 || b[0]&0x10 == 0 || id == 0 {
		return nil
	}
	for at := rtpHeader + 4; at < end; {
		if b[at] == 0 {
			at++
			continue
		}
		n := int(b[at]&0x0f) + 1
		if at+1+n > end {
			return nil
		}
		if b[at]>>4 == id {
			return b[at+1 : at+1+n]
		}
		at += 1 + n
	}
	return nil
}

// receiverSSRC is the SSRC that browsers report under when they send nothing.
const receiverSSRC = 1

// appendReport appends a receiver report (RFC 3550 §6.4.2) without loss of up
// to 31 streams; with none it appends nothing.
func appendReport(b []byte, streams []*sink) []byte {
	streams = streams[:min(len(streams), 31)]
	if len(streams) == 0 {
		return b
	}
	b = append(b, 0x80|byte(len(streams)), 201, 0, byte(1+6*len(streams)))
	b = binary.BigEndian.AppendUint32(b, receiverSSRC)
	for _, s := range streams {
		b = binary.BigEndian.AppendUint32(b, s.Stream.SSRC)
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(s.offset)+s.source.number)
		b = binary.BigEndian.AppendUint32(b, 90) // jitter: 1 ms
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// appendSenderReport appends a sender report (RFC 3550 §6.4.1) of what a source
// sent; wall is the time now by the clock of the world, now by that of sources.
func appendSenderReport(b []byte, s *source, wall time.Time, now time.Duration) []byte {
	const since1900 = 2208988800
	b = append(b, 0x80, 200, 0, 6)
	b = binary.BigEndian.AppendUint32(b, s.Stream.SSRC)
	b = binary.BigEndian.AppendUint32(b, uint32(wall.Unix()+since1900))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(wall.Nanosecond())<<32/uint64(time.Second)))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(now)*s.clock/uint64(time.Second)))
	b = binary.BigEndian.AppendUint32(b, s.number)
	return binary.BigEndian.AppendUint32(b, s.octets)
}

const (
	// maxReported is how many packets one transport-cc feedback speaks of.
	maxReported = 1000
	// wideUnit and wideReference are the units of time in it.
	wideUnit      = 250 * time.Microsecond
	wideReference = 64 * time.Millisecond
)

// appendWide appends transport-cc feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): the packets from
// base on came at those times. It returns how many of them it speaks of: it ends
// before a gap that takes a large delta, and at maxReported.
func appendWide(b []byte, ssrc uint32, base uint16, count uint8, times []time.Duration) ([]byte, int) {
	start := len(b)
	reference := times[0] / wideReference
	b = append(b, 0x8f, 205, 0, 0)
	b = binary.BigEndian.AppendUint32(b, receiverSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint16(b, base)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(reference)<<8|uint32(count))
	b = append(b, 0, 0)
	n, last := 0, reference*wideReference/wideUnit
	for _, t := range times[:min(len(times), maxReported)] {
		delta := t/wideUnit - last
		if delta > 255 {
			break
		}
		b = append(b, byte(max(delta, 0)))
		last += max(delta, 0)
		n++
	}
	binary.BigEndian.PutUint16(b[start+14:], uint16(n))
	binary.BigEndian.PutUint16(b[start+20:], 1<<13|uint16(n)) // a run of small deltas
	if pad := (4 - (len(b)-start)%4) % 4; pad > 0 {
		b = append(b, make([]byte, pad)...)
		b[start] |= 0x20
		b[len(b)-1] = byte(pad)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b, n
}
