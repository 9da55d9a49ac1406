package channel

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

func TestLog(t *testing.T) {
	l, ok := NewLog("WARN", []string{"ice", "chicken"})
	require.True(t, ok)
	log := l.Logger()
	ice, dtls := log.With("tag", "ice"), log.With("tag", "dtls")
	log.Debug("too low")
	ice.Warn("w1", "a", 1)
	dtls.Warn("off")
	dtls.Error("e1", "error", errors.New("x"))
	log.WithGroup("g").With("b", 2).Warn("w2", "c", 3)
	require.True(t, l.setLevel("debug"))
	l.setTags([]string{"dtls"})
	ice.Debug("off")
	dtls.Debug("d1")
	require.True(t, l.setLevel("none"))
	log.Error("nothing")
	require.False(t, l.setLevel("chicken"))
	lines, dropped := l.take()
	assert.Zero(t, dropped)
	assert.Equal(t, []string{"Ww1 [a:1]", "Ee1 [error:x]", "Ww2 [g.b:2] [g.c:3]", "Dd1"}, lines)
}

func TestLogIsBounded(t *testing.T) {
	l, ok := NewLog("error", nil)
	require.True(t, ok)
	log := l.Logger()
	for range maxLines + 5 {
		log.Error("x")
	}
	lines, dropped := l.take()
	assert.Len(t, lines, maxLines)
	assert.Equal(t, 5, dropped)
}

// Level and tags can be changed while the worker runs.
func TestUpdateSettings(t *testing.T) {
	p := start(t, Settings{LogLevel: "none"})
	update := func(level string, tags []string) {
		t.Helper()
		require.Nil(t, p.ask(fbs.MethodWORKER_UPDATE_SETTINGS, "", fbs.RequestBodyWorkerUpdateSettingsRequest,
			&fbs.WorkerUpdateSettingsRequestT{LogLevel: level, LogTags: tags}))
	}
	update("debug", nil)
	p.notify(fbs.EventWORKER_CLOSE, "", fbs.NotificationBodyNONE, nil)
	for data := ""; data != "Dworker closed"; { // "worker runs" may have been late
		m := p.next()
		require.Equal(t, fbs.MessageBodyLog, m.Type, "%+v", m.Value)
		data = m.Value.(*fbs.LogT).Data
	}
	require.NoError(t, p.wait())
}
