// Package layers chooses which spatial and temporal layers of its Producer a
// Consumer should be sent: by what it prefers and, when somebody distributes
// bandwidth, by what it may take.
//
// A [Chooser] is the choice of one Consumer. It knows no packets. What it must
// know of the Producer it asks a [Source]; when the choice is made anew is the
// caller's affair.
//
// The rules are those of mediasoup's SimulcastProducerStreamManager and
// SvcProducerStreamManager (media-plane notes §7.6, §7.7).
package layers

import "time"

// None stands for no layer.
const None int8 = -1

// Layers is a pair of a spatial and a temporal layer, counted from 0; [None]
// where there is none.
type Layers struct{ Spatial, Temporal int8 }

// Nothing is no layer at all.
var Nothing = Layers{None, None}

const (
	// settled is how long a stream has to be active before it is taken instead
	// of one that is longer.
	settled = 2 * time.Second
	// conservative is how long no higher spatial layer is tried after bandwidth
	// has forced a lower one.
	conservative = 10 * time.Second
	// forced is how long a Consumer must have been sending for a lower spatial
	// layer to count as forced by bandwidth.
	forced = 8 * time.Second
)

// A Kind says how the layers of a Producer depend on each other.
type Kind uint8

const (
	// Simulcast: each spatial layer is a stream of its own.
	Simulcast Kind = iota
	// SVC: a spatial layer needs all those below.
	SVC
	// KeySVC: a spatial layer needs those below at key frames only.
	KeySVC
)

// A Source tells about the Producer. Bitrates are in bit/s.
type Source interface {
	// Alive reports whether a spatial layer can be sent: its stream is there and
	// has a score above 0 and, with SVC, packets of that layer arrive.
	Alive(spatial int8) bool
	// ActiveFor is how long the stream of a live spatial layer has had a score
	// above 0. It is asked of simulcast only.
	ActiveFor(spatial int8) time.Duration
	// CanSwitch reports whether timestamps of a live spatial layer can be
	// continued. It is asked of simulcast only.
	CanSwitch(spatial int8) bool
	// Layer is the bitrate of one layer alone.
	Layer(spatial, temporal int8) uint32
	// UpTo is the bitrate of a spatial layer with its temporal layers up to one;
	// 0 when that one is silent. It is asked of simulcast only.
	UpTo(spatial, temporal int8) uint32
	// Spatial is the bitrate of a spatial layer with all its temporal layers.
	Spatial(spatial int8) uint32
}

// A Chooser chooses layers. Make it with [New].
type Chooser struct {
	// Preferred are the layers that the Consumer wants at most, never [None].
	Preferred Layers
	// Target are the layers that were chosen, Current those that are sent. The
	// caller sets both.
	Target, Current Layers

	kind        Kind
	count       Layers // how many there are
	provisional Layers

	downgraded   bool
	downgradedAt time.Duration
}

// New returns a Chooser among so many spatial and temporal layers, of which the
// highest are preferred.
func New(kind Kind, spatial, temporal int8) Chooser {
	c := Chooser{kind: kind, count: Layers{spatial, temporal}, Target: Nothing, Current: Nothing, provisional: Nothing}
	c.Prefer(Layers{spatial - 1, None})
	return c
}

// Prefer sets the preferred layers, those that exist at most; [None] as the
// temporal one means the highest.
func (c *Chooser) Prefer(l Layers) {
	high := Layers{c.count.Spatial - 1, c.count.Temporal - 1}
	if l.Temporal < 0 {
		l.Temporal = high.Temporal
	}
	c.Preferred = Layers{min(max(l.Spatial, 0), high.Spatial), min(l.Temporal, high.Temporal)}
}

// Forget forgets that bandwidth has forced a lower layer, as when the Consumer
// stops.
func (c *Chooser) Forget() { c.downgraded = false }

// careful reports whether it is too early to try a spatial layer again.
func (c *Chooser) careful(now time.Duration, spatial int8) bool {
	return c.downgraded && now-c.downgradedAt < conservative && spatial > c.Current.Spatial
}

// Recalculate returns the layers to send when bandwidth does not matter: the
// preferred ones or what comes closest. managed says that somebody distributes
// bandwidth.
func (c *Chooser) Recalculate(now time.Duration, src Source, managed bool) Layers {
	found := Nothing
	for s := range c.count.Spatial {
		switch {
		case found != Nothing && c.careful(now, s),
			!src.Alive(s),
			managed && found != Nothing && c.kind == Simulcast && src.ActiveFor(s) < settled,
			!c.canSwitch(src, s):
			continue
		}
		if s > c.Preferred.Spatial && found != Nothing {
			break
		}
		found = Layers{s, c.Preferred.Temporal}
		if s >= c.Preferred.Spatial {
			break
		}
	}
	return found
}

func (c *Chooser) canSwitch(src Source, spatial int8) bool {
	return c.kind != Simulcast || src.CanSwitch(spatial)
}
