package mafalda

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// lines returns a logger that writes «level message attributes».
func lines(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func logAll(l *slog.Logger) {
	ice := l.With(logAttrTag, string(LogTagICE))
	l.Debug("d")
	l.Warn("w")
	l.Error("e")
	ice.Debug("id")
	ice.Warn("iw")
	ice.Error("ie")
}

func messages(s string) string {
	var m []string
	for f := range strings.FieldsSeq(s) {
		if v, ok := strings.CutPrefix(f, "msg="); ok {
			m = append(m, v)
		}
	}
	return strings.Join(m, " ")
}

func TestLogFilter(t *testing.T) {
	tests := []struct {
		name  string
		level LogLevel
		tags  []LogTag
		want  string
	}{
		{"default", "", nil, "e ie"},
		{"warn", LogLevelWarn, nil, "w e ie"},
		{"warn with tag", LogLevelWarn, []LogTag{LogTagICE}, "w e iw ie"},
		{"debug", LogLevelDebug, []LogTag{LogTagRTP}, "d w e ie"},
		{"debug with tag", LogLevelDebug, []LogTag{LogTagRTP, LogTagICE}, "d w e id iw ie"},
		{"none", LogLevelNone, []LogTag{LogTagICE}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			l, _ := newWorkerLogger(&WorkerSettings{Logger: lines(&b), LogLevel: tt.level, LogTags: tt.tags})
			logAll(l)
			assert.Equal(t, tt.want, messages(b.String()))
		})
	}
}

func TestLogFilterChanges(t *testing.T) {
	var b bytes.Buffer
	l, f := newWorkerLogger(&WorkerSettings{Logger: lines(&b)})
	step := func(level LogLevel, tags []LogTag, want string) {
		t.Helper()
		b.Reset()
		f.set(level, tags)
		logAll(l)
		assert.Equal(t, want, messages(b.String()))
	}
	step(LogLevelWarn, []LogTag{LogTagICE}, "w e iw ie")
	step("", nil, "w e iw ie")
	step("", []LogTag{}, "w e ie")
	step(LogLevelNone, nil, "")
}

func TestSetLogger(t *testing.T) {
	defer SetLogger(nil)
	l, _ := newWorkerLogger(&WorkerSettings{})
	l = l.WithGroup("g").With("a", 1)
	l.Error("unheard")
	var b bytes.Buffer
	SetLogger(lines(&b)) // works for loggers that exist
	l.Error("heard", "b", 2)
	SetLogger(nil)
	l.Error("unheard")
	assert.Equal(t, "level=ERROR msg=heard g.a=1 g.b=2\n", b.String())
}
