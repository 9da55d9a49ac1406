package acceptance

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var rtpObserverCases = []testCase{
	{
		name:        "RTPObserver/Create",
		explanation: "an RTPObserver is open and not paused, keeps appData, is told by NewRTPObserver before the call returns, with the caller's value, and is listed and dumped in the order of creation",
		upstream:    []string{"AudioLevelObserver 1", "ActiveSpeakerObserver 1"},
		run:         testRTPObserverCreate,
	},
	{
		name:        "RTPObserver/WrongOptions",
		explanation: "a wrong option is ErrInvalidArgument, and nothing is created",
		upstream:    []string{"AudioLevelObserver 2", "ActiveSpeakerObserver 2"},
		run:         testRTPObserverWrongOptions,
	},
	{
		name:        "RTPObserver/Pause",
		explanation: "Pause and Resume set the flag and are heard on flips only",
		upstream:    []string{"AudioLevelObserver 3", "ActiveSpeakerObserver 3"},
		run:         testRTPObserverPause,
	},
	{
		name:        "RTPObserver/Close",
		explanation: "Close is idempotent, heard once, and takes the RTPObserver from lists and dumps; later calls give ErrClosed",
		upstream:    []string{"AudioLevelObserver 4", "ActiveSpeakerObserver 4"},
		run:         testRTPObserverClose,
	},
	{
		name:        "RTPObserver/RouterClose",
		explanation: "when its Router closes, after its transports, an RTPObserver hears RouterClose and its observer Close, then the Router's Close comes",
		upstream:    []string{"AudioLevelObserver 5", "ActiveSpeakerObserver 5"},
		run:         testRTPObserverRouterClose,
	},
	{
		name:        "RTPObserver/WorkerClose",
		explanation: "when the Worker closes, an RTPObserver hears RouterClose and its observer Close; later calls give ErrWorkerClosed",
		upstream:    []string{"AudioLevelObserver 6", "ActiveSpeakerObserver 6"},
		run:         testRTPObserverWorkerClose,
	},
	{
		name:        "RTPObserver/Producers",
		explanation: "audio Producers of the Router can be added and removed, which the observer hears; twice is an error of ActiveSpeakerObservers only; a closed Producer leaves in silence",
		upstream:    []string{"newer 9"},
		run:         testRTPObserverProducers,
	},
	{
		name:        "RTPObserver/Volumes",
		explanation: "volumes of the loudest Producers, the loudest first, at least as loud as the threshold and at most as many as asked for; then silence, once",
		run:         testRTPObserverVolumes,
	},
	{
		name:        "RTPObserver/PausedIsSilent",
		explanation: "an AudioLevelObserver that is paused after sound says Silence, and hears nothing until it is resumed; a paused Producer is not heard",
		run:         testRTPObserverPausedIsSilent,
	},
	{
		name:        "RTPObserver/DominantSpeaker",
		explanation: "a single Producer dominates; of several, who speaks; when the dominant one closes, another one does",
		run:         testRTPObserverDominantSpeaker,
	},
}

func (r *room) audioLevels(t testing.TB, o mafalda.AudioLevelObserverOptions) mafalda.AudioLevelObserver {
	t.Helper()
	x, err := r.router.CreateAudioLevelObserver(t.Context(), o)
	require.NoError(t, err)
	return x
}

func (r *room) activeSpeaker(t testing.TB, o mafalda.ActiveSpeakerObserverOptions) mafalda.ActiveSpeakerObserver {
	t.Helper()
	x, err := r.router.CreateActiveSpeakerObserver(t.Context(), o)
	require.NoError(t, err)
	return x
}

// observers has one RTPObserver of each type.
func (r *room) observers(t testing.TB) []mafalda.RTPObserver {
	t.Helper()
	return []mafalda.RTPObserver{
		r.audioLevels(t, mafalda.AudioLevelObserverOptions{}), r.activeSpeaker(t, mafalda.ActiveSpeakerObserverOptions{}),
	}
}

func testRTPObserverCreate(t *testing.T, s *suite) {
	r := s.room(t)
	var seen []mafalda.RTPObserver
	r.router.Observer().NewRTPObserver.On(func(x mafalda.RTPObserver) {
		seen = append(seen, x)
		require.Equal(t, seen, r.router.RTPObservers())
	})
	a := r.audioLevels(t, mafalda.AudioLevelObserverOptions{AppData: "foo"})
	b := r.activeSpeaker(t, mafalda.ActiveSpeakerObserverOptions{AppData: "bar"})
	c := r.audioLevels(t, mafalda.AudioLevelObserverOptions{MaxEntries: 65535, Threshold: new(-127), Interval: 5 * time.Second})
	d := r.activeSpeaker(t, mafalda.ActiveSpeakerObserverOptions{Interval: 100 * time.Millisecond})
	require.Equal(t, []mafalda.RTPObserver{a, b, c, d}, seen)
	require.Equal(t, seen, r.router.RTPObservers())
	require.Equal(t, []any{"foo", "bar", nil, nil}, []any{a.AppData(), b.AppData(), c.AppData(), d.AppData()})
	a.SetAppData(1)
	require.Equal(t, 1, a.AppData())
	var ids []string
	for _, x := range seen {
		require.False(t, x.Closed())
		require.False(t, x.Paused())
		ids = append(ids, x.ID())
	}
	require.Equal(t, mafalda.RTPObserverTypeAudioLevel, a.Type())
	require.Equal(t, mafalda.RTPObserverTypeActiveSpeaker, b.Type())
	require.Equal(t, ids, dumpRouter(t, r.router).RTPObserverIDs)
	dump, err := r.worker.Dump(t.Context())
	require.NoError(t, err)
	require.Subset(t, dump.MessageHandlers.RequestHandlers, ids)
	require.NotContains(t, dump.MessageHandlers.NotificationHandlers, ids[0])
}

func testRTPObserverWrongOptions(t *testing.T, s *suite) {
	r := s.room(t)
	r.router.Observer().NewRTPObserver.On(func(mafalda.RTPObserver) { t.Error("something was created") })
	for name, o := range map[string]mafalda.AudioLevelObserverOptions{
		"no entries":        {MaxEntries: -10},
		"too many entries":  {MaxEntries: 65536},
		"threshold above 0": {Threshold: new(1)},
		"threshold too low": {Threshold: new(-128)},
		"short interval":    {Interval: 249 * time.Millisecond},
		"long interval":     {Interval: 5001 * time.Millisecond},
		"negative interval": {Interval: -time.Second},
	} {
		x, err := r.router.CreateAudioLevelObserver(t.Context(), o)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		require.Nil(t, x, name)
	}
	for name, d := range map[string]time.Duration{
		"short": 99 * time.Millisecond, "long": 5001 * time.Millisecond, "negative": -time.Second,
	} {
		x, err := r.router.CreateActiveSpeakerObserver(t.Context(), mafalda.ActiveSpeakerObserverOptions{Interval: d})
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
		require.Nil(t, x, name)
	}
	require.Empty(t, r.router.RTPObservers())
	require.Empty(t, dumpRouter(t, r.router).RTPObserverIDs)
}

func testRTPObserverPause(t *testing.T, s *suite) {
	r := s.room(t)
	for _, x := range r.observers(t) {
		var j journal
		note(&j, &x.Observer().Pause, "pause")
		note(&j, &x.Observer().Resume, "resume")
		require.NoError(t, x.Resume(t.Context()))
		require.NoError(t, x.Pause(t.Context()))
		require.True(t, x.Paused())
		require.NoError(t, x.Pause(t.Context()))
		require.True(t, x.Paused())
		require.NoError(t, x.Resume(t.Context()))
		require.NoError(t, x.Resume(t.Context()))
		require.False(t, x.Paused())
		require.Equal(t, []string{"pause", "resume"}, j.read())
	}
}

// requireObserverRefuses checks that every call gives err.
func requireObserverRefuses(t testing.TB, x mafalda.RTPObserver, producerID string, err error) {
	t.Helper()
	requireError(t, x.Pause(t.Context()), err)
	requireError(t, x.Resume(t.Context()), err)
	requireError(t, x.AddProducer(t.Context(), producerID), err)
	requireError(t, x.RemoveProducer(t.Context(), producerID), err)
	require.NoError(t, x.Close())
}

func testRTPObserverClose(t *testing.T, s *suite) {
	r := s.room(t)
	p := produce(t, r.direct(t), mafalda.MediaKindAudio, audio("", 1))
	other := r.audioLevels(t, mafalda.AudioLevelObserverOptions{})
	for _, x := range r.observers(t) {
		require.NoError(t, x.AddProducer(t.Context(), p.ID()))
		var j journal
		note(&j, &x.Observer().Close, "close")
		note(&j, &x.Events().RouterClose, "routerclose")
		require.NoError(t, x.Close())
		require.True(t, x.Closed())
		done(t, x)
		requireObserverRefuses(t, x, p.ID(), mafalda.ErrClosed)
		require.Equal(t, []string{"close"}, j.read())
	}
	require.Equal(t, []mafalda.RTPObserver{other}, r.router.RTPObservers())
	d := dumpRouter(t, r.router)
	require.Equal(t, []string{other.ID()}, d.RTPObserverIDs)
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: p.ID(), Values: []string{}}}, d.MapProducerIDObserverIDs)
	require.False(t, p.Closed())
}

func testRTPObserverRouterClose(t *testing.T, s *suite) {
	r := s.room(t)
	var j journal
	x := r.observers(t)
	tr := r.direct(t)
	note(&j, &tr.Observer().Close, "transport close")
	for i, name := range []string{"levels", "speaker"} {
		note(&j, &x[i].Events().RouterClose, name+" routerclose")
		note(&j, &x[i].Observer().Close, name+" close")
	}
	note(&j, &r.router.Observer().Close, "router close")
	p := produce(t, tr, mafalda.MediaKindAudio, audio("", 1))
	require.NoError(t, r.router.Close())
	done(t, r.router)
	require.Equal(t, []string{
		"transport close", "levels routerclose", "levels close", "speaker routerclose", "speaker close", "router close",
	}, j.read())
	for _, x := range x {
		requireObserverRefuses(t, x, p.ID(), mafalda.ErrClosed)
	}
	require.Empty(t, r.router.RTPObservers())
	_, err := r.router.CreateAudioLevelObserver(t.Context(), mafalda.AudioLevelObserverOptions{})
	requireError(t, err, mafalda.ErrClosed)
	_, err = r.router.CreateActiveSpeakerObserver(t.Context(), mafalda.ActiveSpeakerObserverOptions{})
	requireError(t, err, mafalda.ErrClosed)
}

func testRTPObserverWorkerClose(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.observers(t)
	var j journal
	for i, name := range []string{"levels", "speaker"} {
		note(&j, &x[i].Events().RouterClose, name+" routerclose")
		note(&j, &x[i].Observer().Close, name+" close")
	}
	require.NoError(t, r.worker.Close())
	done(t, r.worker)
	require.Equal(t, []string{"levels routerclose", "levels close", "speaker routerclose", "speaker close"}, j.read())
	for _, x := range x {
		require.True(t, x.Closed())
		requireObserverRefuses(t, x, "x", mafalda.ErrWorkerClosed)
	}
}

func testRTPObserverProducers(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.direct(t)
	p := produce(t, tr, mafalda.MediaKindAudio, audio("", 1))
	v := produce(t, tr, mafalda.MediaKindVideo, video("", 11))
	elsewhere := newRoom(t, r.worker)
	foreign := produce(t, elsewhere.direct(t), mafalda.MediaKindAudio, audio("", 1))
	x := r.observers(t)
	for _, x := range x {
		var added, removed []mafalda.Producer
		x.Observer().AddProducer.On(func(p mafalda.Producer) { added = append(added, p) })
		x.Observer().RemoveProducer.On(func(p mafalda.Producer) { removed = append(removed, p) })
		requireError(t, x.AddProducer(t.Context(), "bogus"), mafalda.ErrNotFound)
		requireError(t, x.AddProducer(t.Context(), foreign.ID()), mafalda.ErrNotFound)
		requireError(t, x.AddProducer(t.Context(), v.ID()), mafalda.ErrInvalidArgument)
		requireError(t, x.RemoveProducer(t.Context(), "bogus"), mafalda.ErrNotFound)
		require.Empty(t, added)
		require.Empty(t, removed)
		require.NoError(t, x.RemoveProducer(t.Context(), p.ID()), "never added")
		require.NoError(t, x.AddProducer(t.Context(), p.ID()))
		again := x.AddProducer(t.Context(), p.ID())
		if x.Type() == mafalda.RTPObserverTypeActiveSpeaker {
			requireError(t, again, mafalda.ErrInvalidState)
		} else {
			require.NoError(t, again)
		}
		require.NoError(t, x.RemoveProducer(t.Context(), p.ID()))
		require.NoError(t, x.AddProducer(t.Context(), p.ID()))
		added = slices.Compact(added)
		require.Equal(t, []mafalda.Producer{p}, added)
		require.Equal(t, []mafalda.Producer{p, p}, removed)
		x.Observer().RemoveProducer.On(func(mafalda.Producer) { t.Error("a closed Producer leaves in silence") })
	}
	require.Equal(t, []mafalda.KeyValues[string, string]{
		{Key: p.ID(), Values: []string{x[0].ID(), x[1].ID()}}, {Key: v.ID(), Values: []string{}},
	}, dumpRouter(t, r.router).MapProducerIDObserverIDs)
	require.NoError(t, p.Close())
	require.Equal(t, []mafalda.KeyValues[string, string]{{Key: v.ID(), Values: []string{}}},
		dumpRouter(t, r.router).MapProducerIDObserverIDs)
	requireError(t, x[0].RemoveProducer(t.Context(), p.ID()), mafalda.ErrNotFound)
}

// A talker sends audio packets with levels.
type talker struct {
	p   mafalda.Producer
	src *source
}

func (r *room) talkers(t testing.TB, n int) []talker {
	t.Helper()
	tr := r.direct(t)
	var list []talker
	for i := range uint32(n) {
		p := audio(string(rune('a'+i)), i+1)
		list = append(list, talker{produce(t, tr, mafalda.MediaKindAudio, p), opusSource(i + 1)})
	}
	return list
}

// talk sends n packets of a level, 0 (loudest) to 127, at once.
func (x *talker) talk(t testing.TB, n int, level uint8) {
	t.Helper()
	for range n {
		require.NoError(t, x.p.Send(marshal(t, x.src.packet([]byte("la la"), extended(t, 12, []byte{level})))))
	}
}

// A levelClock is an AudioLevelObserver with a talker of its own. Between two of
// its events each other one has the end of an interval.
type levelClock struct {
	talker
	volumes <-chan []mafalda.AudioLevelVolume
	silence <-chan struct{}
}

func (r *room) levelClock(t testing.TB) *levelClock {
	t.Helper()
	x := r.audioLevels(t, mafalda.AudioLevelObserverOptions{Interval: 250 * time.Millisecond})
	c := &levelClock{r.talkers(t, 1)[0], hear(t, &x.Events().Volumes), hear(t, &x.Events().Silence)}
	require.NoError(t, x.AddProducer(t.Context(), c.p.ID()))
	return c
}

// interval waits until intervals of 250 ms with what was sent before have ended.
func (c *levelClock) interval(t testing.TB) {
	t.Helper()
	c.talk(t, 40, 30)
	receive(t, c.volumes, "Volumes of the clock")
	receive(t, c.silence, "Silence of the clock")
	drain(c.volumes) // the packets may have been in two
}

func testRTPObserverVolumes(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.audioLevels(t, mafalda.AudioLevelObserverOptions{MaxEntries: 2, Threshold: new(-60), Interval: 250 * time.Millisecond})
	list := r.talkers(t, 4)
	for i := range list {
		require.NoError(t, x.AddProducer(t.Context(), list[i].p.ID()))
	}
	var j journal
	note(&j, &x.Events().Volumes, "volumes")
	note(&j, &x.Events().Silence, "silence")
	volumes := hear(t, &x.Events().Volumes)
	seen, seenSilence := hear(t, &x.Observer().Volumes), hear(t, &x.Observer().Silence)
	want := []mafalda.AudioLevelVolume{{Producer: list[1].p, Volume: -20}, {Producer: list[2].p, Volume: -40}}
	// An interval may end in the middle of the packets.
	for range 20 {
		list[3].talk(t, 15, 61)
		list[0].talk(t, 15, 50)
		list[1].talk(t, 15, 20)
		list[2].talk(t, 15, 40)
		v := receive(t, volumes, "Volumes")
		require.Equal(t, v, receive(t, seen, "Volumes of the observer"))
		require.LessOrEqual(t, len(v), 2)
		require.NotEmpty(t, v)
		require.True(t, slices.IsSortedFunc(v, func(a, b mafalda.AudioLevelVolume) int { return b.Volume - a.Volume }))
		if slices.Equal(v, want) {
			want = nil
			break
		}
	}
	require.Nil(t, want, "volumes of the loudest two never came")
	var heard []string
	eventually(t, "Silence", func() bool {
		heard = j.read()
		return heard[len(heard)-1] == "silence"
	})
	receive(t, seenSilence, "Silence of the observer")
	list[1].talk(t, 40, 90)
	r.levelClock(t).interval(t)
	require.Equal(t, heard, j.read(), "silence comes once, and nothing of what is below the threshold")
}

func testRTPObserverPausedIsSilent(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.audioLevels(t, mafalda.AudioLevelObserverOptions{Interval: 250 * time.Millisecond})
	list := r.talkers(t, 1)
	a := &list[0]
	require.NoError(t, x.AddProducer(t.Context(), a.p.ID()))
	var j journal
	note(&j, &x.Events().Volumes, "volumes")
	note(&j, &x.Events().Silence, "silence")
	volumes := hear(t, &x.Events().Volumes)
	last := func() string { // what is told now
		names := j.read()
		if len(names) == 0 {
			return ""
		}
		return names[len(names)-1]
	}
	heard := func() {
		t.Helper()
		drain(volumes)
		a.talk(t, 40, 30)
		require.Equal(t, []mafalda.AudioLevelVolume{{Producer: a.p, Volume: -30}}, receive(t, volumes, "Volumes"))
	}
	clock := r.levelClock(t)
	unheard := func() {
		t.Helper()
		told := j.read()
		a.talk(t, 40, 30)
		clock.interval(t)
		require.Equal(t, told, j.read())
	}
	heard()
	require.NoError(t, x.Pause(t.Context()))
	require.Equal(t, "silence", last(), "it is emitted before Pause returns")
	silences := j.count("silence")
	require.NoError(t, x.Pause(t.Context()))
	require.Equal(t, silences, j.count("silence"))
	unheard()
	require.NoError(t, x.Resume(t.Context()))
	heard()
	require.NoError(t, a.p.Pause(t.Context()))
	eventually(t, "who is paused is silent", func() bool { return last() == "silence" })
	unheard()
	require.NoError(t, a.p.Resume(t.Context()))
	heard()
}

func testRTPObserverDominantSpeaker(t *testing.T, s *suite) {
	r := s.room(t)
	x := r.activeSpeaker(t, mafalda.ActiveSpeakerObserverOptions{Interval: 100 * time.Millisecond})
	list := r.talkers(t, 3)
	speakers, seen := hear(t, &x.Events().DominantSpeaker), hear(t, &x.Observer().DominantSpeaker)
	next := func() mafalda.Producer {
		t.Helper()
		d := receive(t, speakers, "DominantSpeaker")
		require.Equal(t, d, receive(t, seen, "DominantSpeaker of the observer"))
		return d.Producer
	}
	require.NoError(t, x.AddProducer(t.Context(), list[0].p.ID()))
	require.Equal(t, list[0].p, next())
	require.NoError(t, x.AddProducer(t.Context(), list[1].p.ID()))
	require.NoError(t, x.AddProducer(t.Context(), list[2].p.ID()))
	for _, i := range []int{2, 1} {
		eventually(t, "who spoke before is forgotten", func() bool {
			list[i].talk(t, 1, 110) // the noise of the room
			list[i].talk(t, 50, 10)
			select {
			case d := <-speakers:
				require.Equal(t, list[i].p, d.Producer)
				require.Equal(t, d, receive(t, seen, "DominantSpeaker of the observer"))
				return true
			case <-time.After(20 * time.Millisecond): // after 40 ms it would be silence
				return false
			}
		})
	}
	require.NoError(t, list[1].p.Close())
	require.NotEqual(t, list[1].p, next())
}
