package stream

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/nack"
	"github.com/mafalda-sfu/mafalda/internal/prefetch"
	"github.com/mafalda-sfu/mafalda/internal/rate"
	"github.com/mafalda-sfu/mafalda/internal/score"
)

const (
	// nackDelay forgives packets that overtake each other.
	nackDelay = 10 * time.Millisecond
	// A stream among several is dead after that long without a packet.
	inactivityTimeout    = 1500 * time.Millisecond
	inactivityTimeoutDTX = 5000 * time.Millisecond
	// layerInterval is how often spatial layers are looked at.
	layerInterval = 1500 * time.Millisecond
)

// A Packet is what a [Recv] wants to know of one.
type Packet struct {
	Seq           uint16
	Timestamp     uint32
	Size          int // whole RTP packet, bytes
	PayloadSize   int // without padding; 0 for padding only
	KeyFrame      bool
	SpatialLayer  uint8
	TemporalLayer uint8
}

// A Recv is an RTP stream that we receive. Make it with [NewRecv] when its
// first packet is there.
type Recv struct {
	p Params
	// Constant after NewRecv.
	checked bool // for inactivity

	traffic
	media  reception
	jitter jitter
	rtx    *reception      // nil without RTX
	nack   *nack.Generator // nil without NACK
	layers []rate.Counter  // S × T, by spatial layer

	score         score.History
	scoreChanged  bool
	prior         interval
	inactive      bool
	paused        bool
	wentBack      bool
	inactiveAt    time.Duration // deadline
	active        []bool        // spatial layers at the last look; nil for one
	activeChanged bool
	layersAt      time.Duration // deadline
}

// interval holds counters as they were at the last sample of the score.
type interval struct {
	expected, delivered, repaired, retransmitted uint32
}

// NewRecv returns a stream with the score 10. inactivityCheck says that it is
// one of several (simulcast), where a silent stream counts as dead.
func NewRecv(now time.Duration, p Params, inactivityCheck bool) *Recv {
	p.SpatialLayers = max(1, p.SpatialLayers)
	p.TemporalLayers = max(1, p.TemporalLayers)
	r := &Recv{
		p:       p,
		checked: inactivityCheck,
		layers:  make([]rate.Counter, int(p.SpatialLayers)*int(p.TemporalLayers)),
	}
	for i := range r.layers {
		r.layers[i] = rate.New(p.window())
	}
	if p.UseNACK {
		r.nack = nack.New(nackDelay)
	}
	if p.SpatialLayers > 1 {
		r.active = make([]bool, p.SpatialLayers)
	}
	if p.RTXSSRC != 0 {
		r.rtx = new(reception)
	}
	r.activeSince = now
	r.score.Reset(score.Max)
	r.restartTimers(now)
	return r
}

// Prefetch asks for the memory beside the Recv itself that the next packet needs.
func (r *Recv) Prefetch() {
	prefetch.Of(r.nack)
	if len(r.layers) == 1 {
		r.layers[0].Prefetch()
	}
}

// Params returns the description of the stream.
func (r *Recv) Params() *Params { return &r.p }

// SetRTX says which stream carries the retransmissions, when its first packet
// has shown that.
func (r *Recv) SetRTX(ssrc uint32, payloadType uint8) {
	r.p.RTXSSRC, r.p.RTXPayloadType = ssrc, payloadType
	r.rtx = new(reception)
}

// Receive takes note of a media packet and reports whether it is valid; one
// that is not must not be forwarded. Afterwards ask [Recv.PendingNACK],
// [Recv.NeedKeyFrame] and [Recv.ScoreChanged].
func (r *Recv) Receive(now time.Duration, p *Packet) bool {
	before := r.media.seq.max
	verdict, _ := r.media.seq.receive(now, p.Seq, p.Timestamp)
	if verdict == dropped {
		return false
	}
	if verdict == restarted && int16(p.Seq-before) < 0 {
		r.wentBack = true
		if r.nack != nil {
			// Unlike mediasoup, whose NACKs then stop until the old numbers are
			// reached again.
			r.nack.Reset()
		}
	}
	if r.nack != nil && !r.paused && r.nack.Received(now, p.Seq, p.KeyFrame, false) && r.rtx == nil {
		// Without RTX, a packet that was missing is a retransmission.
		r.retransmitted++
		r.repaired++
	}
	r.jitter.receive(now, p.Timestamp, r.p.ClockRate)
	r.media.received++
	r.count(now, p)
	return true
}

// ReceiveRTX takes note of a packet of the retransmission stream with sequence
// number rtxSeq that carries p; p is nil when it carries nothing. It reports
// whether p repairs a loss; else it must not be forwarded.
func (r *Recv) ReceiveRTX(now time.Duration, rtxSeq uint16, p *Packet) bool {
	if r.nack == nil || r.rtx == nil {
		return false
	}
	timestamp := r.rtx.seq.timestamp
	if p != nil {
		timestamp = p.Timestamp
	}
	if verdict, _ := r.rtx.seq.receive(now, rtxSeq, timestamp); verdict == dropped {
		return false
	}
	r.rtx.received++
	if p == nil {
		return false
	}
	if verdict, _ := r.media.seq.receive(now, p.Seq, p.Timestamp); verdict == dropped {
		return false
	}
	r.retransmitted++
	if r.paused || !r.nack.Received(now, p.Seq, p.KeyFrame, true) {
		return false
	}
	r.repaired++
	r.count(now, p)
	return true
}

// count adds a packet to the bitrates and keeps the stream alive.
func (r *Recv) count(now time.Duration, p *Packet) {
	r.packets++
	if p.PayloadSize == 0 {
		return
	}
	r.bytes += uint64(p.Size)
	r.layer(p.SpatialLayer, p.TemporalLayer).Update(now, p.Size)
	if r.inactive {
		r.inactive = false
		r.resetScore(now, score.Max)
	}
	r.inactiveAt = now + r.timeout()
}

func (r *Recv) timeout() time.Duration {
	if r.p.UseDTX {
		return inactivityTimeoutDTX
	}
	return inactivityTimeout
}

// WentBack reports, once, that the sender began to number anew with lower
// numbers: those may have been used for other packets.
func (r *Recv) WentBack() bool {
	went := r.wentBack
	r.wentBack = false
	return went
}

// PendingNACK returns the sequence numbers to ask the sender for in one NACK,
// and counts them as asked for. The slice is valid until the next packet or
// tick.
func (r *Recv) PendingNACK() []uint16 {
	if r.nack == nil {
		return nil
	}
	list := r.nack.Pending()
	if len(list) > 0 {
		r.nackCount++
		r.nackPacketCount += uint32(len(list))
	}
	return list
}

// NeedKeyFrame reports, once, that so much is missing that a key frame has to
// be asked for.
func (r *Recv) NeedKeyFrame() bool { return r.nack != nil && r.nack.NeedKeyFrame() }

// CountPLI and CountFIR count requests for key frames sent to the remote.
func (r *Recv) CountPLI() { r.pliCount++ }

// CountFIR is described at CountPLI.
func (r *Recv) CountFIR() { r.firCount++ }

// Deadline returns when to call [Recv.Tick] next; ok is false when nothing is
// due.
func (r *Recv) Deadline() (at time.Duration, ok bool) {
	if r.nack != nil {
		at, ok = r.nack.Deadline()
	}
	if r.paused {
		return at, ok
	}
	if r.checked && !r.inactive && (!ok || r.inactiveAt < at) {
		at, ok = r.inactiveAt, true
	}
	if r.active != nil && (!ok || r.layersAt < at) {
		at, ok = r.layersAt, true
	}
	return at, ok
}

// Tick does what is due: it repeats NACKs, finds that the stream is dead or
// that spatial layers came or went.
func (r *Recv) Tick(now time.Duration) {
	if r.nack != nil {
		r.nack.Tick(now)
	}
	if r.paused {
		return
	}
	if r.checked && !r.inactive && now >= r.inactiveAt {
		r.inactive = true
		r.resetScore(now, 0)
	}
	if r.active == nil || now < r.layersAt {
		return
	}
	r.layersAt = now + layerInterval
	for s := range r.active {
		if active := r.SpatialBitrate(now, uint8(s)) > 0; active != r.active[s] {
			r.active[s] = active
			r.activeChanged = true
		}
	}
}

// Pause says that the Producer was paused: packets are still counted, but
// nothing is asked for any more, and silence means nothing.
func (r *Recv) Pause() {
	r.paused = true
	if r.nack != nil {
		r.nack.Reset()
	}
	r.jitter = jitter{}
}

// Resume undoes Pause.
func (r *Recv) Resume(now time.Duration) {
	r.paused = false
	r.restartTimers(now)
}

func (r *Recv) restartTimers(now time.Duration) {
	r.inactiveAt = now + r.timeout()
	r.layersAt = now + layerInterval
}

// Score returns the score of the stream, 0 to 10.
func (r *Recv) Score() uint8 { return r.score.Value() }

// ScoreChanged reports, once, that the score is not what it was.
func (r *Recv) ScoreChanged() bool {
	changed := r.scoreChanged
	r.scoreChanged = false
	return changed
}

// Inactive reports that the stream is silent.
func (r *Recv) Inactive() bool { return r.inactive }

// ActiveFor returns how long the score has been above 0.
func (r *Recv) ActiveFor(now time.Duration) time.Duration { return now - r.activeSince }

// LayerActive reports whether a spatial layer of several carries anything. Who
// finds it silent between two looks of [Recv.Tick] is told by [Recv.LayersChanged]
// when it is back.
func (r *Recv) LayerActive(now time.Duration, spatial uint8) bool {
	active := r.SpatialBitrate(now, spatial) > 0
	if !active && int(spatial) < len(r.active) && r.active[spatial] {
		r.active[spatial], r.activeChanged = false, true
	}
	return active
}

// LayersChanged reports, once, that a spatial layer became active or inactive.
func (r *Recv) LayersChanged() bool {
	changed := r.activeChanged
	r.activeChanged = false
	return changed
}

func (r *Recv) resetScore(now time.Duration, value uint8) {
	before := r.score.Value()
	if !r.score.Reset(value) {
		return
	}
	r.scored(now, before)
}

func (r *Recv) scored(now time.Duration, before uint8) {
	r.scoreChanged = true
	if before == 0 {
		r.activeSince = now
	}
}
