package acceptance

import (
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var scoreCases = []testCase{
	{
		name:        "Score/FirstPacket",
		explanation: "the first packet gives the stream its score of 10, at the Producer and at its Consumers",
		upstream:    []string{"Producer 14", "Consumer 17"},
		run:         testScoreFirstPacket,
	},
	{
		name:        "Score/ProducerLoss",
		explanation: "losses of the sending endpoint lower the Producer's score with its next sender report, and Consumers know",
		upstream:    []string{"Producer 14", "Consumer 17"},
		run:         testScoreProducerLoss,
	},
	{
		name:        "Score/ConsumerLoss",
		explanation: "losses that a receiving endpoint reports lower its Consumer's score",
		upstream:    []string{"Consumer 17"},
		run:         testScoreConsumerLoss,
	},
	{
		name:        "Score/VideoOrientation",
		explanation: "a change of the video orientation is told with what it is",
		run:         testScoreVideoOrientation,
	},
}

func testScoreFirstPacket(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consume(t, r, p)
	scores, observed := hear(t, &p.Events().Score), hear(t, &p.Observer().Score)
	mine, mineObserved := hear(t, &c.Events().Score), hear(t, &c.Observer().Score)
	p.Events().Score.On(func(v []mafalda.ProducerScore) {
		if len(p.Score()) != len(v) {
			t.Error("the getter is behind the event")
		}
	})
	in.sendRTP(t, opusSource(1).packet([]byte("x")))
	want := []mafalda.ProducerScore{{EncodingIdx: 0, SSRC: 1, Score: 10}}
	require.Equal(t, want, receive(t, scores, "the score"))
	require.Equal(t, want, receive(t, observed, "the score at the observer"))
	require.Equal(t, want, p.Score())
	wantC := mafalda.ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []int{10}}
	require.Equal(t, wantC, receive(t, mine, "the Consumer's score"))
	require.Equal(t, wantC, receive(t, mineObserved, "the Consumer's score at the observer"))
	require.Equal(t, wantC, c.Score())
	late := r.consume(t, r.direct(t), p)
	require.Equal(t, wantC, late.Score(), "a later Consumer begins with it")
}

func testScoreProducerLoss(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	c := out.consume(t, r, p)
	scores, mine := hear(t, &p.Events().Score), hear(t, &c.Events().Score)
	src := opusSource(1)
	in.sendRTP(t, src.packet([]byte("x")))
	out.next(t, c)
	require.Equal(t, 10, receive(t, scores, "the first score")[0].Score)
	receive(t, mine, "the Consumer's first score")
	in.sendRTCP(t, senderReport(1, 1, 100))
	for range 20 {
		src.skip(1)
		in.sendRTP(t, src.packet([]byte("x")))
		out.next(t, c)
	}
	in.sendRTCP(t, senderReport(1, 41, 4100))
	v := receive(t, scores, "a worse score")
	require.Less(t, v[0].Score, 8)
	require.Equal(t, v, p.Score())
	worse := receive(t, mine, "the Consumer's score")
	require.Equal(t, mafalda.ConsumerScore{Score: 10, ProducerScore: v[0].Score, ProducerScores: []int{v[0].Score}}, worse)
	require.Equal(t, worse, c.Score())
	stats, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, v[0].Score, stats[0].Score)
}

func testScoreConsumerLoss(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.plainEnd(t, mafalda.PlainTransportOptions{})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	src := opusSource(1)
	var last *rtp.Packet
	for range 20 {
		in.sendRTP(t, src.packet([]byte("x")))
		last = out.next(t, c)
	}
	eventually(t, "the Producer has a score", func() bool { return c.Score().ProducerScore == 10 })
	scores := hear(t, &c.Events().Score)
	out.sendRTCP(t, &rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{
		SSRC: last.SSRC, FractionLost: 128, TotalLost: 10, LastSequenceNumber: uint32(last.SequenceNumber),
	}}})
	v := receive(t, scores, "a worse score")
	require.Less(t, v.Score, 8)
	require.Equal(t, 10, v.ProducerScore)
	require.Equal(t, v, c.Score())
}

func testScoreVideoOrientation(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.directEnd(t)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	changes, observed := hear(t, &p.Events().VideoOrientationChange), hear(t, &p.Observer().VideoOrientationChange)
	src := vp8Source(1)
	for _, v := range []struct {
		b    byte
		want mafalda.ProducerVideoOrientation
	}{
		{0x00, mafalda.ProducerVideoOrientation{}},
		{0x0d, mafalda.ProducerVideoOrientation{Camera: true, Flip: true, Rotation: 90}},
		{0x03, mafalda.ProducerVideoOrientation{Rotation: 270}},
	} {
		for i := range 3 { // only the first is a change
			in.sendRTP(t, src.packet(vp8Key("x"), extended(t, 13, []byte{v.b})))
			out.next(t, c) // heard after what the packet changed
			if i == 0 {
				require.Equal(t, v.want, receive(t, changes, "the orientation"))
				require.Equal(t, v.want, receive(t, observed, "the orientation at the observer"))
			}
			require.Empty(t, changes)
		}
	}
}
