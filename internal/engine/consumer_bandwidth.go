package engine

// What a Consumer has to do with the [bandwidth] of its transport. It is shared
// in rounds: the Consumers of which bitratePriority is not 0 get increaseLayer
// as often as they may, then applyLayers (media-plane §5.13).

// bitratePriority returns the weight of the Consumer, 1 to 255; 0 if it takes no
// part now.
func (c *consumer) bitratePriority() uint8 {
	if c.kind != Video || !c.running() {
		return 0
	}
	return c.priority
}

// running reports whether the Consumer is active and has a stream to send.
func (c *consumer) running() bool {
	switch {
	case !c.active:
		return false
	case c.layers != nil:
		return !c.layers.dead()
	}
	return true
}

// increaseLayer takes a part of bitrate, bit/s, for the next layer and returns
// how much; 0 when there is none or it is too little. considerLoss says that
// bitrate does not take account of loss.
func (c *consumer) increaseLayer(bitrate uint32, considerLoss bool) uint32 {
	switch {
	case !c.running() || c.typ == PipeType:
		return 0
	case c.layers != nil:
		return c.layers.chooser.Increase(c.m.now, c.layers, bitrate, considerLoss, c.main.send.LossPercentage())
	case c.served:
		return 0
	}
	s := c.producer.mainStream()
	if s == nil || c.kind != Video {
		return 0
	}
	c.served = true
	return min(s.recv.Bitrate(c.m.now), bitrate)
}

// applyLayers ends a round of distribution.
func (c *consumer) applyLayers() {
	c.served = false
	if c.layers == nil {
		return
	}
	chosen := c.layers.chooser.Apply(c.m.now, c.main.send.ActiveFor(c.m.now))
	if c.running() && chosen != c.layers.chooser.Target {
		c.layers.setTarget(chosen)
	}
}

// desiredBitrate returns the bit/s that the Consumer would take if it could.
func (c *consumer) desiredBitrate() uint32 {
	if c.kind != Video || !c.running() || c.typ == PipeType {
		return 0
	}
	desired := uint32(0)
	switch {
	case c.layers != nil:
		desired = c.layers.chooser.Desired(c.layers)
	default:
		if s := c.producer.mainStream(); s != nil {
			desired = s.recv.Bitrate(c.m.now)
		}
	}
	return max(desired, c.params.Encodings[0].MaxBitrate)
}
