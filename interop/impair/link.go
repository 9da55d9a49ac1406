// Package impair is a bad network on purpose: a UDP relay that loses, delays,
// reorders and throttles what passes through. It needs no privilege and no
// support by the kernel. What a [Link] decides depends on its seed and on the
// order and sizes of the packets only.
package impair

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Config says what a Link does to packets. The zero value does nothing.
type Config struct {
	// Loss is the share of packets that are lost, 0 to 1.
	Loss float64
	// Delay is added to each packet, and a part of Jitter, evenly distributed.
	Delay, Jitter time.Duration
	// Reorder lets a packet overtake one whose jitter was larger. Without it
	// the later one waits.
	Reorder bool
	// Rate is how much passes, in bit/s of UDP payload; 0 means no limit.
	Rate int
	// Queue is how many bytes may wait because of Rate; what comes then is
	// lost. 0 means what Rate passes in 200 ms, and never less than one packet
	// is taken.
	Queue int
	// Seed chooses the random numbers.
	Seed uint64
}

// Validate returns an error when a value is out of its range.
func (c Config) Validate() error {
	switch {
	case !(c.Loss >= 0 && c.Loss <= 1):
		return fmt.Errorf("loss %v is not within 0 and 1", c.Loss)
	case c.Delay < 0 || c.Jitter < 0:
		return fmt.Errorf("negative delay %v or jitter %v", c.Delay, c.Jitter)
	case c.Rate < 0 || c.Queue < 0:
		return fmt.Errorf("negative rate %d or queue %d", c.Rate, c.Queue)
	}
	return nil
}

// queue returns Queue with its default, in bytes.
func (c Config) queue() int {
	if c.Queue == 0 {
		return c.Rate / 8 / 5
	}
	return c.Queue
}

// A Link decides what becomes of packets in one direction. It reads no clock.
// It is for one goroutine at a time.
type Link struct {
	cfg  Config
	rand *rand.Rand

	free time.Duration // when the rate limit is done with what it has
	last time.Duration // when the last packet arrives
}

// NewLink returns a Link that nothing has passed yet.
func NewLink(c Config) *Link {
	return &Link{cfg: c, rand: rand.New(rand.NewPCG(c.Seed, 0x6d61666c64610a))}
}

// Set changes what the Link does to packets to come. The random numbers go on.
func (l *Link) Set(c Config) { l.cfg = c }

// Send takes a packet of size bytes at the time now and returns when it
// arrives, or false when it is lost. Times begin anywhere and never go back.
func (l *Link) Send(now time.Duration, size int) (at time.Duration, ok bool) {
	// The same numbers are drawn whatever the fate of the packet, so that a
	// change of one option leaves the others' randomness alone.
	lost, jitter := l.rand.Float64() < l.cfg.Loss, l.rand.Float64()
	if lost {
		return 0, false
	}
	at = now
	if l.cfg.Rate > 0 {
		waiting := max(0, l.free-now)
		bytes := int(waiting * time.Duration(l.cfg.Rate) / 8 / time.Second)
		if waiting > 0 && bytes+size > l.cfg.queue() {
			return 0, false
		}
		l.free = now + waiting + time.Duration(size)*8*time.Second/time.Duration(l.cfg.Rate)
		at = l.free
	}
	at += l.cfg.Delay + time.Duration(jitter*float64(l.cfg.Jitter))
	if !l.cfg.Reorder {
		at = max(at, l.last)
	}
	l.last = max(at, l.last)
	return at, true
}
