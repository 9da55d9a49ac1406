package placement

import (
	"bytes"
	"fmt"
	"time"
)

const (
	plotW, plotH                         = 800, 260
	plotLeft, plotTop, plotRight, plotLo = 50, 30, 50, 30
	plotPipes                            = 250 // the highest number of pipes drawn
)

// A sample is what a plot shows of one moment.
type sample struct {
	loads [4]float64 // by CPU; 0 if there is no Worker
	pipes int
}

func (s *sim) sample() sample {
	p := sample{pipes: s.pipes}
	for _, w := range s.workers {
		p.loads[w.cpu] = w.load()
	}
	return p
}

// plot draws load and pipes over time as SVG.
func plot(title string, samples []sample, every time.Duration) []byte {
	x := func(i int) float64 {
		return plotLeft + (plotW-plotLeft-plotRight)*float64(i)/float64(len(samples)-1)
	}
	y := func(part float64) float64 { return plotTop + (plotH-plotTop-plotLo)*(1-min(part, 1)) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotW, plotH)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotW, plotH)
	fmt.Fprintf(&b, `<text x="%d" y="16" font-size="13">%s</text>`+"\n", plotLeft, title)
	for v := 0; v <= 100; v += 20 {
		at := y(float64(v) / 100)
		fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%d %%</text><text x="%d" y="%.0f" fill="#b50">%d</text>`+"\n",
			plotLeft, at, plotW-plotRight, plotLeft-5, at+4, v, plotW-plotRight+5, at+4, plotPipes*v/100)
	}
	for i := 0; i < len(samples); i += int(2 * time.Minute / every) {
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%.3g min</text>`+"\n", x(i), plotH-12, (time.Duration(i) * every).Minutes())
	}
	fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="#888" stroke-dasharray="6 3"/>`+"\n", plotLeft, y(DefaultWatermark), plotW-plotRight)
	line := func(colour string, width float64, value func(*sample) float64) {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="%g" d="`, colour, width)
		for i := range samples {
			c := byte('L')
			if i == 0 {
				c = 'M'
			}
			fmt.Fprintf(&b, "%c%.0f %.0f", c, x(i), y(value(&samples[i])))
		}
		fmt.Fprintln(&b, `"/>`)
	}
	for i, colour := range []string{"#05a", "#38c", "#6ae", "#9cf"} {
		line(colour, 1.5, func(s *sample) float64 { return s.loads[i] })
	}
	line("#b50", 2, func(s *sample) float64 { return float64(s.pipes) / plotPipes })
	fmt.Fprintf(&b, `<text x="%d" y="16" text-anchor="end">blue: load of each Worker · dashed: watermark · orange: pipes</text>`+"\n</svg>\n", plotW-plotRight)
	return b.Bytes()
}
