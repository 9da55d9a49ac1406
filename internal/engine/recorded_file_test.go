package engine

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A recording is what mediasoup's worker 3.27.1 did with some input in four
// runs: values that were the same in all of them, and ranges. Times are in ms.
type recording struct {
	Scenario string
	About    string
	Inputs   [][]any
	RTP      map[string]rtpSection
	RTCP     map[string]listSection
	Events   map[string]listSection
	Stats    map[string]listSection
}

type rtpSection struct {
	Counts any
	Stable bool
	Rows   [][]any // in, t, seqOff, tsOff, marker, pt, len, ext, payload8, extra
}

type listSection struct {
	Counts any
	Items  []recordedItem
}

type recordedItem struct {
	T      any
	V      any
	InRuns int
}

func readRecording(t testing.TB, name string) *recording {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "recorded", name+".json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	r := new(recording)
	require.NoError(t, json.NewDecoder(z).Decode(r))
	require.Equal(t, name, r.Scenario)
	return r
}

// bounds returns the range of a number that was recorded.
func bounds(v any) (low, high float64, ok bool) {
	switch v := v.(type) {
	case float64:
		return v, v, true
	case []any:
		if len(v) == 2 {
			low, ok1 := v[0].(float64)
			high, ok2 := v[1].(float64)
			return low, high, ok1 && ok2
		}
	case map[string]any:
		return bounds(v["range"])
	}
	return 0, 0, false
}

// first returns the earliest time of a recorded one.
func first(v any) float64 { low, _, _ := bounds(v); return low }

// A matcher compares what was recorded with what we did.
type matcher struct {
	// loose is for keys of which only the presence counts.
	loose map[string]bool
	// slack widens numbers by key; relative ones are fractions.
	slack, relative map[string]float64
}

// match returns the first difference, or "".
func (m *matcher) match(at string, want, got any) string {
	key := at[strings.LastIndexByte(at, '.')+1:]
	if m.loose[key] {
		return ""
	}
	bad := func() string { return fmt.Sprintf("%s: got %v, want %v", at, render(got), render(want)) }
	if w, ok := want.(map[string]any); ok {
		if runs, ok := w["runs"].([]any); ok && len(w) == 1 {
			for _, r := range runs {
				if m.match(at, r, got) == "" {
					return ""
				}
			}
			return bad()
		}
		if _, ok := w["range"]; !ok || len(w) != 1 {
			g, ok := got.(map[string]any)
			if !ok {
				return bad()
			}
			for k, v := range w {
				if d := m.match(at+"."+k, v, g[k]); d != "" {
					return d
				}
			}
			return ""
		}
	}
	if w, ok := want.([]any); ok {
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return bad()
		}
		for i := range w {
			if d := m.match(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if low, high, ok := bounds(want); ok {
		g, ok := got.(float64)
		slack := m.slack[key] + m.relative[key]*math.Abs(high)
		if !ok && got != nil || g < low-slack || g > high+slack {
			return bad()
		}
		return ""
	}
	if want == nil && got == 0.0 { // npm leaves out what is zero, now and then
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		return bad()
	}
	return ""
}

func render(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// packetOf rebuilds an RTP packet of the inputs: its first 40 bytes are known,
// and what followed them.
func packetOf(row []any) []byte {
	head, err := hex.DecodeString(row[10].(string))
	if err != nil {
		panic(err)
	}
	n, idx := int(row[8].(float64)), int(row[0].(float64))
	b := append([]byte(nil), head...)
	if n == len(b) {
		return b
	}
	header := 12 + 4*int(b[0]&15)
	if b[0]&0x10 != 0 {
		header += 4 + 4*(int(b[header+2])<<8|int(b[header+3]))
	}
	if b[0]&0x20 != 0 { // padding only
		b = append(b, make([]byte, n-len(b))...)
		b[n-1] = byte(n - header)
		return b
	}
	if pt := b[1] & 127; pt == 96 && len(b)-header < 9 { // the VP8 descriptor is cut off
		i := int(row[5].(float64)) - 1000
		b = append(b[:header], 0x90, 0xe0, 0x80|byte((100+i)>>8), byte(100+i), byte(10+i), 1<<5)
		if row[9] == "key" {
			b = append(b, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0)
		} else {
			b = append(b, 0x11, 2, 0)
		}
	}
	for len(b) < n {
		b = append(b, 0x5a)
	}
	b[n-2], b[n-1] = byte(idx>>8), byte(idx)
	return b
}

// recordedFiles is the number of recordings.
func recordedFiles(t testing.TB) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "recorded", "*.json.gz"))
	require.NoError(t, err)
	return len(names)
}
