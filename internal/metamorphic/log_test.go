package metamorphic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mafalda-sfu/mafalda"
)

// A journal has what each object has heard, in order, by its name.
type journal struct {
	mu    sync.Mutex
	lines map[string][]string // guarded by mu
	names map[any]string      // guarded by mu; of objects
	ids   map[string]string   // guarded by mu; names by id, of the first with that id
	count map[string]int      // guarded by mu; objects by kind
}

func newJournal() *journal {
	return &journal{lines: map[string][]string{}, names: map[any]string{}, ids: map[string]string{}, count: map[string]int{}}
}

// write adds a line about an object.
func (j *journal) write(name, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines[name] = append(j.lines[name], fmt.Sprintf(format, args...))
}

// born gives a new object its name.
func (j *journal) born(kind string, o any, id string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	name := fmt.Sprintf("%s %d", kind, j.count[kind])
	j.count[kind]++
	j.names[o] = name
	if _, ok := j.ids[id]; !ok {
		j.ids[id] = name
	}
	return name
}

// name returns the name of an object: nothing of nil, and of one that nobody was
// told about that it is a stranger.
func (j *journal) name(o any) string {
	if o == nil {
		return "nothing"
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n, ok := j.names[o]; ok {
		return n
	}
	return "stranger"
}

// id returns the name of the object with that id.
func (j *journal) id(id string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n, ok := j.ids[id]; ok {
		return n
	}
	return "stranger"
}

// idsOf returns the names of objects by id, sorted.
func (j *journal) idsOf(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, j.id(id))
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// namesOf returns the names of objects, in their order.
func namesOf[T any](j *journal, list []T) string {
	var names []string
	for _, o := range list {
		names = append(names, j.name(o))
	}
	return fmt.Sprint(names)
}

// hear writes down when e is emitted.
func hear[T any](j *journal, name string, e *mafalda.Event[T], event string) {
	e.On(func(T) { j.write(name, "heard %s", event) })
}

// hearAbout writes down when e is emitted, and of what.
func hearAbout[T any](j *journal, name string, e *mafalda.Event[T], event string) {
	e.On(func(v T) { j.write(name, "heard %s of %s", event, j.name(v)) })
}

// containsMedia reports whether what an object was sent, by a, came to it in b too,
// and in that order. Where packets are under way for a while, in pipes that the
// program knows nothing of, there may be more: what was sent before a Consumer was
// resumed, or created.
func containsMedia(name string, a, b []string) bool {
	if !strings.HasSuffix(name, " media") && !strings.HasSuffix(name, " messages") {
		return false
	}
	rest := strings.Fields(strings.Trim(strings.Join(b, " "), "[]"))
	for _, text := range strings.Fields(strings.Trim(strings.Join(a, " "), "[]")) {
		n := slices.Index(rest, text)
		if n < 0 {
			return false
		}
		rest = rest[n+1:]
	}
	return true
}

// difference says where two journals differ, "" if nowhere. late lets
// more have come than is in a.
func difference(a, b *journal, late bool) string {
	var out strings.Builder
	names := slices.Sorted(maps.Keys(a.lines))
	for n := range b.lines {
		if _, ok := a.lines[n]; !ok {
			names = append(names, n)
		}
	}
	for _, n := range names {
		x, y := a.lines[n], b.lines[n]
		if late && containsMedia(n, x, y) {
			continue
		}
		if slices.Equal(x, y) {
			continue
		}
		i := 0
		for i < min(len(x), len(y)) && x[i] == y[i] {
			i++
		}
		at := func(lines []string) string {
			if i < len(lines) {
				return lines[i]
			}
			return "nothing more"
		}
		fmt.Fprintf(&out, "%s, line %d of its log: %q, %q\n", n, i, at(x), at(y))
	}
	return out.String()
}
