package layerfilter

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/codec"
)

// TestRecorded forwards what was sent to mediasoup-worker 3.27.1, with the targets
// that it chose, and compares what comes out. A file is a list of
//
//	codec <name> <spatial layers> <temporal layers> [ksvc]
//	target <spatial> <temporal>
//	sync
//	in <marker> <payload> <dependency descriptor or -> drop|?|<payload> <marker>
//
// where ? stands for a packet that was forwarded in some runs only.
func TestRecorded(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			f, err := os.Open(name)
			require.NoError(t, err)
			defer f.Close()
			var p player
			lines := bufio.NewScanner(f)
			for n := 1; lines.Scan(); n++ {
				p.play(t, n, strings.Fields(lines.Text()))
			}
			require.NoError(t, lines.Err())
			require.Positive(t, p.forwarded)
			require.Positive(t, p.dropped)
		})
	}
}

type player struct {
	kind               codec.Kind
	filter             *Filter
	structure          codec.Structure
	forwarded, dropped int
}

func (p *player) play(t *testing.T, line int, w []string) {
	t.Helper()
	var a, b int8
	switch w[0] {
	case "codec":
		p.kind = codec.KindOf("video/" + w[1])
		var spatial, temporal int
		fmt.Sscan(w[2]+" "+w[3], &spatial, &temporal)
		p.filter = New(p.kind, spatial, temporal, len(w) > 4)
	case "target":
		fmt.Sscan(w[1]+" "+w[2], &a, &b)
		p.filter.SetTarget(a, b)
	case "sync":
		p.filter.Sync()
	case "in":
		payload := unhex(t, w[2])
		var dd []byte
		if w[3] != "-" {
			dd = unhex(t, w[3])
		}
		var info codec.Info
		require.True(t, codec.ParseStream(p.kind, payload, dd, &p.structure, &info), "line %d", line)
		d := p.filter.Process(&info)
		got := "drop"
		if d.Forward {
			if d.HasPicture {
				info.RewriteVP8(payload, d.PictureID, d.TL0PICIDX)
			}
			marker := w[1] == "1" || d.Marker
			got = fmt.Sprintf("%x %d", payload[:8], map[bool]int{true: 1}[marker])
			p.forwarded++
		} else {
			p.dropped++
		}
		if want := strings.Join(w[4:], " "); want != "?" {
			require.Equal(t, want, got, "line %d", line)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return bytes.Clone(b)
}
