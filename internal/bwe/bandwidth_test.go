package bwe

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

var variants = []variant{
	{1, 300 * time.Millisecond}, {2, 100 * time.Millisecond}, {3, 300 * time.Millisecond},
	{4, 100 * time.Millisecond}, {5, 200 * time.Millisecond}, {6, 500 * time.Millisecond},
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			for _, v := range variants {
				r := s.run(v)
				ok := true
				line := ""
				for _, g := range s.gates(r) {
					mark := ""
					if !g.passed() {
						ok, mark = false, "!!"
					}
					line += "  " + mark + g.String()
				}
				if !ok {
					t.Errorf("seed %d, queue %v: %s", v.seed, v.queue, line)
				} else {
					t.Logf("seed %d, queue %v: %s", v.seed, v.queue, line)
				}
			}
		})
	}
}

func TestDebug(t *testing.T) {
	name := os.Getenv("DEBUG")
	for _, s := range scenarios {
		if s.name != name {
			continue
		}
		seed, _ := strconv.Atoi(os.Getenv("SEED"))
		r := s.run(variants[seed-1])
		for i := range r.flows[0].samples {
			if i%10 != 0 {
				continue
			}
			line := ""
			at := r.flows[0].samples[i].at
			for _, f := range r.flows {
				for _, x := range f.samples {
					if x.at/(100*time.Millisecond) == at/(100*time.Millisecond) {
						line += fmt.Sprintf("  est %4.0fk sent %4.0fk", x.estimate/1000, x.sent/1000)
					}
				}
			}
			t.Logf("%5.1f %s", at.Seconds(), line)
		}
	}
}
