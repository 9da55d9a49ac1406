package acceptance

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var directDataCases = []testCase{
	{
		name:        "DirectData/Messages",
		explanation: "messages come in order, with their PPID; those sent while one side is paused are dropped, and counted by the DataProducer",
		upstream:    []string{"DirectTransport 5"},
		run:         testDirectDataMessages,
	},
	{
		name:        "DirectData/Subchannels",
		explanation: "a DataConsumer gets what names none, or one of its own, and what it requires, and nothing that it ignores",
		upstream:    []string{"DirectTransport 6", "3.22.0 to 3.24.2"},
		run:         testDirectDataSubchannels,
	},
	{
		name:        "DirectData/MessageSizes",
		explanation: "wrong sizes are ErrInvalidArgument; a longer message is dropped without an error, in either direction",
		upstream:    []string{"DirectTransport 2"},
		run:         testDirectDataMessageSizes,
	},
	{
		name:        "DirectData/Empty",
		explanation: "an empty text or binary message is one byte with a PPID that says so; of another PPID it is ErrInvalidArgument",
		run:         testDirectDataEmpty,
	},
	{
		name:        "DirectData/Copied",
		explanation: "what was sent belongs to the caller again; what a listener got stays as it is",
		run:         testDirectDataCopied,
	},
	{
		name:        "DirectData/SlowListener",
		explanation: "nothing is lost for a listener that is slow: Send is ErrUnavailable while too much waits",
		run:         testDirectDataSlowListener,
	},
}

func testDirectDataMessages(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produceData(t, tr, mafalda.DataProducerOptions{Label: "foo", Protocol: "bar"})
	require.Equal(t, mafalda.DataProducerTypeDirect, p.Type())
	require.Nil(t, p.SCTPStreamParameters())
	c, got := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	sent := 0
	send := func(n int) (bytes int) {
		t.Helper()
		for range n {
			m := mafalda.DataMessage{Data: []byte(strings.Repeat("b", sent%50+1))}
			if sent < 100 {
				m.PPID = mafalda.PPIDString
			}
			require.NoError(t, p.Send(m))
			bytes += len(m.Data)
			sent++
		}
		return bytes
	}
	all := send(100)
	require.NoError(t, p.Pause(t.Context()))
	paused := send(10)
	require.NoError(t, p.Resume(t.Context()))
	require.NoError(t, c.Pause(t.Context()))
	paused += send(20)
	require.NoError(t, c.Resume(t.Context()))
	all += send(70) + paused
	for i := range 170 {
		number := i
		if i >= 100 {
			number += 30
		}
		m := receive(t, got, "a message")
		require.Len(t, m.Data, number%50+1)
		require.Equal(t, number < 100, m.PPID == mafalda.PPIDString)
		require.Equal(t, number >= 100, m.PPID == mafalda.PPIDBinary)
	}
	ps, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 200, ps[0].MessagesReceived)
	require.EqualValues(t, all, ps[0].BytesReceived)
	cs, err := c.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 170, cs[0].MessagesSent)
	require.EqualValues(t, all-paused, cs[0].BytesSent)
	ts := transportStats(t, tr)
	require.EqualValues(t, all, ts.BytesReceived)
	require.EqualValues(t, all-paused, ts.BytesSent)
	require.Empty(t, got)
}

func testDirectDataSubchannels(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produceData(t, tr, mafalda.DataProducerOptions{})
	one, got1 := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Subchannels: []uint16{1, 11, 666}})
	two, got2 := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Subchannels: []uint16{2, 22, 666}})
	none, got3 := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	send := func(to string, required, ignored *uint16, list ...uint16) {
		t.Helper()
		m := mafalda.TextMessage(to)
		m.Subchannels, m.RequiredSubchannel, m.IgnoredSubchannel = list, required, ignored
		require.NoError(t, p.Send(m))
	}
	n := func(v uint16) *uint16 { return &v }
	send("123", nil, nil)
	send("12", nil, nil, 1, 2)
	send("12", n(666), nil, 11, 22, 33)
	send("", n(666), nil, 3)
	send("", n(3), nil, 666)
	send("1", nil, nil, 1)
	send("1", n(1), nil, 11)
	send("1", n(11), nil, 666)
	send("2", n(2), nil, 666)
	send("12", n(666), nil)
	send("3", nil, n(666))
	send("13", nil, n(2))
	send("2", nil, n(11), 2, 1)
	require.NoError(t, two.SetSubchannels(t.Context(), append(two.Subchannels(), 1)))
	send("12", n(666), nil, 1)
	send("123", nil, nil)
	for who, got := range map[string]<-chan mafalda.DataMessage{"1": got1, "2": got2, "3": got3} {
		for range map[string]int{"1": 10, "2": 8, "3": 4}[who] {
			require.Contains(t, text(t, got), who)
		}
	}
	for _, c := range []mafalda.DataConsumer{one, two, none} {
		_, err := c.Stats(t.Context())
		require.NoError(t, err)
	}
	for _, got := range []<-chan mafalda.DataMessage{got1, got2, got3} {
		require.Empty(t, got)
	}
}

func testDirectDataMessageSizes(t *testing.T, s *suite) {
	r := s.room(t)
	for _, o := range []mafalda.DirectTransportOptions{{MaxSendMessageSize: -2000}, {MaxReceiveMessageSize: -1}, {MaxReceiveMessageSize: 1 << 32}} {
		_, err := r.router.CreateDirectTransport(t.Context(), o)
		requireError(t, err, mafalda.ErrInvalidArgument)
	}
	tr, err := r.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{MaxSendMessageSize: 10, MaxReceiveMessageSize: 20})
	require.NoError(t, err)
	d := dumpTransport(t, tr)
	require.Equal(t, 10, d.MaxSendMessageSize)
	require.Equal(t, 20, d.MaxReceiveMessageSize)
	wide := r.direct(t)
	d = dumpTransport(t, wide)
	require.Equal(t, 262144, d.MaxSendMessageSize)
	require.Equal(t, 262144, d.MaxReceiveMessageSize)
	p := produceData(t, tr, mafalda.DataProducerOptions{})
	_, narrow := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	_, all := consumeDirect(t, wide, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	for _, n := range []int{10, 11, 20, 21, 1} {
		require.NoError(t, p.Send(mafalda.DataMessage{Data: make([]byte, n)}))
	}
	for _, n := range []int{10, 1} {
		require.Len(t, receive(t, narrow, "a message").Data, n)
	}
	for _, n := range []int{10, 11, 20, 1} {
		require.Len(t, receive(t, all, "a message").Data, n)
	}
}

func testDirectDataEmpty(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produceData(t, tr, mafalda.DataProducerOptions{})
	_, got := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	for _, test := range []struct {
		m    mafalda.DataMessage
		ppid mafalda.PPID
		data string
	}{
		{mafalda.TextMessage(""), mafalda.PPIDStringEmpty, " "},
		{mafalda.DataMessage{}, mafalda.PPIDBinaryEmpty, "\x00"},
		{mafalda.DataMessage{PPID: mafalda.PPIDStringEmpty, Data: []byte("y")}, mafalda.PPIDStringEmpty, " "},
		{mafalda.DataMessage{PPID: mafalda.PPIDBinaryEmpty, Data: []byte("y")}, mafalda.PPIDBinaryEmpty, "\x00"},
		{mafalda.DataMessage{PPID: 99, Data: []byte("x")}, 99, "x"},
	} {
		require.NoError(t, p.Send(test.m))
		require.Equal(t, mafalda.DataMessage{PPID: test.ppid, Data: []byte(test.data)}, receive(t, got, "a message"))
	}
	requireError(t, p.Send(mafalda.DataMessage{PPID: 99}), mafalda.ErrInvalidArgument)
}

func testDirectDataCopied(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produceData(t, tr, mafalda.DataProducerOptions{})
	_, got := consumeDirect(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Subchannels: []uint16{5}})
	m := mafalda.DataMessage{Data: []byte("mine"), Subchannels: []uint16{5}, RequiredSubchannel: new(uint16(5))}
	require.NoError(t, p.Send(m))
	copy(m.Data, "xxxx")
	m.Subchannels[0], *m.RequiredSubchannel = 6, 6
	first := receive(t, got, "a message")
	require.Equal(t, "mine", string(first.Data))
	require.NoError(t, p.Send(mafalda.TextMessage("next")))
	require.Equal(t, "next", text(t, got))
	require.Equal(t, "mine", string(first.Data))
}

func testDirectDataSlowListener(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produceData(t, tr, mafalda.DataProducerOptions{})
	c := consumeData(t, tr, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	let := make(chan struct{})
	got := make(chan byte, 4096)
	c.Events().Message.On(func(m mafalda.DataMessage) {
		<-let
		got <- m.Data[0]
	})
	b := make([]byte, 200_000)
	sent := 0
	var err error
	for ; sent < 2000; sent++ {
		b[0] = byte(sent)
		if err = p.Send(mafalda.DataMessage{Data: b}); err != nil {
			break
		}
	}
	requireError(t, err, mafalda.ErrUnavailable)
	require.Positive(t, sent)
	close(let)
	for i := range sent {
		require.Equal(t, byte(i), receive(t, got, "a message"))
	}
	eventually(t, "messages are taken again", func() bool { return p.Send(mafalda.TextMessage("x")) == nil })
}
