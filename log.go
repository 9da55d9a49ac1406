package mafalda

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
)

// LogLevel is the least severe level that a Worker logs.
type LogLevel string

// The log levels.
const (
	LogLevelDebug LogLevel = "debug"
	LogLevelWarn  LogLevel = "warn"
	LogLevelError LogLevel = "error"
	LogLevelNone  LogLevel = "none"
)

// LogTag is a subject of a Worker's log. Debug messages and warnings with a
// tag are logged only when the tag is enabled; errors always are. No message is
// about one packet that was forwarded; what a peer can cause as often as it likes
// is logged 20 times a second at most, with attribute «skipped» for how many like
// it were not. What is dropped, and why, is counted as well ([CounterReporter]).
type LogTag string

// The log tags. D marks debug messages, W warnings.
const (
	// D: Routers, Transports and WebRTCServers that come and go.
	LogTagInfo LogTag = "info"
	// D: states and paths of ICE. W: a peer that is gone; STUN that was refused;
	// what comes to a WebRTCServer and belongs to no Transport.
	LogTagICE LogTag = "ice"
	// D: states of DTLS. W: handshakes that failed, and why; DTLS at the wrong
	// time or from the wrong address.
	LogTagDTLS LogTag = "dtls"
	// D: new streams. W: packets that belong to no Producer, can't be read or come
	// from another address than the peer's; streams that number packets anew.
	LogTagRTP LogTag = "rtp"
	// D: the SRTP suite. W: packets that can't be decrypted, or come before they
	// could be.
	LogTagSRTP LogTag = "srtp"
	// D: loss that peers report. W: RTCP that can't be read.
	LogTagRTCP LogTag = "rtcp"
	// D: NACK, PLI and FIR in both directions; streams of retransmissions.
	LogTagRTX LogTag = "rtx"
	// D: the bandwidth that is estimated, and REMB.
	LogTagBWE LogTag = "bwe"
	// D: scores that change.
	LogTagScore LogTag = "score"
	// D: layers of simulcast that are chosen and sent.
	LogTagSimulcast LogTag = "simulcast"
	// D: the same of SVC.
	LogTagSVC LogTag = "svc"
	// D: states of SCTP; streams that the peer resets. W: associations that
	// failed, and why; packets that can't be used.
	LogTagSCTP LogTag = "sctp"
	// W: data messages that are dropped, and why.
	LogTagMessage LogTag = "message"
)

// logTags has all tags; the index of one is its bit in logFilter.tags.
var logTags = []LogTag{
	LogTagInfo, LogTagICE, LogTagDTLS, LogTagRTP, LogTagSRTP, LogTagRTCP, LogTagRTX,
	LogTagBWE, LogTagScore, LogTagSimulcast, LogTagSVC, LogTagSCTP, LogTagMessage,
}

func (l LogLevel) validate() error {
	switch l {
	case "", LogLevelDebug, LogLevelWarn, LogLevelError, LogLevelNone:
		return nil
	}
	return invalid("log level %q", l)
}

// threshold returns the least slog level that l admits.
func (l LogLevel) threshold() slog.Level {
	switch l {
	case LogLevelDebug:
		return slog.LevelDebug
	case LogLevelWarn:
		return slog.LevelWarn
	case LogLevelNone:
		return math.MaxInt
	}
	return slog.LevelError
}

func validateLogTags(tags []LogTag) error {
	for _, t := range tags {
		if !slices.Contains(logTags, t) {
			return invalid("log tag %q", t)
		}
	}
	return nil
}

var packageLogger atomic.Pointer[slog.Logger]

// SetLogger replaces the logger of all Workers that were created without one,
// those that exist included (mediasoup's setLogEventListeners). nil turns
// logging off, which is how it begins.
//
// Records of a subject have its [LogTag] as attribute «tag». What is logged at
// all is a matter of [WorkerSettings.LogLevel] and LogTags.
func SetLogger(l *slog.Logger) { packageLogger.Store(l) }

// logAttrTag is the key of the attribute that has the LogTag of a logger.
const logAttrTag = "tag"

// A logFilter is what a Worker's UpdateSettings changes, shared by its loggers.
type logFilter struct {
	level atomic.Int64  // slog.Level
	tags  atomic.Uint32 // a bit for each of logTags
}

// set applies level unless empty and tags unless nil.
func (f *logFilter) set(level LogLevel, tags []LogTag) {
	if level != "" {
		f.level.Store(int64(level.threshold()))
	}
	if tags != nil {
		var bits uint32
		for _, t := range tags {
			bits |= t.bit()
		}
		f.tags.Store(bits)
	}
}

func (t LogTag) bit() uint32 { return 1 << max(0, slices.Index(logTags, t)) }

// A logHandler filters the log of a Worker and hands the rest to the Worker's
// own handler or, where there is none, to that of the package's logger.
type logHandler struct {
	filter *logFilter
	own    slog.Handler // nil: the package's, as it is when a record comes
	tag    LogTag       // empty: no tag
	// with repeats on the package's handler what was done to this one.
	with []func(slog.Handler) slog.Handler
}

// newWorkerLogger returns the logger of a Worker and the filter behind it.
func newWorkerLogger(s *WorkerSettings) (*slog.Logger, *logFilter) {
	h := &logHandler{filter: new(logFilter)}
	if s.Logger != nil {
		h.own = s.Logger.Handler()
	}
	level := s.LogLevel
	if level == "" {
		level = LogLevelError
	}
	h.filter.set(level, s.LogTags)
	return slog.New(h), h.filter
}

func (h *logHandler) target() slog.Handler {
	if h.own != nil {
		return h.own
	}
	l := packageLogger.Load()
	if l == nil {
		return nil
	}
	t := l.Handler()
	for _, f := range h.with {
		t = f(t)
	}
	return t
}

// Enabled implements [slog.Handler].
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	if int64(level) < h.filter.level.Load() {
		return false
	}
	if level < slog.LevelError && h.tag != "" && h.filter.tags.Load()&h.tag.bit() == 0 {
		return false
	}
	t := h.target()
	return t != nil && t.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	t := h.target()
	if t == nil {
		return nil
	}
	return t.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := h.derive(func(t slog.Handler) slog.Handler { return t.WithAttrs(attrs) })
	for _, a := range attrs {
		if t := LogTag(a.Value.String()); a.Key == logAttrTag && slices.Contains(logTags, t) {
			c.tag = t
		}
	}
	return c
}

// WithGroup implements [slog.Handler].
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.derive(func(t slog.Handler) slog.Handler { return t.WithGroup(name) })
}

func (h *logHandler) derive(f func(slog.Handler) slog.Handler) *logHandler {
	c := *h
	if c.own != nil {
		c.own = f(c.own)
	} else {
		c.with = append(slices.Clip(h.with), f)
	}
	return &c
}
