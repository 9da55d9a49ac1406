package mafalda

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// TestNotify hands objects what the engine would, out of order and too late.
func TestNotify(t *testing.T) {
	x := newTree(t)
	var seq uint64
	note := func(o any, body any) []string {
		seq++
		o.(target).notify(engine.Notification{Seq: seq, Body: body})
		return x.take()
	}
	stale := func(o any, body any) []string {
		o.(target).notify(engine.Notification{Seq: 0, Body: body})
		return x.take()
	}
	tuple := engine.Tuple{LocalAddress: "l", LocalPort: 1, RemoteIP: "r", RemotePort: 2, Protocol: "udp"}
	want := TransportTuple{LocalIP: "l", LocalAddress: "l", LocalPort: 1, RemoteIP: "r", RemotePort: 2, Protocol: ProtocolUDP}

	assert.Equal(t, fields("web!ICESelectedTupleChange web.o!ICESelectedTupleChange"), note(x.web, engine.ICESelectedTupleChange{Tuple: tuple}))
	assert.Equal(t, want, *x.web.ICESelectedTuple())
	assert.Equal(t, fields("web!ICEStateChange web.o!ICEStateChange"), note(x.web, engine.ICEStateChange{State: "completed"}))
	assert.Equal(t, ICEStateCompleted, x.web.ICEState())
	assert.Empty(t, stale(x.web, engine.ICEStateChange{State: "connected"}))
	assert.Equal(t, ICEStateCompleted, x.web.ICEState())
	cert := func() (got string) {
		stop := x.web.Events().DTLSStateChange.On(func(DTLSState) { got = x.web.DTLSRemoteCert() })
		defer stop()
		assert.Len(t, note(x.web, engine.DTLSStateChange{State: "connected", RemoteCertificate: "PEM"}), 2)
		return got
	}()
	assert.Equal(t, "PEM", cert, "known before the event")
	assert.Equal(t, DTLSStateConnected, x.web.DTLSState())
	assert.Len(t, note(x.web, engine.ICEStateChange{State: "disconnected"}), 2)
	assert.Nil(t, x.web.ICESelectedTuple())
	assert.False(t, x.web.Closed())

	assert.Equal(t, fields("plain!RTCPTuple plain.o!RTCPTuple"), note(x.plain, engine.PlainRTCPTuple{Tuple: tuple}))
	assert.Equal(t, want, *x.plain.RTCPTuple())
	assert.Empty(t, stale(x.plain, engine.PlainTuple{Tuple: tuple}))
	assert.Equal(t, fields("direct!RTCP"), note(x.direct, engine.DirectRTCP{Packet: []byte{1}}))

	trace := engine.Trace{Event: engine.TraceEvent{Type: "bwe", Direction: "out", Timestamp: 7 * time.Millisecond, BWE: &engine.BWETrace{
		REMB: true, Desired: 1, EffectiveDesired: 2, Min: 3, Max: 4, Start: 5, MaxPadding: 6, Available: 7,
	}}}
	for name, tr := range map[string]Transport{"web": x.web, "plain": x.plain, "direct": x.direct} {
		var traced TraceEvent
		stop := tr.Observer().Trace.On(func(e TraceEvent) { traced = e })
		assert.Equal(t, fields(name+"!Trace "+name+".o!Trace"), note(tr, trace))
		assert.Equal(t, TraceEvent{TraceBWE, 7, TraceOut, BWETraceInfo{1, 2, 3, 4, 5, 6, 7, BWEREMB}}, traced)
		stop()
	}

	var o ProducerVideoOrientation
	x.video.Events().VideoOrientationChange.On(func(v ProducerVideoOrientation) { o = v })
	assert.Len(t, note(x.video, engine.VideoOrientationChange{Camera: true, Flip: true, Rotation: 270}), 2)
	assert.Equal(t, ProducerVideoOrientation{true, true, 270}, o)
	assert.Len(t, note(x.video, engine.ProducerScoreChange{Scores: []engine.StreamScore{{SSRC: 2, RID: "r", Score: 7}}}), 2)
	assert.Equal(t, []ProducerScore{{SSRC: 2, RID: "r", Score: 7}}, x.video.Score())
	assert.Empty(t, stale(x.video, engine.ProducerScoreChange{}))
	assert.Empty(t, note(x.c1, engine.ConsumerProducerClose{}), "known already")

	var traces []TraceEvent
	x.video.Observer().Trace.On(func(e TraceEvent) { traces = append(traces, e) })
	x.c1.Observer().Trace.On(func(e TraceEvent) { traces = append(traces, e) })
	at := 1500 * time.Millisecond
	for _, e := range []engine.TraceEvent{
		{Type: "nack", Direction: "out", Timestamp: at},
		{Type: "fir", Direction: "out", Timestamp: at, SSRC: 2},
		{Type: "sr", Direction: "in", Timestamp: at, SR: &engine.SenderReport{SSRC: 2, PacketCount: 3}},
		{Type: "keyframe", Direction: "in", Timestamp: at, IsRTX: true, Packet: &engine.PacketDump{
			SSRC: 2, KeyFrame: true, WideSequenceNumber: 9, HasWideSequenceNumber: true,
		}},
	} {
		assert.Len(t, note(x.video, engine.Trace{Event: e}), 2)
	}
	assert.Len(t, note(x.c1, engine.Trace{Event: engine.TraceEvent{Type: "pli", Direction: "in", SSRC: 4}}), 2)
	assert.Equal(t, []TraceEvent{
		{TraceNACK, 1500, TraceOut, nil},
		{TraceFIR, 1500, TraceOut, KeyFrameRequestTraceInfo{2}},
		{TraceSR, 1500, TraceIn, SenderReportTraceInfo{SSRC: 2, PacketCount: 3}},
		{TraceKeyFrame, 1500, TraceIn, RTPTraceInfo{RTPPacketDump{SSRC: 2, IsKeyFrame: true, WideSequenceNumber: new(uint16(9))}, true}},
		{TracePLI, 0, TraceIn, KeyFrameRequestTraceInfo{4}},
	}, traces)

	require.NoError(t, x.router.Close())
	x.take()
	for o, body := range map[any]any{
		x.web: engine.ICEStateChange{State: "connected"}, x.plain: engine.PlainTuple{Tuple: tuple},
		x.direct: engine.DirectRTCP{}, x.audio: engine.ProducerScoreChange{}, x.video: engine.Trace{},
		x.c1: engine.ConsumerScoreChange{}, x.c2: engine.ConsumerProducerPause{}, x.c3: engine.ConsumerRTP{},
	} {
		assert.Empty(t, note(o, body), "%T after Close", body)
	}
	assert.Equal(t, ICEStateClosed, x.web.ICEState())
}

// TestNotifyKinds: news of one kind is not too old because there was newer of
// another kind.
func TestNotifyKinds(t *testing.T) {
	x := newTree(t)
	tuple := engine.Tuple{LocalAddress: "l", LocalPort: 1, RemoteIP: "r", RemotePort: 2, Protocol: "udp"}
	for o, bodies := range map[any][]any{
		x.web: {
			engine.ICEStateChange{State: "connected"}, engine.ICESelectedTupleChange{Tuple: tuple},
			engine.DTLSStateChange{State: "connected"}, engine.SCTPStateChange{State: "connected"},
		},
		x.plain: {engine.PlainTuple{Tuple: tuple}, engine.PlainRTCPTuple{Tuple: tuple}, engine.SCTPStateChange{State: "connected"}},
		x.video: {engine.ProducerScoreChange{}, engine.VideoOrientationChange{}},
		x.c1:    {engine.ConsumerScoreChange{}, engine.ConsumerLayersChange{}, engine.ConsumerProducerPause{}},
	} {
		for i, body := range bodies {
			o.(target).notify(engine.Notification{Seq: 1_000_000 - uint64(i), Body: body})
			assert.NotEmpty(t, x.take(), "%T", body)
		}
	}
}

func TestEnableTraceEvent(t *testing.T) {
	x := newTree(t)
	require.NoError(t, x.video.EnableTraceEvent(t.Context(), TraceSR, TraceRTP))
	require.NoError(t, x.c1.EnableTraceEvent(t.Context(), TraceFIR))
	assert.ErrorIs(t, x.c1.EnableTraceEvent(t.Context(), TraceSR), ErrInvalidArgument)
	p, err := x.video.Dump(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []TraceEventType{TraceRTP, TraceSR}, p.TraceEventTypes)
	c, err := x.c1.Dump(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []TraceEventType{TraceFIR}, c.TraceEventTypes)
	r, err := x.router.Dump(t.Context())
	require.NoError(t, err)
	assert.Contains(t, r.MapProducerIDConsumerIDs, KeyValues[string, string]{x.video.ID(), []string{x.c1.ID()}})
	assert.Contains(t, r.MapConsumerIDProducerID, KeyValue[string, string]{x.c1.ID(), x.video.ID()})
	require.NoError(t, x.c1.RequestKeyFrame(t.Context()))
}
