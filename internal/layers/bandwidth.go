package layers

import "time"

// Distribution goes in rounds. In each, [Chooser.Increase] is called again and
// again, for all Consumers in turn, while bandwidth is left; then
// [Chooser.Apply] for each of them.

// Increase adds the next layer, if there is one and it fits into bitrate, and
// returns what it takes; 0 when nothing was added. With considerLoss, for
// estimators that don't do that, loss (percent) makes more or less of bitrate.
func (c *Chooser) Increase(now time.Duration, src Source, bitrate uint32, considerLoss bool, loss float64) uint32 {
	if c.provisional == c.Preferred {
		return 0
	}
	virtual := bitrate
	if considerLoss {
		virtual = adjust(bitrate, loss)
	}
	next, required := c.next(now, src)
	if required == 0 || required > virtual {
		return 0
	}
	c.provisional = next
	return min(required, bitrate)
}

func adjust(bitrate uint32, loss float64) uint32 {
	switch {
	case loss < 2:
		return uint32(min(1.08*float64(bitrate), 1<<32-1))
	case loss > 10:
		return uint32((1 - 0.5*loss/100) * float64(bitrate))
	}
	return bitrate
}

// next returns the layer that comes after the provisional ones and what it takes
// more than they do; 0 when there is none.
func (c *Chooser) next(now time.Duration, src Source) (Layers, uint32) {
	usable := false
	for s := max(c.provisional.Spatial, 0); s < c.count.Spatial; s++ {
		switch {
		case c.provisional != Nothing && c.careful(now, s),
			c.kind == Simulcast && s > c.Preferred.Spatial && usable && s != c.provisional.Spatial:
			return Nothing, 0
		case c.kind == Simulcast && !src.Alive(s), c.tooYoung(src, s), !c.canSwitch(src, s):
			continue
		}
		usable = true
		from := int8(0)
		if s == c.provisional.Spatial {
			from = c.provisional.Temporal + 1
		}
		if from <= c.Preferred.Temporal {
			if required := c.required(src, s, from); required > 0 {
				return Layers{s, from}, required
			}
		}
		if s >= c.Preferred.Spatial && (c.kind == Simulcast || c.provisional != Nothing) {
			return Nothing, 0
		}
	}
	return Nothing, 0
}

// tooYoung reports whether the stream of a spatial layer has to prove itself
// before it takes the place of the provisional one.
func (c *Chooser) tooYoung(src Source, s int8) bool {
	return c.kind == Simulcast && c.provisional != Nothing && s != c.provisional.Spatial &&
		src.ActiveFor(s) < settled && src.ActiveFor(c.provisional.Spatial) >= settled
}

// required is what a layer takes. The lowest one of a higher spatial layer saves
// what it replaces, but is never for free.
func (c *Chooser) required(src Source, s, t int8) uint32 {
	required := src.Layer(s, t)
	if required == 0 || t > 0 || c.provisional == Nothing || s == c.provisional.Spatial {
		return required
	}
	saved := uint32(0)
	switch c.kind {
	case Simulcast:
		saved = src.UpTo(c.provisional.Spatial, c.provisional.Temporal)
	case KeySVC:
		saved = src.Spatial(c.provisional.Spatial)
	}
	if saved >= required {
		return 1
	}
	return required - saved
}

// Apply ends a round and returns the layers that it brought, [Nothing] if there
// was no bandwidth. sending is how long the Consumer's own stream has been
// active: when that is long, a lower spatial layer than the current one is the
// fault of bandwidth, and a higher one is not tried again for a while.
func (c *Chooser) Apply(now, sending time.Duration) Layers {
	chosen := c.provisional
	c.provisional = Nothing
	if chosen != c.Target && sending > forced && chosen.Spatial < c.Current.Spatial &&
		c.Current.Spatial <= c.Preferred.Spatial {
		c.downgraded, c.downgradedAt = true, now
	}
	return chosen
}

// Desired returns the bitrate of all that could be sent.
func (c *Chooser) Desired(src Source) (bitrate uint32) {
	for s := range c.count.Spatial {
		if c.kind == SVC {
			bitrate += src.Spatial(s)
		} else {
			bitrate = max(bitrate, src.Spatial(s))
		}
	}
	return bitrate
}
