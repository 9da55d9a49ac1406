package engine

import (
	"log/slog"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/layerfilter"
	"github.com/mafalda-sfu/mafalda/internal/layers"
)

// Layers is a pair of a spatial and a temporal layer, counted from 0; -1 where
// there is none.
type Layers = layers.Layers

// A layered is what a Consumer knows beside that forwards some of the layers that
// a Producer has: one of several streams, or a part of one.
type layered struct {
	c *consumer
	// chooser knows the layers that are wanted, chosen and sent.
	chooser layers.Chooser
	// filter leaves temporal layers out, and with SVC spatial ones.
	filter *layerfilter.Filter
	switching
}

// newLayered makes the state of a Consumer of that type with that codec.
func newLayered(c *consumer, kind codec.Kind, preferred *Layers) *layered {
	have := c.params.Encodings[0].layers()
	l := &layered{c: c, switching: switching{reference: layers.None}}
	how, filtered := layers.Simulcast, 1
	if c.typ == SVCType {
		how, filtered = layers.SVC, have.spatial
		if have.key {
			how = layers.KeySVC
		}
	}
	l.chooser = layers.New(how, int8(have.spatial), int8(have.temporal))
	l.filter = layerfilter.New(kind, filtered, have.temporal, have.key)
	if preferred != nil {
		l.chooser.Prefer(*preferred)
	}
	return l
}

// current is the stream whose packets are sent, nil if there is none.
func (l *layered) current() *producerStream { return l.streamOf(l.chooser.Current.Spatial) }

// streamOf returns the stream of a spatial layer, nil if it is not there.
func (l *layered) streamOf(spatial int8) *producerStream {
	switch {
	case spatial < 0:
		return nil
	case l.c.typ == SVCType:
		spatial = 0
	}
	return l.c.producer.streamAt(int(spatial))
}

// dead reports whether there is no stream that could be sent.
func (l *layered) dead() bool {
	for _, s := range l.c.producer.streams {
		if s.recv.Score() > 0 {
			return false
		}
	}
	return true
}

// running reports whether the Consumer is active and has something to send.
func (l *layered) running() bool { return l.c.active && !l.dead() }

// begin lets a Consumer that has become active send.
func (l *layered) begin() {
	l.c.main.sync, l.c.main.wantKey = true, true
	l.extraTried = false
	l.reconsider(false)
}

// end is called when the Consumer is no longer active.
func (l *layered) end() {
	l.chooser.Forget()
	l.setTarget(layers.Nothing)
}

// reconsider chooses layers anew. forced says that somebody prefers others, so
// that bandwidth is distributed anew even for a temporal layer.
func (l *layered) reconsider(forced bool) {
	if !l.running() {
		return
	}
	managed := l.c.t.bandwidth != nil
	chosen := l.chooser.Recalculate(l.c.m.now, l, managed)
	switch {
	case chosen == l.chooser.Target:
	case !managed:
		l.setTarget(chosen)
	case forced || chosen.Spatial != l.chooser.Target.Spatial:
		l.c.t.bandwidth.needChange()
	}
}

// setTarget makes these the layers to send, as soon as the codec allows.
func (l *layered) setTarget(target Layers) {
	before := l.chooser.Target
	l.chooser.Target = target
	if target != before {
		if n, ok := l.c.m.may(l.log(), slog.LevelDebug, causeTarget); ok {
			l.log().Debug("layers to send", "consumer", l.c.id, "spatial", target.Spatial, "temporal", target.Temporal,
				"before", before.Spatial, "skipped", n)
		}
	}
	if target.Spatial != before.Spatial {
		l.c.main.dropWaiting()
	}
	if target == layers.Nothing {
		l.filter.SetTarget(layers.None, layers.None)
		l.filter.SetCurrent(layers.None, layers.None)
		l.chooser.Current = layers.Nothing
		l.notifyLayers()
		return
	}
	if l.c.typ == SVCType {
		l.targetSVC(target)
	} else {
		l.targetSimulcast(target)
	}
}

// notifyLayers tells which layers are sent.
func (l *layered) notifyLayers() {
	if n, ok := l.c.m.may(l.log(), slog.LevelDebug, causeLayers); ok {
		now := l.chooser.Current
		l.log().Debug("layers that are sent", "consumer", l.c.id, "spatial", now.Spatial, "temporal", now.Temporal, "skipped", n)
	}
	change := ConsumerLayersChange{}
	if now := l.chooser.Current; now.Spatial >= 0 {
		change.Layers = &now
	}
	l.c.m.notify(l.c.id, change)
}

// streamAppeared is called when a stream of the Producer has begun.
func (l *layered) streamAppeared() {
	if !l.c.active {
		return
	}
	l.reconsider(false)
	if target := l.streamOf(l.chooser.Target.Spatial); target != nil && l.current() != target {
		target.requestKeyFrame()
	}
}

// scoreChanged is called when a stream has got another score.
func (l *layered) scoreChanged(score, before uint8) {
	switch {
	case !l.c.active:
	case l.dead():
		l.setTarget(layers.Nothing)
	case l.c.t.bandwidth == nil || score == 0 || before == 0:
		l.reconsider(false)
	}
}

// prefer is SetPreferredLayers.
func (l *layered) prefer(p Layers) Layers {
	before := l.chooser.Preferred
	l.chooser.Prefer(p)
	if l.chooser.Preferred != before {
		l.reconsider(true)
	}
	return l.chooser.Preferred
}

// requestKeyFrame asks for what the Consumer is sent and for what it waits for.
func (l *layered) requestKeyFrame() {
	target, current := l.streamOf(l.chooser.Target.Spatial), l.current()
	if target != nil {
		target.requestKeyFrame()
	}
	if current != nil && current != target {
		current.requestKeyFrame()
	}
}

// layered is a [layers.Source].

var _ layers.Source = (*layered)(nil)

// Alive implements [layers.Source].
func (l *layered) Alive(spatial int8) bool {
	s := l.streamOf(spatial)
	if s == nil || s.recv.Score() == 0 {
		return false
	}
	several := l.c.typ == SVCType && l.c.params.Encodings[0].layers().spatial > 1
	return !several || s.recv.LayerActive(l.c.m.now, l.within(spatial))
}

// ActiveFor implements [layers.Source].
func (l *layered) ActiveFor(spatial int8) time.Duration {
	return l.streamOf(spatial).recv.ActiveFor(l.c.m.now)
}

// CanSwitch implements [layers.Source].
func (l *layered) CanSwitch(spatial int8) bool {
	return l.reference == layers.None || spatial == l.reference || l.streamOf(spatial).captureKnown()
}

// within returns the spatial layer of a layer in its stream.
func (l *layered) within(spatial int8) uint8 {
	if l.c.typ == SVCType {
		return uint8(spatial)
	}
	return 0
}

// Layer implements [layers.Source].
func (l *layered) Layer(spatial, temporal int8) uint32 {
	s := l.streamOf(spatial)
	if s == nil {
		return 0
	}
	return s.recv.LayerBitrate(l.c.m.now, l.within(spatial), uint8(temporal))
}

// UpTo implements [layers.Source].
func (l *layered) UpTo(spatial, temporal int8) uint32 {
	s := l.streamOf(spatial)
	if s == nil {
		return 0
	}
	return s.recv.BitrateUpTo(l.c.m.now, l.within(spatial), uint8(temporal))
}

// Spatial implements [layers.Source].
func (l *layered) Spatial(spatial int8) uint32 {
	s := l.streamOf(spatial)
	if s == nil {
		return 0
	}
	return s.recv.SpatialBitrate(l.c.m.now, l.within(spatial))
}
