package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testMachine has a Router r with a direct transport t.
func testMachine(t *testing.T) *Machine {
	t.Helper()
	w := newVirtualWorld(t)
	require.NoError(t, w.m.CreateRouter("r"))
	_, err := w.m.CreateDirectTransport("r", DirectTransportOptions{ID: "t"})
	require.NoError(t, err)
	return w.m
}

func TestProduceErrors(t *testing.T) {
	type options = ProduceOptions
	good := func() options {
		p := vp8Params(11, 12, "m")
		return options{ID: "p", Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)}
	}
	encodings := func(list ...Encoding) func(*options) {
		return func(o *options) {
			o.RTPParameters.Encodings = list
			o.RTPMapping = identity(o.RTPParameters, 7)
		}
	}
	mode := func(m string) func(*options) { return encodings(Encoding{SSRC: 11, ScalabilityMode: m}) }
	codec := func(c CodecParameters) func(*options) {
		return func(o *options) { o.RTPParameters.Codecs = append(o.RTPParameters.Codecs, c) }
	}
	rtx := func(apt any) func(*options) {
		return func(o *options) {
			o.RTPParameters.Codecs[1].Parameters = map[string]any{"apt": apt}
		}
	}
	for _, test := range []struct {
		name   string
		change func(*options)
		want   error // nil: fine
	}{
		{"fine", func(*options) {}, nil},
		{"no kind", func(o *options) { o.Kind = 0 }, ErrInvalidArgument},
		{"no id", func(o *options) { o.ID = "" }, ErrInvalidArgument},
		{"an id in use", func(o *options) { o.ID = "t" }, ErrInvalidState},
		{"no codecs", func(o *options) { o.RTPParameters.Codecs = nil }, ErrInvalidArgument},
		{"no encodings", encodings(), ErrInvalidArgument},
		{"no CNAME", func(o *options) { o.RTPParameters.CNAME = "" }, ErrInvalidArgument},
		{"an unknown codec", codec(CodecParameters{MimeType: "video/H265", PayloadType: 9}), ErrInvalidArgument},
		{"a payload type twice", codec(CodecParameters{MimeType: "video/H264", PayloadType: 101}), ErrInvalidArgument},
		{"a payload type of 8 bits", codec(CodecParameters{MimeType: "video/H264", PayloadType: 200}), ErrInvalidArgument},
		{"RTX only", func(o *options) { o.RTPParameters.Codecs = o.RTPParameters.Codecs[1:] }, ErrInvalidArgument},
		{"RTX for nothing", rtx(nil), ErrInvalidArgument},
		{"RTX for text", rtx("101"), ErrInvalidArgument},
		{"RTX for half a payload type", rtx(100.5), ErrInvalidArgument},
		{"RTX for what is not there", rtx(99), ErrInvalidArgument},
		{"RTX for too much", rtx(1 << 20), ErrInvalidArgument},
		{"RTX for NaN", rtx(math.NaN()), ErrInvalidArgument},
		{"RTX for RTX", rtx(102), ErrInvalidArgument},
		{"RTX as JSON has it", rtx(101.0), nil},
		{"an unknown extension", func(o *options) {
			o.RTPParameters.HeaderExtensions = append(o.RTPParameters.HeaderExtensions, HeaderExtension{URI: "urn:x", ID: 9})
		}, ErrInvalidArgument},
		{"an extension with id 0", func(o *options) {
			o.RTPParameters.HeaderExtensions = append(o.RTPParameters.HeaderExtensions, HeaderExtension{URI: uriRID})
		}, ErrInvalidArgument},
		{"fewer encodings in the mapping", func(o *options) { o.RTPMapping.Encodings = nil }, ErrInvalidArgument},
		{"no mapped SSRC", func(o *options) { o.RTPMapping.Encodings[0].MappedSSRC = 0 }, ErrInvalidArgument},
		{"a mapped payload type of 8 bits", func(o *options) { o.RTPMapping.Codecs[0].MappedPayloadType = 128 }, ErrInvalidArgument},
		{"an encoding of a codec that is none", encodings(Encoding{SSRC: 11, CodecPayloadType: new(uint8(102))}), ErrInvalidArgument},
		{"an encoding of a codec", encodings(Encoding{SSRC: 11, CodecPayloadType: new(uint8(101))}), nil},
		{"neither SSRC nor RID, but MID", encodings(Encoding{}), nil},
		{"neither SSRC nor RID nor MID", func(o *options) {
			o.RTPParameters.MID = ""
			encodings(Encoding{})(o)
		}, ErrInvalidArgument},
		{"RID without MID", func(o *options) {
			o.RTPParameters.MID = ""
			encodings(Encoding{RID: "x"})(o)
		}, nil},
		{"two encodings, one without SSRC and RID", encodings(Encoding{SSRC: 11}, Encoding{}), ErrInvalidArgument},
		{"two encodings", encodings(Encoding{SSRC: 11}, Encoding{SSRC: 13}), nil},
		{"two encodings with temporal layers", encodings(
			Encoding{SSRC: 11, ScalabilityMode: "L1T3"}, Encoding{SSRC: 13, ScalabilityMode: "L1T3"},
		), nil},
		{"two encodings with spatial layers", encodings(
			Encoding{SSRC: 11, ScalabilityMode: "L2T1"}, Encoding{SSRC: 13},
		), ErrInvalidArgument},
		{"simulcast of VP9", func(o *options) {
			encodings(Encoding{SSRC: 11}, Encoding{SSRC: 13})(o)
			o.RTPParameters.Codecs[0].MimeType = "video/VP9"
		}, ErrInvalidArgument},
		{"too many encodings", encodings(make([]Encoding, 17)...), ErrInvalidArgument},
		{"temporal layers", mode("L1T3"), nil},
		{"spatial layers", mode("L3T3_KEY"), nil},
		{"many temporal layers", mode("L1T10"), nil},
		{"no mode", mode("foo"), nil},
		{"no mode either", mode("L0T3"), nil},
		{"layers of Opus", func(o *options) {
			o.Kind = Audio
			o.RTPParameters = opusParams(11)
			mode("L1T2")(o)
		}, ErrInvalidArgument},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := testMachine(t)
			o := good()
			test.change(&o)
			err := produceOn(m, "t", o)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.want)
			// Nothing stayed behind.
			require.NoError(t, produceOn(m, "t", good()))
		})
	}
}

// TestMIMETypeCase dumps MIME types as mediasoup writes them, however they came.
func TestMIMETypeCase(t *testing.T) {
	for _, name := range []string{"video/vp8", "VIDEO/VP8", "video/VP8"} {
		m := testMachine(t)
		params := func() RTPParameters {
			p := vp8Params(11, 12, "m")
			p.Codecs[0].MimeType, p.Codecs[1].MimeType = name, "video/RTX"
			return p
		}
		p := params()
		require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)}))
		_, err := m.Consume("t", ConsumeOptions{ID: "c", ProducerID: "p", RTPParameters: params(), ConsumableEncodings: []Encoding{{SSRC: 7}}})
		require.NoError(t, err)
		b := vp8Packet(1, true)
		binary.BigEndian.PutUint32(b[8:], 11)
		m.producerSend("p", b)
		d, err := m.DumpProducer("p")
		require.NoError(t, err)
		require.Equal(t, "video/VP8", d.RTPParameters.Codecs[0].MimeType)
		require.Equal(t, "video/rtx", d.RTPParameters.Codecs[1].MimeType)
		require.Equal(t, "video/VP8", d.Streams[0].Params.MimeType)
		c, err := m.DumpConsumer("c")
		require.NoError(t, err)
		require.Equal(t, "video/VP8", c.RTPParameters.Codecs[0].MimeType)
		s, err := m.ProducerStats("p")
		require.NoError(t, err)
		require.Equal(t, "video/VP8", s.Streams[0].MimeType)
	}
}

// TestProduceInUse checks what two Producers of a transport may not share.
func TestProduceInUse(t *testing.T) {
	m := testMachine(t)
	add := func(id string, p RTPParameters) error {
		return produceOn(m, "t", ProduceOptions{ID: id, Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)})
	}
	require.ErrorIs(t, produceOn(m, "x", ProduceOptions{}), ErrNotFound)
	require.NoError(t, add("p", vp8Params(11, 12, "m")))
	require.ErrorIs(t, add("p", vp8Params(21, 22, "n")), ErrInvalidState)
	for _, p := range []RTPParameters{
		vp8Params(11, 22, "n"), vp8Params(21, 11, "n"), vp8Params(12, 0, "n"), vp8Params(21, 22, "m"), vp8Params(30, 30, "n"),
	} {
		require.ErrorIs(t, add("q", p), ErrInvalidState)
	}
	d, err := m.DumpTransport("t")
	require.NoError(t, err)
	require.Equal(t, []SSRCOwner{{11, "p"}, {12, "p"}}, d.SSRCProducers, "what failed left nothing")
	require.Equal(t, []NameOwner{{"m", "p"}}, d.MIDProducers)
	rid := vp8Params(0, 0, "")
	rid.Encodings[0].RID = "x"
	require.NoError(t, add("q", rid))
	require.ErrorIs(t, add("r2", rid), ErrInvalidState)
	rid.MID = "n"
	require.NoError(t, add("r2", rid), "the MID tells them apart")
	require.NoError(t, m.CloseProducer("p"))
	require.NoError(t, add("p", vp8Params(11, 12, "m")))
}

func TestConsumeErrors(t *testing.T) {
	type options = ConsumeOptions
	for _, test := range []struct {
		name   string
		change func(*options)
		want   error
	}{
		{"fine", func(*options) {}, nil},
		{"no id", func(o *options) { o.ID = "" }, ErrInvalidArgument},
		{"an id in use", func(o *options) { o.ID = "p" }, ErrInvalidState},
		{"no Producer", func(o *options) { o.ProducerID = "x" }, ErrNotFound},
		{"no consumable encodings", func(o *options) { o.ConsumableEncodings = nil }, ErrInvalidArgument},
		{"a consumable encoding without SSRC", func(o *options) { o.ConsumableEncodings[0].SSRC = 0 }, ErrInvalidArgument},
		{"no SSRC", func(o *options) { o.RTPParameters.Encodings[0].SSRC = 0 }, ErrInvalidArgument},
		{"an SSRC in use", func(o *options) { o.RTPParameters.Encodings[0].SSRC = 3000 }, ErrInvalidState},
		{"an SSRC in use for RTX", func(o *options) { o.RTPParameters.Encodings[0].RTXSSRC = 3000 }, ErrInvalidState},
		{"the longest MID", func(o *options) { o.RTPParameters.MID = "12345678" }, nil},
		{"several encodings", func(o *options) {
			o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: 9})
			o.RTPParameters.Encodings[0].ScalabilityMode = "L2T1"
		}, nil},
		{"several encodings without layers", func(o *options) {
			o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: 9})
		}, ErrInvalidArgument},
		{"several encodings of VP9", func(o *options) {
			o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: 9})
			o.RTPParameters.Encodings[0].ScalabilityMode = "L2T1"
			o.RTPParameters.Codecs[0].MimeType = "video/VP9"
		}, ErrInvalidArgument},
		{"layers", func(o *options) { o.ConsumableEncodings[0].ScalabilityMode = "L1T3" }, nil},
		{"layers of Opus", func(o *options) {
			o.RTPParameters = opusParams(4000)
			o.ConsumableEncodings[0].ScalabilityMode = "L1T3"
		}, ErrInvalidArgument},
		{"too many encodings", func(o *options) {
			o.ConsumableEncodings = make([]Encoding, 17)
		}, ErrInvalidArgument},
		{"a pipe", func(o *options) { o.Pipe = true }, nil},
		{"a pipe of fewer encodings", func(o *options) {
			o.Pipe = true
			o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: 9})
		}, ErrInvalidArgument},
		{"a pipe with one SSRC twice", func(o *options) {
			o.Pipe = true
			o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{SSRC: 9})
			o.RTPParameters.Encodings = append(o.RTPParameters.Encodings, o.RTPParameters.Encodings[0])
		}, ErrInvalidState},
		{"an extension with id 0", func(o *options) { o.RTPParameters.HeaderExtensions[0].ID = 0 }, ErrInvalidArgument},
		{"no codecs", func(o *options) { o.RTPParameters.Codecs = nil }, ErrInvalidArgument},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := testMachine(t)
			p := vp8Params(11, 12, "m")
			require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)}))
			consume := func(o options) error { _, err := m.Consume("t", o); return err }
			good := func(id string, ssrc uint32) options {
				return options{
					ID: id, ProducerID: "p", RTPParameters: vp8Params(ssrc, ssrc+1, "0"), ConsumableEncodings: []Encoding{{SSRC: 7}},
				}
			}
			require.NoError(t, consume(good("first", 3000)))
			o := good("c", 4000)
			test.change(&o)
			err := consume(o)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.want)
			require.NoError(t, consume(good("c", 4000)), "nothing stayed behind")
		})
	}
}

// TestShare: what a Consumer has like the one before it is in memory once, and
// what differs is its own.
func TestShare(t *testing.T) {
	m := testMachine(t)
	p := vp8Params(11, 12, "m")
	require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)}))
	parameter := func(v any) func(*RTPParameters) {
		return func(p *RTPParameters) { p.Codecs[0].Parameters = map[string]any{"x": v} }
	}
	last := &RTPParameters{}
	for i, test := range []struct {
		change             func(*RTPParameters)
		codecs, extensions bool // shared
	}{
		{func(*RTPParameters) {}, false, false},
		{func(*RTPParameters) {}, true, true},
		{func(p *RTPParameters) { p.Codecs[0].MimeType = "video/vp8" }, true, true},
		{func(p *RTPParameters) { p.HeaderExtensions[0].ID = 14 }, true, false},
		{func(p *RTPParameters) { p.HeaderExtensions = nil }, true, false},
		{func(p *RTPParameters) { p.Codecs[0].Feedback = p.Codecs[0].Feedback[:1] }, false, false},
		{parameter([]int32{1}), false, true},
		{parameter([]int32{1}), true, true},
		{parameter([]int32{2}), false, true},
		{parameter(2), false, true},
		{parameter(2.0), false, true},
	} {
		ssrc := uint32(1000 + 2*i)
		want, params := vp8Params(ssrc, ssrc+1, "0"), vp8Params(ssrc, ssrc+1, "0")
		test.change(&want)
		test.change(&params)
		id := fmt.Sprint(i)
		consumable := []Encoding{{SSRC: 7, MaxBitrate: uint32(i / 2)}}
		_, err := m.Consume("t", ConsumeOptions{ID: id, ProducerID: "p", RTPParameters: params, ConsumableEncodings: consumable})
		require.NoError(t, err)
		d, err := m.DumpConsumer(id)
		require.NoError(t, err)
		require.Equal(t, []Encoding{{SSRC: 7, MaxBitrate: uint32(i / 2)}}, d.ConsumableEncodings, "case %d", i)
		require.NoError(t, want.validate())
		require.Equal(t, want, d.RTPParameters, "case %d", i)
		require.Equal(t, test.codecs, &d.RTPParameters.Codecs[0] == firstOf(last.Codecs), "codecs of case %d", i)
		require.Equal(t, test.extensions, firstOf(d.RTPParameters.HeaderExtensions) == firstOf(last.HeaderExtensions), "extensions of case %d", i)
		last = &d.RTPParameters
	}
}

func firstOf[T any](list []T) *T {
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// TestConsumeElsewhere checks that a Producer is one of its Router only.
func TestConsumeElsewhere(t *testing.T) {
	m := testMachine(t)
	p := vp8Params(11, 12, "m")
	require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Video, RTPParameters: p, RTPMapping: identity(p, 7)}))
	require.NoError(t, m.CreateRouter("r2"))
	_, err := m.CreateDirectTransport("r2", DirectTransportOptions{ID: "t2"})
	require.NoError(t, err)
	_, err = m.Consume("t2", ConsumeOptions{
		ID: "c", ProducerID: "p", RTPParameters: vp8Params(3000, 3001, "0"), ConsumableEncodings: []Encoding{{SSRC: 7}},
	})
	require.ErrorIs(t, err, ErrNotFound)
}

func TestConnectPlainErrors(t *testing.T) {
	w := newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	ip := netip.MustParseAddr("10.0.0.1")
	remote := netip.MustParseAddrPort("10.0.0.2:5")
	key := &SRTPParameters{CryptoSuite: "AEAD_AES_128_GCM", KeyBase64: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}
	info := ListenInfo{Protocol: UDP, IP: ip}
	for _, test := range []struct {
		name string
		o    PlainTransportOptions
		c    PlainConnectOptions
		want error
	}{
		{"no address", PlainTransportOptions{}, PlainConnectOptions{}, ErrInvalidArgument},
		{"no port", PlainTransportOptions{}, PlainConnectOptions{Remote: netip.AddrPortFrom(remote.Addr(), 0)}, ErrInvalidArgument},
		{"another family", PlainTransportOptions{}, PlainConnectOptions{Remote: netip.MustParseAddrPort("[::1]:5")}, ErrInvalidArgument},
		{"a port for RTCP that is not apart", PlainTransportOptions{}, PlainConnectOptions{Remote: remote, RTCPPort: 6}, ErrInvalidArgument},
		{"no port for RTCP", PlainTransportOptions{RTCPListenInfo: &info}, PlainConnectOptions{Remote: remote}, ErrInvalidArgument},
		{"keys for nothing", PlainTransportOptions{}, PlainConnectOptions{Remote: remote, SRTP: key}, ErrInvalidArgument},
		{"no keys", PlainTransportOptions{SRTPSuite: "AEAD_AES_128_GCM"}, PlainConnectOptions{Remote: remote}, ErrInvalidArgument},
		{"an unknown suite", PlainTransportOptions{SRTPSuite: "AEAD_AES_128_GCM"}, PlainConnectOptions{
			Remote: remote, SRTP: &SRTPParameters{CryptoSuite: "x", KeyBase64: key.KeyBase64},
		}, ErrInvalidArgument},
		{"a key of another length", PlainTransportOptions{SRTPSuite: "AEAD_AES_128_GCM"}, PlainConnectOptions{
			Remote: remote, SRTP: &SRTPParameters{CryptoSuite: "AEAD_AES_256_GCM", KeyBase64: key.KeyBase64},
		}, ErrInvalidArgument},
		{"a key that is no base64", PlainTransportOptions{SRTPSuite: "AEAD_AES_128_GCM"}, PlainConnectOptions{
			Remote: remote, SRTP: &SRTPParameters{CryptoSuite: "AEAD_AES_128_GCM", KeyBase64: "?"},
		}, ErrInvalidArgument},
		{"fine", PlainTransportOptions{}, PlainConnectOptions{Remote: remote}, nil},
		{"fine with SRTP", PlainTransportOptions{SRTPSuite: "AEAD_AES_128_GCM"}, PlainConnectOptions{Remote: remote, SRTP: key}, nil},
		{"fine with RTCP apart", PlainTransportOptions{RTCPListenInfo: &info}, PlainConnectOptions{Remote: remote, RTCPPort: 6}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.ID, test.o.ListenInfo = "x", info
			_, err := m.CreatePlainTransport("r", test.o)
			require.NoError(t, err)
			defer func() { require.NoError(t, m.CloseTransport("x")) }()
			d, err := m.ConnectPlain("x", test.c)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
				require.False(t, m.transports["x"].connected)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "10.0.0.2", d.Plain.Tuple.RemoteIP)
			_, err = m.ConnectPlain("x", test.c)
			require.ErrorIs(t, err, ErrInvalidState)
		})
	}
	_, err := m.CreatePlainTransport("r", PlainTransportOptions{ID: "x", ListenInfo: info, SRTPSuite: "x"})
	require.ErrorIs(t, err, ErrInvalidArgument)
	_, err = m.CreatePlainTransport("none", PlainTransportOptions{ID: "x", ListenInfo: info})
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, w.d.bound)
}

// TestPlainRTCPApart has comedia learn two addresses, each for itself.
func TestPlainRTCPApart(t *testing.T) {
	w := newVirtualWorld(t)
	m := w.m
	require.NoError(t, m.CreateRouter("r"))
	ip := netip.MustParseAddr("10.0.0.1")
	_, err := m.CreatePlainTransport("r", PlainTransportOptions{
		ID: "t", Comedia: true, ListenInfo: ListenInfo{Protocol: UDP, IP: ip, Port: 10},
		RTCPListenInfo: &ListenInfo{Protocol: UDP, IP: ip, Port: 11},
	})
	require.NoError(t, err)
	params := opusParams(1000)
	require.NoError(t, produceOn(m, "t", ProduceOptions{ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 7)}))
	rtpAddr, rtcpAddr := netip.MustParseAddrPort("10.0.0.2:5"), netip.MustParseAddrPort("10.0.0.2:6")
	var to []netip.AddrPort
	w.d.onUDP = func(s *virtualUDP, a netip.AddrPort, b []byte) {
		require.EqualValues(t, 11, s.local.Port(), "RTCP leaves from its port")
		to = append(to, a)
	}
	tap := NewTap(8, 100)
	require.NoError(t, m.TapTransport("t", tap))
	w.udp(w.socket(netip.AddrPortFrom(ip, 10)), rtpAddr, opusPacket(1000, 1))
	w.advance(w.d.now + 2*time.Second)
	require.Empty(t, to, "where RTCP goes is not known")
	require.Len(t, tap.Packets(), 1, "what was not sent is not in a tap")
	s, err := w.m.TransportStats("t")
	require.NoError(t, err)
	require.Nil(t, s.Plain.RTCPTuple)
	d, err := w.m.DumpTransport("t")
	require.NoError(t, err)
	require.EqualValues(t, 11, d.Plain.RTCPTuple.LocalPort, "where it is awaited")
	w.udp(w.socket(netip.AddrPortFrom(ip, 11)), rtcpAddr, []byte{0x80, 201, 0, 1, 0, 0, 0, 1})
	w.advance(w.d.now + 2*time.Second)
	require.NotEmpty(t, to)
	s, err = w.m.TransportStats("t")
	require.NoError(t, err)
	require.EqualValues(t, 6, s.Plain.RTCPTuple.RemotePort)
	for _, a := range to {
		require.Equal(t, rtcpAddr, a)
	}
	require.Equal(t, []Notification{
		{1, "t", PlainTuple{Tuple{"10.0.0.1", 10, "10.0.0.2", 5, "udp"}}},
		{w.notes[1].Seq, "p", w.notes[1].Body},
		{w.notes[2].Seq, "t", PlainRTCPTuple{Tuple{"10.0.0.1", 11, "10.0.0.2", 6, "udp"}}},
	}, w.notes)
}
