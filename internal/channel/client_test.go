package channel

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/channel/verify"
)

// A peer is the other side of a worker.
type peer struct {
	t      *testing.T
	conn   net.Conn
	ended  chan error // gets what Serve returned; capacity 1
	stderr *safeBuffer
	frames chan *fbs.MessageBodyT
	id     uint32
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const patience = 10 * time.Second

// start serves a worker whose first message was read.
func start(t *testing.T, settings Settings) *peer {
	p := launch(t, context.Background(), settings)
	n := p.notification()
	require.Equal(t, fbs.EventWORKER_RUNNING, n.Event)
	require.Equal(t, "4711", n.HandlerId)
	require.Nil(t, n.Body)
	return p
}

func launch(t *testing.T, ctx context.Context, settings Settings) *peer {
	t.Helper()
	requests, in := net.Pipe()
	out, replies := net.Pipe()
	p := &peer{t: t, conn: in, ended: make(chan error, 1), stderr: &safeBuffer{}, frames: make(chan *fbs.MessageBodyT, 4096)}
	go func() { // ends when the test closes in
		err := Serve(ctx, Config{
			Settings: settings, Requests: requests, Replies: replies, Stderr: p.stderr, PID: 4711,
		})
		replies.Close()
		requests.Close()
		p.ended <- err
	}()
	read := make(chan struct{})
	go func() { // ends with Serve
		defer close(read)
		defer close(p.frames)
		frames := NewFrameReader(out)
		for {
			frame, err := frames.Next()
			if err != nil {
				return
			}
			if err := verify.VerifyFromWorker(frame[prefix:]); err != nil {
				t.Errorf("the worker sent: %v", err)
				return
			}
			p.frames <- fbs.GetRootAsMessage(bytes.Clone(frame), prefix).UnPack().Data
		}
	}()
	t.Cleanup(func() {
		in.Close()
		<-read
	})
	return p
}

// wait returns what Serve returned.
func (p *peer) wait() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.t.Fatal("the worker does not end")
		return nil
	}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	assert.NoError(p.t, p.conn.SetWriteDeadline(time.Now().Add(patience)))
	_, err := p.conn.Write(b)
	assert.NoError(p.t, err)
}

func frameOf(kind fbs.MessageBody, value any) []byte {
	b := flatbuffers.NewBuilder(0)
	b.FinishSizePrefixed((&fbs.MessageT{Data: &fbs.MessageBodyT{Type: kind, Value: value}}).Pack(b))
	return b.FinishedBytes()
}

// send sends a request without waiting and returns its id.
func (p *peer) send(m fbs.Method, handler string, t fbs.RequestBody, body any) uint32 {
	p.t.Helper()
	p.id++
	r := &fbs.RequestT{Id: p.id, Method: m, HandlerId: handler}
	if t != fbs.RequestBodyNONE {
		r.Body = &fbs.RequestBodyT{Type: t, Value: body}
	}
	p.write(frameOf(fbs.MessageBodyRequest, r))
	return p.id
}

func (p *peer) notify(e fbs.Event, handler string, t fbs.NotificationBody, body any) {
	p.t.Helper()
	p.write(frameOf(fbs.MessageBodyNotification, notification(handler, e, t, body).Value))
}

// next returns the next message.
func (p *peer) next() *fbs.MessageBodyT {
	p.t.Helper()
	select {
	case m, ok := <-p.frames:
		require.True(p.t, ok, "the worker ended: %s", p.stderr)
		return m
	case <-time.After(patience):
		p.t.Fatal("no message of the worker")
		return nil
	}
}

func (p *peer) notification() *fbs.NotificationT {
	p.t.Helper()
	m := p.next()
	require.Equal(p.t, fbs.MessageBodyNotification, m.Type, "%+v", m.Value)
	return m.Value.(*fbs.NotificationT)
}

// response returns the next message that is no line of the log, which is the
// response to id.
func (p *peer) response(id uint32) *fbs.ResponseT {
	p.t.Helper()
	m := p.next()
	for m.Type == fbs.MessageBodyLog {
		m = p.next()
	}
	require.Equal(p.t, fbs.MessageBodyResponse, m.Type, "%+v", m.Value)
	r := m.Value.(*fbs.ResponseT)
	require.Equal(p.t, id, r.Id)
	return r
}

// ask sends a request that is accepted and returns the body of the response.
func (p *peer) ask(m fbs.Method, handler string, t fbs.RequestBody, body any) any {
	p.t.Helper()
	r := p.response(p.send(m, handler, t, body))
	require.True(p.t, r.Accepted, "%s: %s", r.Error, r.Reason)
	if r.Body == nil {
		return nil
	}
	return r.Body.Value
}

// refused sends a request that is refused with that class.
func (p *peer) refused(class string, m fbs.Method, handler string, t fbs.RequestBody, body any) {
	p.t.Helper()
	r := p.response(p.send(m, handler, t, body))
	require.False(p.t, r.Accepted)
	require.Equal(p.t, class, r.Error, "%s", r.Reason)
	require.Nil(p.t, r.Body)
	require.Contains(p.t, r.Reason, "[method:")
}

func (p *peer) router(id string) {
	p.t.Helper()
	require.Nil(p.t, p.ask(fbs.MethodWORKER_CREATE_ROUTER, "", fbs.RequestBodyWorkerCreateRouterRequest,
		&fbs.WorkerCreateRouterRequestT{RouterId: id}))
}

func (p *peer) direct(router, id string) *fbs.DirectTransportDumpResponseT {
	p.t.Helper()
	return p.ask(fbs.MethodROUTER_CREATE_DIRECTTRANSPORT, router, fbs.RequestBodyRouterCreateDirectTransportRequest,
		&fbs.RouterCreateDirectTransportRequestT{TransportId: id, Options: &fbs.DirectTransportOptionsT{
			Base: &fbs.TransportOptionsT{Direct: true, MaxSendMessageSize: 100000, MaxReceiveMessageSize: 100000},
		}}).(*fbs.DirectTransportDumpResponseT)
}

// video is a VP8 stream without RTX.
func video(ssrc uint32) *fbs.RtpParametersT {
	return &fbs.RtpParametersT{
		Mid: "m",
		Codecs: []*fbs.RtpCodecParametersT{{
			MimeType: "video/VP8", PayloadType: 96, ClockRate: 90000,
			Parameters: []*fbs.ParameterT{
				{Name: "a", Value: &fbs.ParameterValueT{Type: fbs.ParameterValueBooleanValue, Value: &fbs.BooleanValueT{Value: 1}}},
				{Name: "b", Value: &fbs.ParameterValueT{Type: fbs.ParameterValueInteger32Value, Value: &fbs.Integer32ValueT{Value: -5}}},
				{Name: "c", Value: &fbs.ParameterValueT{Type: fbs.ParameterValueDoubleValue, Value: &fbs.DoubleValueT{Value: 1.5}}},
				{Name: "d", Value: &fbs.ParameterValueT{Type: fbs.ParameterValueStringValue, Value: &fbs.StringValueT{Value: "x"}}},
				{Name: "e", Value: &fbs.ParameterValueT{Type: fbs.ParameterValueInteger32ArrayValue, Value: &fbs.Integer32ArrayValueT{Value: []int32{1, 2}}}},
			},
			RtcpFeedback: []*fbs.RtcpFeedbackT{{Type: "nack", Parameter: "pli"}},
		}},
		HeaderExtensions: []*fbs.RtpHeaderExtensionParametersT{{Uri: fbs.RtpHeaderExtensionUriMid, Id: 10}},
		Encodings:        []*fbs.RtpEncodingParametersT{{Ssrc: &ssrc, MaxBitrate: new(uint64(1_000_000))}},
		Rtcp:             &fbs.RtcpParametersT{Cname: "cn", ReducedSize: true},
	}
}

func (p *peer) produce(transport, id string, ssrc uint32) {
	p.t.Helper()
	r := p.ask(fbs.MethodTRANSPORT_PRODUCE, transport, fbs.RequestBodyTransportProduceRequest, &fbs.TransportProduceRequestT{
		ProducerId: id, Kind: fbs.MediaKindVIDEO, RtpParameters: video(ssrc),
		RtpMapping: &fbs.RtpMappingT{
			Codecs:    []*fbs.CodecMappingT{{PayloadType: 96, MappedPayloadType: 101}},
			Encodings: []*fbs.EncodingMappingT{{Ssrc: &ssrc, MappedSsrc: ssrc + 1}},
		},
	})
	require.Equal(p.t, fbs.RtpTypeSIMPLE, r.(*fbs.TransportProduceResponseT).Type)
}

func (p *peer) consume(transport, producer, id string, ssrc, mapped uint32) *fbs.TransportConsumeResponseT {
	p.t.Helper()
	params := video(ssrc)
	params.Codecs[0].PayloadType = 101
	params.HeaderExtensions[0].Id = 1
	return p.ask(fbs.MethodTRANSPORT_CONSUME, transport, fbs.RequestBodyTransportConsumeRequest, &fbs.TransportConsumeRequestT{
		ConsumerId: id, ProducerId: producer, Kind: fbs.MediaKindVIDEO, RtpParameters: params,
		ConsumableRtpEncodings: []*fbs.RtpEncodingParametersT{{Ssrc: &mapped}},
	}).(*fbs.TransportConsumeResponseT)
}

var _ io.Writer = (*safeBuffer)(nil)
