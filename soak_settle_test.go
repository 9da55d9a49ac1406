package mafalda_test

import (
	"encoding/json"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// settle does nothing for a while and checks that everybody gets what he
// should, and nothing else.
func (m *meeting) settle() {
	m.note("settle")
	m.h.count("settle")
	m.sweep()
	for _, k := range m.sinks {
		m.eventually("a Consumer knows who is paused", func() bool {
			return k.consumer.Paused() == k.paused && k.consumer.ProducerPaused() == k.source.paused
		})
	}
	m.media()
	m.messages()
	for _, k := range m.sinks {
		if k.active() {
			m.layersOf(k)
			m.statsOf(k)
		}
	}
	m.volumes()
	m.dumps()
}

func (k *sink) active() bool { return !k.paused && !k.source.paused }

func (k *dataSink) active() bool { return !k.paused && !k.source.paused }

// some is how many packets are enough to see that they flow.
const some = 3

// media checks who gets packets, and that who is paused gets none: he may get
// what was under way.
func (m *meeting) media() {
	var still []*sink
	for _, k := range m.sinks {
		if !k.active() {
			still = append(still, k)
		}
	}
	for round := 0; round == 0 || len(still) > 0; round++ {
		before := map[*sink]int64{}
		for _, k := range m.sinks {
			before[k] = k.got.Load()
		}
		for _, k := range m.sinks {
			if k.active() {
				m.eventuallyOf(k, "packets", func() bool { return k.got.Load() >= before[k]+some })
			}
			require.Empty(m, k.fault(), "%s of %s", k.source.form, k.source.guest.name)
		}
		still = slices.DeleteFunc(still, func(k *sink) bool { return k.got.Load() == before[k] })
		require.Less(m, round, 10, "who is paused gets packets")
		if len(still) == len(m.sinks) {
			return // nobody's packets tell the time
		}
	}
}

// eventuallyOf is eventually, and shows the Consumer if it fails.
func (m *meeting) eventuallyOf(k *sink, what string, cond func() bool) {
	m.Helper()
	m.showing(what, cond, map[string]func() (any, error){
		"consumer":  func() (any, error) { return k.consumer.Dump(m.Context()) },
		"sent":      func() (any, error) { return k.consumer.Stats(m.Context()) },
		"producer":  func() (any, error) { return k.source.producer.Dump(m.Context()) },
		"received":  func() (any, error) { return k.source.producer.Stats(m.Context()) },
		"transport": func() (any, error) { return k.guest.transport.Stats(m.Context()) },
		"got": func() (any, error) {
			return []any{k.source.form, k.source.guest.name, k.guest.name, k.got.Load(), k.source.top.Load(), k.preferred, k.guest.estimated}, nil
		},
	})
}

// showing is eventually, and shows what there is if it fails.
func (m *meeting) showing(what string, cond func() bool, show map[string]func() (any, error)) {
	m.Helper()
	ok := false
	defer func() {
		for name, get := range show {
			if !ok {
				v, err := get()
				b, _ := json.Marshal(v)
				m.Logf("%s: %s %v", name, b, err)
			}
		}
	}()
	m.eventually(what, cond)
	ok = true
}

func (m *meeting) messages() {
	before := map[*dataSink]int64{}
	for _, k := range m.dataSinks {
		before[k] = k.got.Load()
	}
	for _, k := range m.dataSinks {
		if k.active() {
			m.showing("messages", func() bool { return k.got.Load() >= before[k]+some }, map[string]func() (any, error){
				"consumer": func() (any, error) { return k.consumer.Dump(m.Context()) },
				"sent":     func() (any, error) { return k.consumer.Stats(m.Context()) },
				"producer": func() (any, error) { return k.source.producer.Dump(m.Context()) },
				"received": func() (any, error) { return k.source.producer.Stats(m.Context()) },
				"from":     func() (any, error) { return k.source.guest.transport.Stats(m.Context()) },
				"to":       func() (any, error) { return k.guest.transport.Stats(m.Context()) },
				"got":      func() (any, error) { return []any{k.source.guest.name, k.guest.name, before[k], k.got.Load()}, nil },
			})
		}
		require.Empty(m, k.fault())
	}
}

// layersOf checks that a Consumer sends the layers that it prefers, or what
// there is of them. Where the bandwidth is estimated it may be less.
func (m *meeting) layersOf(k *sink) {
	if k.guest.estimated || k.source.form != simulcast && k.source.form != svc {
		return
	}
	want := 2
	if k.preferred != nil {
		want = k.preferred.SpatialLayer
	}
	if k.source.form == simulcast {
		want = min(want, int(k.source.top.Load())-1)
	}
	m.eventuallyOf(k, "the preferred layer", func() bool {
		l := k.consumer.CurrentLayers()
		return l != nil && l.SpatialLayer == want
	})
}

// statsOf checks that a Consumer counted what came.
func (m *meeting) statsOf(k *sink) {
	got := k.got.Load()
	stats, err := k.consumer.Stats(m.Context())
	require.NoError(m, err)
	require.GreaterOrEqual(m, int64(stats[0].PacketCount)+int64(stats[0].PacketsRetransmitted), got)
	require.GreaterOrEqual(m, stats[0].ByteCount, stats[0].PacketCount*markLen)
}

func (m *meeting) volumes() {
	for _, h := range m.halls {
		if h.gone || !slices.ContainsFunc(m.sources, func(s *origin) bool { return s.form == sound && s.guest.hall == h && !s.paused }) {
			continue
		}
		heard := make(chan struct{}, 1)
		stop := h.levels.Events().Volumes.On(func([]mafalda.AudioLevelVolume) {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
		m.eventually("volumes", func() bool { return len(heard) > 0 })
		stop()
	}
}

// dumps compares what is with what should be.
func (m *meeting) dumps() {
	for _, g := range m.guests {
		var want, got []string
		for _, s := range m.sources {
			if s.guest == g {
				want = append(want, s.producer.ID())
			}
		}
		for _, k := range m.sinks {
			if k.guest == g {
				want = append(want, k.consumer.ID())
			}
		}
		for _, s := range m.datas {
			if s.guest == g {
				want = append(want, s.producer.ID())
			}
		}
		for _, k := range m.dataSinks {
			if k.guest == g {
				want = append(want, k.consumer.ID())
			}
		}
		d, err := g.transport.Dump(m.Context())
		require.NoError(m, err)
		got = slices.Concat(d.ProducerIDs, d.ConsumerIDs, d.DataProducerIDs, d.DataConsumerIDs)
		require.ElementsMatch(m, want, got, g.name)
	}
}
