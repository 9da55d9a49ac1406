package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var sctpCases = []testCase{
	{
		name:        "SCTP/Options",
		explanation: "the parameters are those of the options, with mediasoup's defaults and what older clients know; without EnableSCTP there are none",
		upstream:    []string{"3.23.0", "3.20.0", "WebRtcTransport 1", "PlainTransport 1"},
		run:         testSCTPOptions,
	},
	{
		name:        "SCTP/WrongOptions",
		explanation: "sizes out of range are ErrInvalidArgument",
		run:         testSCTPWrongOptions,
	},
	{
		name:        "SCTP/State",
		explanation: "the state is new until the endpoint begins, then connecting and connected, each told once, with capabilities before connected; getters, dump and stats agree",
		upstream:    []string{"werift-sctp 1–2", "WebRtcTransport 18"},
		run:         testSCTPState,
	},
	{
		name:        "SCTP/WeBegin",
		explanation: "a connected transport begins by itself as soon as it has data to carry, and not before",
		upstream:    []string{"3.19.18"},
		run:         testSCTPWeBegin,
	},
	{
		name:        "SCTP/Messages",
		explanation: "messages go from one endpoint to another in order, with their PPID, over UDP and DTLS; both ends count them",
		upstream:    []string{"node-sctp 1"},
		run:         testSCTPMessages,
	},
	{
		name:        "SCTP/Unordered",
		explanation: "streams without order or retransmission deliver too; large messages are cut and put together",
		run:         testSCTPUnordered,
	},
	{
		name:        "SCTP/Send",
		explanation: "DataConsumer.Send reaches the endpoint whatever its subscriptions, returns what waits, and is ErrInvalidState while paused; one that is too long is ErrInvalidArgument",
		upstream:    []string{"3.20.2", "newer 7"},
		run:         testSCTPSend,
	},
	{
		name:        "SCTP/BufferedAmount",
		explanation: "what waits is the buffered amount, up to the limit: then Send is ErrUnavailable and SCTPSendBufferFull comes; BufferedAmountLow when it falls to the threshold",
		upstream:    []string{"newer 7"},
		run:         testSCTPBufferedAmount,
	},
	{
		name:        "SCTP/MessageSizes",
		explanation: "a message that is longer than MaxReceiveMessageSize or MaxSendMessageSize is dropped, and the next one comes",
		run:         testSCTPMessageSizes,
	},
	{
		name:        "SCTP/UnknownStream",
		explanation: "messages on a stream without DataProducer are dropped, and do no harm",
		run:         testSCTPUnknownStream,
	},
	{
		name:        "SCTP/Reset",
		explanation: "closing a DataConsumer ends its stream; a data channel that the endpoint ends makes its DataConsumer mute, and no DataProducer",
		run:         testSCTPReset,
	},
	{
		name:        "SCTP/Ends",
		explanation: "an association that the endpoint ends is closed for good: Send is ErrInvalidState; closing the transport ends it for the endpoint",
		run:         testSCTPEnds,
	},
	{
		name:        "SCTP/Pipe",
		explanation: "subchannels travel through PipeTransports, and choose behind them; Send too goes through",
		upstream:    []string{"3.22.0 to 3.24.2"},
		run:         testSCTPPipe,
	},
	{
		name:        "SCTP/SlowListener",
		explanation: "an endpoint has to wait for a listener that is slow, and nothing is lost",
		run:         testSCTPSlowListener,
	},
	{
		name:        "SCTP/Concurrent",
		explanation: "many goroutines may consume, send and close at a time: no two DataConsumers have one stream, and nothing stays behind",
		run:         testSCTPConcurrent,
	},
}

func testSCTPOptions(t *testing.T, s *suite) {
	r := s.room(t)
	given := mafalda.SCTPOptions{
		EnableSCTP: true, MaxSendMessageSize: 1, MaxReceiveMessageSize: 2, SCTPSendBufferSize: 3,
		SCTPPerStreamSendQueueLimit: 4, SCTPMaxReceiverWindowBufferSize: 5,
		SCTPDefaultStreamBufferedAmountLowThreshold: new(0),
	}
	for _, o := range []mafalda.SCTPOptions{withSCTP(), given} {
		want := mafalda.SCTPParameters{
			Port: 5000, MaxSendMessageSize: 262144, MaxReceiveMessageSize: 262144, SendBufferSize: 2000000,
			PerStreamSendQueueLimit: 2000000, MaxReceiverWindowBufferSize: 5242880, OS: 65535, MIS: 65535, MaxMessageSize: 262144,
		}
		threshold := 1024
		if o.MaxSendMessageSize == 1 {
			want.MaxSendMessageSize, want.MaxReceiveMessageSize, want.SendBufferSize = 1, 2, 3
			want.PerStreamSendQueueLimit, want.MaxReceiverWindowBufferSize, want.MaxMessageSize = 4, 5, 2
			threshold = 0
		}
		web := overUDP()
		web.SCTPOptions = o
		for _, tr := range []sctpTransport{
			r.webRTC(t, web), r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: o}), r.pipe(t, mafalda.PipeTransportOptions{SCTPOptions: o}),
		} {
			want.IsDataChannel = tr.Type() == mafalda.TransportTypeWebRTC
			require.Equal(t, &want, tr.SCTPParameters())
			require.Equal(t, mafalda.SCTPStateNew, tr.SCTPState())
			require.Nil(t, tr.SCTPNegotiatedCapabilities())
			tr.SCTPParameters().Port = 1
			d := dumpTransport(t, tr)
			require.Equal(t, &want, d.SCTPParameters)
			require.Equal(t, want.MaxSendMessageSize, d.MaxSendMessageSize)
			require.Equal(t, want.MaxReceiveMessageSize, d.MaxReceiveMessageSize)
			require.Equal(t, mafalda.SCTPStateNew, d.SCTPState)
			require.Equal(t, &mafalda.SCTPNegotiatedCapabilities{}, d.SCTPNegotiatedCapabilities)
			require.Equal(t, &mafalda.SCTPListenerDump{StreamIDTable: []mafalda.KeyValue[uint16, string]{}}, d.SCTPListener)
			require.Equal(t, mafalda.SCTPStateNew, transportStats(t, tr).SCTPState)
			p := produceData(t, tr, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
			c, err := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()}).Dump(t.Context())
			require.NoError(t, err)
			require.Equal(t, threshold, c.BufferedAmountLowThreshold)
			require.NoError(t, tr.Close())
			require.Equal(t, mafalda.SCTPStateClosed, tr.SCTPState())
		}
	}
	for _, tr := range []sctpTransport{
		r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.pipe(t, mafalda.PipeTransportOptions{}),
	} {
		require.Nil(t, tr.SCTPParameters())
		require.Empty(t, tr.SCTPState())
		require.Nil(t, tr.SCTPNegotiatedCapabilities())
		d := dumpTransport(t, tr)
		require.Nil(t, d.SCTPParameters)
		require.Empty(t, d.SCTPState)
		require.Nil(t, d.SCTPListener)
		require.Empty(t, transportStats(t, tr).SCTPState)
		require.NoError(t, tr.Close())
		require.Empty(t, tr.SCTPState())
	}
}

func testSCTPWrongOptions(t *testing.T, s *suite) {
	r := s.room(t)
	for name, o := range map[string]mafalda.SCTPOptions{
		"negative":  {EnableSCTP: true, MaxSendMessageSize: -1},
		"receive":   {EnableSCTP: true, MaxReceiveMessageSize: -1},
		"buffer":    {EnableSCTP: true, SCTPSendBufferSize: -1},
		"queue":     {EnableSCTP: true, SCTPPerStreamSendQueueLimit: -1},
		"window":    {EnableSCTP: true, SCTPMaxReceiverWindowBufferSize: 1 << 32},
		"threshold": {EnableSCTP: true, SCTPDefaultStreamBufferedAmountLowThreshold: new(-1)},
	} {
		web := overUDP()
		web.SCTPOptions = o
		_, err := r.router.CreateWebRTCTransport(t.Context(), web)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		_, err = r.router.CreatePlainTransport(t.Context(), mafalda.PlainTransportOptions{ListenInfo: listenUDP(), SCTPOptions: o})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		_, err = r.router.CreatePipeTransport(t.Context(), mafalda.PipeTransportOptions{ListenInfo: listenUDP(), SCTPOptions: o})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, r.router.Transports())
}

// dataEnds calls f for an endpoint over UDP and for one over DTLS.
func (r *room) dataEnds(t *testing.T, f func(e *dataEnd)) {
	t.Helper()
	f(r.plainDataEnd(t, mafalda.PlainTransportOptions{}))
	f(r.webRTCDataEnd(t))
}

func testSCTPState(t *testing.T, s *suite) {
	r := s.room(t)
	for _, kind := range []mafalda.TransportType{mafalda.TransportTypePlain, mafalda.TransportTypeWebRTC} {
		var tr sctpTransport
		var connect func() (*peer.Data, error)
		if kind == mafalda.TransportTypePlain {
			p := r.plain(t, mafalda.PlainTransportOptions{Comedia: true, SCTPOptions: withSCTP()})
			tr, connect = p, func() (*peer.Data, error) { return peer.Associate(t.Context(), dialUDP(t, p.Tuple()), true) }
		} else {
			w := r.dataTransport(t)
			e := dial(t, w, peer.Config{})
			tr, connect = w, func() (*peer.Data, error) { return e.peer.Data(t.Context(), true) }
		}
		require.Equal(t, mafalda.SCTPStateNew, tr.SCTPState())
		var j journal
		tr.Events().SCTPStateChange.On(func(state mafalda.SCTPState) {
			if got := tr.SCTPState(); got != state && got != mafalda.SCTPStateConnected {
				t.Errorf("getter %s, event %s", got, state)
			}
			if state == mafalda.SCTPStateConnected && tr.SCTPNegotiatedCapabilities() == nil {
				t.Error("no capabilities, but connected")
			}
			j.write(string(state))
		})
		observed := hear(t, &tr.Observer().SCTPStateChange)
		d, err := connect()
		newDataEnd(t, tr, d, err)
		eventually(t, "both states are told", func() bool { return len(j.read()) == 2 })
		require.Equal(t, []string{"connecting", "connected"}, j.read())
		require.Equal(t, mafalda.SCTPStateConnecting, receive(t, observed, "connecting"))
		require.Equal(t, mafalda.SCTPStateConnected, receive(t, observed, "connected"))
		caps := &mafalda.SCTPNegotiatedCapabilities{NegotiatedMaxOutboundStreams: 65535, NegotiatedMaxInboundStreams: 65535}
		require.Equal(t, caps, tr.SCTPNegotiatedCapabilities())
		tr.SCTPNegotiatedCapabilities().NegotiatedMaxInboundStreams = 1
		require.Equal(t, caps, tr.SCTPNegotiatedCapabilities(), "a copy")
		dump := dumpTransport(t, tr)
		require.Equal(t, caps, dump.SCTPNegotiatedCapabilities)
		require.Equal(t, mafalda.SCTPStateConnected, dump.SCTPState)
		require.Equal(t, mafalda.SCTPStateConnected, transportStats(t, tr).SCTPState)
		require.NoError(t, tr.Close())
		require.Equal(t, mafalda.SCTPStateClosed, tr.SCTPState())
		require.Len(t, j.read(), 2, "closing is no change that is told")
	}
}

func testSCTPWeBegin(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: withSCTP()})
	conn := dialUDP(t, tr.Tuple())
	a := addrOf(conn)
	require.NoError(t, tr.Connect(t.Context(), mafalda.PlainTransportConnectOptions{IP: a.Addr(), Port: a.Port()}))
	require.Equal(t, mafalda.SCTPStateNew, tr.SCTPState())
	require.Zero(t, transportStats(t, tr).BytesSent)
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	c := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	require.NoError(t, p.Send(mafalda.TextMessage("early")))
	d, err := peer.Associate(t.Context(), conn, false)
	newDataEnd(t, tr, d, err)
	m := message(t, d)
	require.Equal(t, peer.Message{Stream: c.SCTPStreamParameters().StreamID, PPID: 51, Data: []byte("early")}, m,
		"messages wait for the association")
}

func testSCTPMessages(t *testing.T, s *suite) {
	r := s.room(t)
	id := uint16(123)
	r.dataEnds(t, func(in *dataEnd) {
		r.dataEnds(t, func(out *dataEnd) {
			id++
			p := produceData(t, in.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(id)})
			c := consumeData(t, out.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
			direct, heard := consumeDirect(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
			require.EqualValues(t, 0, c.SCTPStreamParameters().StreamID)
			bytes := 0
			for i := range 200 {
				ppid := uint32(51)
				if i >= 100 {
					ppid = 53
				}
				b := []byte(strings.Repeat("x", i) + fmt.Sprint(i))
				bytes += len(b)
				require.NoError(t, in.data.Send(peer.Message{Stream: id, PPID: ppid, Data: b}))
			}
			for i := range 200 {
				m := message(t, out.data)
				want := strings.Repeat("x", i) + fmt.Sprint(i)
				require.Equal(t, want, string(m.Data))
				require.EqualValues(t, 0, m.Stream)
				require.Equal(t, i < 100, m.PPID == 51)
				require.Equal(t, i >= 100, m.PPID == 53)
				require.Equal(t, want, text(t, heard))
			}
			ps, err := p.Stats(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 200, ps[0].MessagesReceived)
			require.EqualValues(t, bytes, ps[0].BytesReceived)
			for _, x := range []mafalda.DataConsumer{c, direct} {
				cs, err := x.Stats(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 200, cs[0].MessagesSent)
				require.EqualValues(t, bytes, cs[0].BytesSent)
			}
			require.NoError(t, p.Close())
			require.NoError(t, out.transport.Close())
		})
	})
}

func testSCTPUnordered(t *testing.T, s *suite) {
	r := s.room(t)
	r.dataEnds(t, func(in *dataEnd) {
		out := r.webRTCDataEnd(t)
		require.NoError(t, in.data.Unordered(7, 3))
		p := produceData(t, in.transport, mafalda.DataProducerOptions{
			SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 7, MaxRetransmits: new(uint16(3))},
		})
		consumeData(t, out.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		consumeData(t, out.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Ordered: new(true)})
		big := strings.Repeat("0123456789", 5000)
		require.NoError(t, in.data.Send(peer.Message{Stream: 7, PPID: 51, Data: []byte(big)}))
		for i := range 50 {
			require.NoError(t, in.data.Send(peer.Message{Stream: 7, PPID: 51, Data: []byte(fmt.Sprintf("%03d", i))}))
		}
		var streams [2][]string
		for range 2 * 51 {
			m := message(t, out.data)
			streams[m.Stream] = append(streams[m.Stream], string(m.Data))
		}
		for _, got := range streams {
			slices.Sort(got)
			require.Equal(t, "000", got[0])
			require.Contains(t, got, big)
			require.Equal(t, "049", got[50])
		}
	})
}

func testSCTPUnknownStream(t *testing.T, s *suite) {
	r := s.room(t)
	r.dataEnds(t, func(e *dataEnd) {
		p := produceData(t, e.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
		_, heard := consumeDirect(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		for id := uint16(2); id < 50; id++ {
			require.NoError(t, e.data.Send(peer.Message{Stream: id, PPID: 53, Data: []byte("who?")}))
		}
		require.NoError(t, e.data.Send(peer.Message{Stream: 1, PPID: 53, Data: []byte("known")}))
		require.Equal(t, "known", text(t, heard))
		// One that comes late is heard from then on.
		late := produceData(t, e.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(2)})
		_, heard = consumeDirect(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: late.ID()})
		require.NoError(t, e.data.Send(peer.Message{Stream: 2, PPID: 53, Data: []byte("at last")}))
		got := text(t, heard)
		if got == "who?" { // streams have no order among each other: it was under way still
			got = text(t, heard)
		}
		require.Equal(t, "at last", got)
	})
}

func testSCTPReset(t *testing.T, s *suite) {
	r := s.room(t)
	ctx := t.Context()
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	r.dataEnds(t, func(e *dataEnd) {
		c := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		other := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		require.NoError(t, p.Send(mafalda.TextMessage("both")))
		for range 2 {
			require.Equal(t, "both", string(message(t, e.data).Data))
		}
		require.NoError(t, c.Close())
		require.Equal(t, uint16(0), receive(t, e.data.Resets(), "the end of the stream"))
		require.NoError(t, p.Send(mafalda.TextMessage("one")))
		require.Equal(t, peer.Message{Stream: 1, PPID: 51, Data: []byte("one")}, message(t, e.data))

		// The endpoint ends a stream.
		q := produceData(t, e.transport, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
		require.NoError(t, e.data.Reset(1))
		if e.transport.Type() != mafalda.TransportTypeWebRTC {
			return // it means nothing where there are no data channels
		}
		eventually(t, "nothing can be sent", func() bool {
			_, err := other.Send(ctx, mafalda.TextMessage("x"))
			if err != nil {
				requireError(t, err, mafalda.ErrInvalidState)
			}
			return err != nil
		})
		require.False(t, other.Closed())
		require.False(t, q.Closed())
		_, err := other.Dump(ctx)
		require.NoError(t, err)
	})
}

func testSCTPEnds(t *testing.T, s *suite) {
	r := s.room(t)
	ctx := t.Context()
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	r.dataEnds(t, func(e *dataEnd) {
		c := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		states := hear(t, &e.transport.Events().SCTPStateChange)
		e.data.Close()
		require.Equal(t, mafalda.SCTPStateClosed, receive(t, states, "closed"))
		require.Equal(t, mafalda.SCTPStateClosed, e.transport.SCTPState())
		require.False(t, e.transport.Closed())
		require.False(t, c.Closed())
		_, err := c.Send(ctx, mafalda.TextMessage("x"))
		requireError(t, err, mafalda.ErrInvalidState)
		late := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		_, err = late.Send(ctx, mafalda.TextMessage("x"))
		requireError(t, err, mafalda.ErrInvalidState)
		require.Equal(t, mafalda.SCTPStateClosed, dumpTransport(t, e.transport).SCTPState)
	})
	r.dataEnds(t, func(e *dataEnd) {
		require.NoError(t, e.transport.Close())
		receive(t, e.data.Done(), "the end of the association")
	})
	other := newRoom(t, r.worker)
	one, two := other.plainDataEnd(t, mafalda.PlainTransportOptions{}), other.webRTCDataEnd(t)
	require.NoError(t, other.router.Close())
	receive(t, one.data.Done(), "the end of the association")
	receive(t, two.data.Done(), "the end of the association")
}

// pipePair connects two PipeTransports of r.
func (r *room) pipePair(t testing.TB, o mafalda.SCTPOptions) (a, b mafalda.PipeTransport) {
	t.Helper()
	a, b = r.pipe(t, mafalda.PipeTransportOptions{SCTPOptions: o}), r.pipe(t, mafalda.PipeTransportOptions{SCTPOptions: o})
	for from, to := range map[mafalda.PipeTransport]mafalda.PipeTransport{a: b, b: a} {
		require.NoError(t, from.Connect(t.Context(), mafalda.PipeTransportConnectOptions{IP: loopback, Port: to.Tuple().LocalPort}))
	}
	return a, b
}

func testSCTPPipe(t *testing.T, s *suite) {
	r := s.room(t)
	a, b := r.pipePair(t, withSCTP())
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	c := consumeData(t, a, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	q := produceData(t, b, mafalda.DataProducerOptions{SCTPStreamParameters: c.SCTPStreamParameters()})
	far := r.direct(t)
	_, some := consumeDirect(t, far, mafalda.DataConsumerOptions{DataProducerID: q.ID(), Subchannels: []uint16{1, 2}})
	_, none := consumeDirect(t, far, mafalda.DataConsumerOptions{DataProducerID: q.ID()})
	send := func(text string, required, ignored *uint16, list ...uint16) {
		t.Helper()
		m := mafalda.TextMessage(text)
		m.Subchannels, m.RequiredSubchannel, m.IgnoredSubchannel = list, required, ignored
		require.NoError(t, p.Send(m))
	}
	n := func(v uint16) *uint16 { return &v }
	send("all", nil, nil)
	send("one", nil, nil, 1, 5)
	send("nobody", nil, nil, 5)
	send("needs two", n(2), nil)
	send("not two", nil, n(2))
	own := func() {
		t.Helper()
		_, err := c.Send(t.Context(), mafalda.TextMessage("own"))
		require.NoError(t, err)
	}
	if s.Pipes == 0 { // what was sent before is before it
		own()
	}
	for _, want := range []string{"all", "one", "needs two"} {
		require.Equal(t, want, text(t, some))
	}
	for _, want := range []string{"all", "not two"} {
		require.Equal(t, want, text(t, none))
	}
	if s.Pipes > 0 {
		own()
	}
	require.Equal(t, "own", text(t, some))
	require.Equal(t, "own", text(t, none))
	require.NoError(t, c.SetSubchannels(t.Context(), []uint16{1}))
	send("stopped before the pipe", nil, nil, 2)
	send("through the pipe", nil, nil, 1, 2)
	require.Equal(t, "through the pipe", text(t, some))
	stats, err := q.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, stats[0].MessagesReceived)
}
