package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtx"
)

// A script is a recording of mediasoup's worker: a line for each input and
// each output, in order of time.
type script struct {
	clockRate uint32
	nack      bool
	lines     [][]string
}

func readScripts(t *testing.T, pattern string) map[string]script {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	scripts := make(map[string]script)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		var s script
		for line := range strings.Lines(string(data)) {
			switch f := strings.Fields(line); f[0] {
			case "#":
			case "stream":
				s.clockRate, s.nack = uint32(number(t, f[1])), f[2] == "1"
			default:
				s.lines = append(s.lines, f)
			}
		}
		scripts[strings.TrimSuffix(filepath.Base(name), ".txt")] = s
	}
	return scripts
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}

func at(t *testing.T, s string) time.Duration {
	t.Helper()
	return time.Duration(number(t, s) * float64(time.Millisecond))
}

// within checks assignments «name=low..high» against fields of v.
func within(t *testing.T, v any, names map[string]string, slack map[string]float64, checks []string) {
	t.Helper()
	for _, c := range checks {
		name, bounds, _ := strings.Cut(c, "=")
		low, high, _ := strings.Cut(bounds, "..")
		f := reflect.ValueOf(v).FieldByName(names[name])
		require.True(t, f.IsValid(), name)
		var got float64
		switch {
		case f.CanInt():
			got = float64(f.Int())
		case f.CanUint():
			got = float64(f.Uint())
		default:
			got = f.Float()
		}
		assert.GreaterOrEqual(t, got, number(t, low)-slack[name], name)
		assert.LessOrEqual(t, got, number(t, high)+slack[name], name)
	}
}

var statNames = map[string]string{
	"packetsLost": "PacketsLost", "packetsDiscarded": "PacketsDiscarded",
	"packetsRetransmitted": "PacketsRetransmitted", "packetsRepaired": "PacketsRepaired",
	"nackCount": "NACKCount", "nackPacketCount": "NACKPacketCount", "score": "Score",
	"packetCount": "PacketCount", "byteCount": "ByteCount", "bitrate": "Bitrate", "roundTripTime": "RoundTripTime",
}

var reportNames = map[string]string{"lost": "CumulativeLost", "fraction": "FractionLost", "ehsn": "HighestSeq"}

// TestRecordedRecv replays recordings from the side of a Producer: scores and
// counters are equal, what depends on the moment of a report is in the range of
// four runs.
func TestRecordedRecv(t *testing.T) {
	for name, s := range readScripts(t, "recv-*.txt") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r *Recv
			var got, want []uint8
			for _, f := range s.lines {
				var now time.Duration
				if f[0] != "score" {
					now = at(t, f[1])
				}
				if r == nil {
					r = NewRecv(now, Params{SSRC: 2222, ClockRate: s.clockRate, UseNACK: s.nack, Video: s.clockRate == 90_000}, false)
				}
				for due, ok := r.Deadline(); ok && due <= now; due, ok = r.Deadline() {
					r.Tick(due)
					r.PendingNACK()
				}
				switch f[0] {
				case "rtp":
					r.Receive(now, &Packet{
						Seq: uint16(number(t, f[2])), Timestamp: uint32(number(t, f[3])),
						Size: int(number(t, f[4])), PayloadSize: int(number(t, f[5])), KeyFrame: len(f) > 6,
					})
				case "rtx":
					if r.rtx == nil {
						r.SetRTX(2223, 97)
					}
					var p *Packet
					if f[3] != "-" {
						size := int(number(t, f[5]))
						p = &Packet{Seq: uint16(number(t, f[3])), Timestamp: uint32(number(t, f[4])), Size: size, PayloadSize: size - 12}
					}
					r.ReceiveRTX(now, uint16(number(t, f[2])), p)
				case "sr":
					r.SenderReport(now, 1, 0)
				case "rr":
					within(t, r.ReportBlock(now, 0), reportNames, map[string]float64{"ehsn": 1, "fraction": 1}, f[2:])
				case "stats":
					within(t, r.Stats(now).Stats, statNames, map[string]float64{"bitrate": 300, "packetCount": 1, "byteCount": 72}, f[2:])
				case "score":
					want = append(want, uint8(number(t, f[1])))
				}
				r.PendingNACK()
				if r.ScoreChanged() {
					got = append(got, r.Score())
				}
			}
			assert.Equal(t, want, got, "scores")
		})
	}
}

// TestRecordedSend replays recordings from the side of a Consumer: the same
// packets are sent again.
func TestRecordedSend(t *testing.T) {
	for name, s := range readScripts(t, "send-*.txt") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			send := newSend(0, Params{SSRC: 1, ClockRate: s.clockRate, UseNACK: s.nack, Video: s.clockRate == 90_000}, 0)
			var scores, wantScores []uint8
			var resent, wantResent []string
			for _, f := range s.lines {
				var now time.Duration
				if f[0] != "score" && f[0] != "rtx" {
					now = at(t, f[1])
				}
				switch f[0] {
				case "rtp":
					size := int(number(t, f[4]))
					ok := send.Accept(now, &Outgoing{
						Seq: uint16(number(t, f[2])), Size: size, PayloadSize: size - 12,
						Item: rtx.Item{Timestamp: uint32(number(t, f[3]))},
					})
					require.True(t, ok)
				case "nack":
					send.CountNACK()
					send.NACK(now, uint16(number(t, f[2])), uint16(number(t, f[3])), func(seq uint16, _ rtx.Item) bool {
						resent = append(resent, fmt.Sprint(seq))
						return true
					})
				case "rr":
					send.ReceiverReport(now, 0, &ReportBlock{CumulativeLost: int32(number(t, f[2]))})
				case "rtt":
					ntpNow := compactDuration(time.Hour + now)
					sent := ntpNow - compactDuration(time.Millisecond*time.Duration(number(t, f[2])))
					send.ReceiverReport(now, ntpNow, &ReportBlock{LSR: sent - 66, DLSR: 66})
				case "stats":
					within(t, send.Stats(now).Stats, statNames, map[string]float64{"bitrate": 300}, f[2:])
				case "score":
					wantScores = append(wantScores, uint8(number(t, f[1])))
				case "rtx":
					wantResent = append(wantResent, f[1])
				}
				if send.ScoreChanged() {
					scores = append(scores, send.Score())
				}
			}
			assert.Equal(t, wantScores, scores, "scores")
			assert.Equal(t, wantResent, resent, "sent again")
		})
	}
}
