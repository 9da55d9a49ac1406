package main

import (
	"errors"
	"regexp"
)

// A mediaRecording is a file of the media recorder; its README says what is in it.
type mediaRecording struct {
	Inputs [][]any
	RTP    map[string]struct {
		Stable bool
		Rows   [][]any
	}
	RTCP, Events, Stats map[string]mediaList
}

type mediaList struct {
	Counts any
	Items  []mediaItem
}

type mediaItem struct {
	T any // ms since the first packet
	V any
}

// Columns of a row of RTP. The last is there only when there is something to say.
const (
	columnIn, columnTime, columnSeq, columnExt, columnExtra = 0, 1, 2, 7, 9

	rowColumns = "in,t,seqOff,tsOff,marker,pt,len,ext,payload8,extra"
)

const (
	// Packets that are sent so many ms before the end may come after it.
	tail = 40
	// Of states that follow each other within so many ms only the last one counts.
	settle = 60
)

var (
	// Reports come at times that are random, and begin when the transport connects.
	periodic = regexp.MustCompile(`RR|SR`)
	state    = regexp.MustCompile(`\.(score|layerschange)$`)
	// What these are when a scenario ends, or a report is sent, is chance.
	chance = regexp.MustCompile(`^(jitter|bitrate|bitrateByLayer|roundTripTime|byteCount|packetCount|fractionLost|fraction|ehsn|lost|lsr|lrr|dlsrMs|dlrrMs|ntpRelMs|rtpTsOff|packets|octets|bytes.*|.*Bitrate|.*Bytes.*)$`)
)

// compareMedia compares two files of the media recorder. What was recorded is the
// merge of several runs: where they were not the same a range, or something that is
// not compared, stands for them. slack is in ms.
func compareMedia(scenario, want, got string, slack float64) (result, error) {
	var a, b mediaRecording
	if err := errors.Join(readJSON(want, &a), readJSON(got, &b)); err != nil {
		return result{}, err
	}
	c := mediaComparison{scenario: scenario, slack: slack}
	c.compare(&a, &b)
	return result{scenario, c.found, c.late}, nil
}

type mediaComparison struct {
	scenario string
	slack    float64
	found    []difference
	end      float64 // ms, when the last input was sent
	late     float64 // ms by which something came later than in any of the runs
	early    float64 // ms by which something was sent sooner than in any: they were held up
}

func (c *mediaComparison) differ(place string, want, got any) {
	c.found = append(c.found, difference{c.scenario, place, contrast(want, got)})
}

func (c *mediaComparison) compare(a, b *mediaRecording) {
	for i := range min(len(a.Inputs), len(b.Inputs)) {
		c.lag(a.Inputs[i][columnTime], b.Inputs[i][columnTime])
		first, last := span(a.Inputs[i][columnTime])
		sent, _ := span(b.Inputs[i][columnTime])
		c.end, c.early = last, max(c.early, first-sent)
	}
	for _, k := range keys(a.RTP, b.RTP) {
		r := rowComparison{
			mediaComparison: c, stream: "rtp " + k, want: a.RTP[k].Rows, got: b.RTP[k].Rows,
			stable: a.RTP[k].Stable, late: c.lateInputs(a),
		}
		r.findEdges(a.Inputs)
		r.compare()
	}
	for _, part := range []struct {
		name string
		a, b map[string]mediaList
	}{{"rtcp", a.RTCP, b.RTCP}, {"events", byType(a.Events), byType(b.Events)}, {"stats", a.Stats, b.Stats}} {
		for _, k := range keys(part.a, part.b) {
			c.compareLists(part.name+" "+k, part.a[k], part.b[k])
		}
	}
}

// lag notes by how much something came later than it might have.
func (c *mediaComparison) lag(want, got any) {
	_, latest := span(want)
	t, _ := span(got)
	c.late = max(c.late, t-latest)
}

// lateInputs returns the numbers of the packets that were sent just before the end.
func (c *mediaComparison) lateInputs(r *mediaRecording) map[any]bool {
	late := map[any]bool{}
	for _, in := range r.Inputs {
		if _, t := span(in[columnTime]); t > c.end-tail {
			late[in[columnIn]] = true
		}
	}
	return late
}
