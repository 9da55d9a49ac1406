package harness

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:noinline
func burn(until time.Time) (n int) {
	for time.Now().Before(until) {
		n++
	}
	return n
}

func TestProfile(t *testing.T) {
	seen := int64(0)
	for try := 0; try < 20 && seen == 0; try++ {
		var b bytes.Buffer
		require.NoError(t, pprof.StartCPUProfile(&b))
		burn(time.Now().Add(200 * time.Millisecond))
		pprof.StopCPUProfile()
		p, err := parseProfile(b.Bytes())
		require.NoError(t, err)
		for i := range p.samples {
			p.stack(&p.samples[i], func(name string) bool {
				if strings.HasSuffix(name, "harness.burn") {
					seen += p.samples[i].count
					return false
				}
				return true
			})
		}
	}
	assert.Positive(t, seen, "samples of what burned")
	_, err := parseProfile([]byte("no profile"))
	assert.Error(t, err)
}

func TestBrokenBuffers(t *testing.T) {
	for _, b := range [][]byte{{0x80}, {0x08}, {0x12, 5, 1}, {0x0d, 1, 2, 3, 4}} {
		assert.Error(t, fields(b, func(uint64, uint64, []byte) error { return nil }), "% x", b)
	}
	list, err := appendVarints(nil, 0, []byte{1, 0x80, 1})
	require.NoError(t, err)
	assert.Equal(t, []uint64{1, 128}, list)
	_, err = appendVarints(nil, 0, []byte{0x80})
	assert.Error(t, err)
}
