package channel

import (
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

// FuzzRequests gives a worker with a Router, a direct transport and its ends any
// two frames. It answers each request with its id, or ends.
func FuzzRequests(f *testing.F) {
	request := func(m fbs.Method, handler string, t fbs.RequestBody, body any) []byte {
		r := &fbs.RequestT{Id: 1, Method: m, HandlerId: handler}
		if t != fbs.RequestBodyNONE {
			r.Body = &fbs.RequestBodyT{Type: t, Value: body}
		}
		b := flatbuffers.NewBuilder(0)
		b.Finish((&fbs.MessageT{Data: &fbs.MessageBodyT{Type: fbs.MessageBodyRequest, Value: r}}).Pack(b))
		return b.FinishedBytes()
	}
	frames := [][]byte{
		{}, {1, 2, 3, 4, 5},
		request(fbs.MethodWORKER_DUMP, "", fbs.RequestBodyNONE, nil),
		request(fbs.MethodWORKER_UPDATE_SETTINGS, "", fbs.RequestBodyWorkerUpdateSettingsRequest,
			&fbs.WorkerUpdateSettingsRequestT{LogLevel: "debug", LogTags: []string{"ice"}}),
		request(fbs.MethodWORKER_CREATE_WEBRTCSERVER, "", fbs.RequestBodyWorkerCreateWebRtcServerRequest,
			&fbs.WorkerCreateWebRtcServerRequestT{WebRtcServerId: "s", ListenInfos: []*fbs.ListenInfoT{listen("127.0.0.1")}}),
		request(fbs.MethodTRANSPORT_PRODUCE, "t", fbs.RequestBodyTransportProduceRequest, &fbs.TransportProduceRequestT{
			ProducerId: "x", Kind: fbs.MediaKindVIDEO, RtpParameters: video(5000),
			RtpMapping: &fbs.RtpMappingT{
				Codecs:    []*fbs.CodecMappingT{{PayloadType: 96, MappedPayloadType: 101}},
				Encodings: []*fbs.EncodingMappingT{{MappedSsrc: 5001}},
			},
		}),
		request(fbs.MethodTRANSPORT_CONSUME, "t", fbs.RequestBodyTransportConsumeRequest, &fbs.TransportConsumeRequestT{
			ConsumerId: "y", ProducerId: "p", RtpParameters: video(6000),
			ConsumableRtpEncodings: []*fbs.RtpEncodingParametersT{{Ssrc: new(uint32(1001))}},
		}),
		request(fbs.MethodROUTER_CREATE_PLAINTRANSPORT, "r", fbs.RequestBodyRouterCreatePlainTransportRequest,
			&fbs.RouterCreatePlainTransportRequestT{TransportId: "z", Options: &fbs.PlainTransportOptionsT{
				Base: &fbs.TransportOptionsT{EnableSctp: true}, ListenInfo: listen("127.0.0.1"), EnableSrtp: true,
			}}),
		request(fbs.MethodDATACONSUMER_SEND, "dc", fbs.RequestBodyDataConsumerSendRequest,
			&fbs.DataConsumerSendRequestT{Ppid: 51, Data: []byte("x")}),
		request(fbs.MethodCONSUMER_DUMP, "c", fbs.RequestBodyNONE, nil),
		request(fbs.MethodROUTER_CLOSE_TRANSPORT, "r", fbs.RequestBodyRouterCloseTransportRequest,
			&fbs.RouterCloseTransportRequestT{TransportId: "t"}),
	}
	for i := range frames {
		f.Add(frames[i], frames[len(frames)-1-i])
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		p := start(t, Settings{LogLevel: "none"})
		p.router("r")
		p.direct("r", "t")
		p.produce("t", "p", 1000)
		p.consume("t", "p", "c", 3000, 1001)
		const last = 0xfeedbeef
		for _, frame := range [][]byte{
			framed(first), framed(second),
			frameOf(fbs.MessageBodyRequest, &fbs.RequestT{Id: last, Method: fbs.MethodWORKER_DUMP}),
		} {
			if _, err := p.conn.Write(frame); err != nil {
				break // it has ended
			}
		}
		for m := range p.frames { // until it ends, or the last answer
			if r, ok := m.Value.(*fbs.ResponseT); ok && r.Id == last {
				return
			}
		}
		if p.wait() == nil && !closes(first) && !closes(second) {
			t.Error("ended without a reason")
		}
	})
}

// closes reports whether frame tells the worker to close.
func closes(frame []byte) bool {
	defer func() { _ = recover() }() // not a frame
	m := fbs.GetRootAsMessage(frame, 0)
	var table flatbuffers.Table
	if m.DataType() != fbs.MessageBodyNotification || !m.Data(&table) {
		return false
	}
	var n fbs.Notification
	n.Init(table.Bytes, table.Pos)
	return n.Event() == fbs.EventWORKER_CLOSE
}
