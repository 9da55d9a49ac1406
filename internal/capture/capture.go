// Package capture finds out when, on our clock, what a packet carries was
// captured: sender reports, or the abs-capture-time header extension, tie RTP
// timestamps to the clock of the remote, and a [Clock] ties that one to ours
// (media-plane notes §6.13).
//
// A [Source] stands for the streams of one remote with one clock: those of a
// transport with the same CNAME. Each stream has a [Reference].
package capture

import "time"

// How far from its reference a timestamp may be: clocks drift apart.
const (
	extensionReach = 5 * time.Second
	reportReach    = 10 * time.Second
)

// A Source is what the streams of one remote have in common. Make it with
// [NewSource].
type Source struct {
	extension bool
	Clock
}

// NewSource returns a Source of whose streams the first one has the
// abs-capture-time extension, or not.
func NewSource(extension bool) Source { return Source{extension: extension} }

// Join tells of a further stream. Once one lacks the extension, sender reports
// serve all of them, for ever: times of both kinds don't compare.
func (s *Source) Join(extension bool) { s.extension = s.extension && extension }

// UsesExtension reports whether abs-capture-time gives the times, not sender
// reports.
func (s *Source) UsesExtension() bool { return s.extension }

// A Reference ties the RTP timestamps of one stream to the clock of its sender.
// The zero value knows nothing.
type Reference struct {
	remote    time.Duration // since the NTP epoch
	timestamp uint32
	known     bool
	extension bool
}

// Report takes a sender report of the stream. It returns whether the reference is
// known from now on and was not before.
func (r *Reference) Report(s *Source, ntp uint64, timestamp uint32) (learnt bool) {
	if ntp == 0 || s.extension {
		return false
	}
	return r.set(sinceEpoch(ntp), timestamp, false)
}

// Extension takes the abs-capture-time of a packet: the NTP time of the capturer,
// and by how much its clock is ahead of the sender's, in units of 2⁻³² s.
func (r *Reference) Extension(s *Source, capture uint64, offset int64, timestamp uint32) {
	if capture == 0 || !s.extension {
		return
	}
	r.set(sinceEpoch(capture)-Duration(offset), timestamp, true)
}

func (r *Reference) set(remote time.Duration, timestamp uint32, extension bool) (learnt bool) {
	learnt = !r.known || r.extension != extension
	*r = Reference{remote, timestamp, true, extension}
	return learnt
}

// Remote returns when the timestamp was captured on the clock of the sender,
// counted from the NTP epoch. ok is false while that is not known, or too long ago
// for the reference.
func (r *Reference) Remote(s *Source, timestamp, clockRate uint32) (at time.Duration, ok bool) {
	if !r.known || r.extension != s.extension || clockRate == 0 {
		return 0, false
	}
	reach := reportReach
	if r.extension {
		reach = extensionReach
	}
	delta := time.Duration(int32(timestamp-r.timestamp)) * time.Second / time.Duration(clockRate)
	if delta > reach || delta < -reach {
		return 0, false
	}
	at = r.remote + delta
	return at, at >= 0
}

// Local returns when the timestamp was captured on our clock. ok is false while
// that is not known, and for what was captured before our clock began.
func (r *Reference) Local(s *Source, timestamp, clockRate uint32) (at time.Duration, ok bool) {
	remote, ok := r.Remote(s, timestamp, clockRate)
	if !ok {
		return 0, false
	}
	offset, ok := s.Offset()
	if at = remote + offset; !ok || at < 0 {
		return 0, false
	}
	return at, true
}

// Fixed returns d in units of 2⁻³² s. ok is false when it does not fit in 64 bits.
func Fixed(d time.Duration) (v int64, ok bool) {
	whole, rest := d/time.Second, d%time.Second
	if int64(whole) != int64(int32(whole)) {
		return 0, false
	}
	return int64(whole)<<32 + int64(rest)<<32/int64(time.Second), true
}

// Duration is the reverse of [Fixed].
func Duration(v int64) time.Duration {
	return time.Duration(v>>32)*time.Second + time.Duration(v&(1<<32-1)*int64(time.Second)>>32)
}
