package mafalda_test

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

func (m *meeting) pauseSink() {
	if k := choose(m, m.sinks, nil); k != nil && (k.paused || m.rng.IntN(3) == 0) {
		if k.paused = !k.paused; k.paused {
			m.do("pause", k.ssrc, k.consumer.Pause)
		} else {
			m.do("resume", k.ssrc, k.consumer.Resume)
		}
	}
}

func (m *meeting) pauseSource() {
	if s := choose(m, m.sources, nil); s != nil && (s.paused || m.rng.IntN(3) == 0) {
		if s.paused = !s.paused; s.paused {
			m.do("pause source", s.tag, s.producer.Pause)
		} else {
			m.do("resume source", s.tag, s.producer.Resume)
		}
	}
}

func (m *meeting) pauseData() {
	if k := choose(m, m.dataSinks, nil); k != nil && (k.paused || m.rng.IntN(3) == 0) {
		if k.paused = !k.paused; k.paused {
			m.do("pause data", k.source.tag, k.consumer.Pause)
		} else {
			m.do("resume data", k.source.tag, k.consumer.Resume)
		}
	} else if s := choose(m, m.datas, nil); s != nil && (s.paused || m.rng.IntN(3) == 0) {
		if s.paused = !s.paused; s.paused {
			m.do("pause data source", s.tag, s.producer.Pause)
		} else {
			m.do("resume data source", s.tag, s.producer.Resume)
		}
	}
}

// layers chooses what a Consumer gets.
func (m *meeting) layers() {
	k := choose(m, m.sinks, func(k *sink) bool { return k.source.form == simulcast || k.source.form == svc })
	if k == nil {
		return
	}
	l := mafalda.ConsumerLayers{SpatialLayer: m.rng.IntN(3), TemporalLayer: new(m.rng.IntN(3))}
	m.do("prefer layers", k.ssrc, func(ctx context.Context) error { return k.consumer.SetPreferredLayers(ctx, l) })
	k.preferred = &l
	m.do("priority", k.ssrc, func(ctx context.Context) error { return k.consumer.SetPriority(ctx, 1+m.rng.IntN(255)) })
	if m.rng.IntN(4) == 0 {
		m.do("key frame", k.ssrc, k.consumer.RequestKeyFrame)
	}
}

// streams ends or begins again some streams of a simulcast.
func (m *meeting) streams() {
	if s := choose(m, m.sources, func(s *origin) bool { return s.form == simulcast }); s != nil {
		s.top.Store(int32(1 + m.rng.IntN(3)))
		m.note("%d streams of %d", s.top.Load(), s.tag)
	}
}

func (m *meeting) closeSink() {
	if m.rng.IntN(2) == 0 {
		if k := choose(m, m.dataSinks, nil); k != nil {
			m.do("close data sink", k.source.tag, func(context.Context) error { return k.consumer.Close() })
			k.gone = true
		}
	} else if k := choose(m, m.sinks, nil); k != nil {
		m.do("close sink", k.ssrc, func(context.Context) error { return k.consumer.Close() })
		k.gone = true
	}
	m.sweep()
}

func (m *meeting) closeSource() {
	if s := choose(m, m.sources, nil); s != nil && m.rng.IntN(2) == 0 {
		s.guest.feed(s, false)
		m.do("close source", s.tag, func(context.Context) error { return s.producer.Close() })
		s.gone = true
	}
	m.sweep()
}

func (m *meeting) closeData() {
	if s := choose(m, m.datas, nil); s != nil && m.rng.IntN(3) == 0 {
		s.guest.feedData(s, false)
		m.do("close data source", s.tag, func(context.Context) error { return s.producer.Close() })
		s.gone = true
		m.sweep()
		if m.rng.IntN(2) == 0 {
			m.publishData(s.guest)
		}
	}
	m.sweep()
}

// restart restarts ICE.
func (m *meeting) restart() {
	g := choose(m, m.guests, func(g *guest) bool { return g.peer != nil })
	if g == nil {
		return
	}
	m.do("restart ICE", g.name, func(ctx context.Context) error {
		tr := g.transport.(mafalda.WebRTCTransport)
		ice, err := tr.RestartICE(ctx)
		if err != nil {
			return err
		}
		return g.peer.Check(ctx, ice)
	})
}

// observe pauses and resumes an RTPObserver, or replaces a Producer in it.
func (m *meeting) observe() {
	h := choose(m, m.halls, func(h *hall) bool { return !h.gone })
	if h == nil {
		return
	}
	if s := choose(m, m.sources, func(s *origin) bool { return s.form == sound && s.guest.hall == h }); s != nil {
		m.do("observe again", s.tag, func(ctx context.Context) error {
			for _, o := range []mafalda.RTPObserver{h.levels, h.speaker} {
				if err := o.RemoveProducer(ctx, s.producer.ID()); err != nil {
					return err
				}
				if err := o.AddProducer(ctx, s.producer.ID()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	m.do("pause observer", "", h.levels.Pause)
	m.do("resume observer", "", h.levels.Resume)
}

// look asks for all that can be known.
func (m *meeting) look() {
	g := choose(m, m.guests, nil)
	if g == nil {
		return
	}
	m.do("look", g.name, func(ctx context.Context) error {
		if _, err := g.transport.Stats(ctx); err != nil {
			return err
		}
		if _, err := g.hall.router.Dump(ctx); err != nil {
			return err
		}
		for _, s := range m.sources {
			if s.guest != g {
				continue
			}
			if _, err := s.producer.Stats(ctx); err != nil {
				return err
			}
			if err := s.producer.EnableTraceEvent(ctx, []mafalda.TraceEventType{mafalda.TraceRTP, mafalda.TraceKeyFrame, mafalda.TracePLI}[:m.rng.IntN(4)]...); err != nil {
				return err
			}
		}
		for _, k := range m.sinks {
			if k.guest != g {
				continue
			}
			if _, err := k.consumer.Stats(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// push sends a message to one DataConsumer.
func (m *meeting) push() {
	if k := choose(m, m.dataSinks, func(k *dataSink) bool { return !k.paused && !k.source.paused && k.guest.data != nil }); k != nil {
		m.do("push", k.source.tag, func(ctx context.Context) error {
			_, err := k.consumer.Send(ctx, mafalda.DataMessage{Data: appendMark(nil, 0, 0, 0)})
			return err
		})
	}
}

// leave lets a guest go: it closes its side, and the application the transport.
func (m *meeting) leave(g *guest, silent bool) {
	m.note("leave %s, silently: %v", g.name, silent)
	m.h.count("leave")
	first := m.rng.IntN(2) == 0
	if first {
		require.NoError(m, g.transport.Close())
	}
	g.leave(silent)
	require.NoError(m, g.transport.Close())
	g.gone = true
	m.guests = slices.DeleteFunc(m.guests, func(x *guest) bool { return x == g })
	m.sweep()
}

// close ends a Router, by whatever it depends on.
func (m *meeting) close(how string, h *hall) {
	m.note("%s", how)
	m.h.count(how)
	switch how {
	case "close Worker":
		require.NoError(m, h.worker.Close())
	case "close server":
		require.NoError(m, h.server.Close())
		for _, g := range m.guests {
			if g.hall == h {
				g.gone = g.gone || g.transport.Closed()
			}
		}
		m.sweep()
		fallthrough
	default:
		require.NoError(m, h.router.Close())
	}
	h.gone = true
	m.eventually("a Router is closed", func() bool { return h.router.Closed() && h.levels.Closed() && h.speaker.Closed() })
	for _, g := range slices.Clone(m.guests) {
		if g.hall == h {
			m.leave(g, m.rng.IntN(2) == 0)
		}
	}
	m.sweep()
	if h.worker != nil && how != "close Worker" {
		require.NoError(m, h.worker.Close())
	}
	if h.server != nil {
		require.NoError(m, h.server.Close())
	}
	if h.worker != nil {
		select {
		case <-h.worker.Done():
		case <-time.After(soakPatience):
			require.FailNow(m, "a Worker does not end")
		}
	}
}

// end closes what is left, from somewhere.
func (m *meeting) end() {
	slowly := m.rng.IntN(2) == 0
	for _, h := range m.halls {
		for _, g := range slices.Clone(m.guests) {
			if slowly && g.hall == h {
				m.leave(g, m.rng.IntN(2) == 0)
			}
		}
		switch {
		case h.gone:
		case h.worker != nil:
			m.close("close Worker", h)
		case h.server != nil && m.rng.IntN(2) == 0:
			m.close("close server", h)
		default:
			m.close("close Router", h)
		}
	}
	require.Empty(m, m.guests)
	require.Empty(m, m.sinks)
	require.Empty(m, m.dataSinks)
}

// sweep forgets what is gone with what was closed, and checks that it is
// closed, and that nothing else is.
func (m *meeting) sweep() {
	for _, s := range m.sources {
		s.gone = s.gone || s.guest.gone || s.guest.hall.gone
	}
	m.sources = sweep(m, m.sources, func(s *origin) (mafalda.Lifetime, bool) { return s.producer, s.gone })
	for _, s := range m.datas {
		s.gone = s.gone || s.guest.gone || s.guest.hall.gone
	}
	m.datas = sweep(m, m.datas, func(s *dataSource) (mafalda.Lifetime, bool) { return s.producer, s.gone })
	m.sinks = sweep(m, m.sinks, func(k *sink) (mafalda.Lifetime, bool) {
		k.gone = k.gone || k.source.gone || k.guest.gone || k.guest.hall.gone
		if k.gone {
			k.guest.expect(k, false)
			require.Empty(m, k.fault())
		}
		return k.consumer, k.gone
	})
	m.dataSinks = sweep(m, m.dataSinks, func(k *dataSink) (mafalda.Lifetime, bool) {
		k.gone = k.gone || k.source.gone || k.guest.gone || k.guest.hall.gone
		if k.gone {
			k.guest.expectData(k, false)
			require.Empty(m, k.fault())
		}
		return k.consumer, k.gone
	})
}

func sweep[T any](m *meeting, list []*T, of func(*T) (mafalda.Lifetime, bool)) []*T {
	return slices.DeleteFunc(list, func(x *T) bool {
		o, gone := of(x)
		if gone {
			m.eventually("what depends on what was closed is closed", o.Closed)
		} else {
			require.False(m, o.Closed(), "closed by nobody: %T %+v", o, x)
		}
		return gone
	})
}
