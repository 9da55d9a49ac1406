package timer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

type recorder struct {
	w   *Wheel
	log []string
}

func (r *recorder) timer(name string) *Timer {
	t := &Timer{}
	t.Init(func(now time.Duration) { r.log = append(r.log, fmt.Sprintf("%s@%d", name, now/ms)) })
	return t
}

func (r *recorder) take() []string {
	log := r.log
	r.log = nil
	return log
}

func TestWheel(t *testing.T) {
	t.Parallel()
	r := &recorder{w: NewWheel(0)}
	a, b, c := r.timer("a"), r.timer("b"), r.timer("c")

	_, ok := r.w.Next()
	require.False(t, ok)

	r.w.Set(a, 12*ms)
	r.w.Set(b, 11*ms)
	r.w.Set(c, 700*ms)
	require.True(t, a.Pending())
	require.Equal(t, 12*ms, a.Deadline())
	require.Equal(t, 3, r.w.Len())

	at, ok := r.w.Next()
	require.True(t, ok)
	require.Equal(t, 15*ms, at, "rounded up to the tick")

	r.w.Advance(14 * ms)
	require.Empty(t, r.take(), "not before the tick")
	r.w.Advance(15 * ms)
	require.Equal(t, []string{"b@15", "a@15"}, r.take())
	require.False(t, a.Pending())

	at, _ = r.w.Next()
	require.Equal(t, 700*ms, at)
	r.w.Set(a, 698*ms) // same tick, earlier deadline
	r.w.Set(b, 695*ms)
	r.w.Stop(b)
	r.w.Stop(b)
	r.w.Advance(time.Hour)
	require.Equal(t, []string{"a@3600000", "c@3600000"}, r.take())
	_, ok = r.w.Next()
	require.False(t, ok)
	require.Zero(t, r.w.Len())
}

func TestPastDeadline(t *testing.T) {
	t.Parallel()
	r := &recorder{w: NewWheel(5 * ms)}
	r.w.Advance(101 * ms)
	a, b, c := r.timer("a"), r.timer("b"), r.timer("c")
	r.w.Set(a, 50*ms)
	r.w.Set(b, -1)
	r.w.Set(c, 105*ms)
	at, ok := r.w.Next()
	require.True(t, ok)
	require.LessOrEqual(t, at, 101*ms)
	r.w.Advance(101 * ms)
	require.Equal(t, []string{"b@101", "a@101"}, r.take())
	r.w.Set(a, 0)
	r.w.Advance(10 * ms) // backwards
	require.Equal(t, []string{"a@10"}, r.take())
	r.w.Advance(105 * ms)
	require.Equal(t, []string{"c@105"}, r.take())
}

func TestFarDeadline(t *testing.T) {
	t.Parallel()
	for _, tick := range []time.Duration{1, 5 * ms, time.Hour, math.MaxInt64} {
		r := &recorder{w: NewWheel(tick)}
		a := r.timer("a")
		r.w.Set(a, math.MaxInt64)
		at, ok := r.w.Next()
		require.True(t, ok)
		require.Equal(t, time.Duration(math.MaxInt64), at)
		r.w.Advance(1000 * time.Hour)
		require.True(t, a.Pending())
	}
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	w := NewWheel(5 * ms)
	var log []string
	var a, b, c, d Timer
	a.Init(func(now time.Duration) {
		log = append(log, "a")
		require.False(t, a.Pending())
		w.Stop(&b)             // due in the same Advance
		w.Set(&c, 0)           // moved: fires in the next one
		w.Set(&a, now)         // itself, due at once
		w.Advance(time.Minute) // does nothing
		at, ok := w.Next()
		require.True(t, ok)
		require.LessOrEqual(t, at, now)
	})
	b.Init(func(time.Duration) { log = append(log, "b") })
	c.Init(func(time.Duration) { log = append(log, "c") })
	d.Init(func(time.Duration) { log = append(log, "d"); w.Stop(&a); w.Stop(&d) })
	w.Set(&a, 1*ms)
	w.Set(&b, 2*ms)
	w.Set(&c, 3*ms)
	w.Set(&d, 20*ms)
	w.Advance(10 * ms)
	require.Equal(t, []string{"a"}, log)
	w.Advance(10 * ms)
	require.Equal(t, []string{"a", "c", "a"}, log)
	w.Advance(20 * ms) // a is due again, and then stopped by d
	require.Equal(t, []string{"a", "c", "a", "c", "a", "d"}, log)
	require.False(t, a.Pending())
}

// model is the naive wheel: all timers in a slice, searched.
type model struct {
	tick    time.Duration
	current time.Duration // in ticks
	seq     int
	timers  map[int]*modelTimer
}

type modelTimer struct {
	at  time.Duration
	seq int
}

func (m *model) set(id int, at time.Duration) {
	m.seq++
	m.timers[id] = &modelTimer{max(at, 0), m.seq}
}

func (m *model) due(t *modelTimer) time.Duration {
	due := t.at / m.tick
	if t.at%m.tick != 0 {
		due++
	}
	return max(due, m.current)
}

func (m *model) next() (time.Duration, bool) {
	best, ok := time.Duration(math.MaxInt64), false
	for _, t := range m.timers {
		best, ok = min(best, m.due(t)*m.tick), true
	}
	return best, ok
}

// expired returns the id of the earliest timer that was set before limit and is due.
func (m *model) expired(limit int) (int, bool) {
	best := -1
	for id, t := range m.timers {
		if t.seq > limit || m.due(t) > m.current {
			continue
		}
		if best < 0 || t.at < m.timers[best].at || t.at == m.timers[best].at && t.seq < m.timers[best].seq {
			best = id
		}
	}
	return best, best >= 0
}

// play runs one script, of four bytes a step, on a wheel and on the model. What
// callbacks do comes from the script as well.
func play(t testing.TB, script []byte) {
	const n = 24
	type fired struct {
		id  int
		now time.Duration
	}
	w := NewWheel(5 * ms)
	m := &model{tick: 5 * ms, timers: map[int]*modelTimer{}}
	var log []fired
	var timers [n]Timer
	now := time.Duration(0)
	delay := func(a, b byte) time.Duration {
		return (time.Duration(b)*ms - 20*ms) << (a % 20)
	}
	for i := range timers {
		timers[i].Init(func(at time.Duration) {
			log = append(log, fired{i, at})
			other := (i*7 + 3) % n
			switch i % 6 {
			case 0:
				w.Set(&timers[i], at+time.Duration(i)*ms)
			case 1:
				w.Stop(&timers[other])
			case 2:
				w.Set(&timers[other], at+time.Duration(i*i)*ms)
			case 3:
				w.Set(&timers[other], at-time.Duration(i)*ms)
			}
		})
	}
	for ; len(script) >= 4; script = script[4:] {
		id := int(script[1]) % n
		switch script[0] % 4 {
		case 0, 1:
			at := now + delay(script[2], script[3])
			w.Set(&timers[id], at)
			m.set(id, at)
		case 2:
			w.Stop(&timers[id])
			delete(m.timers, id)
		case 3:
			now += max(delay(script[2], script[3]), 0) + time.Duration(script[1])*time.Microsecond
			log = nil
			w.Advance(now)
			m.current = max(m.current, now/m.tick)
			limit := m.seq
			k := 0
			for id, ok := m.expired(limit); ok; id, ok = m.expired(limit) {
				delete(m.timers, id)
				if k >= len(log) || log[k] != (fired{id, now}) {
					t.Fatalf("Advance(%v) fired %v, want timer %d at place %d", now, log, id, k)
				}
				k++
				other := (id*7 + 3) % n
				switch id % 6 {
				case 0:
					m.set(id, now+time.Duration(id)*ms)
				case 1:
					delete(m.timers, other)
				case 2:
					m.set(other, now+time.Duration(id*id)*ms)
				case 3:
					m.set(other, now-time.Duration(id)*ms)
				}
			}
			if k != len(log) {
				t.Fatalf("Advance(%v) fired %v, want %d", now, log, k)
			}
		}
		gotAt, gotOK := w.Next()
		wantAt, wantOK := m.next()
		if gotOK != wantOK || gotOK && gotAt != wantAt {
			t.Fatalf("Next() = %v, %v, want %v, %v", gotAt, gotOK, wantAt, wantOK)
		}
		if w.Len() != len(m.timers) {
			t.Fatalf("Len() = %d, want %d", w.Len(), len(m.timers))
		}
		for i := range timers {
			if _, want := m.timers[i]; timers[i].Pending() != want {
				t.Fatalf("Pending() of timer %d = %v, want %v", i, !want, want)
			}
		}
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		script := make([]byte, 4*400)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		// Half of the scripts stay on the lower levels.
		if rng.IntN(2) == 0 {
			for i := 2; i < len(script); i += 4 {
				script[i] %= 4
			}
		}
		play(t, script)
	}
}

func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 1, 0, 50, 0, 2, 3, 40, 3, 0, 2, 60, 2, 1, 0, 0, 3, 9, 9, 9})
	f.Add([]byte{0, 3, 0, 22, 0, 0, 0, 22, 0, 2, 0, 21, 3, 0, 0, 30, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		play(t, script[:min(len(script), 4*300)])
	})
}

func TestAllocs(t *testing.T) {
	w := NewWheel(5 * ms)
	timers := make([]Timer, 1000)
	for i := range timers {
		timers[i].Init(func(now time.Duration) { w.Set(&timers[i], now+time.Duration(i*i%977)*ms) })
		w.Set(&timers[i], time.Duration(i)*ms)
	}
	now := time.Duration(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now += 20 * ms
		w.Set(&timers[5], now+time.Second)
		w.Stop(&timers[6])
		w.Next()
		w.Advance(now)
	}))
}

func BenchmarkSetStop(b *testing.B) {
	w := NewWheel(5 * ms)
	timers := make([]Timer, 4096)
	for i := range timers {
		timers[i].Init(func(time.Duration) {})
		w.Set(&timers[i], time.Duration(i*37%10000)*ms)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		t := &timers[i&4095]
		w.Stop(t)
		w.Set(t, time.Duration(i*101%10000)*ms)
		i++
	}
}

// BenchmarkAdvance turns a wheel of 4,096 periodic timers by one tick: about 40
// of them fire.
func BenchmarkAdvance(b *testing.B) {
	w := NewWheel(5 * ms)
	timers := make([]Timer, 4096)
	fired := 0
	for i := range timers {
		timers[i].Init(func(now time.Duration) {
			fired++
			w.Set(&timers[i], now+500*ms+time.Duration(i%7)*ms)
		})
		w.Set(&timers[i], time.Duration(i*37%500)*ms)
	}
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 5 * ms
		w.Advance(now)
		w.Next()
	}
	b.ReportMetric(float64(b.Elapsed())/float64(max(fired, 1)), "ns/timer")
}
