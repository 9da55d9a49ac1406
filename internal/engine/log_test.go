package engine

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// offHandler has every level and tag off.
type offHandler struct{ slog.Handler }

func (offHandler) Enabled(context.Context, slog.Level) bool { return false }
func (h offHandler) WithAttrs([]slog.Attr) slog.Handler     { return h }

// TestLogFlood: what a stranger sends is logged so often in a second, and then
// how often it was not; switched off it is not logged and allocates nothing.
func TestLogFlood(t *testing.T) {
	var b bytes.Buffer
	r := newRig(t, 0, srtp.AEADAES128GCM)
	r.m.logs = newLogs(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	junk := append([]byte{0x80, 101, 0, 1}, make([]byte, 60)...)
	flood := func(n int) {
		for range n {
			r.m.HandleUDP(r.in, r.from, junk)
		}
	}
	r.turn(time.Second)
	flood(100)
	require.Equal(t, uint64(100), r.m.count.DropSRTP)
	assert.Equal(t, maxRare, strings.Count(b.String(), "SRTP dropped"))
	assert.NotContains(t, b.String(), "skipped=80")
	assert.Contains(t, b.String(), "tag=srtp")
	r.turn(2 * time.Second)
	flood(1)
	assert.Contains(t, b.String(), "skipped=80")

	b.Reset()
	r.m.logs = newLogs(slog.New(offHandler{slog.NewTextHandler(&b, nil)}))
	flood(1)
	assert.Empty(t, b.String())
	if raceEnabled {
		return
	}
	for _, tr := range r.m.transports {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			tr.unknownRTP("of nobody", rtp.Packet(junk))
			tr.droppedSRTP("for no reason")
			r.m.droppedMessage("for no reason", "transport", tr.id, len(junk))
		}))
	}
}

// TestLogDeath: the stack is logged once, also by a handler of text, which writes
// errors with %+v.
func TestLogDeath(t *testing.T) {
	var b bytes.Buffer
	w, err := Start(Config{
		Certificate: testCertificate(), Limiter: dtls.NewLimiter(0), RTCMinPort: 20000, RTCMaxPort: 40000,
		Notify: func(Notification) {}, Logger: slog.New(slog.NewTextHandler(&b, nil)),
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	_, err = Run(t.Context(), w, func(*Machine) error { panic("planted") })
	require.ErrorIs(t, err, ErrClosed)
	<-w.Told()
	assert.Contains(t, b.String(), `error="panic: planted" stack=`)
	assert.Equal(t, 1, strings.Count(b.String(), "TestLogDeath.func"), b.String())
}
