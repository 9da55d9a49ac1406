package bwe

import "time"

// A usage is what the delay says about the path.
type usage uint8

const (
	normalUse usage = iota
	overUse         // a queue grows
	underUse        // a queue drains
)

const (
	trendWindow = 20  // groups
	smoothing   = 0.9 // of the delay
	trendGain   = 4
	maxTrendN   = 60 // groups that make a trend fully believed

	overUseTime = 10 * time.Millisecond // for which a trend must be there

	thresholdUp     = 0.0087 // how fast the threshold follows, per ms
	thresholdDown   = 0.039
	initThreshold   = 12.5
	minThreshold    = 6
	maxThreshold    = 600
	thresholdOffset = 15 // trends further off are spikes
	thresholdStep   = 100 * time.Millisecond
)

// A trend fits a line to the delay of the last groups and compares its slope
// with a threshold that adapts to the noise of the path
// (draft-ietf-rmcat-gcc-02 §5.3 to 5.5, with a line instead of a Kalman
// filter).
type trend struct {
	started  bool
	first    time.Duration // arrival of the first group
	sum      float64       // ms of delay since the first
	smoothed float64       // ms
	n        int           // groups ever, up to maxTrendN

	x, y [trendWindow]float64 // ms of arrival, smoothed delay
	at   int                  // ring
	len  int

	threshold float64
	updated   time.Duration // arrival at the last update of the threshold
	over      time.Duration // how long the trend has been there
	overs     int
	last      float64 // slope
	usage     usage
}

func (t *trend) reset() {
	threshold := t.threshold
	if threshold == 0 {
		threshold = initThreshold
	}
	*t = trend{threshold: threshold}
}

// add takes the change of the distance of two groups, of which the latter
// arrived at a time of the receiver's clock.
func (t *trend) add(d delta, arrival time.Duration) {
	if !t.started {
		t.started, t.first, t.updated = true, arrival, arrival
		if t.threshold == 0 {
			t.threshold = initThreshold
		}
	}
	t.n = min(t.n+1, maxTrendN)
	t.sum += ms(d.arrival - d.sent)
	t.smoothed = smoothing*t.smoothed + (1-smoothing)*t.sum
	t.x[t.at], t.y[t.at] = ms(arrival-t.first), t.smoothed
	t.at = (t.at + 1) % trendWindow
	t.len = min(t.len+1, trendWindow)
	slope := t.last
	if t.len == trendWindow {
		if s, ok := t.slope(); ok {
			slope = s
		}
	}
	t.detect(slope, d.sent, arrival)
}

// slope returns the least-squares slope, in ms of delay per ms.
func (t *trend) slope() (s float64, ok bool) {
	var sumX, sumY float64
	for i := range t.len {
		sumX += t.x[i]
		sumY += t.y[i]
	}
	mx, my := sumX/float64(t.len), sumY/float64(t.len)
	var num, den float64
	for i := range t.len {
		dx := t.x[i] - mx
		num += dx * (t.y[i] - my)
		den += dx * dx
	}
	if den == 0 {
		return 0, false
	}
	return num / den, true
}

func (t *trend) detect(slope float64, apart time.Duration, arrival time.Duration) {
	if t.n < 2 {
		t.usage = normalUse
		return
	}
	strength := float64(t.n) * slope * trendGain
	switch {
	case strength > t.threshold:
		if t.overs == 0 {
			t.over = apart / 2
		} else {
			t.over += apart
		}
		t.overs++
		if t.over > overUseTime && t.overs > 1 && slope >= t.last {
			t.over, t.overs = 0, 0
			t.usage = overUse
		}
	case strength < -t.threshold:
		t.over, t.overs = 0, 0
		t.usage = underUse
	default:
		t.over, t.overs = 0, 0
		t.usage = normalUse
	}
	t.last = slope
	t.adapt(strength, arrival)
}

func (t *trend) adapt(strength float64, arrival time.Duration) {
	size := max(strength, -strength)
	step := min(max(arrival-t.updated, 0), thresholdStep)
	t.updated = arrival
	if size > t.threshold+thresholdOffset {
		return
	}
	k := thresholdUp
	if size < t.threshold {
		k = thresholdDown
	}
	t.threshold += k * (size - t.threshold) * ms(step)
	t.threshold = min(max(t.threshold, minThreshold), maxThreshold)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
