package probe

import "time"

const (
	// maxClusters is how many clusters are measured at a time; of more the
	// oldest is forgotten.
	maxClusters = 8
	// enough is the part of the packets and bytes that must have arrived.
	enough = 0.6
	// saturated: a train that comes out slower than this part of its rate has
	// met the narrowest link.
	saturated = 0.9
	// utilisation of a saturated link that is considered safe.
	utilisation = 0.95
	// minSpan is the shortest time in which a rate is measured.
	minSpan = time.Millisecond
	// maxSpan is the longest.
	maxSpan = time.Second
	// groupSpan: packets sent within it are a group.
	groupSpan = time.Millisecond
	// maxGain is by how much the arrival may seem faster than the sending,
	// before it is taken for packets that something had held up.
	maxGain = 2
)

// A Result is what a cluster showed.
type Result struct {
	Cluster
	// Bitrate is what the path carries at least, in bit/s; never more than the
	// rate of the cluster. 0: nothing can be said.
	Bitrate float64
	// Saturated says that the train was faster than the path.
	Saturated bool
}

// A Meter collects what arrived of clusters. The zero Meter has none.
type Meter struct {
	clusters [maxClusters]measure
}

type measure struct {
	Cluster
	sent, sentBytes int   // in all
	lastSeq         int64 // once it was sent
	complete        bool

	n, bytes int // arrived
	// The first packet that arrived, and the first one of the last group: what
	// was sent at once. Between them is what the bytes before that group took.
	first, last trainPoint
}

type trainPoint struct {
	sent    time.Duration
	arrival time.Duration // receiver's clock
	bytes   int           // of the train before it, those that arrived
}

// Reset forgets all clusters.
func (m *Meter) Reset() { *m = Meter{} }

// Sent takes note of a packet of a cluster with an extended sequence number.
func (m *Meter) Sent(c Cluster, seq int64, size int, last bool) {
	s := &m.clusters[c.ID%maxClusters]
	if s.ID != c.ID {
		*s = measure{Cluster: c}
	}
	s.sent++
	s.sentBytes += size
	s.lastSeq = seq
	s.complete = last
}

// Arrived takes note of a packet of cluster id that arrived, at a time of the
// receiver's clock. Packets come in the order in which they were sent; what is
// late counts but marks no point of the train.
func (m *Meter) Arrived(id int, sent, arrival time.Duration, size int) {
	s := &m.clusters[id%maxClusters]
	if s.ID != id || id == 0 {
		return
	}
	point := trainPoint{sent, arrival, s.bytes}
	switch {
	case s.n == 0:
		s.first, s.last = point, point
	case sent-s.last.sent > groupSpan && arrival > s.last.arrival:
		s.last = point
	}
	s.n++
	s.bytes += size
}

// Take returns the result of a cluster whose packets have all been reported,
// and forgets it; acked is the highest sequence number of which something is
// known. loss is the part of packets that get lost without congestion. ok is
// false when there is none.
func (m *Meter) Take(acked int64, loss float64) (r Result, ok bool) {
	for i := range m.clusters {
		s := &m.clusters[i]
		if s.ID == 0 || !s.complete || s.lastSeq > acked {
			continue
		}
		r = s.result(loss)
		*s = measure{}
		return r, true
	}
	return Result{}, false
}

func (s *measure) result(loss float64) Result {
	r := Result{Cluster: s.Cluster}
	if float64(s.n) < enough*float64(s.sent) || float64(s.bytes) < enough*float64(s.sentBytes) || s.n < 2 {
		return r
	}
	out, in := s.last.sent-s.first.sent, s.last.arrival-s.first.arrival
	if out < minSpan || in < minSpan || out > maxSpan || in > maxSpan {
		return r
	}
	// What was lost by chance did not make the train slower.
	lost := 1 - float64(s.bytes)/float64(s.sentBytes)
	bits := float64(s.last.bytes) * 8
	sendRate, rate := bits/out.Seconds(), bits/in.Seconds()
	if rate > maxGain*sendRate {
		return r
	}
	chance := 1 / (1 - min(lost, loss, enough))
	sendRate /= 1 - lost
	rate *= chance
	r.Bitrate = min(sendRate, rate)
	if rate < saturated*sendRate {
		r.Saturated = true
		r.Bitrate = utilisation * rate
	}
	r.Bitrate = min(r.Bitrate, s.Rate)
	return r
}
