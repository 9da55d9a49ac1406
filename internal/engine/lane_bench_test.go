package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLaneAllocatesNothing is the whole way of a packet from one Machine to a
// socket of another one, with a store at each end.
func TestLaneAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := newLanePair(t, true)
	require.NoError(t, p.b.m.CloseTransport("out")) // where each packet is copied
	remote := netip.MustParseAddrPort("127.0.0.1:9")
	require.NoError(t, func() error {
		_, err := p.b.m.CreatePlainTransport("b", PlainTransportOptions{
			ID: "socket", ListenInfo: ListenInfo{Protocol: UDP, IP: remote.Addr()},
		})
		if err != nil {
			return err
		}
		if _, err = p.b.m.ConnectPlain("socket", PlainConnectOptions{Remote: remote}); err != nil {
			return err
		}
		return second(p.b.m.Consume("socket", ConsumeOptions{
			ID: "d", ProducerID: "pp", RTPParameters: vp8Params(4444, 4445, ""), ConsumableEncodings: []Encoding{{SSRC: 8}},
		}))
	}())
	packets := make([][]byte, 1<<16)
	for i := range packets {
		packets[i] = pipePacket(uint16(i))
	}
	turn := func() {
		for range 16 {
			p.seq++
			p.a.m.producerSend("p", packets[p.seq])
		}
		for _, w := range []*virtualWorld{p.a, p.b} {
			w.d.now += 2 * time.Millisecond
			w.m.stale = true
			w.m.tick()
			w.m.receiveLanes()
			w.m.flush()
		}
	}
	for range 2000 { // stores and pools grow as large as they get
		turn()
	}
	sent := p.b.m.count.PacketsOut
	require.Zero(t, testing.AllocsPerRun(200, turn))
	require.EqualValues(t, 201*16, p.b.m.count.PacketsOut-sent)
	require.Zero(t, p.a.m.count.DropLane+p.a.m.count.DropNoSlot)
}

// BenchmarkPipe is the time of both threads for one packet of 1,100 bytes
// through two pipes, without what is before and after: the Producer of the one
// end and a Producer without Consumers at the other. Packets come in bursts of
// 16, and 16 bursts are one operation of the Worker.
func BenchmarkPipe(b *testing.B) {
	for _, c := range []struct {
		name                 string
		memory, srtp, nobody bool
	}{
		{name: "nobody", nobody: true}, // to be subtracted
		{name: "memory", memory: true},
		{name: "UDP"},
		{name: "SRTP", srtp: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, _ := newTestWorker(b)
			y, _ := newTestWorker(b)
			near := pipeEnd(func(op func(*Machine) error) { run(b, x, op) })
			far := pipeEnd(func(op func(*Machine) error) { run(b, y, op) })
			near.near(c.srtp)
			far.far(c.srtp)
			connectPipes(b, x, y, c.memory)
			far(func(m *Machine) error {
				params := pipeParams(pipeSSRC, false)
				return second(m.Produce("pb", ProduceOptions{ID: "pp", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 8)}))
			})
			if !c.nobody {
				near(func(m *Machine) error {
					return second(m.Consume("pa", ConsumeOptions{
						ID: "pc", ProducerID: "p", Pipe: true, RTPParameters: pipeParams(pipeSSRC, false), ConsumableEncodings: []Encoding{{SSRC: 7}},
					}))
				})
			}
			seq := uint16(0)
			packets := make([][]byte, 1<<16)
			for i := range packets {
				packets[i] = append(pipePacket(uint16(i)), make([]byte, 1100)...)
			}
			type reading struct {
				cpu     time.Duration
				packets uint64
			}
			read := func() (r reading) {
				for _, w := range []*Worker{x, y} {
					run(b, w, func(m *Machine) error {
						r.cpu += threadCPU()
						if m.transports["pb"] != nil {
							r.packets = m.count.PacketsIn
						}
						return nil
					})
				}
				return r
			}
			before := read()
			n := 0
			for b.Loop() {
				run(b, x, func(m *Machine) error {
					for range 16 {
						for range 16 {
							seq++
							m.producerSend("p", packets[seq])
						}
						m.fanOut()
					}
					return nil
				})
				n += 256
			}
			after := read()
			b.ReportMetric(float64(after.cpu-before.cpu)/float64(n), "cpu-ns/packet")
			b.ReportMetric(float64(after.packets-before.packets)/float64(n), "received/packet")
		})
	}
}
