package channel

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// tags are mediasoup's log tags; the index of one is its bit.
var tags = []string{
	"info", "ice", "dtls", "rtp", "srtp", "rtcp", "rtx", "bwe", "score", "simulcast", "svc", "sctp", "message",
}

// A Log is the log of a worker: a handler that filters by level and tag and
// hands on lines that begin with mediasoup's letter for the severity.
type Log struct {
	level atomic.Int64  // slog.Level
	tags  atomic.Uint32 // a bit for each of tags

	mu      sync.Mutex
	lines   []string      // guarded by mu; waiting to be written
	dropped int           // guarded by mu; since the last line that was taken
	ready   chan struct{} // capacity 1: something waits
}

// maxLines is how many lines may wait; who writes them may be slow, who logs
// must not be.
const maxLines = 1024

// NewLog returns a Log of that level ("debug", "warn", "error" or "none", in any
// case) and those tags; unknown ones are ignored. It reports false for another
// level.
func NewLog(level string, tags []string) (*Log, bool) {
	l := &Log{ready: make(chan struct{}, 1)}
	ok := l.setLevel(level)
	l.setTags(tags)
	return l, ok
}

func (l *Log) setLevel(name string) bool {
	level, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError, "none": math.MaxInt,
	}[strings.ToLower(name)]
	if ok {
		l.level.Store(int64(level))
	}
	return ok
}

func (l *Log) setTags(names []string) {
	var bits uint32
	for _, n := range names {
		bits |= tagBit(n)
	}
	l.tags.Store(bits)
}

func tagBit(name string) uint32 {
	if i := slices.Index(tags, name); i >= 0 {
		return 1 << i
	}
	return 0
}

// Logger returns a logger that writes to l. Attribute «tag» names the tag of a
// record: below errors it is dropped while the tag is off.
func (l *Log) Logger() *slog.Logger { return slog.New(&logHandler{log: l}) }

func (l *Log) add(line string) {
	l.mu.Lock()
	if len(l.lines) < maxLines {
		l.lines = append(l.lines, line)
	} else {
		l.dropped++
	}
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take returns the lines that wait, and how many more there were.
func (l *Log) take() (lines []string, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, dropped = l.lines, l.dropped
	l.lines, l.dropped = nil, 0
	return lines, dropped
}

type logHandler struct {
	log   *Log
	tag   uint32 // 0: no tag
	attrs []slog.Attr
	group string // with a dot at the end, or empty
}

// Enabled implements [slog.Handler].
func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return int64(level) >= h.log.level.Load() &&
		(level >= slog.LevelError || h.tag == 0 || h.log.tags.Load()&h.tag != 0)
}

// Handle implements [slog.Handler].
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		b.WriteByte('E')
	case r.Level >= slog.LevelWarn:
		b.WriteByte('W')
	default:
		b.WriteByte('D')
	}
	b.WriteString(r.Message)
	add := func(prefix string, a slog.Attr) {
		b.WriteString(" [" + prefix + a.Key + ":" + a.Value.String() + "]")
	}
	for _, a := range h.attrs {
		add("", a)
	}
	r.Attrs(func(a slog.Attr) bool {
		add(h.group, a)
		return true
	})
	h.log.add(b.String())
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		if bit := tagBit(a.Value.String()); a.Key == "tag" && bit != 0 {
			c.tag = bit
			continue
		}
		a.Key = h.group + a.Key
		c.attrs = append(c.attrs, a)
	}
	return &c
}

// WithGroup implements [slog.Handler].
func (h *logHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}
