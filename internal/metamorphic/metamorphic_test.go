package metamorphic

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
	"github.com/mafalda-sfu/mafalda/wrap"
)

var (
	long = flag.Bool("long", false, "run ten thousand programs")
	seed = flag.Uint64("seed", 0, "run the program of this seed alone")
	file = flag.String("program", "", "run the program in this file alone")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is what the others are compared with.
var plain = target{name: "plain", new: func(real mafalda.SFU) mafalda.SFU { return real }}

// targets are the implementations that must not differ from it.
var targets = []target{
	{name: "wrap", new: func(real mafalda.SFU) mafalda.SFU { return wrap.New(real) }},
	{name: "wrap over wrap", new: func(real mafalda.SFU) mafalda.SFU { return wrap.New(wrap.New(real)) }},
	{name: "vertical on one Worker", new: func(real mafalda.SFU) mafalda.SFU { return spread(real, 1) }},
	{name: "vertical on three Workers", new: func(real mafalda.SFU) mafalda.SFU { return spread(real, 3) }, late: true},
	{name: "vertical over vertical", new: func(real mafalda.SFU) mafalda.SFU { return spread(spread(real, 2), 2) }, late: true},
}

// A plenty is a Registry that always has a CPU.
type plenty struct{}

func (plenty) Acquire(int) (release func(), err error) { return func() {}, nil }

// spread is vertical with a policy that uses all Workers.
func spread(inner mafalda.SFU, workers int) mafalda.SFU {
	return vertical.New(inner, vertical.Options{CPUs: workers, Registry: plenty{}, Policy: placement.Spread()})
}

// compare runs p on plain and on each of the others. The error says where they
// differ.
func compare(p program, others ...target) error {
	want, err := run(plain, p)
	if err != nil {
		return fmt.Errorf("%s: %w", plain.name, err)
	}
	for _, o := range others {
		got, err := run(o, p)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if d := difference(want, got, o.late); d != "" {
			return fmt.Errorf("%s and %s differ:\n%s", plain.name, o.name, d)
		}
	}
	return nil
}

// TestPrograms runs random programs.
func TestPrograms(t *testing.T) {
	n := 200
	if *long {
		n = 10_000
	}
	first := *seed
	switch {
	case *file != "":
		text, err := os.ReadFile(*file)
		require.NoError(t, err)
		p, err := parse(string(text))
		require.NoError(t, err)
		require.NoError(t, compare(p, targets...))
		return
	case first != 0:
		n = 1
	default:
		first = 1 + rand.Uint64N(1<<62)
	}
	t.Logf("seeds %d to %d", first, first+uint64(n)-1)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int  // guarded by mu
		bad  bool // guarded by mu
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := bad || i >= n
				mu.Unlock()
				if stop {
					return
				}
				s := first + uint64(i)
				p := random(s)
				err := compare(p, targets...)
				if err == nil {
					continue
				}
				mu.Lock()
				bad = true
				mu.Unlock()
				small := shrink(p, 300, func(p program) bool { return compare(p, targets...) != nil })
				t.Errorf("seed %d: %v\nthe program, cut down:\n%s\nof which: %v", s, err, small, compare(small, targets...))
			}
		})
	}
	wg.Wait()
}

func TestProgramText(t *testing.T) {
	for s := range uint64(50) {
		p := random(s)
		q, err := parse("# seed\n\n" + p.String())
		require.NoError(t, err)
		require.Equal(t, p.String(), q.String())
	}
	for _, text := range []string{"dance 1", "router", "router x", "router -1", "send 1"} {
		_, err := parse(text)
		require.Error(t, err, text)
	}
}

func TestShrink(t *testing.T) {
	p := random(1)
	calls := 0
	small := shrink(p, 1000, func(q program) bool {
		calls++
		n := 0
		for _, s := range q {
			if s.verb == "direct" {
				n++
			}
		}
		return n >= 2
	})
	require.Equal(t, "direct 0\ndirect 0\n", small.String())
	require.Less(t, calls, 200)
	calls = 0
	shrink(p, 10, func(program) bool { calls++; return false })
	require.Equal(t, 10, calls)
}

// A deaf Consumer does not hear everything. Its events but those that faults
// choose are those of the pass-through.
type deaf struct {
	*wrap.Consumer
	events mafalda.ConsumerEvents
}

func (d *deaf) Events() *mafalda.ConsumerEvents { return &d.events }

// newDeaf relays all events, but some of those of the given fault.
func newDeaf(c *wrap.Consumer, fault string) mafalda.Consumer {
	d := &deaf{Consumer: c}
	from, to := c.Events(), &d.events
	relay(&from.TransportClose, &to.TransportClose)
	relay(&from.ProducerClose, &to.ProducerClose)
	relay(&from.ProducerResume, &to.ProducerResume)
	if fault != "event" {
		relay(&from.ProducerPause, &to.ProducerPause)
	}
	n := 0
	from.RTP.On(func(b []byte) {
		if bytes.Contains(b, []byte("#p")) { // not a mark
			if n++; n == 3 && fault == "packet" {
				return
			}
		}
		to.RTP.Emit(b)
	})
	return d
}

func relay[T any](from, to *mafalda.Event[T]) { from.On(to.Emit) }

// TestFaultsAreFound plants a fault, which random programs must find and the
// shrinker must cut down.
func TestFaultsAreFound(t *testing.T) {
	for _, fault := range []string{"event", "packet"} {
		t.Run(fault, func(t *testing.T) {
			faulty := target{name: "faulty", new: func(real mafalda.SFU) mafalda.SFU {
				return wrap.NewSpace(wrap.Hooks{
					Consumer: func(c *wrap.Consumer) mafalda.Consumer { return newDeaf(c, fault) },
				}).SFU(real)
			}}
			for s := range uint64(200) {
				p := random(s)
				if compare(p, faulty) == nil {
					continue
				}
				small := shrink(p, 500, func(p program) bool { return compare(p, faulty) != nil })
				t.Logf("seed %d, cut from %d calls to %d:\n%s", s, len(p), len(small), small)
				require.Less(t, len(small), 10)
				again, err := parse(small.String())
				require.NoError(t, err)
				require.Error(t, compare(again, faulty))
				require.NoError(t, compare(again, targets...))
				return
			}
			t.Fatal("not found by 200 programs")
		})
	}
}

// TestNoFaultWithoutOne checks that the deaf Consumer differs by its fault alone.
func TestNoFaultWithoutOne(t *testing.T) {
	sound := target{name: "sound", new: func(real mafalda.SFU) mafalda.SFU {
		return wrap.NewSpace(wrap.Hooks{
			Consumer: func(c *wrap.Consumer) mafalda.Consumer { return newDeaf(c, "none") },
		}).SFU(real)
	}}
	for s := range uint64(20) {
		require.NoError(t, compare(random(s), sound))
	}
}
