package acceptance

import (
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var traceCases = []testCase{
	{
		name:        "Trace/Producer",
		explanation: "a Producer traces packets, key frames and sender reports that come in, and NACK, PLI and FIR that go out, each only when asked for",
		upstream:    []string{"Producer 12"},
		run:         testTraceProducer,
	},
	{
		name:        "Trace/Consumer",
		explanation: "a Consumer traces packets and key frames that go out, retransmissions too, and NACK, PLI and FIR that come in, each once",
		upstream:    []string{"Consumer 14"},
		run:         testTraceConsumer,
	},
}

// nextTrace returns the next trace event, heard by Events and Observer alike.
func nextTrace(t testing.TB, events, observed <-chan mafalda.TraceEvent) mafalda.TraceEvent {
	t.Helper()
	v := receive(t, events, "a trace event")
	require.Equal(t, v, receive(t, observed, "the same at the observer"))
	require.GreaterOrEqual(t, v.Timestamp, int64(0))
	return v
}

func testTraceProducer(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	given := video("sent", 1)
	p := in.produce(t, mafalda.MediaKindVideo, given)
	c := out.consume(t, r, p)
	events, observed := hear(t, &p.Events().Trace), hear(t, &p.Observer().Trace)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("untraced"), marked))
	out.next(t, c)
	require.Empty(t, events)

	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TraceRTP, mafalda.TraceKeyFrame))
	key := src.packet(vp8Key("key"), marked, extended(t, 10, []byte("sent")))
	in.sendRTP(t, key)
	v := nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceKeyFrame, v.Type)
	require.Equal(t, mafalda.TraceIn, v.Direction)
	info := v.Info.(mafalda.RTPTraceInfo)
	require.False(t, info.IsRTX)
	require.Equal(t, mafalda.RTPPacketDump{
		PayloadType: 112, SequenceNumber: key.SequenceNumber, Timestamp: key.Timestamp, Marker: true, SSRC: 1,
		IsKeyFrame: true, Size: key.MarshalSize(), PayloadSize: len(key.Payload), MID: "sent",
	}, info.RTPPacket)

	lost := src.packet(vp8Delta("lost"))
	in.sendRTP(t, src.packet(vp8Delta("delta")))
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceRTP, v.Type)
	require.False(t, v.Info.(mafalda.RTPTraceInfo).RTPPacket.IsKeyFrame)
	in.sendRTP(t, retransmission(lost, 2, 113, 1))
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceRTP, v.Type)
	require.True(t, v.Info.(mafalda.RTPTraceInfo).IsRTX)

	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TraceSR))
	sr := senderReport(1, 3, 300)
	in.sendRTCP(t, sr)
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceSR, v.Type)
	require.Equal(t, mafalda.TraceIn, v.Direction)
	require.Equal(t, mafalda.SenderReportTraceInfo{
		SSRC: 1, NTPSeconds: uint32(sr.NTPTime >> 32), NTPFraction: uint32(sr.NTPTime), RTPTimestamp: 123456,
		PacketCount: 3, OctetCount: 300,
	}, v.Info)

	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TracePLI, mafalda.TraceFIR))
	in.sendRTP(t, src.packet(vp8Key("answer"), marked))
	for string(out.next(t, c).Payload) != string(vp8Key("answer")) {
	}
	drain(events) // of requests that the key frames before have answered
	drain(observed)
	require.NoError(t, c.RequestKeyFrame(t.Context()))
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TracePLI, v.Type)
	require.Equal(t, mafalda.TraceOut, v.Direction)
	require.Equal(t, mafalda.KeyFrameRequestTraceInfo{SSRC: 1}, v.Info)

	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TraceNACK))
	drain(events)
	drain(observed)
	src.skip(1)
	in.sendRTP(t, src.packet(vp8Delta("after a gap")))
	for v = nextTrace(t, events, observed); v.Type == mafalda.TracePLI; { // told of when it was asked for
		v = nextTrace(t, events, observed)
	}
	require.Equal(t, mafalda.TraceNACK, v.Type)
	require.Equal(t, mafalda.TraceOut, v.Direction)
	require.Nil(t, v.Info)
}

func testTraceConsumer(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	e := c.RTPParameters().Encodings[0]
	events, observed := hear(t, &c.Events().Trace), hear(t, &c.Observer().Trace)
	src := vp8Source(1)
	in.sendRTP(t, src.packet(vp8Key("untraced"), marked))
	out.next(t, c)
	require.NoError(t, c.EnableTraceEvent(t.Context(), mafalda.TraceRTP, mafalda.TraceKeyFrame))
	in.sendRTP(t, src.packet(vp8Key("key"), marked))
	got := out.next(t, c)
	v := nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceKeyFrame, v.Type)
	require.Equal(t, mafalda.TraceOut, v.Direction)
	info := v.Info.(mafalda.RTPTraceInfo)
	require.Equal(t, e.SSRC, info.RTPPacket.SSRC)
	require.Equal(t, got.SequenceNumber, info.RTPPacket.SequenceNumber)
	require.Equal(t, uint8(101), info.RTPPacket.PayloadType)
	require.Equal(t, "0", info.RTPPacket.MID)
	require.True(t, info.RTPPacket.IsKeyFrame)
	in.sendRTP(t, src.packet(vp8Delta("delta"), marked))
	require.Equal(t, mafalda.TraceRTP, nextTrace(t, events, observed).Type)
	delta := out.next(t, c)
	out.sendRTCP(t, nack(e.SSRC, delta.SequenceNumber))
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceRTP, v.Type)
	require.Equal(t, mafalda.TraceOut, v.Direction)
	require.True(t, v.Info.(mafalda.RTPTraceInfo).IsRTX)
	require.Equal(t, e.RTX.SSRC, v.Info.(mafalda.RTPTraceInfo).RTPPacket.SSRC)
	require.Equal(t, uint8(102), v.Info.(mafalda.RTPTraceInfo).RTPPacket.PayloadType)

	require.NoError(t, c.EnableTraceEvent(t.Context(), mafalda.TraceNACK, mafalda.TracePLI, mafalda.TraceFIR))
	out.sendRTCP(t, nack(e.SSRC, got.SequenceNumber))
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceNACK, v.Type)
	require.Equal(t, mafalda.TraceIn, v.Direction)
	out.sendRTCP(t, &rtcp.PictureLossIndication{MediaSSRC: e.SSRC})
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TracePLI, v.Type)
	require.Equal(t, mafalda.TraceIn, v.Direction)
	require.Equal(t, mafalda.KeyFrameRequestTraceInfo{SSRC: e.SSRC}, v.Info)
	out.sendRTCP(t, &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: e.SSRC, SequenceNumber: 1}}})
	v = nextTrace(t, events, observed)
	require.Equal(t, mafalda.TraceFIR, v.Type)
	require.Equal(t, mafalda.KeyFrameRequestTraceInfo{SSRC: e.SSRC}, v.Info)
	require.NoError(t, c.EnableTraceEvent(t.Context()))
	in.sendRTP(t, src.packet(vp8Key("quiet"), marked))
	require.Equal(t, vp8Key("quiet"), func() []byte {
		for {
			if p := out.next(t, c); len(p.Payload) == len(vp8Key("quiet")) {
				return p.Payload
			}
		}
	}())
	require.Empty(t, events, "each was told once")
}
