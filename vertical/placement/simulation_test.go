package placement

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table and the plots of docs/vertical.md")

const docs = "../../docs"

// policies are all of them, with what each promises.
var policies = []struct {
	name  string
	make  func() Policy
	check func(v *View, i int) string
}{
	{"Concentrate", Concentrate, respectsWatermark},
	{"Spread", Spread, respectsWatermark},
	{"CascadeHysteresis", func() Policy { return CascadeHysteresis(0, 0) }, respectsSlack},
	{"TwoChoice", func() Policy { return TwoChoice(1) }, respectsWatermark},
}

// respectsWatermark: over the watermark only if nothing else is left.
func respectsWatermark(v *View, i int) string {
	if i == New || v.below(&v.Candidates[i]) {
		return ""
	}
	if v.CanGrow || v.least(v.below) != New {
		return "over the watermark without need"
	}
	return ""
}

// respectsSlack: over its limit only where others are hardly better.
func respectsSlack(v *View, i int) string {
	if i == New || v.Candidates[i].Expected() < DefaultCascadeLimit {
		return ""
	}
	lowest := 0.0
	if !v.CanGrow {
		lowest = v.Candidates[v.least(anyone)].Expected()
	}
	if v.Candidates[i].Expected()-lowest >= DefaultCascadeSlack {
		return "over the limit without need"
	}
	return ""
}

// TestSimulation lets peers join and leave twelve rooms on 8 CPUs, 10,000 times.
func TestSimulation(t *testing.T) {
	const cpus, rooms, events = 8, 12, 10_000
	var table strings.Builder
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newSim(p.make(), cpus, rooms)
				s.checkPlace = p.check
				sum := s.run(seed, events, func() {
					require.LessOrEqual(t, len(s.workers), cpus)
					for _, w := range s.workers {
						require.Positive(t, w.transports, "Worker %d is empty and still there", w.id)
					}
					require.LessOrEqual(t, s.pipes, s.bound())
					require.LessOrEqual(t, s.pipes, s.mesh())
					if len(s.workers) == 1 {
						require.Zero(t, s.pipes)
					}
				})
				assert.Empty(t, s.mistakes)
				assert.GreaterOrEqual(t, sum.events, events)
				assert.Empty(t, s.workers, "all is reaped")
				assert.Zero(t, s.pipes)
				t.Logf("seed %d: %+v", seed, sum)
				if seed == 0 {
					fmt.Fprintf(&table, "| `%s` | %d | %.0f %% | %d | %d | %.0f | %.0f |\n", p.name,
						sum.peakWorkers, 100*sum.peakLoad, sum.peakPipes, sum.peakMesh,
						float64(sum.pipes)/float64(sum.events), float64(sum.mesh)/float64(sum.events))
				}
			}
		})
	}
	if strings.Count(table.String(), "\n") == len(policies) {
		checkPage(t, "simulation", "| policy | Workers at most | load at most | pipes at most | as a mesh | pipes on average | as a mesh |\n"+
			"| --- | --- | --- | --- | --- | --- | --- |\n"+table.String())
	}
}

// The counts that mafalda's authors published for a mesh, of rooms in which
// each peer sends two streams to all others: peers, and mesh by Workers.
var published = []struct {
	peers, consumers int
	mesh             map[int]int
}{
	{5, 40, map[int]int{2: 10, 4: 30, 8: 70, 16: 150}},
	{10, 180, map[int]int{2: 20, 4: 60, 8: 140, 16: 300}},
	{15, 420, map[int]int{2: 30, 4: 90, 8: 210, 16: 450}},
	{20, 760, map[int]int{2: 40, 4: 120, 8: 280, 16: 600, 32: 1240}},
	{30, 1740, map[int]int{2: 60, 4: 180, 8: 420, 16: 900, 32: 1860, 64: 3780}},
	{40, 3120, map[int]int{2: 80, 4: 240, 8: 560, 16: 1200, 32: 2480, 64: 5040}},
}

// TestPipesOfOneRoom counts pipes of one room against the published ones.
func TestPipesOfOneRoom(t *testing.T) {
	for _, c := range published {
		for _, cpus := range []int{2, 4, 8, 16, 32, 64} {
			mesh, ok := c.mesh[cpus]
			if !ok {
				continue
			}
			require.Equal(t, mesh, c.peers*producersPerPeer*(cpus-1))
			for _, p := range policies {
				s := newSim(p.make(), cpus, 1)
				r := s.rooms[0]
				for range c.peers {
					s.join(r)
					s.step(window)
				}
				consumers := 0
				for _, peer := range r.peers {
					for _, n := range peer.consumers {
						consumers += producersPerPeer * n
					}
				}
				require.Equal(t, c.consumers, consumers)
				t.Logf("%2d peers, %2d CPUs, %-17s: %2d Workers, %4d pipes, bound %4d, mesh %4d",
					c.peers, cpus, p.name, len(s.workers), s.pipes, s.bound(), mesh)
				assert.LessOrEqual(t, s.pipes, s.bound())
				assert.LessOrEqual(t, s.bound(), mesh, "a tree is no worse than a mesh")
				if p.name == "Concentrate" && c.consumers < 500 {
					assert.Zero(t, s.pipes, "one Worker is enough")
					assert.Len(t, s.workers, 1)
				}
				for len(r.peers) > 0 {
					s.leave(r, 0)
				}
				assert.Empty(t, s.workers)
				assert.Zero(t, s.pipes)
			}
		}
	}
}

// TestPlots draws each policy under the same evening: three rooms fill one
// after the other and empty again.
func TestPlots(t *testing.T) {
	for _, p := range policies {
		s := newSim(p.make(), 4, 3)
		var samples []sample
		const every = 5 * time.Second
		wait := func(d time.Duration) {
			for ; d > 0; d -= every {
				s.step(every)
				samples = append(samples, s.sample())
			}
		}
		for i, n := range []int{8, 16, 28} {
			for range n {
				s.join(s.rooms[i])
				wait(2 * every)
			}
			wait(time.Minute)
		}
		for _, r := range s.rooms {
			for len(r.peers) > 0 {
				s.leave(r, 0)
				wait(every)
			}
		}
		assert.Empty(t, s.workers)
		checkDoc(t, "vertical/"+strings.ToLower(p.name)+".svg", plot(p.name, samples, every))
	}
}

// checkPage compares the table of that name in vertical.md, or writes it.
func checkPage(t *testing.T, name, table string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(docs, "vertical.md"))
	require.NoError(t, err)
	begin := "<!-- " + name + ": written by go test ./vertical/placement -update -->\n"
	head, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok, "no table %s in vertical.md", name)
	const end = "<!-- end of table -->\n"
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "no end of table %s in vertical.md", name)
	checkDoc(t, "vertical.md", []byte(head+begin+table+end+tail))
}

// checkDoc compares a file of docs with what it has to be, or writes it.
func checkDoc(t *testing.T, name string, want []byte) {
	t.Helper()
	file := filepath.Join(docs, filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, want, 0o644))
		return
	}
	if runtime.GOARCH != "amd64" {
		return // others may round differently: fused multiply and add
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "%s: run the test with -update", name)
}
