package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stretchr/testify/assert"
)

// slackMS is by how much the recorder's own delays may differ from ours. Its
// machine was busy at times: packets took up to maxDelayMS.
const (
	slackMS    = 60
	maxDelayMS = 200
)

func (s *session) ignored(section string) bool { return slices.Contains(s.o.ignore, section) }

func (s *session) compareTime(at string, want any, got any) bool {
	low, high, _ := bounds(want)
	g := got.(float64)
	return assert.GreaterOrEqual(s.t, g, low-slackMS, "%s: too early", at) &&
		assert.LessOrEqual(s.t, g, high+slackMS, "%s: too late", at)
}

func (s *session) compareRTP() {
	for k, want := range s.rec.RTP {
		if s.ignored(k) {
			continue
		}
		got := s.rtp[k]
		if !want.Stable { // the order may be that of another run
			got = inOrderOf(want.Rows, got)
		}
		if n, ok := s.o.until[k]; ok {
			want.Rows, got = want.Rows[:n], got[:min(n, len(got))]
		}
		j := 0
		for i, w := range want.Rows {
			at := fmt.Sprintf("rtp %s row %d", k, i)
			extra := object{}
			if len(w) > 9 {
				extra = w[9].(object)
			}
			_, optional := extra["inRuns"]
			if optional && (j == len(got) || got[j].in != w[0]) {
				continue
			}
			if j == len(got) {
				assert.Failf(s.t, "too few packets", "%s: want %s", at, render(w))
				break
			}
			if d := s.comparePacket(at, w, extra, &got[j]); d != "" {
				assert.Failf(s.t, "packet", "%s\n got %+v\nwant %s", d, got[j], render(w))
				break
			}
			j++
		}
		for j < len(got) && got[j].t >= s.lastInput() { // the recorder did not wait for the last packets
			j++
		}
		if !s.t.Failed() {
			assert.Len(s.t, got, j, "rtp %s: too many packets", k)
		}
	}
	for k := range s.rtp {
		_, ok := s.rec.RTP[k]
		assert.True(s.t, ok, "rtp %s: unexpected", k)
	}
}

// comparePacket compares one packet with a row; "" is none.
func (s *session) comparePacket(at string, w []any, extra object, g *rtpRow) string {
	m := matcher{}
	if s.o.ignoreWide {
		w[7] = hideWide(w[7])
	}
	for x, v := range []any{g.in, nil, g.seq, g.ts, g.marker, g.pt, g.size, g.ext, g.payload8} {
		if x == 1 {
			continue
		}
		if d := m.match(fmt.Sprintf("%s column %d", at, x), w[x], v); d != "" {
			return d
		}
	}
	for _, x := range []string{"osn", "pad", "cc", "two", "actOffMs"} {
		if d := m.match(at+"."+x, extra[x], g.extra[x]); d != "" {
			return d
		}
	}
	if low, high, _ := bounds(w[1]); g.t < low-maxDelayMS || g.t > high+slackMS {
		return "time"
	}
	return ""
}

// inOrderOf sorts packets like rows: by input, and by how often it was sent.
func inOrderOf(rows [][]any, got []rtpRow) []rtpRow {
	var sorted []rtpRow
	left := slices.Clone(got)
	for _, w := range rows {
		if i := slices.IndexFunc(left, func(r rtpRow) bool { return r.in == w[0] }); i >= 0 {
			sorted = append(sorted, left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	return append(sorted, left...)
}

// lastInput is the time of the last packet of the recording.
func (s *session) lastInput() float64 {
	return first(s.rec.Inputs[len(s.rec.Inputs)-1][1])
}

func hideWide(v any) any {
	if o, ok := v.(object); ok { // it differed between the runs of the recorder
		runs, _ := o["runs"].([]any)
		for i, x := range runs {
			runs[i] = hideWide(x)
		}
		return v
	}
	text, ok := v.(string)
	if i := strings.Index(text, " 5:"); ok && i >= 0 {
		return text[:i] + " 5:-" + text[i+7:]
	}
	return v
}

var (
	// Of a periodic report that comes at a random time.
	looseReport = matcher{loose: map[string]bool{
		"jitter": true, "fraction": true, "ehsn": true, "lost": true, "lsr": true, "dlsrMs": true, "lrr": true,
		"dlrrMs": true, "ntpRelMs": true, "rtpTsOff": true, "packets": true, "octets": true,
	}}
	// Of the first one.
	firstReport = matcher{
		loose: map[string]bool{"jitter": true},
		slack: map[string]float64{
			"ntpRelMs": slackMS, "rtpTsOff": slackMS * 90, "packets": 4, "octets": 400, "ehsn": 4, "fraction": 3, "dlsrMs": slackMS,
		},
	}
	strict     = matcher{}
	estimated  = matcher{relative: map[string]float64{"bitrate": 0.06}}
	statsMatch = matcher{
		// mediasoup counts what a transport received as RTP after it has rewritten
		// the header extensions; we count what was received.
		loose: map[string]bool{"jitter": true, "rtpBytesReceived": true, "rtpRecvBitrate": true},
		slack: map[string]float64{"roundTripTime": 2, "fractionLost": 3, "recvBitrate": 700, "sendBitrate": 700},
		relative: map[string]float64{
			"bitrate": 0.05, "bytesSent": 0.1, "availableIncomingBitrate": 0.06,
		},
	}
)

func (s *session) compareLists(part string, recorded map[string]listSection, done map[string][]recordedItem) {
	for k, want := range recorded {
		if s.ignored(k) || k == "act" {
			continue
		}
		got := done[k]
		periodic := part == "rtcp" && isPeriodic(k)
		switch k {
		case "C1.trace":
			want = undouble(want)
		case "P1.trace":
			want = withoutFalseNACKs(want)
		}
		low, high, _ := bounds(want.Counts)
		if periodic {
			low, high = low-1, high+1
			s.comparePeriods(part+" "+k, got)
		}
		if part == "stats" {
			s.compareStats(k, want.Items[0].V, got)
			continue
		}
		assert.GreaterOrEqual(s.t, float64(len(got)), low, "%s %s: too few: %s", part, k, render(got))
		assert.LessOrEqual(s.t, float64(len(got)), high, "%s %s: too many: %s", part, k, render(got))
		for i := range min(len(got), len(want.Items)) {
			w, g := want.Items[i], got[i]
			at := fmt.Sprintf("%s %s #%d", part, k, i)
			m := &strict
			switch {
			case periodic && i == 0 && first(w.T) < 500:
				m = &firstReport
			case periodic:
				m = &looseReport
			case k == "src/REMB":
				m = &estimated
			}
			if d := m.match(at, w.V, g.V); d != "" {
				assert.Failf(s.t, "different", "%s\n got %s\nwant %s", d, render(g.V), render(w.V))
				break
			}
			if m == &looseReport || strings.HasSuffix(k, ".consumed") || k == "pipe" {
				continue
			}
			if !s.compareTime(at, w.T, g.T) {
				break
			}
		}
	}
	for k, got := range done {
		_, ok := recorded[k]
		assert.True(s.t, ok, "%s %s: unexpected: %s", part, k, render(got))
	}
}

// compareStats looks for one reading that matches.
func (s *session) compareStats(k string, want any, got []recordedItem) {
	var d string
	for _, g := range got {
		if d = statsMatch.match("stats "+k, want, g.V); d == "" {
			return
		}
	}
	assert.Failf(s.t, "different", "%s\n got %s\nwant %s", d, render(got), render(want))
}

// comparePeriods checks the times between the reports of one transport: one
// second and up to five tenths, rounded up to the tick of the timers.
func (s *session) comparePeriods(at string, got []recordedItem) {
	for i := 1; i < len(got); i++ {
		d := got[i].T.(float64) - got[i-1].T.(float64)
		step := math.Mod(d, 100)
		if !(d >= 1000 && step <= 5) {
			assert.Failf(s.t, "period", "%s: %v ms after the one before", at, d)
		}
	}
}

// undouble drops every other item: npm mediasoup emits each trace event of a
// Consumer twice.
func undouble(l listSection) listSection {
	n, _, _ := bounds(l.Counts)
	half := listSection{Counts: n / 2}
	for i := 0; i < len(l.Items); i += 2 {
		half.Items = append(half.Items, l.Items[i])
	}
	return half
}

// withoutFalseNACKs drops the nack event that follows each pli event: the
// worker sent no NACK then.
func withoutFalseNACKs(l listSection) listSection {
	typeOf := func(i int) any { return l.Items[i].V.(object)["type"] }
	n, _, _ := bounds(l.Counts)
	kept := listSection{Counts: n}
	for i, x := range l.Items {
		if i > 0 && typeOf(i) == "nack" && typeOf(i-1) == "pli" {
			kept.Counts = kept.Counts.(float64) - 1
			continue
		}
		kept.Items = append(kept.Items, x)
	}
	return kept
}
