package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// The recordings show what mediasoup's worker 3.27.1 did; the engine has to do
// the same. Left out are those that need what the engine does not have:
//
//   - 06-rid-streams, 07-*: several encodings.
//   - 08-av1-L2T2, 08-vp9-L*, 08-vp9-layer-stop: layers.
//   - 10-*: observers.
//   - 12-*: pipes between Workers.
//   - 14-remb*: the receiver's bandwidth estimation.
//   - Of 01-vp8-forward-bwe-ext and 14-twcc*: what the send-side bandwidth
//     estimation does, that is probation packets, wide sequence numbers, bwe
//     traces and the byte counters of that transport.
//
// Not compared are the jitter of what arrives (the recorder's clock had some,
// virtual time has none) and what depends on when a periodic report was due,
// which is random.
var scenarios = []*scenario{
	{name: "01-opus-forward", codec: "opus", captureID: 12, producerSpec: producerSpec{
		mid: "AUDIO", ext: map[string]uint8{"mid": 7, "ast": 3, "lvl": 9, "act": 12, "pd": 14, "twcc": 2},
	}},
	{name: "01-vp8-forward", codec: "vp8", captureID: 1, producerSpec: producerSpec{
		mid: "v", ext: map[string]uint8{"mid": 9, "ast": 6, "twcc": 7, "ori": 2, "toff": 3, "pd": 4, "dd": 5, "act": 1},
	}},
	{name: "01-vp8-forward-bwe-ext", codec: "vp8", ignoreWide: true, ignore: []string{"dst/probator"}},
	{name: "01-vp8-start-mid-gop", codec: "vp8"},
	{name: "01-vp8-buffer-before-key", codec: "vp8"},
	{name: "01-vp8-comedia", codec: "vp8", comedia: true},

	{name: "02-rtcp-audio", codec: "opus", script: sinkReports},
	{name: "02-rtcp-video", codec: "vp8", script: sinkReports},

	{name: "03-gap1-unrepaired", codec: "vp8"},
	{name: "03-gap3-unrepaired", codec: "vp8"},
	{name: "03-gap30-unrepaired", codec: "vp8"},
	{name: "03-gap300-unrepaired", codec: "vp8"},
	{name: "03-gap1200-pli", codec: "vp8"},
	{name: "03-gap3-rtx", codec: "vp8"},
	{name: "03-gap3-late", codec: "vp8", producerSpec: producerSpec{noRTX: true}},
	{name: "03-gap3-nonack", codec: "vp8", producerSpec: producerSpec{feedback: videoFeedback[1:]}},
	{name: "03-reorder-dup", codec: "vp8"},
	{name: "03-audio-loss", codec: "opus", producerSpec: nackedAudio},

	{name: "04-nack-rtx", codec: "vp8"},
	{name: "04-nack-nortx", codec: "vp8"},
	{name: "04-nack-audio", codec: "opus", producerSpec: nackedAudio},
	{name: "04-nack-audio-off", codec: "opus", producerSpec: nackedAudio},
	{name: "04-nack-rtt", codec: "vp8", script: slowSink},
	{name: "04-nack-before-rr-paused", codec: "vp8", script: func(s *session) {
		for _, row := range s.rec.Inputs {
			if row[0] != "rtcp" {
				continue
			}
			switch row[3] {
			case "nack in20 while paused":
				s.at(first(row[1])-1, func() { s.require(s.m.PauseConsumer("C1")) })
			case "nack in20 after resume":
				s.at(first(row[1])-1, func() { s.require(s.m.ResumeConsumer("C1")) })
			}
		}
	}},

	{name: "05-pli-answered", codec: "vp8", script: traceKeyFrames},
	{name: "05-pli-unanswered", codec: "vp8", script: traceKeyFrames},
	{name: "05-pli-delay2000-answered", codec: "vp8", script: traceKeyFrames, producerSpec: slowKeyFrames},
	{name: "05-pli-delay2000-unanswered", codec: "vp8", script: traceKeyFrames, producerSpec: slowKeyFrames},
	{name: "05-fir", codec: "vp8", script: traceKeyFrames},
	{name: "05-fir-only-producer", codec: "vp8", producerSpec: producerSpec{
		feedback: []Feedback{{"nack", ""}, {"ccm", "fir"}},
	}},
	{name: "05-first-packet-key", codec: "vp8"},
	{
		name: "05-create-resume", codec: "vp8",
		setup: func(s *session) {
			src := s.connect("src", false)
			s.connect("d1", false)
			s.connect("d2", false)
			s.produce(src)
		},
		acts: map[string]func(*session){
			"consume C1":         func(s *session) { s.consume("C1", s.endpoints["d1"]) },
			"consume C2 paused":  func(s *session) { s.consume("C2", s.endpoints["d2"]) },
			"C2 resumed":         func(s *session) { s.require(s.m.ResumeConsumer("C2")) },
			"C1 paused":          func(s *session) { s.require(s.m.PauseConsumer("C1")) },
			"C1 resumed":         func(s *session) { s.require(s.m.ResumeConsumer("C1")) },
			"P paused":           func(s *session) { s.require(s.m.PauseProducer("P1")) },
			"P resumed":          func(s *session) { s.require(s.m.ResumeProducer("P1")) },
			"C1 requestKeyFrame": func(s *session) { s.require(s.m.RequestKeyFrame("C1")) },
		},
	},

	{name: "06-consumer-pause-audio", codec: "opus", acts: consumerPauses},
	{name: "06-consumer-pause-vp8", codec: "vp8", acts: consumerPauses},
	{name: "06-producer-pause-audio", codec: "opus", acts: producerPauses},
	{name: "06-producer-pause-vp8", codec: "vp8", acts: producerPauses},
	{name: "06-wrap", codec: "vp8"},
	{name: "06-seqjump", codec: "opus"},
	{name: "06-seqjump-vp8", codec: "vp8"},
	{name: "06-ssrc-change", codec: "opus", producerSpec: producerSpec{
		mid: "A", ext: map[string]uint8{"mid": 1}, encodings: []Encoding{{}},
	}, script: func(s *session) { s.labels[5001], s.labels[5002] = "in5001", "in5002" }},

	{name: "08-av1-simple", codec: "av1"},
	{name: "08-vp9-simple-wait", codec: "vp9"},
	{
		name: "08-h264-keys", codec: "h264",
		setup: func(s *session) { s.produce(s.connect("src", false)) },
		script: func(s *session) {
			for i := range 7 {
				name := fmt.Sprintf("C%d", i+1)
				s.at(first(s.rec.Events[name+".consumed"].Items[0].T), func() {
					s.consume(name, s.connect(fmt.Sprintf("d%d", i), false))
				})
			}
		},
	},

	{name: "09-score-upstream", codec: "vp8", producerSpec: producerSpec{noRTX: true, feedback: videoFeedback[1:]}},
	{name: "09-score-upstream-total", codec: "opus"},
	{name: "09-score-downstream", codec: "vp8"},
	{name: "09-score-downstream-repaired", codec: "vp8"},
	{name: "09-inactivity-simple", codec: "vp8"},

	{name: "11-dtx-forward", codec: "opus", producerSpec: dtx, loose: sendBitrate},
	{name: "11-dtx-ignore", codec: "opus", producerSpec: dtx, ignoreDTX: true, loose: sendBitrate},
	{name: "11-cn", codec: "pcmu", producerSpec: producerSpec{
		extra: []CodecParameters{{MimeType: "audio/CN", PayloadType: 13, ClockRate: 8000}},
	}},

	{
		name: "13-direct", codec: "vp8",
		setup: func(s *session) {
			e := s.direct("direct")
			dst := s.connect("dst", false)
			s.produce(e)
			s.consume("CD", e)
			s.consume("C1", dst)
		},
		acts: map[string]func(*session){
			"sendRtcp PLI": func(s *session) { s.control13(rtcp.AppendPLI(nil, sink, s.ssrcOf("CD"))) },
			"sendRtcp NACK": func(s *session) {
				lost := []uint16{s.rtpSeqs("CD", 4)}
				s.control13(rtcp.AppendNACK(nil, sink, s.ssrcOf("CD"), lost))
			},
			"sendRtcp SR": func(s *session) {
				s.control13(rtcp.AppendSenderReport(nil, rtcp.SenderReport{
					SSRC: recordedSSRC, NTP: s.m.ntp(), RTPTimestamp: 90000 + 2000*90, PacketCount: 50, OctetCount: 3000,
				}))
			},
			"sendRtcp RR": func(s *session) {
				s.control13(rtcp.AppendReceiverReport(nil, sink, []rtcp.ReportBlock{{SSRC: s.ssrcOf("CD")}}))
			},
		},
		script: func(s *session) {
			s.at(4000, func() {
				s.m.producerSend("P1", []byte{0})
				s.m.producerSend("P1", slices.Repeat([]byte{1}, 40))
			})
		},
		check: func(s *session) { assert.EqualValues(s.t, 2, s.m.count.DropMalformed) },
	},
	{
		name: "13-direct-audio", codec: "opus",
		setup: func(s *session) {
			e := s.direct("direct")
			s.produce(e)
			s.consume("CD", e)
		},
		afterInput: func(s *session, idx int) {
			switch idx {
			case 10:
				s.require(s.m.PauseConsumer("CD"))
			case 20:
				s.require(s.m.ResumeConsumer("CD"))
			}
		},
	},

	{
		name: "14-trace", codec: "vp8",
		script: func(s *session) {
			s.require(s.m.TraceProducer("P1", []string{"rtp", "keyframe", "nack", "pli", "fir", "sr"}))
			s.require(s.m.TraceConsumer("C1", []string{"rtp", "keyframe", "nack", "pli", "fir"}))
		},
		report: func(*session) rtcp.SenderReport {
			return rtcp.SenderReport{RTPTimestamp: 90000 + 22*3600, PacketCount: 20, OctetCount: 1200}
		},
	},
	{
		name: "14-twcc", codec: "vp8", ignoreWide: true, producerSpec: congestion,
		ignore: []string{"dst/probator", "dstTransport.trace", "dstTransport"},
	},
	{
		name: "14-twcc-maxincoming", codec: "vp8", ignoreWide: true, producerSpec: congestion,
		ignore: []string{"dst/probator", "dstTransport.trace", "dstTransport"},
		script: func(s *session) { s.require(s.m.SetMaxIncomingBitrate("src", 500_000)) },
		acts: map[string]func(*session){
			"setMaxIncomingBitrate 0": func(s *session) { s.require(s.m.SetMaxIncomingBitrate("src", 0)) },
		},
	},
}

var (
	nackedAudio   = producerSpec{feedback: []Feedback{{"nack", ""}}}
	slowKeyFrames = producerSpec{delay: 2 * time.Second}
	dtx           = producerSpec{parameters: map[string]any{"usedtx": 1}}
	// Package stream measures over 6 s what is sent with DTX, as what is
	// received; the recorded worker over 2.5 s.
	sendBitrate = "bitrate"
	congestion    = producerSpec{
		feedback: append(slices.Clone(videoFeedback), Feedback{"transport-cc", ""}), ext: map[string]uint8{"twcc": 7},
	}

	consumerPauses = map[string]func(*session){
		"paused":  func(s *session) { s.require(s.m.PauseConsumer("C1")) },
		"resumed": func(s *session) { s.require(s.m.ResumeConsumer("C1")) },
	}
	producerPauses = map[string]func(*session){
		"paused":  func(s *session) { s.require(s.m.PauseProducer("P1")) },
		"resumed": func(s *session) { s.require(s.m.ResumeProducer("P1")) },
	}
)

func traceKeyFrames(s *session) {
	s.require(s.m.TraceProducer("P1", []string{"pli", "fir", "keyframe"}))
}

// control13 is RTCP of the application.
func (s *session) control13(b []byte) { s.send(s.endpoints["direct"], b) }

// rtpSeqs returns the n-th last sequence number of a Consumer of 13-direct.
func (s *session) rtpSeqs(label string, n int) uint16 {
	rows := s.rtp[label+"/"+label]
	return s.bases[s.ssrcOf(label)].seq + uint16(rows[len(rows)-n].seq)
}

// recordedSeed chooses when periodic reports are due. In some recordings all
// runs had a report at a time when others might have none.
const recordedSeed = 1

func TestRecorded(t *testing.T) {
	for _, o := range scenarios {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t, o, recordedSeed)
			if o.setup == nil {
				pair(s)
			} else {
				o.setup(s)
			}
			s.feed()
			if o.script != nil {
				o.script(s)
			}
			s.end()
			s.run()
			s.compareRTP()
			s.compareLists("rtcp", s.rec.RTCP, s.rtcp)
			s.compareLists("events", s.rec.Events, s.events)
			s.compareLists("stats", s.rec.Stats, s.stats)
			if o.check != nil {
				o.check(s)
			}
		})
	}
}

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
	statsMatch = matcher{
		// mediasoup counts what a transport received as RTP after it has rewritten
		// the header extensions; we count what was received.
		loose: map[string]bool{"jitter": true, "rtpBytesReceived": true, "rtpRecvBitrate": true},
		slack: map[string]float64{"roundTripTime": 2, "fractionLost": 3, "recvBitrate": 700, "sendBitrate": 700},
		relative: map[string]float64{
			"bitrate": 0.05, "bytesSent": 0.1,
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
			}
			if d := m.match(at, w.V, g.V); d != "" {
				assert.Failf(s.t, "different", "%s\n got %s\nwant %s", d, render(g.V), render(w.V))
				break
			}
			if m == &looseReport || strings.HasSuffix(k, ".consumed") {
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
	m := statsMatch
	if s.o.loose != "" {
		m.loose = maps.Clone(m.loose)
		m.loose[s.o.loose] = true
	}
	for _, g := range got {
		if d = m.match("stats "+k, want, g.V); d == "" {
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

func TestRecordedAll(t *testing.T) {
	names := map[string]bool{}
	for _, o := range scenarios {
		require.False(t, names[o.name], o.name)
		names[o.name] = true
	}
	require.Len(t, names, recordedFiles(t))
}
