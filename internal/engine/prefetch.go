package engine

import (
	"unsafe"

	"github.com/mafalda-sfu/mafalda/internal/prefetch"
)

// What a Consumer needs for a packet lies behind pointers, which have to be
// there before what they point to can be asked for. So each Consumer is visited
// in so many steps before its turn, one for each of those in front of it.
const prefetchSteps = 5

const (
	consumerHead  = unsafe.Offsetof(consumer{}.outs)
	transportHead = unsafe.Offsetof(transport{}.direct) + 1
	bandwidthHead = unsafe.Offsetof(bandwidth{}.client)
)

// prefetchUpTo takes the first step for the Consumer at index i of the list, and
// the next ones for those before.
func prefetchUpTo(list []*consumer, i int) {
	for step := range prefetchSteps {
		if k := i - step; k >= 0 && k < len(list) {
			list[k].prefetch(step)
		}
	}
}

// prefetch asks for memory that the next packets of c need.
func (c *consumer) prefetch(step int) {
	if step == 0 {
		prefetch.Head(c, consumerHead)
		return
	}
	t := c.t
	switch step {
	case 1:
		prefetch.Head(t, transportHead)
		c.main.send.Prefetch()
	case 2:
		prefetch.Of(t.tx)
		prefetch.Head(t.bandwidth, bandwidthHead)
		t.sent.Prefetch()
		t.sentRTP.Prefetch()
	case 3:
		if t.tx != nil {
			t.tx.Prefetch()
		}
		if t.bandwidth != nil {
			t.bandwidth.estimator.Prefetch()
		}
	case 4:
		if t.bandwidth != nil {
			t.bandwidth.estimator.PrefetchHistory()
		}
	}
}
