// Package audiolevel finds the loudest of several audio streams, from the level
// that their senders put on each packet (RFC 6464; mediasoup's
// worker/src/RTC/AudioLevelObserver.cpp).
package audiolevel

import "slices"

// enough is how many packets an interval must have for a volume.
const enough = 10

// A Volume is how loud a source was.
type Volume struct {
	ID string
	// Volume is the mean of an interval in dBov, -127 (silence) to 0.
	Volume int8
}

// An Observer compares sources, interval by interval. Make it with [New].
type Observer struct {
	threshold int8
	entries   int
	silent    bool
	sources   []*Source // in the order of Add
}

// A Source is one stream of an [Observer].
type Source struct {
	id         string
	sum, count uint32
}

// New returns an Observer without sources. It tells of at most entries sources,
// those that are at least as loud as threshold, in dBov.
func New(threshold int8, entries int) *Observer {
	return &Observer{threshold: threshold, entries: entries, silent: true}
}

// Add takes a further source, and begins to sum up its levels.
func (o *Observer) Add(id string) *Source {
	s := &Source{id: id}
	o.sources = append(o.sources, s)
	return s
}

// Remove forgets a source.
func (o *Observer) Remove(s *Source) {
	o.sources = slices.DeleteFunc(o.sources, func(x *Source) bool { return x == s })
}

// Level takes the level of one packet: 0 (loudest) to 127, without the minus sign.
func (s *Source) Level(level uint8) {
	s.sum += uint32(level)
	s.count++
}

// Tick ends an interval. It returns the volumes of those that are loud enough, the
// loudest first, and of equally loud ones in the order of Add. If there is none,
// silence tells that there was one in the interval before.
func (o *Observer) Tick() (volumes []Volume, silence bool) {
	for _, s := range o.sources {
		if s.count >= enough {
			if v := -int8(s.sum / s.count); v >= o.threshold {
				volumes = append(volumes, Volume{s.id, v})
			}
		}
	}
	o.reset()
	if len(volumes) == 0 {
		silence = !o.silent
		o.silent = true
		return nil, silence
	}
	o.silent = false
	slices.SortStableFunc(volumes, func(a, b Volume) int { return int(b.Volume) - int(a.Volume) })
	return volumes[:min(len(volumes), o.entries)], false
}

// Pause ends an interval without volumes. It returns silence as Tick does.
func (o *Observer) Pause() (silence bool) {
	o.reset()
	silence = !o.silent
	o.silent = true
	return silence
}

func (o *Observer) reset() {
	for _, s := range o.sources {
		s.sum, s.count = 0, 0
	}
}
