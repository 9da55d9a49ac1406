package mafalda_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
)

var (
	soakTime = flag.Duration("soak", 0, "how long TestSoak lasts, with up to 150 guests; without it some seconds with a few")
	soakSeed = flag.Uint64("soak-seed", 0, "the seed of TestSoak; 0 means a new one")
)

// TestSoak fills some Workers with meetings and empties them again, round after
// round. Guests of all kinds come, speak, listen, pause, switch layers, lose
// packets and go, and whole Routers, servers and Workers close under them. What
// somebody should get has to come, in order, from whom it should; and when all
// are gone nothing of them may be left.
func TestSoak(t *testing.T) {
	long, guests, meetings, steps, beat := 5*time.Second, 8, 2, 40, 20*time.Millisecond
	if *soakTime > 0 {
		long, guests, meetings, steps, beat = *soakTime, 25, 6, 150, 100*time.Millisecond
	}
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak-seed %d", seed)
	before := goleak.IgnoreCurrent()
	h := openHouse(t, beat)
	var empty []usage
	end := time.Now().Add(long)
	for round := 0; round < 3 || time.Now().Before(end); round++ {
		var wg sync.WaitGroup
		for i := range meetings {
			rng := rand.New(rand.NewPCG(seed, uint64(round*meetings+i)))
			wg.Go(func() { newMeeting(h, fmt.Sprintf("%d.%d", round, i), rng).hold(guests, steps) })
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
		empty = append(empty, h.empty(t))
		t.Logf("round %d: %s; %+v", round, h, empty[round])
	}
	noGrowth(t, empty)
	h.plausible(t)
	require.NoError(t, h.sfu.Close())
	require.NoError(t, goleak.Find(before))
}

// A house has the Workers that stay.
type house struct {
	tb      testing.TB
	sfu     mafalda.SFU
	workers []mafalda.Worker
	beat    time.Duration // between two packets of a stream
	before  usage
	tally
}

// A tally counts what the guests of all meetings did and got.
type tally struct {
	guests, most, now                  atomic.Int64
	packets, messages, repaired, again atomic.Int64
	switches, volumes, speakers        atomic.Int64
	mu                                 sync.Mutex
	steps                              map[string]int // guarded by mu
}

func (c *tally) count(step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps == nil {
		c.steps = map[string]int{}
	}
	c.steps[step]++
}

// came and went count guests.
func (c *tally) came() {
	c.guests.Add(1)
	for n := c.now.Add(1); ; {
		most := c.most.Load()
		if n <= most || c.most.CompareAndSwap(most, n) {
			return
		}
	}
}

func (c *tally) went() { c.now.Add(-1) }

func (c *tally) String() string {
	return fmt.Sprintf("%d guests, %d at most; %d packets, %d messages; %d sent again, %d repaired; %d switches, %d volumes, %d speakers",
		c.guests.Load(), c.most.Load(), c.packets.Load(), c.messages.Load(), c.again.Load(), c.repaired.Load(),
		c.switches.Load(), c.volumes.Load(), c.speakers.Load())
}

func openHouse(t testing.TB, beat time.Duration) *house {
	h := &house{tb: t, sfu: mafalda.New(), beat: beat}
	t.Cleanup(func() { h.sfu.Close() })
	for range 3 {
		w := h.addWorker(t, mafalda.WorkerSettings{})
		require.NoError(t, newServer(t, w).Close()) // a file is kept open since the first TCP port
		h.workers = append(h.workers, w)
	}
	h.before = used()
	return h
}

func (h *house) addWorker(t testing.TB, s mafalda.WorkerSettings) mafalda.Worker {
	w, err := h.sfu.CreateWorker(t.Context(), s)
	require.NoError(t, err)
	w.Events().Died.On(func(err error) { t.Errorf("a Worker died: %v", err) })
	return w
}

// empty waits until nothing is left of the meetings, and returns what there is.
func (h *house) empty(t testing.TB) (now usage) {
	t.Helper()
	for _, w := range h.workers {
		d, err := w.Dump(t.Context())
		require.NoError(t, err)
		require.Empty(t, d.RouterIDs)
		require.Empty(t, d.WebRTCServerIDs)
	}
	require.Len(t, h.sfu.Workers(), len(h.workers))
	held := func() (packets int) {
		for _, w := range h.workers {
			n, err := mafalda.PacketsHeld(t.Context(), w)
			require.NoError(t, err)
			packets += n
		}
		return packets
	}
	require.Eventually(t, func() bool { return held() == 0 }, time.Minute, 10*time.Millisecond, "packets that nobody needs are kept")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		runtime.GC() // finalizers of the first collection free for the second
		now = used()
		if now.goroutines <= h.before.goroutines && now.files <= h.before.files {
			return now
		}
		if time.Now().After(end) {
			b := make([]byte, 1<<20)
			t.Logf("%s", b[:runtime.Stack(b, true)])
			t.Logf("%s", files())
			require.FailNow(t, "something is left", "before %+v, now %+v", h.before, now)
		}
	}
}

// files tells what is open.
func files() (open []string) {
	names, _ := os.ReadDir("/proc/self/fd")
	for _, n := range names {
		to, _ := os.Readlink("/proc/self/fd/" + n.Name())
		open = append(open, n.Name()+" "+to)
	}
	return open
}

// noGrowth compares the last third of the rounds with the first: a leak of a
// few KiB a round shows, and what fluctuates does not. What the Workers keep
// for later use grows to what it has to be in the first rounds.
func noGrowth(t testing.TB, empty []usage) {
	t.Helper()
	third := len(empty) / 3
	if third < 3 {
		return // the Workers still find out what they need
	}
	heap := func(part []usage) uint64 {
		all := make([]uint64, len(part))
		for i, u := range part {
			all[i] = u.heap
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	first, last := heap(empty[:third]), heap(empty[len(empty)-third:])
	t.Logf("heap after a round: %d KiB in the first third, %d KiB in the last", first>>10, last>>10)
	require.LessOrEqual(t, last, first+first/10+4<<20, "the heap grows: %+v", empty)
}

// plausible checks the counters of the Workers against each other and against
// what came to the guests.
func (h *house) plausible(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	var steps []string
	for _, name := range slices.Sorted(maps.Keys(h.steps)) {
		steps = append(steps, fmt.Sprintf("%s %d", name, h.steps[name]))
	}
	h.mu.Unlock()
	t.Logf("steps: %s", strings.Join(steps, ", "))
	for i, w := range h.workers {
		c, err := w.(mafalda.CounterReporter).Counters(t.Context())
		require.NoError(t, err)
		t.Logf("Worker %d: received %d packets, sent %d, dropped %v, longest turn %v", i, c.PacketsReceived, c.PacketsSent, c.Drops, c.MaxTurn)
		require.Positive(t, c.PacketsReceived)
		require.Positive(t, c.PacketsSent)
		for _, reason := range []mafalda.DropReason{
			mafalda.DropMalformed, mafalda.DropNoMemory, mafalda.DropTooLarge, mafalda.DropDestination, mafalda.DropAccept, mafalda.DropUnknownKind,
		} {
			require.Zero(t, c.Drops[reason], "dropped: %s", reason)
		}
	}
	require.Positive(t, h.packets.Load())
	if *soakTime == 0 {
		return // few guests need not do all there is to do
	}
	for what, n := range map[string]int64{
		"messages": h.messages.Load(), "sent again": h.again.Load(), "repaired": h.repaired.Load(),
		"layer switches": h.switches.Load(), "volumes": h.volumes.Load(), "speakers": h.speakers.Load(),
	} {
		require.Positive(t, n, what)
	}
}
