package acceptance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var pipeDataCases = []testCase{
	{
		name:        "PipeToRouter/Data",
		explanation: "a pipe DataConsumer and a pipe DataProducer have type sctp and the stream, label and protocol of the DataProducer, the latter its id and AppData too",
		upstream:    []string{"PipeTransport 13", "PipeTransport 14"},
		run:         testPipeData,
	},
	{
		name:        "PipeToRouter/DataMessages",
		explanation: "messages cross with their PPID and subchannels; while the DataProducer is paused none do, and the pipe DataProducer is not paused",
		upstream:    []string{"PipeTransport 14"},
		run:         testPipeDataMessages,
	},
	{
		name:        "PipeToRouter/DataClose",
		explanation: "the pipe DataConsumer and the pipe DataProducer end together, and with the DataProducer, which does not end with them",
		upstream:    []string{"PipeTransport 15"},
		run:         testPipeDataClose,
	},
	{
		name:        "PipeToRouter/DataErrors",
		explanation: "an unknown DataProducer is ErrNotFound, both ids are ErrInvalidArgument, a pair without SCTP is ErrInvalidState",
		run:         testPipeDataErrors,
	},
}

// A pipedData is a DataProducer and its copy on another Router.
type pipedData struct {
	near, far *room
	transport mafalda.Transport
	p         mafalda.DataProducer
	mafalda.PipeToRouterResult
}

func (s *suite) pipeData(t testing.TB, o mafalda.PipeToRouterOptions) *pipedData {
	t.Helper()
	x := &pipedData{near: s.room(t), far: s.room(t)}
	tr := x.near.plain(t, mafalda.PlainTransportOptions{SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true}})
	x.transport = tr
	p, err := tr.ProduceData(t.Context(), mafalda.DataProducerOptions{
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 666, Ordered: new(false), MaxPacketLifeTime: new(uint16(5000))},
		Label:                "foo", Protocol: "bar", AppData: "mine",
	})
	require.NoError(t, err)
	x.p = p
	o.DataProducerID, o.Router = p.ID(), x.far.router
	x.PipeToRouterResult, err = x.near.router.PipeToRouter(t.Context(), o)
	require.NoError(t, err)
	return x
}

func testPipeData(t *testing.T, s *suite) {
	x := s.pipeData(t, mafalda.PipeToRouterOptions{})
	require.Nil(t, x.PipeConsumer)
	require.Nil(t, x.PipeProducer)
	require.Len(t, x.near.router.Transports(), 2)
	require.Len(t, x.far.router.Transports(), 1)
	from, to := requirePair(t, x.near, x.far)
	c, p := x.PipeDataConsumer, x.PipeDataProducer
	require.Equal(t, []mafalda.DataConsumer{c}, from.DataConsumers())
	require.Equal(t, []mafalda.DataProducer{p}, to.DataProducers())
	require.Equal(t, x.p.ID(), c.DataProducerID())
	require.Equal(t, x.p.ID(), p.ID())
	require.Equal(t, mafalda.DataConsumerTypeSCTP, c.Type())
	require.Equal(t, mafalda.DataProducerTypeSCTP, p.Type())
	require.Nil(t, c.AppData())
	require.Equal(t, "mine", p.AppData())
	requireStream := func(v *mafalda.SCTPStreamParameters) {
		t.Helper()
		require.Equal(t, new(false), v.Ordered)
		require.Equal(t, new(uint16(5000)), v.MaxPacketLifeTime)
		require.Nil(t, v.MaxRetransmits)
	}
	requireStream(c.SCTPStreamParameters())
	require.Equal(t, c.SCTPStreamParameters(), p.SCTPStreamParameters())
	for _, v := range []interface {
		Label() string
		Protocol() string
	}{c, p} {
		require.Equal(t, "foo", v.Label())
		require.Equal(t, "bar", v.Protocol())
	}
	for _, tr := range []mafalda.PipeTransport{from, to} {
		require.NotNil(t, tr.SCTPParameters())
		eventually(t, "SCTP connects", func() bool { return tr.SCTPState() == mafalda.SCTPStateConnected })
	}
	last, err := x.far.plain(t, mafalda.PlainTransportOptions{SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true}}).
		ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	require.NoError(t, err)
	requireStream(last.SCTPStreamParameters())
}

func testPipeDataMessages(t *testing.T, s *suite) {
	for _, o := range []mafalda.PipeToRouterOptions{{}, {EnableSRTP: true}, {ListenInfo: new(listenUDP())}} {
		x := s.pipeData(t, o)
		out := x.far.direct(t)
		consume := func(subchannels ...uint16) <-chan mafalda.DataMessage {
			c, err := out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{
				DataProducerID: x.PipeDataProducer.ID(), Subchannels: subchannels,
			})
			require.NoError(t, err)
			return hear(t, &c.Events().Message)
		}
		all, some := consume(), consume(7)
		for i := range 50 {
			require.NoError(t, x.p.Send(mafalda.TextMessage(fmt.Sprint("message ", i))))
		}
		got := map[string]bool{} // the stream is unordered
		for range 50 {
			m := receive(t, all, "a message")
			require.Equal(t, mafalda.PPIDString, m.PPID)
			got[string(m.Data)] = true
		}
		require.Len(t, got, 50)
		for range 50 { // without subchannels it is for everybody
			receive(t, some, "a message")
		}
		require.NoError(t, x.p.Send(mafalda.DataMessage{Data: []byte("for 7"), Subchannels: []uint16{7, 8}}))
		m := receive(t, some, "a message")
		require.Equal(t, mafalda.PPIDBinary, m.PPID)
		require.Equal(t, "for 7", string(m.Data))

		require.NoError(t, x.p.Pause(t.Context()))
		require.True(t, x.PipeDataConsumer.DataProducerPaused())
		require.False(t, x.PipeDataProducer.Paused())
		require.NoError(t, x.p.Send(mafalda.TextMessage("to nobody")))
		require.NoError(t, x.p.Resume(t.Context()))
		require.NoError(t, x.p.Send(mafalda.TextMessage("to all")))
		require.Equal(t, "to all", string(receive(t, all, "a message").Data))
		require.Empty(t, all)
	}
}

func testPipeDataClose(t *testing.T, s *suite) {
	for name, v := range map[string]struct {
		close func(x *pipedData) mafalda.Lifetime
		ends  bool // the DataProducer
	}{
		"DataProducer":       {func(x *pipedData) mafalda.Lifetime { return x.p }, true},
		"its transport":      {func(x *pipedData) mafalda.Lifetime { return x.transport }, true},
		"pipe DataConsumer":  {func(x *pipedData) mafalda.Lifetime { return x.PipeDataConsumer }, false},
		"pipe DataProducer":  {func(x *pipedData) mafalda.Lifetime { return x.PipeDataProducer }, false},
		"near PipeTransport": {func(x *pipedData) mafalda.Lifetime { return x.near.pipes()[0] }, false},
		"far PipeTransport":  {func(x *pipedData) mafalda.Lifetime { return x.far.pipes()[0] }, false},
		"far Router":         {func(x *pipedData) mafalda.Lifetime { return x.far.router }, false},
		"far Worker":         {func(x *pipedData) mafalda.Lifetime { return x.far.worker }, false},
	} {
		x := s.pipeData(t, mafalda.PipeToRouterOptions{})
		c, err := x.far.direct(t).ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: x.PipeDataProducer.ID()})
		require.NoError(t, err)
		require.NoError(t, v.close(x).Close(), name)
		require.True(t, x.PipeDataConsumer.Closed(), name)
		require.True(t, x.PipeDataProducer.Closed(), name)
		require.True(t, c.Closed(), name)
		require.Equal(t, v.ends, x.p.Closed(), name)
		for _, o := range []mafalda.Lifetime{x.PipeDataConsumer, x.PipeDataProducer, c} {
			done(t, o)
		}
	}
}

func testPipeDataErrors(t *testing.T, s *suite) {
	x := s.pipeData(t, mafalda.PipeToRouterOptions{})
	o := mafalda.PipeToRouterOptions{DataProducerID: "foo", Router: x.far.router}
	_, err := x.near.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrNotFound)
	o.DataProducerID, o.ProducerID = x.p.ID(), x.p.ID()
	_, err = x.near.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrInvalidArgument)
	o.ProducerID = ""
	_, err = x.near.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrInvalidState)
	from, to := requirePair(t, x.near, x.far)
	require.Len(t, from.DataConsumers(), 1)
	require.Len(t, to.DataProducers(), 1)

	other := s.room(t)
	o.Router, o.EnableSCTP = other.router, new(false)
	_, err = x.near.router.PipeToRouter(t.Context(), o)
	requireError(t, err, mafalda.ErrInvalidState)
	require.Len(t, other.pipes(), 1)
	require.Nil(t, other.pipes()[0].SCTPParameters())
	require.Empty(t, other.pipes()[0].DataProducers())
}
