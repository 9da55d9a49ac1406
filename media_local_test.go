package mafalda

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

func TestDirectMedia(t *testing.T) {
	w := testWorker(t)
	r := testRouter(t, w)
	in, out := testDirect(t, r), testDirect(t, r)
	p := testProduce(t, in, audioOptions(1))
	c := testConsume(t, r, out, p)
	got := make(chan []byte, 16)
	c.Events().RTP.On(func(b []byte) { got <- b })
	scores := make(chan []ProducerScore, 16)
	p.Events().Score.On(func(s []ProducerScore) { scores <- s })
	consumerScores := make(chan ConsumerScore, 16)
	c.Observer().Score.On(func(s ConsumerScore) { consumerScores <- s })

	assert.Empty(t, p.Score())
	assert.Equal(t, ConsumerScore{Score: 10, ProducerScores: []int{0}}, c.Score())
	ssrc := c.RTPParameters().Encodings[0].SSRC
	source := opus(1)
	var first uint16
	for i := range 5 {
		require.NoError(t, p.Send(source.Next(opusPayload)))
		b := wait(t, got, "packet")
		view := rtptest.Check(t, b, rtptest.SSRC(ssrc), rtptest.PayloadType(100), rtptest.Timestamp(uint32(i)*960))
		assert.Equal(t, opusPayload, []byte(view.Payload()))
		if i == 0 {
			first = view.SequenceNumber()
		}
		rtptest.Check(t, b, rtptest.Seq(first+uint16(i)))
	}
	want := []ProducerScore{{SSRC: 1, Score: 10}}
	assert.Equal(t, want, wait(t, scores, "Score"))
	assert.Equal(t, want, p.Score())
	assert.Equal(t, ConsumerScore{10, 10, []int{10}}, wait(t, consumerScores, "Score"))
	assert.Equal(t, ConsumerScore{10, 10, []int{10}}, c.Score())

	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.EqualValues(t, 5, stats[0].PacketCount)
	stats, err = c.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2)
	assert.Equal(t, OutboundRTP, stats[0].Type)
	assert.Equal(t, InboundRTP, stats[1].Type)
	assert.EqualValues(t, 5, stats[0].PacketCount)
	load, err := w.Load(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, load.CPU, 0.0)
	usage, err := w.ResourceUsage(t.Context())
	require.NoError(t, err)
	assert.NotZero(t, usage.Maxrss+usage.Utime+usage.Minflt)

	// What can't be used is dropped without a word, but not that of others.
	require.NoError(t, p.Send([]byte("not RTP")))
	plain, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp(), Comedia: true})
	require.NoError(t, err)
	assert.ErrorIs(t, testProduce(t, plain, audioOptions(9)).Send(opus(9).Next(opusPayload)), errors.ErrUnsupported)
}

// TestDirectRTCP asks for a key frame on one side and hears of it on the other.
func TestDirectRTCP(t *testing.T) {
	r := testRouter(t, testWorker(t))
	in, out := testDirect(t, r), testDirect(t, r)
	p := testProduce(t, in, videoOptions(2))
	c := testConsume(t, r, out, p)
	got := make(chan []byte, 64)
	in.Events().RTCP.On(func(b []byte) { got <- b })
	traces := make(chan TraceEvent, 64)
	p.Events().Trace.On(func(e TraceEvent) { traces <- e })
	require.NoError(t, p.EnableTraceEvent(t.Context(), TracePLI, TraceRTP))
	packet := rtptest.Packet{
		Header:  rtp.Header{PayloadType: 96, SequenceNumber: 1, SSRC: 2},
		Payload: rtptest.VP8{KeyFrame: true}.Payload(),
	}
	require.NoError(t, p.Send(packet.Bytes()))
	e := wait(t, traces, "trace")
	assert.Equal(t, TraceRTP, e.Type)
	assert.Equal(t, TraceIn, e.Direction)
	info, ok := e.Info.(RTPTraceInfo)
	require.True(t, ok)
	assert.EqualValues(t, 2, info.RTPPacket.SSRC)

	deadline := time.After(patience)
	for pli := false; !pli; {
		require.NoError(t, out.SendRTCP(rtcp.AppendPLI(nil, 1, c.RTPParameters().Encodings[0].SSRC)))
		select {
		case b := <-got:
			reader := rtcp.NewReader(b)
			for packet, ok := reader.Next(); ok; packet, ok = reader.Next() {
				pli = pli || packet.Type() == rtcp.TypePSFB && packet.Count() == 1
			}
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			require.FailNow(t, "no PLI")
		}
	}
	e = wait(t, traces, "trace")
	assert.Equal(t, TraceEvent{TracePLI, e.Timestamp, TraceOut, KeyFrameRequestTraceInfo{2}}, e)
}

// TestPlainMedia forwards over sockets: comedia in, connected out.
func TestPlainMedia(t *testing.T) {
	r := testRouter(t, testWorker(t))
	in, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp(), Comedia: true})
	require.NoError(t, err)
	out, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp()})
	require.NoError(t, err)
	p := testProduce(t, in, audioOptions(1))
	c := testConsume(t, r, out, p)
	tuples := make(chan TransportTuple, 4)
	in.Events().Tuple.On(func(x TransportTuple) { tuples <- x })

	sender, receiver := socket(t), socket(t)
	to := receiver.LocalAddr().(*net.UDPAddr)
	connect := PlainTransportConnectOptions{IP: localhost, Port: uint16(to.Port)}
	require.NoError(t, out.Connect(t.Context(), connect))
	assert.Equal(t, uint16(to.Port), out.Tuple().RemotePort)
	assert.Nil(t, out.RTCPTuple())
	assert.Nil(t, out.SRTPParameters())
	assert.ErrorIs(t, out.Connect(t.Context(), connect), ErrInvalidState)

	source := opus(1)
	_, err = sender.WriteTo(source.Next(opusPayload), &net.UDPAddr{IP: localhost.AsSlice(), Port: int(in.Tuple().LocalPort)})
	require.NoError(t, err)
	buf := make([]byte, 1500)
	require.NoError(t, receiver.SetReadDeadline(time.Now().Add(patience)))
	for {
		n, from, err := receiver.ReadFrom(buf)
		require.NoError(t, err)
		if rtcp.Is(buf[:n]) {
			continue
		}
		rtptest.Check(t, buf[:n], rtptest.SSRC(c.RTPParameters().Encodings[0].SSRC), rtptest.PayloadType(100))
		assert.Equal(t, int(out.Tuple().LocalPort), from.(*net.UDPAddr).Port)
		break
	}
	tuple := wait(t, tuples, "Tuple")
	assert.Equal(t, tuple, in.Tuple())
	assert.Equal(t, sender.LocalAddr().(*net.UDPAddr).Port, int(tuple.RemotePort))
	assert.Equal(t, "127.0.0.1", tuple.RemoteIP)
}

func socket(t *testing.T) *net.UDPConn {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: localhost.AsSlice()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSRTPConnect(t *testing.T) {
	r := testRouter(t, testWorker(t))
	tr, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{
		ListenInfo: udp(), EnableSRTP: true, RTCPMux: new(false),
	})
	require.NoError(t, err)
	before := tr.SRTPParameters()
	assert.Equal(t, SRTPAES128CM80, before.CryptoSuite)
	require.NotNil(t, tr.RTCPTuple())
	assert.NotEqual(t, tr.Tuple().LocalPort, tr.RTCPTuple().LocalPort)
	o := PlainTransportConnectOptions{IP: localhost, Port: 9, RTCPPort: 10, SRTPParameters: srtpKey(SRTPAES128GCM, 28)}
	require.NoError(t, tr.Connect(t.Context(), o))
	after := tr.SRTPParameters()
	assert.Equal(t, SRTPAES128GCM, after.CryptoSuite, "the endpoint's")
	assert.NotEqual(t, before.KeyBase64, after.KeyBase64)
	assert.EqualValues(t, 10, tr.RTCPTuple().RemotePort)
}

func TestWebRTCState(t *testing.T) {
	w := testWorker(t)
	r := testRouter(t, w)
	tr, err := r.CreateWebRTCTransport(t.Context(), WebRTCTransportOptions{ListenInfos: []ListenInfo{
		udp(func(l *ListenInfo) { l.AnnouncedAddress, l.ExposeInternalIP = "media.example.org", true }),
		{Protocol: ProtocolTCP, IP: localhost},
	}})
	require.NoError(t, err)
	assert.Equal(t, ICERoleControlled, tr.ICERole())
	assert.Equal(t, ICEStateNew, tr.ICEState())
	assert.Equal(t, DTLSStateNew, tr.DTLSState())
	assert.Nil(t, tr.ICESelectedTuple())
	assert.Empty(t, tr.DTLSRemoteCert())
	candidates := tr.ICECandidates()
	require.Len(t, candidates, 3)
	assert.Equal(t, ICECandidate{
		Foundation: "udpcandidate", Priority: 1076302079, IP: "media.example.org", Address: "media.example.org",
		Protocol: ProtocolUDP, Port: candidates[0].Port, Type: "host",
	}, candidates[0])
	assert.Equal(t, "127.0.0.1", candidates[1].Address)
	assert.Equal(t, candidates[0].Priority-1000, candidates[1].Priority)
	assert.Equal(t, "passive", candidates[2].TCPType)
	candidates[0].Address = "changed"
	assert.Equal(t, "media.example.org", tr.ICECandidates()[0].Address, "a copy")

	d := tr.DTLSParameters()
	assert.Equal(t, DTLSRoleAuto, d.Role)
	require.Len(t, d.Fingerprints, 5)
	for _, f := range d.Fingerprints {
		assert.NoError(t, f.validate())
	}
	before := tr.ICEParameters()
	assert.True(t, before.ICELite)
	after, err := tr.RestartICE(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before, after)
	assert.Equal(t, after, tr.ICEParameters())

	for role, want := range map[DTLSRole]DTLSRole{
		DTLSRoleClient: DTLSRoleServer, DTLSRoleServer: DTLSRoleClient, DTLSRoleAuto: DTLSRoleClient, "": DTLSRoleClient,
	} {
		tr, err := r.CreateWebRTCTransport(t.Context(), WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}})
		require.NoError(t, err)
		bad := WebRTCTransportConnectOptions{DTLSParameters{Role: role}}
		assert.ErrorIs(t, tr.Connect(t.Context(), bad), ErrInvalidArgument)
		assert.Equal(t, DTLSRoleAuto, tr.DTLSParameters().Role)
		good := WebRTCTransportConnectOptions{DTLSParameters{role, []DTLSFingerprint{fingerprint(FingerprintSHA256, 32)}}}
		require.NoError(t, tr.Connect(t.Context(), good))
		assert.Equal(t, want, tr.DTLSParameters().Role, "role for a peer that is %q", role)
		assert.ErrorIs(t, tr.Connect(t.Context(), good), ErrInvalidState)
	}
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 1_000_000))
	require.NoError(t, tr.SetMaxIncomingBitrate(t.Context(), 0))
	assert.ErrorIs(t, tr.SetMaxIncomingBitrate(t.Context(), -1), ErrInvalidArgument)
}
