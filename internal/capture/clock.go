package capture

import (
	"slices"
	"time"
)

const (
	// window is how many samples the estimate is the median of.
	window = 7
	// enough is how many there must be.
	enough = 3
)

// A Clock estimates how the clock of a remote stands to ours from its sender
// reports: each names the time at which it left there. The median of the last
// seven makes one that was held up on the way count for nothing. The zero value is
// ready for use. (worker/src/RTC/RemoteClockOffsetEstimator.cpp)
type Clock struct {
	offset  time.Duration // the median, for each packet asks for it
	n       int           // samples so far, window at most
	next    int           // where the next one goes
	samples [window]time.Duration
}

// Add takes a report that came at now with the given NTP timestamp, over a path
// whose round trip time is rtt, 0 while unknown. Of those that came in one
// compound it is to be told of one; 0 is no timestamp.
func (c *Clock) Add(now time.Duration, ntp uint64, rtt time.Duration) {
	if ntp == 0 {
		return
	}
	c.samples[c.next] = now - rtt/2 - sinceEpoch(ntp)
	c.next = (c.next + 1) % window
	c.n = min(c.n+1, window)
	sorted := c.samples
	slices.Sort(sorted[:c.n])
	c.offset = sorted[c.n/2]
}

// Offset returns what to add to a time of the remote, counted from the NTP epoch,
// to get ours. ok is false before the third report.
func (c *Clock) Offset() (offset time.Duration, ok bool) {
	if c.n < enough {
		return 0, false
	}
	return c.offset, true
}

// sinceEpoch returns how long after the beginning of 1900 that is; the NTP era
// that ends in 2036 is the only one.
func sinceEpoch(ntp uint64) time.Duration {
	return time.Duration(ntp>>32)*time.Second + time.Duration(ntp&(1<<32-1)*uint64(time.Second)>>32)
}
