package nack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A request is a NACK (first to last) or, with first > last, a key frame
// request, and when it was seen.
type request struct {
	from, to    time.Duration
	first, last int
}

// TestRecorded replays what was sent to mediasoup's worker and compares what
// the Generator asks for with what that worker asked for: contents exactly,
// times within one period of the timer.
func TestRecorded(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			got, want := replay(t, name)
			require.Len(t, got, len(want), "%v", got)
			for i, w := range want {
				assert.Equal(t, [2]int{w.first, w.last}, [2]int{got[i].first, got[i].last}, "request %d", i)
				assert.GreaterOrEqual(t, got[i].from, w.from-interval, "request %d is early", i)
				assert.LessOrEqual(t, got[i].from, w.to+interval, "request %d is late", i)
			}
		})
	}
}

func replay(t *testing.T, name string) (got, want []request) {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	g := New(10 * ms)
	drain := func(now time.Duration) {
		if p := g.Pending(); len(p) > 0 {
			got = append(got, request{now, now, int(p[0]), int(p[len(p)-1])})
			require.Len(t, p, int(p[len(p)-1]-p[0])+1)
		}
		if g.NeedKeyFrame() {
			got = append(got, request{now, now, 1, 0})
		}
	}
	advance := func(to time.Duration) {
		for at, ok := g.Deadline(); ok && at <= to; at, ok = g.Deadline() {
			g.Tick(at)
			drain(at)
		}
	}
	for line := range strings.Lines(string(data)) {
		var kind, key string
		var a, b float64
		var first, last int
		switch {
		case strings.HasPrefix(line, "nack"):
			_, err := fmt.Sscanf(line, "%s %g %g %d-%d", &kind, &a, &b, &first, &last)
			require.NoError(t, err, line)
			want = append(want, request{millis(a), millis(b), first, last})
		case strings.HasPrefix(line, "pli"):
			_, err := fmt.Sscanf(line, "%s %g %g", &kind, &a, &b)
			require.NoError(t, err, line)
			want = append(want, request{millis(a), millis(b), 1, 0})
		case strings.HasPrefix(line, "rtp"), strings.HasPrefix(line, "rtx"):
			n, _ := fmt.Sscanf(line, "%s %g %d %s", &kind, &a, &first, &key)
			require.GreaterOrEqual(t, n, 3, line)
			advance(millis(a))
			g.Received(millis(a), uint16(first), key == "key", kind == "rtx")
			drain(millis(a))
		}
	}
	advance(10 * time.Second)
	return got, want
}

func millis(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
