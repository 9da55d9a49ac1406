package acceptance

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var dataProducerCases = []testCase{
	{
		name:        "DataProducer/Create",
		explanation: "NewDataProducer comes once, before the call returns; order and limits of the stream are normalised; dumps know it",
		upstream:    []string{"DataProducer 1", "DataProducer 2"},
		run:         testDataProducerCreate,
	},
	{
		name:        "DataProducer/WrongArguments",
		explanation: "missing or contradicting stream parameters are ErrInvalidArgument, and leave nothing behind",
		upstream:    []string{"DataProducer 3", "DataProducer 5"},
		run:         testDataProducerWrongArguments,
	},
	{
		name:        "DataProducer/InUse",
		explanation: "a stream of the transport that is in use, and an id in use, are ErrInvalidState; both can be had when the DataProducer is closed",
		upstream:    []string{"DataProducer 4"},
		run:         testDataProducerInUse,
	},
	{
		name:        "DataProducer/NoSCTP",
		explanation: "data on a transport without SCTP is ErrInvalidState",
		run:         testDataProducerNoSCTP,
	},
	{
		name:        "DataProducer/Dump",
		explanation: "dump and stats say what the getters say; nothing was counted yet",
		upstream:    []string{"DataProducer 6", "DataProducer 7"},
		run:         testDataProducerDump,
	},
	{
		name:        "DataProducer/Pause",
		explanation: "Pause and Resume emit on flips only, and in the order of the calls; the DataConsumers hear of them",
		upstream:    []string{"DataProducer 8", "DataProducer 9", "DataConsumer 10"},
		run:         testDataProducerPause,
	},
	{
		name:        "DataProducer/Close",
		explanation: "a closed DataProducer is in no dump and no list; its Close comes once, and its DataConsumers hear DataProducerClose",
		upstream:    []string{"DataProducer 10", "DataConsumer 13"},
		run:         testDataProducerClose,
	},
}

func testDataProducerCreate(t *testing.T, s *suite) {
	r := s.room(t)
	one, two := r.dataTransport(t), r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: withSCTP()})
	var seen []mafalda.DataProducer
	one.Observer().NewDataProducer.On(func(p mafalda.DataProducer) { seen = append(seen, p) })
	p := produceData(t, one, mafalda.DataProducerOptions{
		SCTPStreamParameters: stream(666), Label: "foo", Protocol: "bar", AppData: "mine",
	})
	require.Equal(t, []mafalda.DataProducer{p}, seen)
	require.NotEmpty(t, p.ID())
	require.False(t, p.Closed())
	require.Equal(t, mafalda.DataProducerTypeSCTP, p.Type())
	require.Equal(t, &mafalda.SCTPStreamParameters{StreamID: 666, Ordered: new(true)}, p.SCTPStreamParameters())
	require.Equal(t, "foo", p.Label())
	require.Equal(t, "bar", p.Protocol())
	require.False(t, p.Paused())
	require.Equal(t, "mine", p.AppData())
	q := produceData(t, two, mafalda.DataProducerOptions{
		ID:                   "chosen",
		SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 777, MaxRetransmits: new(uint16(3))},
		Paused:               true,
	})
	require.Equal(t, "chosen", q.ID())
	require.Equal(t, &mafalda.SCTPStreamParameters{
		StreamID: 777, Ordered: new(false), MaxRetransmits: new(uint16(3)),
	}, q.SCTPStreamParameters())
	require.Empty(t, q.Label())
	require.True(t, q.Paused())
	require.Equal(t, []mafalda.DataProducer{p}, one.DataProducers())
	require.Equal(t, []mafalda.DataProducer{q}, two.DataProducers())

	d := dumpRouter(t, r.router)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: p.ID(), Values: []string{}}, {Key: "chosen", Values: []string{}}},
		d.MapDataProducerIDDataConsumerIDs)
	require.Empty(t, d.MapDataConsumerIDDataProducerID)
	x := dumpTransport(t, one)
	require.Equal(t, []string{p.ID()}, x.DataProducerIDs)
	require.Empty(t, x.DataConsumerIDs)
	require.Equal(t, []mafalda.KeyValue[uint16, string]{{Key: 666, Value: p.ID()}}, x.SCTPListener.StreamIDTable)

	p.SCTPStreamParameters().StreamID = 1
	*p.SCTPStreamParameters().Ordered = false
	require.Equal(t, &mafalda.SCTPStreamParameters{StreamID: 666, Ordered: new(true)}, p.SCTPStreamParameters(), "a copy")
}

func testDataProducerWrongArguments(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.dataTransport(t)
	for name, p := range map[string]*mafalda.SCTPStreamParameters{
		"none":                  {},
		"a stream out of range": {StreamID: 65535},
		"ordered with a lifetime": {
			StreamID: 1, Ordered: new(true), MaxPacketLifeTime: new(uint16(4000)),
		},
		"ordered with retransmits": {StreamID: 1, Ordered: new(true), MaxRetransmits: new(uint16(1))},
		"both limits":              {StreamID: 1, MaxPacketLifeTime: new(uint16(1)), MaxRetransmits: new(uint16(1))},
	} {
		if name == "none" {
			p = nil
		}
		_, err := tr.ProduceData(t.Context(), mafalda.DataProducerOptions{ID: "a", SCTPStreamParameters: p})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, tr.DataProducers())
	require.Empty(t, dumpTransport(t, tr).DataProducerIDs)
	produceData(t, tr, mafalda.DataProducerOptions{ID: "a", SCTPStreamParameters: stream(1)})
}

func testDataProducerInUse(t *testing.T, s *suite) {
	r := s.room(t)
	one, two := r.dataTransport(t), r.dataTransport(t)
	p := produceData(t, one, mafalda.DataProducerOptions{ID: "a", SCTPStreamParameters: stream(666)})
	for name, o := range map[string]mafalda.DataProducerOptions{
		"the stream": {SCTPStreamParameters: stream(666)},
		"the id":     {ID: "a", SCTPStreamParameters: stream(1)},
	} {
		_, err := one.ProduceData(t.Context(), o)
		requireErrorIn(t, name, err, mafalda.ErrInvalidState)
	}
	_, err := two.ProduceData(t.Context(), mafalda.DataProducerOptions{ID: "a", SCTPStreamParameters: stream(1)})
	requireError(t, err, mafalda.ErrInvalidState)
	produceData(t, two, mafalda.DataProducerOptions{SCTPStreamParameters: stream(666)})
	require.NoError(t, p.Close())
	produceData(t, one, mafalda.DataProducerOptions{ID: "a", SCTPStreamParameters: stream(666)})
}

func testDataProducerNoSCTP(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	for _, tr := range []mafalda.Transport{r.webRTC(t, overUDP()), r.plain(t, mafalda.PlainTransportOptions{}), r.pipe(t, mafalda.PipeTransportOptions{})} {
		_, err := tr.ProduceData(t.Context(), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
		requireErrorIn(t, string(tr.Type()), err, mafalda.ErrInvalidState)
		_, err = tr.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		requireErrorIn(t, string(tr.Type()), err, mafalda.ErrInvalidState)
		require.Empty(t, tr.DataProducers())
		require.Empty(t, tr.DataConsumers())
	}
}

func testDataProducerDump(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.dataTransport(t)
	for _, p := range []mafalda.DataProducer{
		produceData(t, tr, mafalda.DataProducerOptions{SCTPStreamParameters: stream(666), Label: "foo", Protocol: "bar"}),
		produceData(t, tr, mafalda.DataProducerOptions{
			SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: 777, MaxRetransmits: new(uint16(3))}, Paused: true,
		}),
		produceData(t, r.direct(t), mafalda.DataProducerOptions{Label: "direct", SCTPStreamParameters: stream(1)}),
	} {
		d, err := p.Dump(t.Context())
		require.NoError(t, err)
		require.Equal(t, mafalda.DataProducerDump{
			ID: p.ID(), Paused: p.Paused(), Type: p.Type(), SCTPStreamParameters: p.SCTPStreamParameters(),
			Label: p.Label(), Protocol: p.Protocol(),
		}, d)
		stats, err := p.Stats(t.Context())
		require.NoError(t, err)
		require.Len(t, stats, 1)
		stats[0].Timestamp = 0
		require.Equal(t, mafalda.DataProducerStats{Type: "data-producer", Label: p.Label(), Protocol: p.Protocol()}, stats[0])
	}
}

func testDataProducerPause(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.dataTransport(t), mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	c := consumeData(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	var j, cj journal
	note(&j, &p.Observer().Pause, "pause")
	note(&j, &p.Observer().Resume, "resume")
	note(&cj, &c.Events().DataProducerPause, "dataproducerpause")
	note(&cj, &c.Events().DataProducerResume, "dataproducerresume")
	note(&cj, &c.Observer().Pause, "pause")
	note(&cj, &c.Observer().Resume, "resume")
	for _, f := range []func(context.Context) error{p.Pause, p.Pause, p.Resume, p.Resume, p.Pause, p.Resume, p.Pause, p.Pause, p.Resume} {
		require.NoError(t, f(t.Context()))
	}
	require.False(t, p.Paused())
	require.Equal(t, []string{"pause", "resume", "pause", "resume", "pause", "resume"}, j.read())
	require.False(t, c.Paused(), "of the DataConsumer itself")
	require.Equal(t, []string{"dataproducerpause", "pause", "dataproducerresume", "resume"}, cj.read()[:4])
	require.Equal(t, 3, cj.count("dataproducerpause"))
	require.Equal(t, 3, cj.count("resume"))
	require.NoError(t, p.Pause(t.Context()))
	require.True(t, p.Paused())
	require.True(t, c.DataProducerPaused())
	d, err := p.Dump(t.Context())
	require.NoError(t, err)
	require.True(t, d.Paused)
	late := consumeData(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	require.True(t, late.DataProducerPaused())
	require.False(t, late.Paused())
}

func testDataProducerClose(t *testing.T, s *suite) {
	r := s.room(t)
	tr, out := r.dataTransport(t), r.plain(t, mafalda.PlainTransportOptions{SCTPOptions: withSCTP()})
	p := produceData(t, tr, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	q := produceData(t, tr, mafalda.DataProducerOptions{SCTPStreamParameters: stream(2)})
	c := consumeData(t, out, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	other := consumeData(t, out, mafalda.DataConsumerOptions{DataProducerID: q.ID()})
	var j journal
	note(&j, &p.Observer().Close, "close")
	noteIf(t, &j, &c.Events().DataProducerClose, "dataproducerclose", c.Closed)
	note(&j, &c.Observer().Close, "dataconsumer close")
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	done(t, p)
	done(t, c)
	require.Equal(t, []string{"close", "dataproducerclose", "dataconsumer close"}, j.read())
	require.True(t, c.Closed())
	require.False(t, other.Closed())
	require.Equal(t, []mafalda.DataProducer{q}, tr.DataProducers())
	require.Equal(t, []mafalda.DataConsumer{other}, out.DataConsumers())
	d := dumpRouter(t, r.router)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: q.ID(), Values: []string{other.ID()}}}, d.MapDataProducerIDDataConsumerIDs)
	require.Equal(t, []mafalda.KeyValue[string, string]{{Key: other.ID(), Value: q.ID()}}, d.MapDataConsumerIDDataProducerID)
	x := dumpTransport(t, tr)
	require.Equal(t, []string{q.ID()}, x.DataProducerIDs)
	require.Equal(t, []mafalda.KeyValue[uint16, string]{{Key: 2, Value: q.ID()}}, x.SCTPListener.StreamIDTable)
	_, err := out.ConsumeData(t.Context(), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	requireError(t, err, mafalda.ErrNotFound)
}
