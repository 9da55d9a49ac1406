package acceptance

import (
	"errors"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var directTransportCases = []testCase{
	{
		name:        "DirectTransport/Create",
		explanation: "a DirectTransport is there at once, keeps its appData, and its dump is empty",
		upstream:    []string{"DirectTransport 1"},
		run:         testDirectCreate,
	},
	{
		name:        "DirectTransport/RTP",
		explanation: "what is handed to Send comes out of the RTP events of Consumers; the caller's and the listener's bytes are their own",
		run:         testDirectRTP,
	},
	{
		name:        "DirectTransport/RTCP",
		explanation: "RTCP towards the endpoint is an RTCP event, RTCP of the endpoint goes in by SendRTCP",
		run:         testDirectRTCP,
	},
	{
		name:        "DirectTransport/Malformed",
		explanation: "malformed packets are dropped without an error",
		run:         testDirectMalformed,
	},
	{
		name:        "DirectTransport/SendElsewhere",
		explanation: "Send is for Producers of a DirectTransport: ErrUnsupported for others",
		run:         testDirectSendElsewhere,
	},
	{
		name:        "DirectTransport/AfterClose",
		explanation: "after Close, Send and SendRTCP are ErrClosed and no event comes",
		upstream:    []string{"DirectTransport 7"},
		run:         testDirectAfterClose,
	},
}

func testDirectCreate(t *testing.T, s *suite) {
	r := s.room(t)
	var seen []mafalda.Transport
	r.router.Observer().NewTransport.On(func(tr mafalda.Transport) { seen = append(seen, tr) })
	tr, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{AppData: "foo"})
	require.NoError(t, err)
	require.Equal(t, []mafalda.Transport{tr}, seen)
	require.NotEmpty(t, tr.ID())
	require.Equal(t, mafalda.TransportTypeDirect, tr.Type())
	require.Equal(t, "foo", tr.AppData())
	require.False(t, tr.Closed())
	d := dumpTransport(t, tr)
	require.Equal(t, tr.ID(), d.ID)
	require.Empty(t, d.ProducerIDs)
	require.Empty(t, d.ConsumerIDs)
	require.Nil(t, d.Tuple)
	require.NoError(t, tr.Close())
	require.True(t, tr.Closed())
}

func testDirectRTP(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := e.consume(t, r, p)
	src := opusSource(1)
	b := marshal(t, src.packet([]byte("mine")))
	require.NoError(t, e.writeRTP(b))
	for i := range b {
		b[i] = 0xff // the packet was copied
	}
	got := receive(t, e.rtp, "the packet")
	e.sendRTP(t, src.packet([]byte("next")))
	require.Equal(t, "next", string(e.next(t, c).Payload))
	require.Equal(t, "mine", string(parseRTP(t, got).Payload), "what a listener got stays as it is")
}

func testDirectRTCP(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("one"), marked))
	out.next(t, c)
	out.sendRTCP(t, &rtcp.PictureLossIndication{MediaSSRC: c.RTPParameters().Encodings[0].SSRC})
	pli := nextRTCP[*rtcp.PictureLossIndication](t, in, nil)
	require.Equal(t, uint32(1), pli.MediaSSRC)
}

func testDirectMalformed(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.directEnd(t)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := e.consume(t, r, p)
	tr := e.transport.(mafalda.DirectTransport)
	for _, b := range [][]byte{nil, {}, {1}, make([]byte, 12), {0x80, 200, 0, 9}, make([]byte, 70000)} {
		require.NoError(t, p.Send(b))
		require.NoError(t, tr.SendRTCP(b))
	}
	e.sendRTP(t, opusSource(1).packet([]byte("fine")))
	require.Equal(t, "fine", string(e.next(t, c).Payload))
}

func testDirectSendElsewhere(t *testing.T, s *suite) {
	r := s.room(t)
	b := marshal(t, opusSource(1).packet([]byte("x")))
	for _, tr := range []mafalda.Transport{r.plain(t, mafalda.PlainTransportOptions{}), r.webRTC(t, overUDP())} {
		requireError(t, produce(t, tr, mafalda.MediaKindAudio, audio("", 1)).Send(b), errors.ErrUnsupported)
	}
}

func testDirectAfterClose(t *testing.T, s *suite) {
	r := s.room(t)
	e := r.directEnd(t)
	tr := e.transport.(mafalda.DirectTransport)
	p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := e.consume(t, r, p)
	e.sendRTP(t, opusSource(1).packet([]byte("x")))
	e.next(t, c)
	require.NoError(t, p.Close())
	b := marshal(t, opusSource(1).packet([]byte("y")))
	requireError(t, p.Send(b), mafalda.ErrClosed)
	require.NoError(t, tr.Close())
	requireError(t, tr.SendRTCP(b), mafalda.ErrClosed)
	require.NotErrorIs(t, tr.SendRTCP(b), mafalda.ErrWorkerClosed)
	require.Empty(t, e.rtp)
	require.NoError(t, r.worker.Close())
}
