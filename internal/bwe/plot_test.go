package bwe

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

const (
	plotW, plotH                         = 800, 260
	plotLeft, plotTop, plotRight, plotLo = 50, 30, 10, 30
	plotPoints                           = 300
)

// plot draws rates over time as SVG: what the line carries, what is believed
// and what is sent.
func plot(s *scenario, r *run) []byte {
	top := 0.0
	for _, st := range r.link.steps {
		top = max(top, st.rate)
	}
	top = math.Ceil(top*1.5/500e3) * 500e3
	x := func(at time.Duration) float64 {
		return plotLeft + (plotW-plotLeft-plotRight)*at.Seconds()/r.long.Seconds()
	}
	y := func(rate float64) float64 {
		return plotTop + (plotH-plotTop-plotLo)*(1-min(rate, top)/top)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotW, plotH)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotW, plotH)
	fmt.Fprintf(&b, `<text x="%d" y="16" font-size="13">%s</text>`+"\n", plotLeft, s.about)
	for v := 0.0; v <= top; v += 500e3 {
		fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%.1f M</text>`+"\n",
			plotLeft, y(v), plotW-plotRight, plotLeft-5, y(v)+4, v/1e6)
	}
	for at := time.Duration(0); at <= r.long; at += r.long / 10 {
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%.3g s</text>`+"\n", x(at), plotH-12, at.Seconds())
	}
	fmt.Fprint(&b, `<path fill="none" stroke="#888" stroke-dasharray="6 3" d="`)
	for i, st := range r.link.steps {
		end := r.long
		if i+1 < len(r.link.steps) {
			end = r.link.steps[i+1].at
		}
		c := byte('L')
		if i == 0 {
			c = 'M'
		}
		fmt.Fprintf(&b, "%c%.0f %.0fH%.0f", c, x(st.at), y(st.rate), x(end))
	}
	fmt.Fprintln(&b, `"/>`)
	line := func(colour string, width float64, f *flow, value func(sample) float64) {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="%g" d="`, colour, width)
		every := max(1, int(r.long/sampleEvery)/plotPoints)
		for i := 0; i < len(f.samples); i += every {
			c := byte('L')
			if i == 0 {
				c = 'M'
			}
			fmt.Fprintf(&b, "%c%.0f %.0f", c, x(f.samples[i].at), y(value(f.samples[i])))
		}
		fmt.Fprintln(&b, `"/>`)
	}
	colours := [][2]string{{"#9cf", "#05a"}, {"#fc9", "#b50"}}
	for i, f := range r.flows {
		line(colours[i][0], 1, f, func(s sample) float64 { return s.sent })
	}
	for i, f := range r.flows {
		line(colours[i][1], 1.5, f, func(s sample) float64 { return s.estimate })
	}
	fmt.Fprintf(&b, `<text x="%d" y="16" text-anchor="end">dashed: line · dark: estimate · light: sent</text>`+"\n</svg>\n", plotW-plotRight)
	return b.Bytes()
}
