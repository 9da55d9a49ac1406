package interop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// A listener keeps the last that the observers of a Router told.
type listener struct {
	mu       sync.Mutex
	volumes  []mafalda.AudioLevelVolume // of the last interval; nil in silence. guarded by mu
	silences int                        // guarded by mu
	dominant mafalda.Producer           // guarded by mu
	changes  int                        // of dominant; guarded by mu
}

func (l *listener) hear(levels mafalda.AudioLevelObserver, speaker mafalda.ActiveSpeakerObserver) {
	levels.Events().Volumes.On(func(v []mafalda.AudioLevelVolume) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.volumes = v
	})
	levels.Events().Silence.On(func(struct{}) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.volumes = nil
		l.silences++
	})
	speaker.Events().DominantSpeaker.On(func(d mafalda.DominantSpeaker) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dominant = d.Producer
		l.changes++
	})
}

// loud returns an error unless the last volumes are those of these producers,
// the loudest first, with what tones of these amplitudes have.
func (l *listener) loud(amplitudes []float64, producers ...mafalda.Producer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.volumes) != len(producers) {
		return fmt.Errorf("%d volumes", len(l.volumes))
	}
	for i, v := range l.volumes {
		if v.Producer != producers[i] {
			return fmt.Errorf("producer %s is at %d", v.Producer.ID(), i)
		}
		if want := sineLevel(amplitudes[i]); math.Abs(float64(v.Volume)-want) > 3 {
			return fmt.Errorf("volume %d of amplitude %g, which has %.1f dBov", v.Volume, amplitudes[i], want)
		}
	}
	return nil
}

// sineLevel is the level of a sine in dBov, of which a full square wave has 0.
func sineLevel(amplitude float64) float64 { return 20 * math.Log10(amplitude/math.Sqrt2) }

// speakers: two pages talk at once, then by turns, then not at all.
func speakers(t *testing.T, ctx context.Context, pages pair) {
	r := newRoom(t)
	levels, err := r.router.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{MaxEntries: 2, Interval: 500 * time.Millisecond})
	require.NoError(t, err)
	speaker, err := r.router.CreateActiveSpeakerObserver(ctx, mafalda.ActiveSpeakerObserverOptions{})
	require.NoError(t, err)
	heard := &listener{}
	heard.hear(levels, speaker)
	a, b := r.join(t, ctx, pages.a, network{}), r.join(t, ctx, pages.b, network{})
	voiceA, voiceB := a.sendAudio(t, ctx, 440), b.sendAudio(t, ctx, 600)
	for _, o := range []mafalda.RTPObserver{levels, speaker} {
		for _, p := range []mafalda.Producer{voiceA, voiceB} {
			require.NoError(t, o.AddProducer(ctx, p.ID()))
		}
	}
	// say sets the amplitudes and waits for what the observers make of them.
	say := func(what string, ofA, ofB float64, f func() error) {
		t.Helper()
		require.NoError(t, errors.Join(
			a.do(ctx, "amplitude", map[string]any{"value": ofA}, nil),
			b.do(ctx, "amplitude", map[string]any{"value": ofB}, nil),
		))
		begin := time.Now()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		until(t, ctx, what, func() (bool, error) {
			err := f()
			return err == nil, err
		})
		heard.mu.Lock()
		defer heard.mu.Unlock()
		var volumes []int
		for _, v := range heard.volumes {
			volumes = append(volumes, v.Volume)
		}
		figures("speakers: %s after %d ms, volumes %d", what, time.Since(begin).Milliseconds(), volumes)
	}
	dominates := func(p mafalda.Producer) error {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		if heard.dominant != p {
			return errors.New("another one dominates")
		}
		return nil
	}
	say("a is louder than b", 0.5, 0.05, func() error { return heard.loud([]float64{0.5, 0.05}, voiceA, voiceB) })
	say("b is louder than a", 0.1, 0.4, func() error { return heard.loud([]float64{0.4, 0.1}, voiceB, voiceA) })
	for range 2 {
		say("a speaks and dominates", 0.5, 0, func() error {
			return errors.Join(dominates(voiceA), heard.loud([]float64{0.5}, voiceA))
		})
		say("b speaks and dominates", 0, 0.3, func() error {
			return errors.Join(dominates(voiceB), heard.loud([]float64{0.3}, voiceB))
		})
	}
	silences := func() (int, int) {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return heard.silences, heard.changes
	}
	before, _ := silences()
	say("both are silent", 0, 0, func() error {
		if now, _ := silences(); now == before {
			return errors.New("no silence")
		}
		return nil
	})
	_, changes := silences()
	require.NoError(t, dominates(voiceB), "who spoke last goes on to dominate")
	say("a speaks again", 0.5, 0, func() error { return errors.Join(dominates(voiceA), heard.loud([]float64{0.5}, voiceA)) })
	now, after := silences()
	require.Equal(t, before+1, now, "silence is told of once")
	require.Equal(t, changes+1, after, "nobody else dominated")
}
