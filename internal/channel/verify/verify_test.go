package verify

import (
	"encoding/binary"
	"flag"
	"math"
	"runtime"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

var long = flag.Bool("long", false, "mutate a million frames")

// unpack reads everything in a frame.
func unpack(frame []byte) *fbs.MessageT { return fbs.GetRootAsMessage(frame, 0).UnPack() }

// check verifies a frame in both directions and, when it is well-formed, reads
// all of it. It returns the first error.
func check(tb testing.TB, frame []byte) error {
	err, other := Verify(frame), VerifyFromWorker(frame)
	malformed := isMalformed(err)
	if malformed != isMalformed(other) {
		tb.Fatalf("to a worker: %v, from it: %v", err, other)
	}
	if !malformed {
		unpack(frame)
	}
	return err
}

func isMalformed(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Err == ErrMalformed
}

// Every valid frame passes, whatever is in it.
func TestValid(t *testing.T) {
	m := newMaker(1)
	for method := range requestBodies {
		for range 200 {
			frame := m.frame(fbs.MessageBodyRequest, byte(method), 0)
			require.NoError(t, Verify(frame), "%v", fbs.Method(method))
			require.ErrorIs(t, VerifyFromWorker(frame), ErrBody)
			require.Equal(t, fbs.Method(method), unpack(frame).Data.Value.(*fbs.RequestT).Method)
		}
	}
	for event := range notificationBodies {
		for range 200 {
			frame := m.frame(fbs.MessageBodyNotification, byte(event), 0)
			require.NoError(t, Verify(frame), "%v", fbs.Event(event))
			require.NoError(t, VerifyFromWorker(frame), "%v", fbs.Event(event))
		}
	}
	for body := range 1 + len(unions[unionOf("Response")]) {
		for range 200 {
			frame := m.frame(fbs.MessageBodyResponse, 0, byte(body))
			require.NoError(t, VerifyFromWorker(frame), "%v", fbs.ResponseBody(body))
			require.ErrorIs(t, Verify(frame), ErrBody)
		}
	}
	frame := m.frame(fbs.MessageBodyLog, 0, 0)
	require.NoError(t, VerifyFromWorker(frame))
	require.ErrorIs(t, Verify(frame), ErrBody)
}

// pack returns the frame of a message.
func pack(kind fbs.MessageBody, value any) []byte {
	b := flatbuffers.NewBuilder(0)
	b.Finish((&fbs.MessageT{Data: &fbs.MessageBodyT{Type: kind, Value: value}}).Pack(b))
	return b.FinishedBytes()
}

func TestBody(t *testing.T) {
	router := &fbs.RequestBodyT{Type: fbs.RequestBodyWorkerCreateRouterRequest, Value: &fbs.WorkerCreateRouterRequestT{RouterId: "r"}}
	request := func(m fbs.Method, body *fbs.RequestBodyT) []byte {
		return pack(fbs.MessageBodyRequest, &fbs.RequestT{Method: m, Body: body})
	}
	tests := map[string]struct {
		frame []byte
		want  error
	}{
		"its own":          {request(fbs.MethodWORKER_CREATE_ROUTER, router), nil},
		"none":             {request(fbs.MethodWORKER_DUMP, nil), nil},
		"missing":          {request(fbs.MethodWORKER_CREATE_ROUTER, nil), ErrBody},
		"another's":        {request(fbs.MethodWORKER_CLOSE_ROUTER, router), ErrBody},
		"not wanted":       {request(fbs.MethodWORKER_DUMP, router), ErrBody},
		"unknown method":   {request(200, router), nil},
		"event":            {pack(fbs.MessageBodyNotification, &fbs.NotificationT{Event: fbs.EventWORKER_CLOSE}), nil},
		"event, missing":   {pack(fbs.MessageBodyNotification, &fbs.NotificationT{Event: fbs.EventPRODUCER_SEND}), ErrBody},
		"unknown event":    {pack(fbs.MessageBodyNotification, &fbs.NotificationT{Event: 99}), nil},
		"from a worker":    {pack(fbs.MessageBodyLog, &fbs.LogT{}), ErrBody},
		"table not filled": {request(fbs.MethodROUTER_CREATE_DIRECTTRANSPORT, &fbs.RequestBodyT{Type: fbs.RequestBodyRouterCreateDirectTransportRequest, Value: &fbs.RouterCreateDirectTransportRequestT{}}), ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := Verify(tt.frame)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			assert.NotEmpty(t, err.Error())
		})
	}
}

// Values of 4 and of 8 bytes may share a vtable, whose size is that of the first.
func TestSharedVtable(t *testing.T) {
	value := func(kind fbs.ParameterValue, v any) *fbs.ParameterT {
		return &fbs.ParameterT{Name: "x", Value: &fbs.ParameterValueT{Type: kind, Value: v}}
	}
	frame := pack(fbs.MessageBodyRequest, &fbs.RequestT{Method: fbs.MethodTRANSPORT_PRODUCE, Body: &fbs.RequestBodyT{
		Type: fbs.RequestBodyTransportProduceRequest, Value: &fbs.TransportProduceRequestT{
			RtpMapping: &fbs.RtpMappingT{Codecs: []*fbs.CodecMappingT{}, Encodings: []*fbs.EncodingMappingT{}},
			RtpParameters: &fbs.RtpParametersT{Rtcp: &fbs.RtcpParametersT{}, HeaderExtensions: []*fbs.RtpHeaderExtensionParametersT{}, Encodings: []*fbs.RtpEncodingParametersT{}, Codecs: []*fbs.RtpCodecParametersT{{Parameters: []*fbs.ParameterT{
				value(fbs.ParameterValueInteger32Value, &fbs.Integer32ValueT{Value: 1}),
				value(fbs.ParameterValueDoubleValue, &fbs.DoubleValueT{Value: 1.5}),
			}}}},
		}}})
	require.NoError(t, Verify(frame))
}

// Each case breaks one thing of a good frame.
func TestMalformed(t *testing.T) {
	good := func() []byte {
		return pack(fbs.MessageBodyRequest, &fbs.RequestT{Id: 7, Method: fbs.MethodWORKER_UPDATE_SETTINGS, Body: &fbs.RequestBodyT{
			Type: fbs.RequestBodyWorkerUpdateSettingsRequest, Value: &fbs.WorkerUpdateSettingsRequestT{LogLevel: "debug", LogTags: []string{"ice", "rtp"}},
		}})
	}
	require.NoError(t, Verify(good()))
	root := func(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }
	vt := func(b []byte) int { return root(b) - int(int32(binary.LittleEndian.Uint32(b[root(b):]))) }
	tests := map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"root only":         func(b []byte) []byte { return b[:4] },
		"root outside":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b, uint32(len(b))); return b },
		"root is zero":      func(b []byte) []byte { binary.LittleEndian.PutUint32(b, 0); return b },
		"root is negative":  func(b []byte) []byte { binary.LittleEndian.PutUint32(b, 1<<31); return b },
		"vtable outside":    func(b []byte) []byte { binary.LittleEndian.PutUint32(b[root(b):], 1<<30); return b },
		"vtable too long":   func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b):], 0xfffe); return b },
		"vtable odd":        func(b []byte) []byte { b[vt(b)]++; return b },
		"vtable too short":  func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b):], 2); return b },
		"no union value":    func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b)+6:], 0); return b },
		"no union tag":      func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b)+4:], 0); return b },
		"field outside":     func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b)+6:], 0xfff0); return b },
		"field in soffset":  func(b []byte) []byte { binary.LittleEndian.PutUint16(b[vt(b)+6:], 1); return b },
		"unknown union tag": func(b []byte) []byte { b[root(b)+int(binary.LittleEndian.Uint16(b[vt(b)+4:]))] = 9; return b },
		"cut":               func(b []byte) []byte { return b[:len(b)-4] },
		"string without NUL": func(b []byte) []byte {
			for i := range b {
				if string(b[i:i+5]) == "debug" {
					b[i+5] = 'x'
					return b
				}
			}
			return nil
		},
		"too long": func(b []byte) []byte { return append(b, make([]byte, MaxFrame)...) },
	}
	for name, breakIt := range tests {
		t.Run(name, func(t *testing.T) {
			frame := breakIt(good())
			require.ErrorIs(t, Verify(frame), ErrMalformed)
			require.ErrorIs(t, VerifyFromWorker(frame), ErrMalformed)
		})
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte {
		stats := &fbs.RtpStreamStatsT{Data: &fbs.RtpStreamStatsDataT{Type: fbs.RtpStreamStatsDataRtpStreamBaseStats, Value: &fbs.RtpStreamBaseStatsT{}}}
		for range n {
			stats = &fbs.RtpStreamStatsT{Data: &fbs.RtpStreamStatsDataT{Type: fbs.RtpStreamStatsDataRtpStreamSendStats, Value: &fbs.RtpStreamSendStatsT{Base: stats}}}
		}
		return pack(fbs.MessageBodyResponse, &fbs.ResponseT{Accepted: true, Body: &fbs.ResponseBodyT{
			Type: fbs.ResponseBodyProducerGetStatsResponse, Value: &fbs.ProducerGetStatsResponseT{Stats: []*fbs.RtpStreamStatsT{stats}}}})
	}
	assert.NoError(t, VerifyFromWorker(nested(1)))
	assert.NoError(t, VerifyFromWorker(nested(14)))
	assert.ErrorIs(t, VerifyFromWorker(nested(15)), ErrMalformed)
	assert.ErrorIs(t, VerifyFromWorker(nested(5000)), ErrMalformed)
}

// A vector whose elements are one and the same table would unpack to many times
// the frame.
func TestShared(t *testing.T) {
	list := func(n int) []byte {
		b := flatbuffers.NewBuilder(0)
		id := b.CreateString("r")
		info := (&fbs.ListenInfoT{Ip: "127.0.0.1", PortRange: &fbs.PortRangeT{}, Flags: &fbs.SocketFlagsT{}}).Pack(b)
		infos := make([]flatbuffers.UOffsetT, n)
		for i := range infos {
			infos[i] = info
		}
		vector := b.CreateVectorOfTables(infos)
		fbs.WorkerCreateWebRtcServerRequestStart(b)
		fbs.WorkerCreateWebRtcServerRequestAddWebRtcServerId(b, id)
		fbs.WorkerCreateWebRtcServerRequestAddListenInfos(b, vector)
		body := fbs.WorkerCreateWebRtcServerRequestEnd(b)
		fbs.RequestStart(b)
		fbs.RequestAddMethod(b, fbs.MethodWORKER_CREATE_WEBRTCSERVER)
		fbs.RequestAddHandlerId(b, id)
		fbs.RequestAddBodyType(b, fbs.RequestBodyWorkerCreateWebRtcServerRequest)
		fbs.RequestAddBody(b, body)
		request := fbs.RequestEnd(b)
		fbs.MessageStart(b)
		fbs.MessageAddDataType(b, fbs.MessageBodyRequest)
		fbs.MessageAddData(b, request)
		b.Finish(fbs.MessageEnd(b))
		return b.FinishedBytes()
	}
	assert.NoError(t, Verify(list(3)))
	assert.ErrorIs(t, Verify(list(1000)), ErrMalformed)
	assert.ErrorIs(t, Verify(list(2_000_000)), ErrMalformed)
}

// Whatever passes is read without a panic and in at most eight times its memory.
func TestMutated(t *testing.T) {
	frames := 50_000
	if *long {
		frames = 1_000_000
	}
	m := newMaker(uint64(frames))
	var pool [][]byte
	for range 2000 {
		pool = append(pool, m.any())
	}
	var before, after runtime.MemStats
	passed, worst := 0, 0.0
	buf := make([]byte, 0, 1<<16)
	for range frames {
		original := pool[m.rnd.IntN(len(pool))]
		frame := m.mutate(append(buf[:0], original...))
		if err := Verify(frame); isMalformed(err) {
			continue
		}
		passed++
		grown := math.Inf(1)
		for range 3 { // the runtime's own goroutines allocate too, now and then
			runtime.ReadMemStats(&before)
			unpack(frame)
			runtime.ReadMemStats(&after)
			grown = min(grown, float64(after.TotalAlloc-before.TotalAlloc)/float64(len(frame)))
			if grown <= 8 {
				break
			}
		}
		worst = max(worst, grown)
		require.LessOrEqual(t, grown, 8.0, "%x", frame)
	}
	t.Logf("%d of %d mutated frames passed; at most %.1f times the frame was allocated", passed, frames, worst)
	assert.Greater(t, passed, frames/20)
	assert.Less(t, passed, frames)
}

func TestAllocations(t *testing.T) {
	m := newMaker(3)
	request, response := m.frame(fbs.MessageBodyRequest, byte(fbs.MethodTRANSPORT_PRODUCE), 0), m.frame(fbs.MessageBodyResponse, 0, 17)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if Verify(request) != nil || VerifyFromWorker(response) != nil {
			t.Fatal("refused")
		}
	}))
}

func FuzzVerify(f *testing.F) {
	m := newMaker(2)
	for range 300 {
		f.Add(m.any())
	}
	f.Fuzz(func(t *testing.T, frame []byte) { check(t, frame) })
}

func BenchmarkVerify(b *testing.B) {
	frame := newMaker(3).frame(fbs.MessageBodyRequest, byte(fbs.MethodTRANSPORT_PRODUCE), 0)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Verify(frame); err != nil {
			b.Fatal(err)
		}
	}
}
