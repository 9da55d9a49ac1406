package vertical_test

import (
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/acceptance"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(serveWorker())
	}
	if err := os.Setenv(asWorker, "1"); err != nil { // of processes that this one starts
		panic(err)
	}
	flag.Parse()
	// The cases of acceptance wait more than they work.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// A plenty is a Registry that always has a CPU: tests of many packages run at a
// time.
type plenty struct{}

func (plenty) Acquire(int) (release func(), err error) { return func() {}, nil }

// Elsewhere is the policy that puts each Transport on another Worker than the one
// before.
type elsewhere struct{ next int }

func (p *elsewhere) Place(v *placement.View) int {
	if v.CanGrow {
		return placement.New
	}
	p.next++
	return p.next % len(v.Candidates)
}

func workers(n int) vertical.Options {
	return vertical.Options{CPUs: n, Registry: plenty{}, Policy: new(elsewhere)}
}

// A census counts the cases in which something was consumed, and those in which
// that crossed a pipe.
type census struct{ media, piped atomic.Int32 }

// watch counts a case, whose SFU is sfu, when it ends.
func (c *census) watch(t testing.TB, sfu *vertical.SFU) {
	var consumed atomic.Bool
	sfu.Observer().NewWorker.On(func(w mafalda.Worker) {
		w.Observer().NewRouter.On(func(r mafalda.Router) {
			r.Observer().NewTransport.On(func(tr mafalda.Transport) {
				tr.Observer().NewConsumer.On(func(mafalda.Consumer) { consumed.Store(true) })
				tr.Observer().NewDataConsumer.On(func(mafalda.DataConsumer) { consumed.Store(true) })
			})
		})
	})
	t.Cleanup(func() {
		if consumed.Load() {
			c.media.Add(1)
			if sfu.Usage().PipesMade > 0 {
				c.piped.Add(1)
			}
		}
	})
}

// check fails unless what c counted fits so many real Workers.
func (c *census) check(t *testing.T, workers int) {
	media, piped := c.media.Load(), c.piped.Load()
	t.Logf("%d of %d cases with media crossed a pipe", piped, media)
	if workers == 1 {
		assert.Zero(t, piped)
	} else {
		assert.GreaterOrEqual(t, 3*piped, media, "fewer than a third of the cases with media crossed a pipe")
	}
}

// accept runs acceptance on SFUs over inner ones, with so many Workers each, but not
// the cases in skip.
func accept(t *testing.T, n, pipes int, inner func() mafalda.SFU, skip map[string]string) {
	t.Parallel()
	var count census
	t.Run("cases", func(t *testing.T) { // returns when its parallel subtests have ended
		acceptance.Run(t, acceptance.Target{
			New: func(t testing.TB) mafalda.SFU {
				sfu := vertical.New(inner(), workers(n))
				t.Cleanup(func() { require.NoError(t, sfu.Close()) })
				count.watch(t, sfu)
				return sfu
			},
			Skip:      skip,
			KillUnder: vertical.Kill,
			Pipes:     pipes,
		})
	})
	count.check(t, n)
}

func TestAcceptance(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n, " Workers"), func(t *testing.T) { accept(t, n, min(n-1, 1), mafalda.New, nil) })
	}
}

// An SFU over an SFU: virtual Workers are the real ones of another. Media takes a
// pipe of the outer one, and one of the inner SFU to and from each of its ends.
func TestAcceptanceTwice(t *testing.T) {
	accept(t, 2, 3, func() mafalda.SFU { return vertical.New(mafalda.New(), workers(2)) }, nil)
}
