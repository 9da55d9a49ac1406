package acceptance

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var killCases = []testCase{
	{
		name:        "Kill/Events",
		explanation: "when the engine under a transport dies, what it had is closed with its causes, children first; Consumers elsewhere hear that their Producer closed; and what lives under another Worker goes on",
		run:         testKillEvents,
	},
	{
		name:        "Kill/Again",
		explanation: "a Worker that survives the death of an engine under it takes the next transports, and its Router forwards between all of them",
		run:         testKillAgain,
	},
}

func testKillEvents(t *testing.T, s *suite) {
	r, other := s.room(t), s.room(t)
	in, out := r.direct(t), r.direct(t)
	p := produce(t, in, mafalda.MediaKindAudio, audio("", 1))
	own, far := r.consume(t, in, p), r.consume(t, out, p)
	var j, there journal
	note(&j, &p.Events().TransportClose, "p transportclose")
	noteIf(t, &j, &p.Observer().Close, "p close", p.Closed)
	note(&j, &own.Events().TransportClose, "own transportclose")
	noteIf(t, &j, &own.Observer().Close, "own close", own.Closed)
	note(&j, &in.Events().RouterClose, "in routerclose")
	noteIf(t, &j, &in.Observer().Close, "in close", in.Closed)
	note(&there, &far.Events().TransportClose, "far transportclose")
	note(&there, &far.Events().ProducerClose, "far producerclose")
	noteIf(t, &there, &far.Observer().Close, "far close", far.Closed)
	require.NoError(t, s.killerUnder(t, r.worker, in)(errors.New("planted")))
	done(t, in)
	done(t, far)
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close", "in routerclose", "in close",
	}, j.read())
	if out.Closed() {
		there.requireOrder(t, "far transportclose", "far close")
	} else {
		require.Equal(t, []string{"far producerclose", "far close"}, there.read())
		require.False(t, r.router.Closed())
	}
	require.False(t, r.router.CanConsume(p.ID(), other.router.RTPCapabilities()))
	require.Equal(t, r.worker.Closed(), r.router.Closed())
	require.Equal(t, r.worker.Closed(), r.worker.Died())
	require.False(t, other.worker.Closed())
	require.False(t, other.router.Closed())
}

func testKillAgain(t *testing.T, s *suite) {
	r := s.room(t)
	for range 3 {
		in, out := r.directEnd(t), r.directEnd(t)
		p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
		c := out.consume(t, r, p)
		in.sendRTP(t, opusSource(1).packet([]byte("hello")))
		require.Equal(t, "hello", string(out.next(t, c).Payload))
		require.NoError(t, s.killerUnder(t, r.worker, in.transport)(errors.New("planted")))
		done(t, in.transport)
		done(t, c)
		if r.worker.Closed() {
			done(t, r.worker)
			r = s.room(t) // and so the application goes on
			continue
		}
		require.NotContains(t, r.router.Transports(), mafalda.Transport(in.transport))
		require.NoError(t, out.transport.Close())
	}
}
