package metamorphic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/simnet"
)

// A source makes the packets of a Producer. All of video are key frames.
type source struct {
	ssrc   uint32
	pt     uint8
	seq    uint16 // of the next packet
	ts     uint32 // of the next packet
	prefix []byte // what the payload begins with
}

func newSource(p mafalda.Producer) *source {
	params := p.RTPParameters()
	s := &source{ssrc: params.Encodings[0].SSRC, pt: uint8(params.Codecs[0].PayloadType), seq: 1000}
	if p.Kind() == mafalda.MediaKindVideo {
		s.prefix = []byte{0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}
	}
	return s
}

// packet returns the next packet, with that text.
func (s *source) packet(text string) []byte {
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: s.pt, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc, Marker: true},
		Payload: append(append(slices.Clone(s.prefix), '#'), text...),
	}
	s.seq++
	s.ts += 960
	b, err := p.Marshal()
	if err != nil {
		panic(err) // it can be written
	}
	return b
}

// A tally has what a Consumer or DataConsumer got. A text that begins with m is
// a mark: what was sent before it has come, or never will. It is no part of the
// log.
type tally struct {
	mu   sync.Mutex
	got  []string // guarded by mu
	mark int      // guarded by mu; the last
}

// packet takes an RTP packet.
func (t *tally) packet(b []byte) {
	var p rtp.Packet
	if err := p.Unmarshal(b); err != nil {
		t.text("malformed")
		return
	}
	_, text, _ := strings.Cut(string(p.Payload), "#")
	t.text(text)
}

func (t *tally) text(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := strings.CutPrefix(s, "m"); ok {
		t.mark, _ = strconv.Atoi(n)
		return
	}
	t.got = append(t.got, s)
}

func (t *tally) texts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.got)
}

func (t *tally) marked(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mark >= n
}

// An endpoint is the peer of a PlainTransport.
type endpoint struct {
	*simnet.Socket
	to      netip.AddrPort
	sent    uint64            // bytes
	tallies map[uint32]*tally // by SSRC
}

// newEndpoint returns the peer of what has that port.
func newEndpoint(n *simnet.Net, port uint16) *endpoint {
	e := &endpoint{
		Socket:  n.Socket(netip.AddrPortFrom(loopback, 0)),
		to:      netip.AddrPortFrom(loopback, port),
		tallies: map[uint32]*tally{},
	}
	e.OnReceive = func(_ time.Duration, _ netip.AddrPort, b []byte) { e.receive(b) }
	return e
}

// expect lets t get the packets of c.
func (e *endpoint) expect(c mafalda.Consumer, t *tally) {
	e.tallies[c.RTPParameters().Encodings[0].SSRC] = t
}

func (e *endpoint) receive(b []byte) {
	if len(b) < 12 || b[1]&0x7f >= 64 && b[1]&0x7f < 96 {
		return // RTCP
	}
	if t := e.tallies[binary.BigEndian.Uint32(b[8:])]; t != nil {
		t.packet(b)
	}
}

// handIn sends one packet of p.
func (w *world) handIn(p *producerNode, text string) error {
	b := p.src.packet(text)
	if p.t.end == nil {
		return p.Send(b)
	}
	p.t.end.Send(p.t.end.to, b)
	p.t.end.sent += uint64(len(b))
	return nil
}

// send sends some packets on a Producer, and waits until they have passed.
func (w *world) send(a []int) {
	p := at(w.producers, a[0])
	if p == nil || p.pipe {
		return
	}
	if p.t.end != nil && (p.Closed() || p.t.Closed()) {
		return // nobody would tell
	}
	for range a[1] + 1 {
		w.text++
		w.result(p.name, "send", w.handIn(p, fmt.Sprint("p", w.text)))
	}
	w.flush(w.reach(p), func(text string) { _ = w.handIn(p, text) }) // a send that fails is logged above
	if end := p.t.end; end != nil {
		w.until(p.t.name+" has received all", func() bool {
			s, err := p.t.Stats(w.ctx)
			return err != nil || s[0].BytesReceived >= end.sent
		})
	}
	w.pass()
}

// sendData does the same on a DataProducer.
func (w *world) sendData(a []int) {
	p := at(w.dataProducers, a[0])
	if p == nil {
		return
	}
	send := func(text string) error { return p.Send(mafalda.DataMessage{Data: []byte(text)}) }
	for range a[1] + 1 {
		w.text++
		w.result(p.name, "send", send(fmt.Sprint("p", w.text)))
	}
	var to []*tally
	for _, c := range w.dataConsumers {
		if c.p == p && !p.Closed() && !p.Paused() && !c.Closed() && !c.Paused() && !c.DataProducerPaused() {
			to = append(to, c.heard)
		}
	}
	w.flush(to, func(text string) { _ = send(text) }) // as above
	w.pass()
}

// reach returns who gets the packets of p, through pipes too.
func (w *world) reach(p *producerNode) []*tally {
	var to []*tally
	if p.Closed() || p.Paused() {
		return nil
	}
	for _, c := range w.consumers {
		if c.p != p || c.Closed() || c.Paused() || c.ProducerPaused() {
			continue
		}
		if !c.pipe {
			to = append(to, c.heard)
			continue
		}
		for _, x := range w.pipes {
			if x.near == c {
				to = append(to, w.reach(x.far)...)
			}
		}
	}
	return to
}

// flush sends marks until each of the tallies has got one, so that what was sent
// before has come. No time decides what was lost.
func (w *world) flush(to []*tally, send func(text string)) {
	first, next := w.mark+1, w.net.Now()
	w.until("what was sent has passed", func() bool {
		if !slices.ContainsFunc(to, func(t *tally) bool { return !t.marked(first) }) {
			return true
		}
		if now := w.net.Now(); now >= next { // the first call, and then now and again
			next = now + 50*time.Millisecond
			w.mark++
			send(fmt.Sprint("m", w.mark))
		}
		return false
	})
}

// pass lets every Worker do what it has in hand.
func (w *world) pass() {
	for range 2 {
		for _, t := range w.transports {
			if !t.Closed() {
				_, _ = t.Dump(w.ctx) // the error: it has closed
			}
		}
	}
}
