package bwe

import (
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
