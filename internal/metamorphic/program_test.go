// Package metamorphic runs random programs of API calls and packets on several
// implementations of the API, and compares what the objects of each have heard.
// It has tests only.
//
// A program is a text with one call on each line. What differs between
// implementations by right is no part of the log: ids, scores, the estimate of
// the bandwidth, statistics, and the order of events of different objects.
//
//	go test ./internal/metamorphic -args -long            ten thousand programs
//	go test ./internal/metamorphic -args -seed N          one program
//	go test ./internal/metamorphic -args -program FILE    the program of a failure
package metamorphic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A step is one line of a program: a verb and numbers. A number that stands for
// an object counts those of its kind in the order of their creation, modulo how
// many there are, so that a step keeps a meaning when others are cut out. A step
// for an object of which there is none does nothing.
type step struct {
	verb string
	args []int
}

type program []step

// A verb is what a step can do.
type verb struct {
	args   []int // of each argument, below which number it is
	weight int   // how often it comes in random programs
	run    func(w *world, a []int)
}

// anyObject is an argument that stands for an object.
const anyObject = 6

// verbs has all verbs, by name.
var verbs map[string]*verb

func init() { // the functions refer to it
	verbs = map[string]*verb{
		"worker":      {nil, 2, (*world).createWorker},
		"router":      {[]int{anyObject}, 4, (*world).createRouter},
		"direct":      {[]int{anyObject}, 8, (*world).createDirect},
		"plain":       {[]int{anyObject}, 5, (*world).createPlain},
		"produce":     {[]int{anyObject, 3}, 10, (*world).produce},
		"consume":     {[]int{anyObject, anyObject, 2}, 14, (*world).consume},
		"producedata": {[]int{anyObject}, 4, (*world).produceData},
		"consumedata": {[]int{anyObject, anyObject, 2}, 5, (*world).consumeData},
		"observer":    {[]int{anyObject, 2}, 3, (*world).createObserver},
		"watch":       {[]int{anyObject, anyObject}, 4, (*world).watch},
		"unwatch":     {[]int{anyObject, anyObject}, 2, (*world).unwatch},
		"pipe":        {[]int{anyObject, anyObject, 2}, 5, (*world).pipe},
		"send":        {[]int{anyObject, 4}, 24, (*world).send},
		"senddata":    {[]int{anyObject, 4}, 8, (*world).sendData},
		"pause":       {[]int{len(pausables), anyObject}, 10, (*world).pause},
		"resume":      {[]int{len(pausables), anyObject}, 10, (*world).resume},
		"close":       {[]int{len(closables), anyObject}, 5, (*world).close},
		"priority":    {[]int{anyObject, 4}, 2, (*world).priority},
		"layers":      {[]int{anyObject, 3}, 2, (*world).layers},
		"subchannel":  {[]int{anyObject, 3}, 2, (*world).subchannel},
		"codecs":      {[]int{anyObject, 2}, 1, (*world).codecs},
		"canconsume":  {[]int{anyObject, anyObject}, 2, (*world).canConsume},
		"lists":       {nil, 3, (*world).lists},
		"dump":        {[]int{anyObject}, 4, (*world).dump},
		"kill":        {[]int{anyObject}, 1, (*world).kill},
	}
}

// weighted has the names of the verbs in a fixed order, each as often as it
// weighs.
func weighted() []string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(verbs)) {
		for range verbs[n].weight {
			names = append(names, n)
		}
	}
	return names
}

// random returns the program of a seed. It begins with what most others need.
func random(seed uint64) program {
	r := rand.New(rand.NewPCG(seed, 0))
	p := program{
		{"worker", nil}, {"router", []int{0}}, {"direct", []int{0}}, {"direct", []int{0}},
		{"produce", []int{0, r.IntN(2)}}, {"consume", []int{1, 0, 0}},
	}
	names := weighted()
	for n := 10 + r.IntN(40); n > 0; n-- {
		s := step{verb: names[r.IntN(len(names))]}
		for _, limit := range verbs[s.verb].args {
			s.args = append(s.args, r.IntN(limit))
		}
		p = append(p, s)
	}
	return p
}

func (s step) String() string {
	var b strings.Builder
	b.WriteString(s.verb)
	for _, a := range s.args {
		fmt.Fprintf(&b, " %d", a)
	}
	return b.String()
}

func (p program) String() string {
	var b strings.Builder
	for _, s := range p {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// parse reads what String wrote. Empty lines, and those that begin with #, say
// nothing.
func parse(text string) (program, error) {
	var p program
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		v, ok := verbs[words[0]]
		if !ok {
			return nil, fmt.Errorf("line %d: unknown verb %q", n+1, words[0])
		}
		if len(words)-1 != len(v.args) {
			return nil, fmt.Errorf("line %d: %s takes %d numbers", n+1, words[0], len(v.args))
		}
		s := step{verb: words[0]}
		for _, w := range words[1:] {
			a, err := strconv.Atoi(w)
			if err != nil || a < 0 {
				return nil, fmt.Errorf("line %d: %q is no number", n+1, w)
			}
			s.args = append(s.args, a)
		}
		p = append(p, s)
	}
	return p, nil
}

// shrink cuts steps out of p and makes numbers smaller as long as it fails. It
// calls fails at most limit times.
func shrink(p program, limit int, fails func(program) bool) program {
	try := func(q program) bool {
		limit--
		return limit >= 0 && fails(q)
	}
	for again := true; again && limit > 0; {
		again = false
		for size := max(len(p)/2, 1); size > 0; size /= 2 {
			for at := 0; at+size <= len(p); {
				q := append(append(program{}, p[:at]...), p[at+size:]...)
				if try(q) {
					p, again = q, true
				} else {
					at += size
				}
			}
		}
		for i := range p {
			for k, a := range p[i].args {
				for smaller := range a {
					q := append(program{}, p...)
					q[i].args = append([]int{}, p[i].args...)
					q[i].args[k] = smaller
					if try(q) {
						p, again = q, true
						break
					}
				}
			}
		}
	}
	return p
}
