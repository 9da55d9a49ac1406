// Package speaker finds out who of several people dominates a conversation, from
// the audio levels of their packets, as I. Volfin and I. Cohen describe it in
// "Dominant speaker identification for multipoint videoconferencing" (Computer
// Speech & Language 27, 2013), with the constants of mediasoup
// (worker/src/RTC/ActiveSpeakerObserver.cpp).
//
// Speech is looked at on three scales: one sample of 20 ms, five of them, and
// fifty. On each the speaker gets a score for how likely it is that there is
// speech. Another speaker becomes dominant who is ahead of the present one on all.
package speaker

import (
	"math"
	"slices"
	"time"
)

const (
	c1, c2, c3 = 3, 2, 0   // by how much to be ahead, as a logarithm
	n1, n2, n3 = 13, 5, 10 // steps of a level, samples of a medium, mediums of a long

	sample     = 20 * time.Millisecond
	samples    = n2 * n3
	maxLevel   = 127
	step       = (maxLevel + n1 - 1) / n1
	minMedium  = 7 // a sample above it counts for the medium
	minLong    = 4 // a medium above it counts for the long
	minSamples = 15 * time.Second / sample

	idleLevel   = 40 * time.Millisecond
	idleSpeaker = time.Hour

	minScore = 1e-10
)

// An Observer compares speakers. Make it with [New].
type Observer struct {
	speakers []*Speaker // in the order of Add
	dominant *Speaker
	idleAt   time.Duration // when idle speakers were last looked for
}

// New returns an Observer without speakers.
func New() *Observer { return &Observer{} }

// A Speaker is one audio stream of an [Observer].
type Speaker struct {
	id     string
	paused bool
	idle   bool // for an hour

	at     time.Duration // of the last level
	levels [samples]uint8
	next   int // where the next level goes

	immediates [samples]uint8 // newest first
	mediums    [n3]uint8
	long       [1]uint8
	scores     [3]float64
	stale      bool // a level came since the scores were up to date

	// The level of silence, and what may be the next one.
	floor, nextFloor uint8
	nextFloorSamples int
}

// Add takes a further speaker.
func (o *Observer) Add(now time.Duration, id string) *Speaker {
	s := &Speaker{id: id, at: now, scores: [3]float64{minScore, minScore, minScore}}
	o.speakers = append(o.speakers, s)
	return s
}

// Remove forgets a speaker. If it was the dominant one, somebody else may be at
// once; see Tick.
func (o *Observer) Remove(now time.Duration, s *Speaker) (dominant string, changed bool) {
	o.speakers = slices.DeleteFunc(o.speakers, func(x *Speaker) bool { return x == s })
	if o.dominant != s {
		return "", false
	}
	o.dominant = nil
	return o.Tick(now)
}

// SetPaused keeps a speaker from becoming dominant, or lets it again.
func (s *Speaker) SetPaused(paused bool) { s.paused, s.idle = paused, false }

// Tick returns who dominates, if that changed.
func (o *Observer) Tick(now time.Duration) (dominant string, changed bool) {
	if now-o.idleAt >= idleLevel {
		if o.idleAt != 0 {
			o.timeOut(now)
		}
		o.idleAt = now
	}
	if s := o.choose(); s != nil && s != o.dominant {
		o.dominant = s
		return s.id, true
	}
	return "", false
}

// timeOut gives those who sent nothing a sample of silence.
func (o *Observer) timeOut(now time.Duration) {
	for _, s := range o.speakers {
		switch silent := now - s.at; {
		case silent > idleSpeaker && s != o.dominant:
			s.idle = true
		case silent > idleLevel:
			s.sample(now, 0)
		}
	}
}

// choose returns who is to be dominant, or nil for no change.
func (o *Observer) choose() *Speaker {
	switch len(o.speakers) {
	case 0:
		return nil
	case 1:
		return o.speakers[0]
	}
	var best *Speaker
	dominant := o.dominant
	if dominant == nil {
		dominant = o.speakers[0]
		best = dominant
	}
	dominant.evaluate()
	ahead := float64(c2)
	for _, s := range o.speakers {
		if s == dominant || s.paused || s.idle {
			continue
		}
		s.evaluate()
		if s.scores[0] <= dominant.scores[0] { // most: who is silent
			continue
		}
		var c [3]float64
		for i := range c {
			c[i] = math.Log(s.scores[i] / dominant.scores[i])
		}
		if c[0] > c1 && c[1] > c2 && c[2] > c3 && c[1] > ahead {
			ahead = c[1]
			best = s
		}
	}
	return best
}

// Level takes the level of a packet: 0 (loudest) to 127, without the minus sign.
// Unlike mediasoup's, a speaker who was silent for an hour counts again.
func (s *Speaker) Level(now time.Duration, level uint8) {
	s.idle = false
	s.sample(now, maxLevel-min(level, maxLevel))
}

// sample takes a level, 0 for silence, for all of the time since the last one: of
// discontinuous transmission, long packets and pauses.
func (s *Speaker) sample(now time.Duration, level uint8) {
	if now < s.at {
		return
	}
	n := min(max((now-s.at)/sample, 1), samples)
	s.at, s.stale = now, true
	for range n {
		s.levels[s.next] = level
		s.next = (s.next + 1) % samples
	}
	s.learnFloor(level)
}

// learnFloor keeps the lowest level as that of silence. It rises again to the
// geometric mean of it and of the lowest within 15 s.
func (s *Speaker) learnFloor(level uint8) {
	switch {
	case level == 0:
	case s.floor == 0 || level < s.floor:
		s.floor, s.nextFloor, s.nextFloorSamples = level, 0, 0
	case s.nextFloor == 0:
		s.nextFloor, s.nextFloorSamples = level, 1
	default:
		s.nextFloor = min(s.nextFloor, level)
		if s.nextFloorSamples++; s.nextFloorSamples >= int(minSamples) {
			s.floor = uint8(math.Sqrt(float64(s.floor) * float64(s.nextFloor)))
			s.nextFloor, s.nextFloorSamples = 0, 0
		}
	}
}

// evaluate brings the scores up to date, from the short scale to the long.
func (s *Speaker) evaluate() {
	if !s.stale {
		return
	}
	s.stale = false
	if !s.findImmediates() {
		return
	}
	s.scores[0] = score(s.immediates[0], n1, 0.78)
	if !count(s.immediates[:], s.mediums[:], minMedium) {
		return
	}
	s.scores[1] = score(s.mediums[0], n2, 24)
	if count(s.mediums[:], s.long[:], minLong) {
		s.scores[2] = score(s.long[0], n3, 47)
	}
}

// findImmediates divides levels above the floor into steps.
func (s *Speaker) findImmediates() (changed bool) {
	for i := range s.immediates {
		level := s.levels[(s.next+samples-1-i)%samples]
		if int(level) < int(s.floor)+step {
			level = 0
		}
		if v := level / step; v != s.immediates[i] {
			s.immediates[i] = v
			changed = true
		}
	}
	return changed
}

// count sets each of the bigs to the number of its littles above a threshold.
func count(littles, bigs []uint8, threshold uint8) (changed bool) {
	each := len(littles) / len(bigs)
	for i := range bigs {
		var n uint8
		for _, v := range littles[i*each : (i+1)*each] {
			if v > threshold {
				n++
			}
		}
		if n != bigs[i] {
			bigs[i] = n
			changed = true
		}
	}
	return changed
}

// score compares how likely v of n active units are in speech, where activity is
// even odds, with silence, where it falls off exponentially.
func score(v uint8, n int, lambda float64) float64 {
	k := float64(v)
	s := math.Log(binomial(n, int(v))) + k*math.Log(0.5) + (float64(n)-k)*math.Log(0.5) - math.Log(lambda) + lambda*k
	return max(s, minScore)
}

func binomial(n, k int) float64 {
	v := 1.0
	for i := range min(k, n-k) {
		v = v * float64(n-i) / float64(i+1)
	}
	return math.Round(v)
}
