package engine

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

var testCertificate = sync.OnceValue(func() *dtls.Certificate {
	c, err := dtls.Generate(nil)
	if err != nil {
		panic(err)
	}
	return c
})

// newTestWorker starts a Worker on the kernel's driver.
func newTestWorker(t testing.TB) (*Worker, <-chan Notification) {
	t.Helper()
	notes := make(chan Notification, 10000)
	w, err := Start(Config{
		Certificate: testCertificate(),
		Limiter:     dtls.NewLimiter(0),
		RTCMinPort:  20000, RTCMaxPort: 40000,
		Notify: func(n Notification) {
			select {
			case notes <- n:
			default:
			}
		},
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w, notes
}

func run(t testing.TB, w *Worker, op func(*Machine) error) {
	t.Helper()
	_, err := Run(context.Background(), w, op)
	require.NoError(t, err)
}

func opusParams(ssrc uint32) RTPParameters {
	return RTPParameters{
		Codecs:           []CodecParameters{{MimeType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2}},
		HeaderExtensions: []HeaderExtension{{URI: uriMID, ID: 1}, {URI: uriAudioLevel, ID: 6}},
		Encodings:        []Encoding{{SSRC: ssrc}},
		CNAME:            "x", MID: "a",
	}
}

func identity(params RTPParameters, mapped uint32) RTPMapping {
	var m RTPMapping
	for _, c := range params.Codecs {
		m.Codecs = append(m.Codecs, CodecMapping{c.PayloadType, c.PayloadType})
	}
	for _, e := range params.Encodings {
		m.Encodings = append(m.Encodings, EncodingMapping{SSRC: e.SSRC, MappedSSRC: mapped})
	}
	return m
}

func opusPacket(ssrc uint32, seq uint16) []byte {
	b := rtp.AppendHeader(nil, rtp.Header{PayloadType: 100, SequenceNumber: seq, Timestamp: 960 * uint32(seq), SSRC: ssrc},
		[]rtp.Element{{ID: 6, Value: []byte{0x94}}})
	return append(b, 0x78, 1, 2, 3)
}

func TestDirect(t *testing.T) {
	w, notes := newTestWorker(t)
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	run(t, w, func(m *Machine) error {
		_, err := m.CreateDirectTransport("r", DirectTransportOptions{ID: "t"})
		return err
	})
	params := opusParams(1111)
	run(t, w, func(m *Machine) error {
		return produceOn(m, "t", ProduceOptions{ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 7)})
	})
	run(t, w, func(m *Machine) error {
		_, err := m.Consume("t", ConsumeOptions{
			ID: "c", ProducerID: "p", RTPParameters: opusParams(2222), ConsumableEncodings: []Encoding{{SSRC: 7}},
		})
		return err
	})
	for seq := range uint16(10) {
		require.NoError(t, w.Inject("p", opusPacket(1111, 100+seq)))
	}
	var seqs []uint16
	for len(seqs) < 10 {
		select {
		case n := <-notes:
			if e, ok := n.Body.(ConsumerRTP); ok {
				pkt, ok := rtp.Parse(e.Packet)
				require.True(t, ok)
				require.Equal(t, uint32(2222), pkt.SSRC())
				require.Equal(t, []byte{0x94}, pkt.Extension(6))
				require.Equal(t, "a", string(pkt.Extension(1)))
				require.Equal(t, []byte{0x78, 1, 2, 3}, pkt.Payload())
				seqs = append(seqs, pkt.SequenceNumber())
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no packet")
		}
	}
	for i := range seqs {
		require.Equal(t, seqs[0]+uint16(i), seqs[i])
	}
	s, _, err := Do(t.Context(), w, func(m *Machine) (ConsumerStats, error) { return m.ConsumerStats("c") })
	require.NoError(t, err)
	require.EqualValues(t, 10, s.Sent[0].PacketCount)
	require.NotNil(t, s.Received)
	require.EqualValues(t, 10, s.Received.PacketCount)
}

func TestPlain(t *testing.T) {
	w, _ := newTestWorker(t)
	loopback := netip.MustParseAddr("127.0.0.1")
	run(t, w, func(m *Machine) error { return m.CreateRouter("r") })
	sock := func() (*net.UDPConn, netip.AddrPort) {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	src, _ := sock()
	dst, dstAddr := sock()
	var in netip.AddrPort
	run(t, w, func(m *Machine) error {
		d, err := m.CreatePlainTransport("r", PlainTransportOptions{ID: "in", Comedia: true, ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}})
		if err == nil {
			in = netip.AddrPortFrom(loopback, d.Plain.Tuple.LocalPort)
		}
		return err
	})
	run(t, w, func(m *Machine) error {
		_, err := m.CreatePlainTransport("r", PlainTransportOptions{ID: "out", ListenInfo: ListenInfo{Protocol: UDP, IP: loopback}})
		if err != nil {
			return err
		}
		_, err = m.ConnectPlain("out", PlainConnectOptions{Remote: dstAddr})
		return err
	})
	params := opusParams(1111)
	run(t, w, func(m *Machine) error {
		return produceOn(m, "in", ProduceOptions{ID: "p", Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 7)})
	})
	run(t, w, func(m *Machine) error {
		_, err := m.Consume("out", ConsumeOptions{
			ID: "c", ProducerID: "p", RTPParameters: opusParams(2222), ConsumableEncodings: []Encoding{{SSRC: 7}},
		})
		return err
	})
	for seq := range uint16(20) {
		_, err := src.WriteToUDPAddrPort(opusPacket(1111, 65530+seq), in)
		require.NoError(t, err)
	}
	b := make([]byte, 2048)
	dst.SetReadDeadline(time.Now().Add(5 * time.Second))
	var first uint16
	reported := false
	for i := 0; i < 20 || !reported; {
		n, err := dst.Read(b)
		require.NoError(t, err)
		if b[1] >= 192 && b[1] <= 223 {
			reported = true
			continue
		}
		pkt, ok := rtp.Parse(b[:n])
		require.True(t, ok)
		if i == 0 {
			first = pkt.SequenceNumber()
		}
		require.Equal(t, first+uint16(i), pkt.SequenceNumber())
		i++
	}
}

// produceOn makes a Producer whose type does not matter.
func produceOn(m *Machine, transportID string, o ProduceOptions) error {
	_, err := m.Produce(transportID, o)
	return err
}
