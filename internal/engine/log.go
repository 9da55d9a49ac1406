package engine

import (
	"context"
	"log/slog"
	"time"
)

// A logger has what is to be said about one of mediasoup's log tags. While the
// tag or the level is off it costs a comparison: whoever has arguments to make
// asks first, with on or with [Machine.may].
type logger struct{ *slog.Logger }

func (l logger) on(level slog.Level) bool { return l.Enabled(context.Background(), level) }

// logs are the loggers of a Machine; see LogTag in the root package.
type logs struct {
	info, ice, dtls, rtp, srtp, rtcp, rtx, bwe, score, simulcast, svc, sctp, message logger

	rare [causes]rarely // owned by the loop
}

func newLogs(l *slog.Logger) logs {
	tag := func(name string) logger { return logger{l.With("tag", name)} }
	return logs{
		info: tag("info"), ice: tag("ice"), dtls: tag("dtls"), rtp: tag("rtp"), srtp: tag("srtp"), rtcp: tag("rtcp"),
		rtx: tag("rtx"), bwe: tag("bwe"), score: tag("score"), simulcast: tag("simulcast"), svc: tag("svc"),
		sctp: tag("sctp"), message: tag("message"),
	}
}

// A cause is what a peer can have us log as often as it likes.
type cause int

const (
	causeSTUN cause = iota
	causeTuple
	causeDTLS
	causeStranger
	causeUnknownRTP
	causeMalformedRTP
	causeNewStream
	causeRestart
	causeSRTP
	causeSRTCP
	causeMalformedRTCP
	causeLoss
	causeNACKIn
	causeNACKOut
	causeKeyFrameIn
	causeKeyFrameOut
	causeEstimate
	causeREMB
	causeScoreIn
	causeScoreOut
	causeTarget
	causeLayers
	causeSCTP
	causeReset
	causeMessage
	causes
)

// maxRare is how many messages of one cause a Worker logs in a second.
const maxRare = 20

// A rarely counts the messages of one cause.
type rarely struct {
	since   time.Duration // when the second began
	logged  int           // in it
	skipped uint64        // since the last one that was logged
}

// may reports whether to log one more message of a cause, and how many like it
// were not logged before.
func (m *Machine) may(l logger, level slog.Level, c cause) (skipped uint64, ok bool) {
	if !l.on(level) {
		return 0, false
	}
	r := &m.logs.rare[c]
	if m.now-r.since >= time.Second {
		r.since, r.logged = m.now, 0
	}
	if r.logged == maxRare {
		r.skipped++
		return 0, false
	}
	r.logged++
	skipped, r.skipped = r.skipped, 0
	return skipped, true
}

// log is the logger of a Consumer that forwards some layers.
func (l *layered) log() logger {
	if l.c.typ == SVCType {
		return l.c.m.logs.svc
	}
	return l.c.m.logs.simulcast
}
