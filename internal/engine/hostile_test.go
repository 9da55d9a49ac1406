package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// A hostileWorld has a Producer and a Consumer on PlainTransports without
// encryption and a WebRTCTransport whose peer has not come.
type hostileWorld struct {
	*virtualWorld
	in, out, web *virtualUDP
	from, to     netip.AddrPort
	sent         int
}

func newHostileWorld(t testing.TB) *hostileWorld {
	t.Helper()
	w := &hostileWorld{
		virtualWorld: newVirtualWorld(t),
		from:         netip.MustParseAddrPort("10.0.0.2:1"), to: netip.MustParseAddrPort("10.0.0.3:1"),
	}
	m := w.m
	t.Cleanup(m.release)
	require.NoError(t, m.CreateRouter("r"))
	local := netip.MustParseAddr("10.0.0.1")
	connect := func(id string, port uint16, remote netip.AddrPort, suite srtp.Suite) *virtualUDP {
		_, err := m.CreatePlainTransport("r", PlainTransportOptions{
			ID: id, ListenInfo: ListenInfo{Protocol: UDP, IP: local, Port: port}, SRTPSuite: string(suite),
		})
		require.NoError(t, err)
		if remote.IsValid() {
			_, err = m.ConnectPlain(id, PlainConnectOptions{Remote: remote})
			require.NoError(t, err)
		}
		return w.socket(netip.AddrPortFrom(local, port))
	}
	w.in, w.out = connect("in", 1, w.from, ""), connect("out", 2, w.to, "")
	connect("secret", 3, netip.AddrPort{}, srtp.AEADAES128GCM)
	_, err := m.CreateWebRTCTransport("r", WebRTCTransportOptions{
		ID: "web", ListenInfos: []ListenInfo{{Protocol: UDP, IP: local, Port: 4}},
	})
	require.NoError(t, err)
	w.web = w.socket(netip.AddrPortFrom(local, 4))
	params := vp8Params(rigSSRC, rigRTX, "m")
	params.HeaderExtensions = append(params.HeaderExtensions,
		HeaderExtension{URI: uriDependency, ID: 7}, HeaderExtension{URI: uriOrientation, ID: 8},
		HeaderExtension{URI: uriCaptureTime, ID: 10}, HeaderExtension{URI: uriPacketID, ID: 12})
	require.NoError(t, produceOn(m, "in", ProduceOptions{
		ID: "p", Kind: Video, RTPParameters: params, RTPMapping: identity(params, 7), AddPacketID: true,
	}))
	_, err = m.Consume("out", ConsumeOptions{
		ID: "c", ProducerID: "p", RTPParameters: vp8Params(3000, 3001, "0"), ConsumableEncodings: []Encoding{{SSRC: 7}},
	})
	require.NoError(t, err)
	w.d.onUDP = func(*virtualUDP, netip.AddrPort, []byte) { w.sent++ }
	return w
}

// vp8Packet is a packet of the Producer.
func vp8Packet(seq uint16, key bool) []byte {
	b := []byte{0x80, 101, 0, 0, 0, 0, 0, 0, 0, 0, 4, 87, 0x10, 1, 2, 3, 4, 5, 6}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], 3000*uint32(seq))
	binary.BigEndian.PutUint32(b[8:], rigSSRC)
	if key {
		b[13] = 0
	}
	return b
}

// TestHostileIsCounted sends what can't be used, and looks for it in the
// counters.
func TestHostileIsCounted(t *testing.T) {
	stranger := netip.MustParseAddrPort("10.9.9.9:9")
	good := vp8Packet(1, true)
	with := func(b []byte, change func(b []byte) []byte) []byte { return change(slices.Clone(b)) }
	// The drops that each packet is counted under.
	var (
		unknownTuple  = func(c *Counters) *uint64 { return &c.DropUnknownTuple }
		unknownKind   = func(c *Counters) *uint64 { return &c.DropUnknownKind }
		notConnected  = func(c *Counters) *uint64 { return &c.DropNotConnected }
		malformed     = func(c *Counters) *uint64 { return &c.DropMalformed }
		tooLarge      = func(c *Counters) *uint64 { return &c.DropTooLarge }
		unknownStream = func(c *Counters) *uint64 { return &c.DropUnknownStream }
		direct        = func(c *Counters) *uint64 { return &c.DropDirect }
	)
	w := newHostileWorld(t)
	secret := w.socket(netip.MustParseAddrPort("10.0.0.1:3"))
	in := func(b []byte) func() { return func() { w.udp(w.in, w.from, b) } }
	for _, test := range []struct {
		name string
		do   func()
		drop func(*Counters) *uint64
	}{
		{"RTP of a stranger", func() { w.udp(w.in, stranger, good) }, unknownTuple},
		{"RTCP of a stranger", func() { w.udp(w.in, stranger, rtcp.AppendPLI(nil, 1, 3000)) }, unknownTuple},
		{"nothing", in(nil), unknownKind},
		{"one byte", in([]byte{0x80}), unknownKind},
		{"text", in([]byte("hello, are you there?")), unknownKind},
		{"RTP version 1", in(with(good, func(b []byte) []byte { b[0] = 0x40; return b })), unknownKind},
		{"a short header", in(good[:11]), unknownKind},
		{"too long", in(append(slices.Clone(good), make([]byte, slotSize)...)), tooLarge},
		{"CSRCs beyond the end", in(with(good, func(b []byte) []byte { b[0] |= 15; return b })), malformed},
		{"extensions beyond the end", in(with(good, func(b []byte) []byte { b[0] |= 0x10; return b })), malformed},
		{"padding beyond the end", in(with(good, func(b []byte) []byte { b[0] |= 0x20; b[len(b)-1] = 200; return b })), malformed},
		{"padding of nothing", in(with(good, func(b []byte) []byte { b[0] |= 0x20; b[len(b)-1] = 0; return b })), malformed},
		{"an unknown SSRC", in(with(good, func(b []byte) []byte { b[11]++; b[10]++; return b })), unknownStream},
		{"an unknown payload type", in(with(good, func(b []byte) []byte { b[1] = 77; return b })), unknownStream},
		{"RTCP that does not fit", in([]byte{0x81, 206, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2}), malformed},
		{"RTCP of an unknown type", in([]byte{0x80, 222, 0, 0}), malformed},
		{"media before the keys", func() { w.udp(secret, w.from, good) }, notConnected},
		{"media before DTLS", func() { w.udp(w.web, w.from, good) }, notConnected},
		{"RTCP before DTLS", func() { w.udp(w.web, w.from, rtcp.AppendPLI(nil, 1, 1)) }, notConnected},
		{"DTLS before ICE", func() { w.udp(w.web, w.from, append([]byte{22}, make([]byte, 20)...)) }, unknownTuple},
		{"neither", func() { w.udp(w.web, w.from, []byte{255, 1, 2, 3}) }, unknownKind},
		{"sent to no direct transport", func() { w.m.producerSend("p", good) }, direct},
		{"sent to nobody", func() { w.m.producerSend("x", good) }, direct},
		{"RTCP to nobody", func() { w.m.transportSendRTCP("x", rtcp.AppendPLI(nil, 1, 1)) }, direct},
	} {
		before := w.m.count
		w.sent = 0
		test.do()
		got := w.m.count
		require.Equal(t, *test.drop(&before)+1, *test.drop(&got), test.name)
		// Nothing else was dropped.
		*test.drop(&got)--
		got.PacketsIn, got.BytesIn = before.PacketsIn, before.BytesIn
		require.Equal(t, before, got, test.name)
		require.Zero(t, w.sent, test.name)
		require.Empty(t, w.notes, test.name)
		require.Zero(t, w.m.pool.InUse(), test.name)
	}
	// What is good still passes.
	w.udp(w.in, w.from, good)
	require.Equal(t, 1, w.sent)
}

// TestTooManyStreams has a sender make up SSRCs, with the MID of a Producer.
func TestTooManyStreams(t *testing.T) {
	w := newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t"})
	require.NoError(t, err)
	params := opusParams(0)
	require.NoError(t, produceOn(m, "t", ProduceOptions{
		ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 7),
	}))
	for i := range uint32(5000) {
		b := opusPacket(10+i, 1)
		b[16], b[17] = 0x10, 'a' // the MID instead of the level
		m.producerSend("p", b)
	}
	l := &m.transports["t"].listener
	require.LessOrEqual(t, len(l.ssrcs), maxLearned)
	require.Len(t, m.producers["p"].streams, 1)
	// The stream that it has goes on.
	m.producerSend("p", opusPacket(10, 2))
	s, err := m.ProducerStats("p")
	require.NoError(t, err)
	require.EqualValues(t, 2, s.Streams[0].PacketCount)
	require.NoError(t, m.CloseTransport("t"))
	require.Zero(t, m.pool.InUse())
}

// FuzzMachine feeds datagrams from anybody to all kinds of transports. Each is
// a byte that says to whom, one for how much later, two of length, the data.
func FuzzMachine(f *testing.F) {
	add := func(list ...[]byte) {
		var b []byte
		for i, x := range list {
			b = append(b, byte(i%4), 10, byte(len(x)>>8), byte(len(x)))
			b = append(b, x...)
		}
		f.Add(b)
	}
	lost := []uint16{1, 2, 3}
	add(vp8Packet(1, true), rtcp.AppendNACK(nil, 1, 3000, lost), vp8Packet(2, false), bindingRequest(f, "x", "y"))
	add(vp8Packet(65535, true), rtcp.AppendPLI(nil, 1, 3000), vp8Packet(3, false), opusPacket(1, 1))
	add(rtcp.AppendSenderReport(nil, rtcp.SenderReport{SSRC: rigSSRC}), rtcp.AppendFIR(nil, 1, 3000, 3000, 1))
	add(rtcp.AppendXR(nil, 1, 0, []rtcp.DLRREntry{{SSRC: rigSSRC}}), rtcp.AppendXR(nil, 1, 5, nil))
	add(vp8Packet(1, true), rtcp.AppendReceiverReport(nil, 1, []rtcp.ReportBlock{{SSRC: 3000, LSR: 1, DLSR: 1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newHostileWorld(t)
		w.udp(w.in, w.from, vp8Packet(0, true))
		for len(b) > 4 {
			who, later, n := b[0], b[1], int(binary.BigEndian.Uint16(b[2:]))
			b = b[4:]
			n = min(n, len(b), 2000)
			w.advance(w.d.now + time.Duration(later)*time.Millisecond)
			switch who % 4 {
			case 0:
				w.udp(w.in, w.from, b[:n])
			case 1:
				w.udp(w.out, w.to, b[:n])
			case 2:
				w.udp(w.in, w.from, append(vp8Packet(uint16(n), false), b[:n]...))
			case 3:
				w.udp(w.web, w.from, b[:n])
			}
			b = b[n:]
		}
		if err := w.m.CloseRouter("r"); err != nil {
			t.Fatal(err)
		}
		if n := w.m.pool.InUse(); n != 0 {
			t.Fatalf("%d packets are in use after closing", n)
		}
		if _, ok := w.m.wheel.Next(); ok {
			t.Fatal("a timer is left after closing")
		}
	})
}
