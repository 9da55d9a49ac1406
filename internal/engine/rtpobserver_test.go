package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/timer"
)

// newObserverTest makes two Routers with one transport each, and on the first
// three audio Producers, a, b and c.
func newObserverTest(t *testing.T) *virtualWorld {
	w := newVirtualWorld(t)
	for _, r := range []string{"1", "2"} {
		require.NoError(t, w.m.CreateRouter("r"+r))
		_, err := w.m.CreateDirectTransport("r"+r, DirectTransportOptions{ID: "t" + r})
		require.NoError(t, err)
	}
	for i, id := range []string{"a", "b", "c"} {
		produceAudio(t, w, "t1", id, uint32(i+1))
	}
	return w
}

func produceAudio(t *testing.T, w *virtualWorld, transport, id string, ssrc uint32) {
	params := opusParams(ssrc)
	params.MID = id
	require.NoError(t, produceOn(w.m, transport, ProduceOptions{
		ID: id, Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 100+ssrc),
	}))
}

func TestRTPObserverOperations(t *testing.T) {
	w := newObserverTest(t)
	m := w.m
	require.NoError(t, m.CreateAudioLevelObserver("r1", "al", AudioLevelOptions{MaxEntries: 1, Threshold: -80, Interval: time.Second}))
	require.NoError(t, m.CreateActiveSpeakerObserver("r1", "as", 300*time.Millisecond))
	for name, c := range map[string]struct{ got, want error }{
		"threshold":        {m.CreateAudioLevelObserver("r1", "x", AudioLevelOptions{Threshold: 1}), ErrInvalidArgument},
		"no router":        {m.CreateActiveSpeakerObserver("x", "x", 0), ErrNotFound},
		"id in use":        {m.CreateActiveSpeakerObserver("r1", "al", 0), ErrInvalidState},
		"id of a Producer": {m.CreateAudioLevelObserver("r1", "a", AudioLevelOptions{}), ErrInvalidState},
		"its id, too":      {m.CreateRouter("as"), ErrInvalidState},
		"unknown Producer": {m.AddRTPObserverProducer("al", "x"), ErrNotFound},
		"unknown observer": {m.AddRTPObserverProducer("x", "a"), ErrNotFound},
		"removed unknown":  {m.RemoveRTPObserverProducer("al", "x"), ErrNotFound},
		"never added":      {m.RemoveRTPObserverProducer("al", "a"), nil},
		"added":            {m.AddRTPObserverProducer("al", "a"), nil},
		"pause nobody":     {m.PauseRTPObserver("x"), ErrNotFound},
		"resume nobody":    {m.ResumeRTPObserver("x"), ErrNotFound},
		"close nobody":     {m.CloseRTPObserver("x"), ErrNotFound},
	} {
		assert.ErrorIs(t, c.got, c.want, name)
	}
	assert.NoError(t, m.AddRTPObserverProducer("al", "a"), "again")
	assert.NoError(t, m.AddRTPObserverProducer("as", "a"))
	assert.ErrorIs(t, m.AddRTPObserverProducer("as", "a"), ErrInvalidState, "again")
	produceAudio(t, w, "t2", "d", 9)
	assert.ErrorIs(t, m.AddRTPObserverProducer("al", "d"), ErrNotFound, "of another Router")

	d, err := m.DumpRouter("r1")
	require.NoError(t, err)
	assert.Equal(t, []string{"al", "as"}, d.ObserverIDs)
	assert.Equal(t, []ProducerConsumers{
		{ProducerID: "a", ObserverIDs: []string{"al", "as"}}, {ProducerID: "b"}, {ProducerID: "c"},
	}, d.Producers)
	worker, err := m.Dump()
	require.NoError(t, err)
	assert.Subset(t, worker.RequestHandlers, []string{"al", "as"})

	require.NoError(t, m.CloseRTPObserver("al"))
	require.NoError(t, m.RemoveRTPObserverProducer("as", "a"))
	d, _ = m.DumpRouter("r1")
	assert.Equal(t, []string{"as"}, d.ObserverIDs)
	assert.Equal(t, []ProducerConsumers{{ProducerID: "a"}, {ProducerID: "b"}, {ProducerID: "c"}}, d.Producers)

	require.NoError(t, m.AddRTPObserverProducer("as", "b"))
	require.NoError(t, m.CloseRouter("r1"))
	require.NoError(t, m.CloseRouter("r2"))
	assert.Empty(t, m.rtpObservers)
	_, pending := m.wheel.Next()
	assert.False(t, pending, "a timer is left")
	w.flush()
	assert.Empty(t, w.notes, "nobody is told of what goes with its Router")
}

// A closed Producer leaves its observers, and another one dominates at once.
func TestDominantSpeakerCloses(t *testing.T) {
	w := newObserverTest(t)
	require.NoError(t, w.m.CreateActiveSpeakerObserver("r1", "as", time.Hour)) // that is 5 s
	for _, id := range []string{"a", "b", "c"} {
		require.NoError(t, w.m.AddRTPObserverProducer("as", id))
	}
	dominant := func() (ids []string) {
		w.flush()
		for _, n := range w.notes {
			if d, ok := n.Body.(DominantSpeaker); ok {
				ids = append(ids, d.ProducerID)
			}
		}
		w.notes = nil
		return ids
	}
	w.advance(w.d.now + 4900*time.Millisecond)
	assert.Empty(t, dominant())
	w.advance(w.d.now + 200*time.Millisecond)
	assert.Equal(t, []string{"a"}, dominant())
	require.NoError(t, w.m.CloseProducer("b"))
	assert.Empty(t, dominant())
	require.NoError(t, w.m.CloseProducer("a"))
	assert.Equal(t, []string{"c"}, dominant())
	require.NoError(t, w.m.CloseProducer("c"))
	assert.Empty(t, dominant())
}

// A paused observer hears nothing, and says that it is silent.
func TestPausedRTPObserver(t *testing.T) {
	w := newObserverTest(t)
	require.NoError(t, w.m.CreateAudioLevelObserver("r1", "al", AudioLevelOptions{MaxEntries: 9, Threshold: -127}))
	require.NoError(t, w.m.AddRTPObserverProducer("al", "a"))
	seq := uint16(0)
	run := func(d time.Duration) (heard []string) {
		for end := w.d.now + d; w.d.now < end; {
			seq++
			w.m.producerSend("a", opusPacket(1, seq))
			w.advance(w.d.now + 20*time.Millisecond)
		}
		for _, n := range w.notes {
			if n.Target == "al" {
				heard = append(heard, fmt.Sprintf("%T", n.Body))
			}
		}
		w.notes = nil
		return heard
	}
	assert.Equal(t, []string{"engine.AudioVolumes"}, run(minLevelInterval+40*time.Millisecond))
	require.NoError(t, w.m.PauseRTPObserver("al"))
	require.NoError(t, w.m.PauseRTPObserver("al"))
	assert.Equal(t, []string{"engine.AudioSilence"}, run(time.Second))
	require.NoError(t, w.m.ResumeRTPObserver("al"))
	require.NoError(t, w.m.ResumeRTPObserver("al"))
	assert.Equal(t, []string{"engine.AudioVolumes"}, run(minLevelInterval+40*time.Millisecond))
}

// The timer fires late, but that does not add up.
func TestRTPObserverKeepsTime(t *testing.T) {
	w := newObserverTest(t)
	const interval = minLevelInterval + timer.DefaultTick + time.Millisecond // not a number of ticks
	require.NoError(t, w.m.CreateAudioLevelObserver("r1", "al", AudioLevelOptions{MaxEntries: 1, Interval: interval}))
	w.advance(w.d.now + interval*199 + interval/2)
	next := w.m.rtpObservers["al"].timer.Deadline()
	assert.Equal(t, w.d.now+interval/2, next, "of the 200th time")
	w.turn(next + 3*interval)
	assert.Equal(t, w.d.now+interval, w.m.rtpObservers["al"].timer.Deadline(), "who was away for long hears it once")
}
