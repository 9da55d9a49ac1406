package engine

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// A grid is a machine with WebRTCTransports behind one port, each of which has a
// Producer and a Consumer of another's.
type grid struct {
	d     *nullDriver
	m     *Machine
	s     *nullSocket
	peers []gridPeer
}

type gridPeer struct {
	from   netip.AddrPort
	tx     *srtp.Sender
	seq    uint16
	sealed [gridBurst][]byte
}

const (
	gridPeers = 300
	gridBurst = 4
	gridBatch = 5 // bursts that one call of the kernel brings
)

func newGrid(t testing.TB, peers int) *grid {
	d := &nullDriver{now: time.Second}
	g := &grid{d: d, m: newMachine(Config{
		Driver: d, Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 1000, RTCMaxPort: 60000,
	}, func(func(*Machine)) bool { return true })}
	m := g.m
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	must(m.CreateWebRTCServer("s", []ListenInfo{{Protocol: UDP, IP: netip.MustParseAddr("10.0.0.1"), Port: 1000}}))
	must(m.CreateRouter("r"))
	g.s = m.servers["s"].listeners[0].udp.(*nullSocket)
	master := make([]byte, srtp.AEADAES128GCM.MasterLen())
	for i := range peers {
		id := strconv.Itoa(i)
		_, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{ID: id, ServerID: "s", EnableUDP: true})
		must(err)
		p := gridPeer{from: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), uint16(2000+i))}
		p.tx, err = srtp.NewSender(srtp.AEADAES128GCM, master)
		must(err)
		w := m.transports[id].part.(*webRTCTransport)
		w.dtlsState = "failed" // no handshake
		ufrag, pwd := w.ice.Credentials()
		m.HandleUDP(g.s, p.from, bindingRequest(t, ufrag, pwd))
		w.dtlsState = "connected"
		w.t.tx, err = srtp.NewSender(srtp.AEADAES128GCM, master)
		must(err)
		w.t.rx, err = srtp.NewReceiver(srtp.AEADAES128GCM, master)
		must(err)
		w.t.connect()
		for k := range p.sealed {
			p.sealed[k] = make([]byte, 0, 1300)
		}
		g.peers = append(g.peers, p)
		params := vp8Params(gridSSRC(i), gridSSRC(i)+1, "")
		must(produceOn(m, id, ProduceOptions{ID: "p" + id, Kind: Video, RTPParameters: params, RTPMapping: identity(params, 7)}))
	}
	for i := range peers {
		params := vp8Params(3000, 3001, "0")
		_, err := m.Consume(strconv.Itoa(i), ConsumeOptions{
			ID: "c" + strconv.Itoa(i), ProducerID: "p" + strconv.Itoa((i+2)%peers), RTPParameters: params,
			ConsumableEncodings: []Encoding{{SSRC: 7}},
		})
		must(err)
	}
	return g
}

func gridSSRC(i int) uint32 { return uint32(100_000 + 2*i) }

// seal makes the next packets of a peer.
func (g *grid) seal(t testing.TB, i int, key byte) {
	p := &g.peers[i]
	for k := range p.sealed {
		p.seq++
		b := rtp.AppendHeader(p.sealed[k][:0], rtp.Header{
			PayloadType: 101, SequenceNumber: p.seq, Timestamp: uint32(g.d.now / 11111), SSRC: gridSSRC(i),
		}, []rtp.Element{{ID: 4, Value: []byte{1, 2, 3}}, {ID: 5, Value: []byte{byte(p.seq >> 8), byte(p.seq)}}})
		b = append(b, 0x10, key)
		b = append(b, make([]byte, 1100)...)
		sealed, err := p.tx.ProtectRTP(b[:0], b)
		require.NoError(t, err)
		p.sealed[k] = sealed
	}
}

// batch hands over what some peers sent, as a driver does.
func (g *grid) batch(first int) {
	expect := func(i int) {
		var from netip.AddrPort
		if i < first+gridBatch {
			from = g.peers[i].from
		}
		g.m.Expect(g.s, from)
	}
	for i := range driver.Ahead {
		expect(first + i)
	}
	for i := first; i < first+gridBatch; i++ {
		expect(i + driver.Ahead)
		p := &g.peers[i]
		for _, b := range p.sealed {
			g.m.HandleUDP(g.s, p.from, b[:len(b):len(b)+64])
		}
	}
	g.m.EndOfBatch()
}

// next makes what some peers send in the next turn.
func (g *grid) next(t testing.TB, first int, key byte) {
	for i := first; i < first+gridBatch; i++ {
		g.seal(t, i, key)
	}
	g.turn(40 * time.Millisecond / (gridPeers / gridBatch))
}

// turn lets time pass.
func (g *grid) turn(d time.Duration) {
	g.d.now += d
	g.m.stale = true
	g.m.tick()
	g.m.wheel.Advance(g.m.now)
	g.m.flush()
	g.m.takeNotes()
}

// BenchmarkGrid is what the loop does for each packet of a grid, without the
// kernel: every 40 ms each of 300 peers sends four packets of 1,100 bytes, each to
// one Consumer. "cold" has the caches emptied before each batch.
func BenchmarkGrid(b *testing.B) {
	for _, name := range []string{"warm", "cold"} {
		b.Run(name, func(b *testing.B) {
			g, code := newGrid(b, gridPeers), newGrid(b, gridBatch)
			other := make([]byte, 64<<20)
			at, read := 0, byte(0)
			one := func(key byte, empty bool) time.Duration {
				if at += gridBatch; at >= gridPeers {
					at = 0
				}
				g.next(b, at, key)
				if empty {
					for i := 0; i < len(other); i += 64 {
						other[i]++
					}
					for i := at; i < at+gridBatch; i++ { // the kernel has just written it
						for _, p := range g.peers[i].sealed {
							for k := 0; k < len(p); k += 64 {
								read += p[k]
							}
						}
					}
				}
				code.next(b, 0, key) // what is to be cold is data
				code.batch(0)
				sent := g.d.sent
				start := time.Now()
				g.batch(at)
				d := time.Since(start)
				if key != 0 && g.d.sent < sent+gridBatch*gridBurst {
					b.Fatalf("%d packets sent, want %d at least", g.d.sent-sent, gridBatch*gridBurst)
				}
				return d
			}
			key := byte(0)
			for range 60 * gridPeers / gridBatch { // stores reach their size
				one(key, false)
				if g.d.now > 1500*time.Millisecond {
					key = 1
				}
			}
			other[0] = read
			var spent []time.Duration
			for b.Loop() {
				spent = append(spent, one(1, name == "cold"))
			}
			slices.Sort(spent) // the median, so that a busy machine disturbs less
			b.ReportMetric(float64(spent[len(spent)/2])/(gridBatch*gridBurst), "ns/packet")
			b.ReportMetric(0, "ns/op")
		})
	}
}
