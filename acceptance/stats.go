package acceptance

import (
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var statsCases = []testCase{
	{
		name:        "Stats/NewTransports",
		explanation: "a new transport has one record of its kind, all counters 0",
		upstream:    []string{"WebRtcTransport 7", "PlainTransport 7", "DirectTransport 3"},
		run:         testStatsNewTransports,
	},
	{
		name:        "Stats/Transport",
		explanation: "transports count what they receive and send",
		run:         testStatsTransport,
	},
	{
		name:        "Stats/Producer",
		explanation: "a Producer has an inbound record for each stream, with its packets, bytes and losses",
		upstream:    []string{"Producer 9"},
		run:         testStatsProducer,
	},
	{
		name:        "Stats/Consumer",
		explanation: "a Consumer has an outbound record and then the inbound record of its Producer's stream",
		upstream:    []string{"Consumer 6"},
		run:         testStatsConsumer,
	},
}

// transportStats returns the record of a transport.
func transportStats(t testing.TB, tr mafalda.Transport) mafalda.TransportStats {
	t.Helper()
	stats, err := tr.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	return stats[0]
}

func testStatsNewTransports(t *testing.T, s *suite) {
	r := s.room(t)
	w, p, d := r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.direct(t)
	zero := func(tr mafalda.Transport, typ mafalda.TransportStatsType) mafalda.TransportStats {
		t.Helper()
		got := transportStats(t, tr)
		require.GreaterOrEqual(t, got.Timestamp, int64(0))
		want := mafalda.TransportStats{
			Type: typ, TransportID: tr.ID(), Timestamp: got.Timestamp,
			ICERole: got.ICERole, ICEState: got.ICEState, DTLSState: got.DTLSState,
			RTCPMux: got.RTCPMux, Comedia: got.Comedia, Tuple: got.Tuple,
		}
		require.Equal(t, want, got)
		return got
	}
	got := zero(w, mafalda.WebRTCTransportStats)
	require.Equal(t, mafalda.ICERoleControlled, got.ICERole)
	require.Equal(t, mafalda.ICEStateNew, got.ICEState)
	require.Equal(t, mafalda.DTLSStateNew, got.DTLSState)
	require.Nil(t, got.Tuple)
	got = zero(p, mafalda.PlainTransportStats)
	require.Equal(t, new(p.Tuple()), got.Tuple)
	require.Equal(t, new(true), got.RTCPMux)
	require.Equal(t, new(false), got.Comedia)
	require.Empty(t, got.ICEState)
	got = zero(d, mafalda.DirectTransportStats)
	require.Nil(t, got.Tuple)
	require.Nil(t, got.RTCPMux)
}

func testStatsTransport(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.webRTCEnd(t, overUDP(), peer.Config{}), r.plainEnd(t, mafalda.PlainTransportOptions{})
	out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	bytesIn, bytesOut := 0, 0
	for range 50 {
		p := src.packet(make([]byte, 100))
		bytesIn += p.MarshalSize()
		in.sendRTP(t, p)
		bytesOut += len(receive(t, out.rtp, "the packet"))
	}
	got := transportStats(t, in.transport)
	require.EqualValues(t, bytesIn, got.RTPBytesReceived)
	require.GreaterOrEqual(t, got.BytesReceived, got.RTPBytesReceived)
	require.Positive(t, got.RTPRecvBitrate)
	require.Positive(t, got.RecvBitrate)
	require.Zero(t, got.RTPBytesSent)
	require.Positive(t, got.BytesSent, "ICE and DTLS")
	require.Equal(t, mafalda.ICEStateCompleted, got.ICEState)
	require.Equal(t, mafalda.DTLSStateConnected, got.DTLSState)
	require.Equal(t, in.transport.(mafalda.WebRTCTransport).ICESelectedTuple(), got.ICESelectedTuple)
	got = transportStats(t, out.transport)
	require.EqualValues(t, bytesOut, got.RTPBytesSent)
	require.GreaterOrEqual(t, got.BytesSent, got.RTPBytesSent)
	require.Positive(t, got.RTPSendBitrate)
	require.Zero(t, got.RTPBytesReceived)
	require.Equal(t, addrOf(out.packet.rtp).Port(), got.Tuple.RemotePort)
}

func testStatsProducer(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	size := 0
	for range 20 {
		x := src.packet(vp8Key("x"), marked)
		size += x.MarshalSize()
		in.sendRTP(t, x)
		out.next(t, c)
	}
	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	v := stats[0]
	require.Equal(t, mafalda.InboundRTP, v.Type)
	require.Equal(t, uint32(1), v.SSRC)
	require.Equal(t, mafalda.MediaKindVideo, v.Kind)
	require.Equal(t, "video/VP8", v.MIMEType)
	require.EqualValues(t, 20, v.PacketCount)
	require.EqualValues(t, size, v.ByteCount)
	require.Positive(t, v.Bitrate)
	require.Zero(t, v.PacketsLost)
	require.Zero(t, v.PacketsDiscarded)
	require.Equal(t, 10, v.Score)
	d := dumpProducer(t, p)
	require.Len(t, d.RTPStreams, 1)
	require.Equal(t, uint32(1), d.RTPStreams[0].Params.SSRC)
	require.Equal(t, uint8(112), d.RTPStreams[0].Params.PayloadType)
	require.True(t, d.RTPStreams[0].Params.UseNACK)
	require.True(t, d.RTPStreams[0].Params.UsePLI)
	require.True(t, d.RTPStreams[0].Params.UseFIR)
	require.Equal(t, "the-cname", d.RTPStreams[0].Params.CNAME)
}

func testStatsConsumer(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	size := 0
	for range 20 {
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		size += len(receive(t, out.rtp, "the packet"))
	}
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2)
	require.Equal(t, mafalda.OutboundRTP, stats[0].Type)
	require.Equal(t, c.RTPParameters().Encodings[0].SSRC, stats[0].SSRC)
	require.EqualValues(t, 20, stats[0].PacketCount)
	require.EqualValues(t, size, stats[0].ByteCount)
	require.Positive(t, stats[0].Bitrate)
	require.Nil(t, stats[0].BitrateByLayer)
	require.Equal(t, mafalda.InboundRTP, stats[1].Type)
	require.Equal(t, uint32(1), stats[1].SSRC)
	require.EqualValues(t, 20, stats[1].PacketCount)
	out.sendRTCP(t, &rtcp.PictureLossIndication{MediaSSRC: stats[0].SSRC})
	eventually(t, "the PLI is counted", func() bool {
		stats, err := c.Stats(t.Context())
		return err == nil && stats[0].PLICount == 1
	})
}
