package bwe

import "time"

const (
	alrUsage  = 0.65 // of the estimate that an application is expected to use
	alrWindow = 500 * time.Millisecond
	alrStart  = 0.8 // of the budget left: limited by the application
	alrStop   = 0.5
)

// An alr detects that the application sends less than it may, so that the
// silence of the path says nothing about what it could carry.
type alr struct {
	budget  float64 // bytes that were not used
	updated time.Duration
	limited bool
	ended   time.Duration // of the last time
	since   time.Duration
}

// sent takes a packet, with the estimate in bit/s.
func (a *alr) sent(now time.Duration, size int, estimate float64) {
	a.update(now, float64(size), estimate)
}

func (a *alr) update(now time.Duration, size, estimate float64) {
	target := estimate * alrUsage / 8 // bytes/s
	limit := target * alrWindow.Seconds()
	a.budget += target*max(now-a.updated, 0).Seconds() - size
	a.updated = now
	a.budget = min(max(a.budget, -limit), limit)
	switch {
	case !a.limited && a.budget > alrStart*limit:
		a.limited, a.since = true, now
	case a.limited && a.budget < alrStop*limit:
		a.limited, a.ended = false, now
	}
}
