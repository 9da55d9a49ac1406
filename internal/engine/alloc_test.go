package engine

import (
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// A nullDriver has a clock that a test turns by hand and sockets that count.
type nullDriver struct {
	now     time.Duration
	sockets uint64
	sent    int
	last    []byte
}

func (d *nullDriver) Now() time.Duration                       { return d.now }
func (d *nullDriver) Wait(time.Duration, driver.Handler) error { return nil }
func (d *nullDriver) Wake()                                    {}
func (d *nullDriver) Flush()                                   {}
func (d *nullDriver) Stats() driver.Stats                      { return driver.Stats{} }
func (d *nullDriver) Close() error                             { return nil }

func (d *nullDriver) ListenTCP(driver.TCPConfig) (driver.TCPListener, error) {
	panic("not used")
}

func (d *nullDriver) ListenUDP(c driver.UDPConfig) (driver.UDPSocket, error) {
	d.sockets++
	return &nullSocket{d: d, id: d.sockets, addr: c.Addr, buf: make([]byte, 4096)}, nil
}

type nullSocket struct {
	d     *nullDriver
	id    uint64
	addr  netip.AddrPort
	owner any
	buf   []byte
}

func (s *nullSocket) ID() uint64                        { return s.id }
func (s *nullSocket) LocalAddr() netip.AddrPort         { return s.addr }
func (s *nullSocket) Owner() any                        { return s.owner }
func (s *nullSocket) SetOwner(o any)                    { s.owner = o }
func (s *nullSocket) Dest(a netip.AddrPort) driver.Dest { return driver.NewDest(a) }
func (s *nullSocket) Reserve(n int) []byte              { return s.buf[:n:n] }
func (s *nullSocket) Commit(_ *driver.Dest, n int)      { s.d.sent++; s.d.last = s.buf[:n] }
func (s *nullSocket) Close()                            {}

// A rig is a machine with a VP8 Producer on one SRTP transport and Consumers
// with RTX on others, without a thread.
type rig struct {
	t        testing.TB
	d        *nullDriver
	m        *Machine
	in       *nullSocket
	from     netip.AddrPort
	tx       *srtp.Sender // of the producer's endpoint
	seq      uint16
	consumed []*nullSocket
	ctx      []*srtp.Sender // of the consumers' endpoints
	scratch  []byte
	payload  []byte
}

const (
	rigSSRC = 1111
	rigRTX  = 1112
)

func vp8Params(ssrc, rtx uint32, mid string) RTPParameters {
	return RTPParameters{
		MID: mid,
		Codecs: []CodecParameters{
			{MimeType: "video/VP8", PayloadType: 101, ClockRate: 90000, Feedback: []Feedback{
				{"nack", ""}, {"nack", "pli"}, {"ccm", "fir"}, {"transport-cc", ""},
			}},
			{MimeType: "video/rtx", PayloadType: 102, ClockRate: 90000, Parameters: map[string]any{"apt": 101}},
		},
		HeaderExtensions: []HeaderExtension{{URI: uriMID, ID: 1}, {URI: uriAbsSendTime, ID: 4}, {URI: uriTWCC, ID: 5}},
		Encodings:        []Encoding{{SSRC: ssrc, RTXSSRC: rtx}},
		CNAME:            "cname",
	}
}

func newRig(t testing.TB, consumers int, suite srtp.Suite) *rig {
	d := &nullDriver{now: time.Second}
	r := &rig{
		t: t, d: d, from: netip.MustParseAddrPort("10.0.0.2:5000"),
		scratch: make([]byte, 4096), payload: make([]byte, 1100),
	}
	r.m = newMachine(Config{
		Driver: d, Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 1000, RTCMaxPort: 60000,
	}, func(func(*Machine)) bool { return true })
	m := r.m
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	must(m.CreateRouter("r"))
	local := netip.MustParseAddr("10.0.0.1")
	master := make([]byte, suite.MasterLen())
	connect := func(id string, remote netip.AddrPort) (*nullSocket, *srtp.Sender) {
		_, err := m.CreatePlainTransport("r", PlainTransportOptions{
			ID: id, ListenInfo: ListenInfo{Protocol: UDP, IP: local}, SRTPSuite: string(suite),
		})
		must(err)
		_, err = m.ConnectPlain(id, PlainConnectOptions{Remote: remote, SRTP: &SRTPParameters{
			CryptoSuite: string(suite), KeyBase64: base64.StdEncoding.EncodeToString(master),
		}})
		must(err)
		tx, err := srtp.NewSender(suite, master)
		must(err)
		return m.transports[id].part.(*plainTransport).rtp.udp.(*nullSocket), tx
	}
	r.in, r.tx = connect("in", r.from)
	params := vp8Params(rigSSRC, rigRTX, "")
	must(produceOn(m, "in", ProduceOptions{ID: "p", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 7)}))
	for i := range consumers {
		id := string(rune('A' + i))
		s, tx := connect("out"+id, netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), uint16(2000+i)))
		_, err := m.Consume("out"+id, ConsumeOptions{
			ID: "c" + id, ProducerID: "p", RTPParameters: vp8Params(3000, 3001, "0"),
			ConsumableEncodings: []Encoding{{SSRC: 7}},
		})
		must(err)
		r.consumed, r.ctx = append(r.consumed, s), append(r.ctx, tx)
	}
	return r
}

// send delivers one packet of the producer.
func (r *rig) send(key bool) {
	r.seq++
	b := rtp.AppendHeader(r.scratch[:0], rtp.Header{
		Marker: true, PayloadType: 101, SequenceNumber: r.seq, Timestamp: 3000 * uint32(r.seq), SSRC: rigSSRC,
	}, rigElements)
	r.payload[0] = 0x10
	r.payload[1] = 1
	if key {
		r.payload[1] = 0
	}
	b = append(b, r.payload...)
	r.deliver(r.in, r.from, r.tx, b, false)
}

var rigElements = []rtp.Element{{ID: 4, Value: []byte{1, 2, 3}}, {ID: 5, Value: []byte{0, 1}}}

func (r *rig) deliver(s *nullSocket, from netip.AddrPort, tx *srtp.Sender, plain []byte, control bool) {
	var b []byte
	var err error
	if control {
		b, err = tx.ProtectRTCP(plain[:0], plain)
	} else {
		b, err = tx.ProtectRTP(plain[:0], plain)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.m.HandleUDP(s, from, b)
	r.m.EndOfBatch()
}

// turn lets time pass.
func (r *rig) turn(d time.Duration) {
	r.d.now += d
	r.m.stale = true
	r.m.tick()
	r.m.wheel.Advance(r.m.now)
	r.m.flush()
	r.m.takeNotes()
}

func TestRigForwards(t *testing.T) {
	r := newRig(t, 3, srtp.AEADAES128GCM)
	r.send(false)
	sent := r.d.sent
	r.send(true)
	require.Equal(t, 3, r.d.sent-sent, "a key frame reaches every consumer")
	sent = r.d.sent
	for range 10 {
		r.send(false)
	}
	require.Equal(t, 30, r.d.sent-sent)
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, suite := range []srtp.Suite{srtp.AEADAES128GCM, srtp.AESCM128SHA80} {
		t.Run(string(suite), func(t *testing.T) {
			r := newRig(t, 4, suite)
			r.send(true)
			for range 4000 { // the stores and maps reach their size
				r.send(false)
				r.turn(5 * time.Millisecond)
			}
			measure := func(name string, f func()) {
				t.Helper()
				if n := testing.AllocsPerRun(500, f); n != 0 {
					t.Errorf("%s: %v allocations, want 0", name, n)
				}
			}
			measure("RTP in and fan-out", func() { r.send(false); r.turn(5 * time.Millisecond) })

			from := netip.AddrPortFrom(netip.MustParseAddr("10.0.1.1"), 2000)
			control := func(name string, build func(b []byte) []byte) {
				measure(name, func() {
					r.deliver(r.consumed[0], from, r.ctx[0], build(r.scratch[:0]), true)
					r.m.takeNotes()
				})
			}
			blocks := []rtcp.ReportBlock{{SSRC: 3000}}
			control("RR in", func(b []byte) []byte { return rtcp.AppendReceiverReport(b, 1, blocks) })
			control("transport-cc in", func(b []byte) []byte {
				b = append(b, 0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 11, 184)
				return append(b, 0, 1, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0)
			})
			lost := make([]uint16, 1)
			control("NACK in", func(b []byte) []byte {
				lost[0] = 40000 // never sent
				return rtcp.AppendNACK(b, 1, 3000, lost)
			})
			before := r.m.transports["outA"].sentRTX.Bytes()
			control("NACK in, RTX out", func(b []byte) []byte {
				r.turn(150 * time.Millisecond)
				r.send(false)
				lost[0] = r.m.consumers["cA"].main.seq.MaxOutput()
				return rtcp.AppendNACK(b, 1, 3000, lost)
			})
			require.Greater(t, r.m.transports["outA"].sentRTX.Bytes(), before, "nothing was retransmitted")
			measure("SR in", func() {
				b := rtcp.AppendSenderReport(r.scratch[:0], rtcp.SenderReport{SSRC: rigSSRC, NTP: 1 << 40, RTPTimestamp: 5})
				r.deliver(r.in, r.from, r.tx, b, true)
				r.m.takeNotes()
			})
		})
	}
}
