package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A pipeEnd is what a test knows of a Machine with a pipe: how to get there.
type pipeEnd func(op func(*Machine) error)

const (
	pipeSource = 1111 // SSRC of what is produced
	pipeSSRC   = 2222 // on the pipe
	pipeSink   = 3333 // of the last Consumer
)

// pipeParams are those of VP8 on a pipe, with NACK and RTX or without.
func pipeParams(ssrc uint32, again bool) RTPParameters {
	p := vp8Params(ssrc, 0, "")
	p.HeaderExtensions = nil
	p.Codecs[0].Feedback = []Feedback{{"nack", "pli"}, {"ccm", "fir"}}
	if again {
		p.Codecs[0].Feedback = append(p.Codecs[0].Feedback, Feedback{"nack", ""})
		p.Encodings[0].RTXSSRC = ssrc + 1
	} else {
		p.Codecs = p.Codecs[:1]
	}
	return p
}

// near makes the Router "a" with the Producer "p" of a direct transport and the
// pipe "pa"; far the Router "b" with the pipe "pb".
func (e pipeEnd) near(srtp bool) {
	e(func(m *Machine) error {
		if err := m.CreateRouter("a"); err != nil {
			return err
		}
		if _, err := m.CreateDirectTransport("a", DirectTransportOptions{ID: "in"}); err != nil {
			return err
		}
		params := vp8Params(pipeSource, 0, "")
		_, err := m.Produce("in", ProduceOptions{ID: "p", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 7)})
		if err != nil {
			return err
		}
		return createPipe(m, "a", "pa", srtp)
	})
}

func (e pipeEnd) far(srtp bool) {
	e(func(m *Machine) error {
		if err := m.CreateRouter("b"); err != nil {
			return err
		}
		return createPipe(m, "b", "pb", srtp)
	})
}

func createPipe(m *Machine, router, id string, srtp bool) error {
	_, err := m.CreatePipeTransport(router, PipeTransportOptions{
		ID: id, EnableSRTP: srtp, ListenInfo: ListenInfo{Protocol: UDP, IP: netip.MustParseAddr("127.0.0.1")},
	})
	return err
}

// flow lets "p" flow through the pipes to the Consumer "c" of "pp", on a direct
// transport.
func flow(near, far pipeEnd, again bool) {
	far(func(m *Machine) error {
		params := pipeParams(pipeSSRC, again)
		_, err := m.Produce("pb", ProduceOptions{ID: "pp", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 8)})
		if err != nil {
			return err
		}
		if _, err := m.CreateDirectTransport("b", DirectTransportOptions{ID: "out"}); err != nil {
			return err
		}
		_, err = m.Consume("out", ConsumeOptions{
			ID: "c", ProducerID: "pp", RTPParameters: pipeParams(pipeSink, false), ConsumableEncodings: []Encoding{{SSRC: 8}},
		})
		return err
	})
	near(func(m *Machine) error {
		_, err := m.Consume("pa", ConsumeOptions{
			ID: "pc", ProducerID: "p", Pipe: true, RTPParameters: pipeParams(pipeSSRC, again), ConsumableEncodings: []Encoding{{SSRC: 7}},
		})
		return err
	})
}

// pipePacket is one VP8 packet of the source, a key frame or a part of what
// follows, with its number as payload.
func pipePacket(seq uint16) []byte {
	b := rtp.AppendHeader(nil, rtp.Header{
		PayloadType: 101, SequenceNumber: seq, Timestamp: 3000 * uint32(seq), SSRC: pipeSource, Marker: true,
	}, nil)
	descriptor := []byte{0x10, 0x11, 0, 0}
	if seq == 1 {
		descriptor = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}
	}
	return append(append(b, descriptor...), byte(seq>>8), byte(seq))
}

// sequenceOf is the number in the payload of a packet of pipePacket.
func sequenceOf(t testing.TB, b []byte) uint16 {
	t.Helper()
	pkt, ok := rtp.Parse(b)
	require.True(t, ok)
	v := pkt.Payload()
	return uint16(v[len(v)-2])<<8 | uint16(v[len(v)-1])
}

// TestPipes sends through two pipes on every road that there is.
func TestPipes(t *testing.T) {
	for _, c := range []struct {
		name             string
		memory, one      bool
		srtp, again, pli bool
	}{
		{name: "UDP"},
		{name: "UDP with RTX", again: true},
		{name: "UDP with SRTP", srtp: true},
		{name: "UDP in one Worker", one: true},
		{name: "memory", memory: true},
		{name: "memory with RTX", memory: true, again: true},
		{name: "memory in one Worker", memory: true, one: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, notes := newTestWorker(t)
			b := a
			if !c.one {
				b, notes = newTestWorker(t)
			}
			near := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, a, op) })
			far := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, b, op) })
			near.near(c.srtp)
			far.far(c.srtp)
			dumpA, dumpB := connectPipes(t, a, b, c.memory)
			require.Equal(t, dumpA.Pipe.Tuple.LocalPort, dumpB.Pipe.Tuple.RemotePort)
			require.Equal(t, dumpB.Pipe.Tuple.LocalPort, dumpA.Pipe.Tuple.RemotePort)
			require.Equal(t, "127.0.0.1", dumpA.Pipe.Tuple.RemoteIP)
			flow(near, far, c.again)

			const n = 500
			for seq := range uint16(n) {
				require.NoError(t, a.Inject("p", pipePacket(seq+1)))
				if seq%50 == 49 { // UDP may drop when nobody reads
					for i := range uint16(50) {
						require.Equal(t, seq-49+i+1, sequenceOf(t, nextConsumed(t, notes)))
					}
				}
			}
			far(func(m *Machine) error { return m.RequestKeyFrame("c") })
			stats := func(w *Worker, id string) TransportStats {
				s, _, err := Do(t.Context(), w, func(m *Machine) (TransportStats, error) { return m.TransportStats(id) })
				require.NoError(t, err)
				return s
			}
			sent, received := stats(a, "pa"), stats(b, "pb")
			require.NotZero(t, sent.RTPBytesSent)
			require.Equal(t, sent.RTPBytesSent, received.RTPBytesReceived)
			require.NotZero(t, received.BytesSent, "a key frame request")
			counters, _, err := Do(t.Context(), a, func(m *Machine) (Counters, error) { c, _, err := m.Counters(); return c, err })
			require.NoError(t, err)
			require.Zero(t, counters.DropLane)
		})
	}
}

// connectPipes connects "pa" and "pb".
func connectPipes(t testing.TB, a, b *Worker, memory bool) (dumpA, dumpB TransportDump) {
	t.Helper()
	if memory {
		dumpA, dumpB, _, _, err := ConnectPipesInMemory(t.Context(), a, "pa", b, "pb")
		require.NoError(t, err)
		_, _, _, _, err = ConnectPipesInMemory(t.Context(), a, "pa", b, "pb")
		require.ErrorIs(t, err, ErrInvalidState)
		return dumpA, dumpB
	}
	dump := func(w *Worker, id string) TransportDump {
		d, _, err := Do(t.Context(), w, func(m *Machine) (TransportDump, error) { return m.DumpTransport(id) })
		require.NoError(t, err)
		return d
	}
	connect := func(w *Worker, id string, other TransportDump) TransportDump {
		d, _, err := Do(t.Context(), w, func(m *Machine) (TransportDump, error) {
			return m.ConnectPipe(id, PipeConnectOptions{
				Remote: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), other.Pipe.Tuple.LocalPort), SRTP: other.Pipe.SRTP,
			})
		})
		require.NoError(t, err)
		return d
	}
	dumpA = connect(a, "pa", dump(b, "pb"))
	dumpB = connect(b, "pb", dumpA)
	return dumpA, dumpB
}

// nextConsumed waits for a packet of a Consumer.
func nextConsumed(t testing.TB, notes <-chan Notification) []byte {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case n := <-notes:
			if e, ok := n.Body.(ConsumerRTP); ok {
				return e.Packet
			}
		case <-late:
			t.Fatal("no packet")
		}
	}
}

func TestConnectPipesInMemoryErrors(t *testing.T) {
	a, _ := newTestWorker(t)
	b, _ := newTestWorker(t)
	near := pipeEnd(func(op func(*Machine) error) { run(t, a, op) })
	far := pipeEnd(func(op func(*Machine) error) { run(t, b, op) })
	near.near(true)
	far.far(false)
	for _, c := range []struct {
		idA, idB string
		want     error
	}{
		{"foo", "pb", ErrNotFound},
		{"in", "pb", ErrInvalidArgument},
		{"pa", "foo", ErrNotFound},
		{"pa", "pb", ErrInvalidArgument}, // with SRTP; "pb" is connected now
	} {
		_, _, _, _, err := ConnectPipesInMemory(t.Context(), a, c.idA, b, c.idB)
		require.ErrorIs(t, err, c.want, c)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, _, _, err := ConnectPipesInMemory(cancelled, a, "pa", b, "pb")
	require.ErrorIs(t, err, context.Canceled)
	b.Close()
	_, _, _, _, err = ConnectPipesInMemory(t.Context(), a, "pa", b, "pb")
	require.ErrorIs(t, err, ErrClosed)
}

// A lanePair are two Machines without threads and the pipes between them.
type lanePair struct {
	t            testing.TB
	a, b         *virtualWorld
	laneA, laneB *lane
	wakes        [2]int // of a, of b
	forgotten    [2]int // by a, by b
	got          [][]byte
	requests     int // PLIs that reached the source
	seq          uint16
}

func newLanePair(t testing.TB, again bool) *lanePair {
	t.Helper()
	p := &lanePair{t: t, a: newVirtualWorld(t), b: newVirtualWorld(t)}
	p.laneA, p.laneB = newLanes(
		func() { p.wakes[0]++ }, func() { p.wakes[1]++ },
		func() { p.forgotten[0]++ }, func() { p.forgotten[1]++ },
	)
	near, far := direct(t, p.a), direct(t, p.b)
	near.near(false)
	far.far(false)
	remote := netip.MustParseAddrPort("127.0.0.1:9")
	near(func(m *Machine) error { _, err := m.connectPipeInMemory("pa", p.laneA, 1, 2, remote); return err })
	far(func(m *Machine) error { _, err := m.connectPipeInMemory("pb", p.laneB, 2, 1, remote); return err })
	p.a.onNote = func(n Notification) {
		if r, ok := n.Body.(DirectRTCP); ok {
			if reader := rtcp.NewReader(r.Packet); true {
				if q, ok := reader.Next(); ok && q.Type() == rtcp.TypePSFB {
					p.requests++
				}
			}
		}
	}
	p.b.onNote = func(n Notification) {
		if r, ok := n.Body.(ConsumerRTP); ok {
			p.got = append(p.got, r.Packet)
		}
	}
	flow(near, far, again)
	return p
}

// direct runs operations on a Machine without a thread.
func direct(t testing.TB, w *virtualWorld) pipeEnd {
	return func(op func(*Machine) error) {
		t.Helper()
		require.NoError(t, op(w.m))
		w.flush()
	}
}

// inject hands the next n packets of the source to a, in one turn.
func (p *lanePair) inject(n int) {
	for range n {
		p.seq++
		p.a.m.producerSend("p", pipePacket(p.seq))
	}
	p.a.flush()
}

// turn is one turn of each.
func (p *lanePair) turn() {
	p.a.turn(p.a.d.now)
	p.b.turn(p.b.d.now)
}

// requireGot checks what arrived since the last call.
func (p *lanePair) requireGot(first, n uint16) {
	p.t.Helper()
	require.Len(p.t, p.got, int(n))
	for i, b := range p.got {
		require.Equal(p.t, first+uint16(i), sequenceOf(p.t, b))
	}
	p.got = nil
}

func TestLane(t *testing.T) {
	p := newLanePair(t, false)
	p.inject(1)
	require.Equal(t, [2]int{0, 1}, p.wakes, "one kick")
	require.Empty(t, p.got)
	p.turn()
	p.requireGot(1, 1)
	p.inject(100)
	require.Equal(t, 2, p.wakes[1], "one kick for a turn")
	require.Equal(t, 101, p.laneA.pool.InUse(), "the first was not taken back yet")
	p.turn()
	p.requireGot(2, 100)
	p.a.turn(p.a.d.now)
	require.LessOrEqual(t, p.laneA.pool.InUse(), 1, "all slots came back")
	require.Zero(t, p.b.m.pool.InUse())

	// Back goes a key frame request.
	before := p.requests
	require.NoError(t, p.b.m.RequestKeyFrame("c"))
	p.b.d.now += time.Second
	p.b.turn(p.b.d.now)
	require.Positive(t, p.wakes[0])
	p.turn()
	require.Greater(t, p.requests, before)
}

// TestLaneFull sends to a loop that does not turn.
func TestLaneFull(t *testing.T) {
	p := newLanePair(t, false)
	p.inject(laneSize + 10)
	require.EqualValues(t, 10, p.a.m.count.DropLane)
	for range laneSize / laneTurn {
		require.True(t, p.b.m.receiveLanes(), "there may be more")
	}
	require.False(t, p.b.m.receiveLanes())
	p.b.flush()
	p.requireGot(1, laneSize)
	p.turn()
	p.inject(1)
	p.turn()
	p.requireGot(laneSize+11, 1)
	require.EqualValues(t, 10, p.a.m.count.DropLane)

	// A receiver that keeps all lends them until it has no more.
	keeper := packetKeeper{p.laneB, nil}
	for len(keeper.slots) < laneSlots-1 {
		p.laneA.m = p.a.m
		b := p.laneA.reserve(100)
		require.NotNil(t, b)
		if !p.laneA.send(2, 100) {
			p.laneA.flush()
			keeper.take()
		}
		if p.laneA.reserved == 0 && p.laneA.pool.InUse() == laneSlots {
			break
		}
	}
	p.laneA.flush()
	keeper.take()
	noSlot := p.a.m.count.DropNoSlot
	p.laneA.reserve(100)
	require.False(t, p.laneA.send(2, 100))
	require.Equal(t, noSlot+1, p.a.m.count.DropNoSlot)
	for _, s := range keeper.slots { // more than the ring of slots has room for
		p.laneB.Return(s)
	}
	for range 2 * laneSlots / laneSize {
		p.b.flush()
		p.a.m.receiveLanes()
	}
	require.Empty(t, p.laneB.owed)
	require.LessOrEqual(t, p.laneA.pool.InUse(), 1)
	p.inject(1)
	p.turn()
	require.Len(t, p.got, 1)
}

// A packetKeeper takes packets from a lane and returns none.
type packetKeeper struct {
	l     *lane
	slots []packetbuf.Ref
}

func (k *packetKeeper) take() {
	for {
		h, ok := k.l.in.Get()
		if !ok {
			k.l.in.Free()
			return
		}
		k.slots = append(k.slots, h.slot)
	}
}

// TestLaneTooLarge drops what does not fit a slot.
func TestLaneTooLarge(t *testing.T) {
	p := newLanePair(t, false)
	l := p.laneA
	for _, n := range []int{slotSize, slotSize - slotSlack + 1} {
		b := l.reserve(n)
		require.GreaterOrEqual(t, len(b), n)
		require.False(t, l.send(2, n-100), "what was written is in no slot")
	}
	require.EqualValues(t, 2, p.a.m.count.DropTooLarge)
	l.reserve(slotSize - slotSlack)
	require.True(t, l.send(2, slotSize-slotSlack))
}

// TestLaneGarbage takes what no pipe would send, and packets for pipes that are
// gone.
func TestLaneGarbage(t *testing.T) {
	p := newLanePair(t, false)
	for _, to := range []uint64{2, 3} {
		for _, b := range [][]byte{{}, {0x80}, {0x80, 200}, {0x80, 101, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 1}, {0xff, 101, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}} {
			n := copy(p.laneA.reserve(len(b)), b)
			require.True(t, p.laneA.send(to, n))
		}
	}
	p.a.flush()
	p.turn()
	p.turn()
	require.EqualValues(t, 5, p.b.m.count.DropNotConnected)
	require.EqualValues(t, 5, p.b.m.count.DropMalformed+p.b.m.count.DropUnknownStream)
	require.LessOrEqual(t, p.laneA.pool.InUse(), 1)
	require.Zero(t, p.b.m.pool.InUse())
}

// TestLaneClose closes whatever can be closed while packets are under way or
// held by the receiver, and lets the other side go on.
func TestLaneClose(t *testing.T) {
	type test struct {
		name  string
		close func(p *lanePair)
		ended bool // one of the loops, and so nothing has to come back
	}
	closing := func(w func(*lanePair) *virtualWorld, op func(*Machine) error) func(*lanePair) {
		return func(p *lanePair) { require.NoError(p.t, op(w(p).m)) }
	}
	a := func(p *lanePair) *virtualWorld { return p.a }
	b := func(p *lanePair) *virtualWorld { return p.b }
	for _, c := range []test{
		{"pipe Consumer", closing(a, func(m *Machine) error { return m.CloseConsumer("pc") }), false},
		{"near pipe", closing(a, func(m *Machine) error { return m.CloseTransport("pa") }), false},
		{"near Router", closing(a, func(m *Machine) error { return m.CloseRouter("a") }), false},
		{"Consumer", closing(b, func(m *Machine) error { return m.CloseConsumer("c") }), false},
		{"pipe Producer", closing(b, func(m *Machine) error { return m.CloseProducer("pp") }), false},
		{"far pipe", closing(b, func(m *Machine) error { return m.CloseTransport("pb") }), false},
		{"far Router", closing(b, func(m *Machine) error { return m.CloseRouter("b") }), false},
		{"near loop", func(p *lanePair) { p.a.m.release(); p.laneA.end() }, true},
		{"far loop", func(p *lanePair) { p.b.m.release(); p.laneB.end() }, true},
		{"near loop without a word", func(p *lanePair) { p.laneA.end() }, true},
		{"far loop without a word", func(p *lanePair) { p.laneB.end() }, true},
	} {
		for _, again := range []bool{false, true} { // with it, the receiver's store holds packets
			t.Run(fmt.Sprintf("%s, RTX %t", c.name, again), func(t *testing.T) {
				p := newLanePair(t, again)
				if again { // a Consumer that makes the far Producer keep packets
					require.NoError(t, errors.Join(
						second(p.b.m.CreateDirectTransport("b", DirectTransportOptions{ID: "out2"})),
						second(p.b.m.Consume("out2", ConsumeOptions{
							ID: "c2", ProducerID: "pp", RTPParameters: vp8Params(4444, 4445, ""), ConsumableEncodings: []Encoding{{SSRC: 8}},
						})),
					))
				}
				p.inject(50)
				p.turn()
				require.NotEmpty(t, p.got)
				if again {
					p.turn()
					require.GreaterOrEqual(t, p.laneA.pool.InUse(), 50, "the far store has them")
				}
				p.inject(50) // on their way
				c.close(p)
				for range 3 {
					p.turn()
				}
				if p.a.m.producers["p"] != nil {
					p.inject(50)
				}
				for range 3 {
					p.turn()
				}
				if !c.ended {
					for _, id := range []string{"b"} { // what is left
						if p.b.m.routers[id] != nil {
							require.NoError(t, p.b.m.CloseRouter(id))
						}
					}
					for range 3 {
						p.turn()
					}
					require.LessOrEqual(t, p.laneA.pool.InUse(), 1, "a slot did not come back")
					require.Zero(t, p.b.m.pool.InUse())
					require.Equal(t, [2]int{}, p.forgotten)
				}
			})
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestLaneForgotten lets a loop forget one that has ended, after it took what
// was left.
func TestLaneForgotten(t *testing.T) {
	p := newLanePair(t, false)
	p.inject(20)
	p.laneA.end()
	require.Equal(t, 2, p.wakes[1], "an end wakes the peer too")
	p.b.turn(p.b.d.now)
	p.requireGot(1, 20)
	require.Equal(t, 1, p.forgotten[1])
	require.Empty(t, p.b.m.lanes)
	require.NotPanics(t, func() {
		require.NoError(t, p.b.m.RequestKeyFrame("c"))
		p.b.advance(p.b.d.now + 5*time.Second)
	})
	require.NotZero(t, p.b.m.count.DropLane, "nobody to send to")
	require.NoError(t, p.b.m.CloseRouter("b"))
}

// TestWorkersEndWhilePiped ends one of two Workers while packets flow, by Close
// and by a panic in the midst of a turn; the other one goes on, with another
// peer too.
func TestWorkersEndWhilePiped(t *testing.T) {
	for _, name := range []string{"near closes", "far closes", "near panics", "far panics"} {
		t.Run(name, func(t *testing.T) {
			a, _ := newTestWorker(t)
			b, notes := newTestWorker(t)
			near := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, a, op) })
			far := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, b, op) })
			near.near(false)
			far.far(false)
			connectPipes(t, a, b, true)
			flow(near, far, true)
			stop := make(chan struct{})
			flowing := make(chan struct{})
			go func() { // ends with stop
				defer close(flowing)
				for seq := uint16(1); ; seq++ {
					select {
					case <-stop:
						return
					default:
						_ = a.Inject("p", pipePacket(seq)) // too many, or closed
					}
				}
			}()
			nextConsumed(t, notes)
			dying, living := a, b
			if name[0] == 'f' {
				dying, living = b, a
			}
			if name[len(name)-6:] == "closes" {
				dying.Close()
			} else {
				// After some packets of this turn were handed over, or taken.
				_, err := Run(t.Context(), dying, func(m *Machine) error {
					for seq := range uint16(10) {
						m.producerSend("p", pipePacket(1000+seq))
					}
					m.fanOut()
					panic("on purpose")
				})
				require.ErrorIs(t, err, ErrClosed)
			}
			<-dying.Done()
			close(stop)
			<-flowing
			// The other one goes on.
			run(t, living, func(m *Machine) error {
				router, pipe := "a", "pa"
				if living == b {
					router, pipe = "b", "pb"
				}
				if err := m.CloseTransport(pipe); err != nil {
					return err
				}
				return m.CloseRouter(router)
			})
			deadline := time.Now().Add(10 * time.Second)
			for { // it forgets the lane
				n, _, err := Do(t.Context(), living, func(m *Machine) (int, error) { return len(m.lanes), nil })
				require.NoError(t, err)
				if n == 0 {
					break
				}
				require.True(t, time.Now().Before(deadline), "the lane stays")
			}
			living.mu.Lock()
			require.Empty(t, living.lanes)
			living.mu.Unlock()
			other, heard := newTestWorker(t)
			first := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, living, op) })
			last := pipeEnd(func(op func(*Machine) error) { t.Helper(); run(t, other, op) })
			first.near(false)
			last.far(false)
			connectPipes(t, living, other, true)
			flow(first, last, false)
			require.NoError(t, living.Inject("p", pipePacket(1)))
			require.Equal(t, uint16(1), sequenceOf(t, nextConsumed(t, heard)))
		})
	}
}
