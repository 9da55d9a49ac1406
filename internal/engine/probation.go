package engine

import (
	"encoding/binary"

	"github.com/mafalda-sfu/mafalda/internal/rate"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

const (
	probationSSRC = 1234
	probationPT   = 127
	probationMID  = "probator"
	probationStep = 20 // of the timestamp, from packet to packet
	probationHead = 32
	maxProbation  = 1400
)

// A probation makes the packets that find out how much more could be sent: a
// stream of its own that the peer throws away (media-plane §5.14).
type probation struct {
	head [probationHead]byte
	seq  uint16
	ts   uint32
	sent rate.Counter
}

func (p *probation) init(seq, ts uint32) {
	p.seq, p.ts = uint16(seq), ts
	p.sent = rate.New(probationWindow)
	b := append(p.head[:0], 2<<6|1<<4, probationPT, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, probationSSRC)
	b = append(b, 0xbe, 0xde, 0, 4, rtp.IDMID<<4|byte(len(probationMID)-1))
	b = append(b, probationMID...)
	copy(p.head[len(b):], []byte{rtp.IDAbsSendTime<<4 | 2, 0, 0, 0, rtp.IDTransportWideCC<<4 | 1, 0, 0})
}

// write makes the next packet in the whole of b.
func (p *probation) write(b []byte, sendTime uint32, wideSeq uint16) {
	clear(b[copy(b, p.head[:]):])
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], p.ts)
	at := b[probationHead-7:]
	at[1], at[2], at[3] = byte(sendTime>>16), byte(sendTime>>8), byte(sendTime)
	binary.BigEndian.PutUint16(b[probationHead-2:], wideSeq)
	p.seq++
	p.ts += probationStep
}

// sendProbe sends one packet of a cluster.
func (b *bandwidth) sendProbe(size, cluster int) {
	t, m := b.t, b.t.m
	size = min(max((size+3)&^3, probationHead), maxProbation)
	b.wideSeq++
	b.estimator.Sent(m.now, b.wideSeq, size, cluster)
	if t.direct {
		return
	}
	buf := t.reserve(size)
	b.probation.write(buf[:size], rtp.AbsSendTime(m.now), b.wideSeq)
	b.probation.sent.Update(m.now, size)
	t.commitRTP(buf, probationHead, buf[probationHead:size])
	if t.trace.probation {
		m.trace(t.id, TraceEvent{Type: "probation", Direction: "out"})
	}
}

// wideMemory is how many packets of a stream without RTX keep the number that
// they were first sent with.
const wideMemory = 1 << 10

// A wideNumber is the transport-wide number of a packet.
type wideNumber struct{ seq, wide uint16 }

// stamp gives a packet of a Consumer a transport-wide number, before it is sent
// for the first time. Of its size bytes only the header is there yet.
func (o *outbound) stamp(header []byte, p *outgoing, seq uint16, size int) {
	b := o.c.t.bandwidth
	if b == nil || p.wide == 0 {
		return
	}
	b.number(header, p, size)
	if o.rtxSSRC != 0 || b.mode != feedbackTransportCC || !o.send.Params().UseNACK {
		return
	}
	// SRTP must see the same packet again when it is sent again.
	if o.wides == nil {
		o.wides = make([]wideNumber, wideMemory)
	}
	o.wides[seq%wideMemory] = wideNumber{seq, b.wideSeq}
}

// stampAgain does it for a packet that is sent again. It returns false if the
// packet can't be made as it was.
func (o *outbound) stampAgain(header []byte, p *outgoing, seq uint16, size int) bool {
	b := o.c.t.bandwidth
	switch {
	case b == nil || p.wide == 0:
		return true
	case o.rtxSSRC != 0:
		b.number(header, p, size)
		return true
	case o.wides == nil:
		return true // it had none
	}
	w := o.wides[seq%wideMemory]
	if w.seq != seq {
		return false
	}
	binary.BigEndian.PutUint16(header[headerFixed+p.wide:], w.wide)
	return true
}

// headerFixed is the length of an RTP header without CSRCs and extensions.
const headerFixed = 12

// number gives a packet the next number and takes note of it.
func (b *bandwidth) number(header []byte, p *outgoing, size int) {
	b.wideSeq++
	if b.mode == feedbackTransportCC {
		binary.BigEndian.PutUint16(header[headerFixed+p.wide:], b.wideSeq)
	}
	b.estimator.Sent(b.t.m.now, b.wideSeq, size, 0)
}
