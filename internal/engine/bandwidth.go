package engine

import (
	"log/slog"
	"math"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/bwe"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

const (
	probationWindow = 100 * time.Millisecond

	// shareInterval is how long a new estimate waits after the last one that was
	// shared: a peer can send one REMB after the other, each asking for another
	// bitrate, and each would go over all Consumers.
	shareInterval = 20 * time.Millisecond

	// Retransmissions take at most this part of what is available. What they took
	// too little of is saved up for so long, and never less than some packets.
	resendShare  = 0.5
	resendWindow = 500 * time.Millisecond
	resendLeast  = 3000 // bytes
)

// A bandwidth estimates what the peer of a transport can be sent, and shares it
// among the Consumers (media-plane §5.12, §5.13). There is one from the first
// Consumer of video on that negotiated feedback for it, and it stays.
type bandwidth struct {
	// What each packet touches; see prefetch.
	t         *transport
	estimator *bwe.Estimator
	mode      feedbackMode // of the peer
	wideSeq   uint16       // transport-wide number of the last packet

	client    *bwe.Client
	timer     timer.Timer
	connected bool // once: before, nothing is said to be available

	probation probation
	order     []*consumer   // those that take part, while it is shared
	shared    time.Duration // when an estimate was last

	resends   float64       // bytes that may be sent again
	resendsAt time.Duration // when that was so
}

// manageBandwidth estimates the bandwidth from now on if c negotiated feedback.
func (t *transport) manageBandwidth(c *consumer) {
	if t.bandwidth != nil || c.kind != Video {
		return
	}
	var ids extensionIDs
	if ids.set(c.params.HeaderExtensions) != nil {
		return
	}
	has := func(typ string) bool {
		for i := range c.params.Codecs {
			if c.params.Codecs[i].feedback(typ, "") {
				return true
			}
		}
		return false
	}
	mode := feedbackOff
	switch {
	case ids.twcc != 0 && has("transport-cc"):
		mode = feedbackTransportCC
	case ids.absSendTime != 0 && has("goog-remb"):
		mode = feedbackREMB
	default:
		return
	}
	m := t.m
	initial := uint64(t.initial)
	if initial == 0 {
		initial = bwe.DefaultInitial
	}
	b := &bandwidth{
		t: t, mode: mode,
		estimator: bwe.New(bwe.Config{
			Initial: initial, Probe: !t.direct, REMB: mode == feedbackREMB, Tick: timerTick,
		}, m.now),
		client:  bwe.NewClient(initial),
		resends: math.MaxFloat64, // what can be saved up is, for who joins
	}
	b.probation.init(m.random.Uint32(), m.random.Uint32())
	b.timer.Init(func(time.Duration) { b.tick() })
	t.bandwidth = b
	if m.logs.bwe.on(slog.LevelDebug) {
		m.logs.bwe.Debug("bandwidth is estimated", "transport", t.id, "remb", mode == feedbackREMB, "initial", initial)
	}
	b.limit()
	b.setLimits()
	if t.connected {
		b.connect()
	}
}

// connect is called when packets can be sent.
func (b *bandwidth) connect() {
	b.connected = true
	b.estimator.SetNetwork(b.t.m.now, true)
	b.tick()
}

// disconnect is called when they can't any more.
func (b *bandwidth) disconnect() {
	b.t.m.wheel.Stop(&b.timer)
	b.client.SetDesired(b.t.m.now, 0, true)
	b.setLimits()
	b.estimator.SetNetwork(b.t.m.now, false)
}

func (b *bandwidth) stop() { b.t.m.wheel.Stop(&b.timer) }

// tick does what the passing of time asks for.
func (b *bandwidth) tick() {
	now := b.t.m.now
	b.estimator.Tick(now)
	b.after()
	for {
		size, cluster, ok := b.estimator.NextProbe(now)
		if !ok {
			break
		}
		b.sendProbe(size, cluster)
	}
	b.arm()
}

func (b *bandwidth) arm() {
	if at, ok := b.estimator.Deadline(); ok {
		b.t.m.wheel.Set(&b.timer, max(at, b.t.m.now+1))
	}
}

// after looks whether the estimate has to be shared anew; tick looks again.
func (b *bandwidth) after() {
	now := b.t.m.now
	if now-b.shared < shareInterval || !b.client.Update(now, b.estimator.Available()) {
		return
	}
	b.shared = now
	b.share()
	b.desire(false)
	m := b.t.m
	if n, ok := m.may(m.logs.bwe, slog.LevelDebug, causeEstimate); ok {
		c := b.client.Trace()
		m.logs.bwe.Debug("available bandwidth", "transport", b.t.id, "available", c.Available, "desired", c.Desired,
			"loss", b.estimator.PacketLoss(), "skipped", n)
	}
	if b.t.trace.bwe {
		b.trace()
	}
}

// desire tells how much the Consumers could use. force makes a lower rate count
// at once.
func (b *bandwidth) desire(force bool) {
	desired := uint64(0)
	for _, c := range b.t.consumers {
		desired += uint64(c.desiredBitrate())
	}
	b.client.SetDesired(b.t.m.now, desired, force)
	b.setLimits()
}

// limit reads the limits of the transport.
func (b *bandwidth) limit() {
	b.client.SetMaximum(uint64(b.t.limits.high))
	b.client.SetMinimum(uint64(b.t.limits.low))
}

// trace tells what is known.
func (b *bandwidth) trace() {
	c := b.client.Trace()
	b.t.m.trace(b.t.id, TraceEvent{Type: "bwe", Direction: "out", BWE: &BWETrace{
		REMB: b.mode == feedbackREMB, Desired: c.Desired, EffectiveDesired: c.EffectiveDesired,
		Min: c.Min, Max: c.Max, Start: c.Start, MaxPadding: c.MaxPadding, Available: c.Available,
	}})
}

func (b *bandwidth) setLimits() {
	l := b.client.Limits()
	if b.t.direct { // where there is no way for padding
		l.Padding = 0
	}
	b.estimator.SetLimits(b.t.m.now, l)
}

// available is what may be sent now, in bit/s.
func (b *bandwidth) available() uint64 { return b.estimator.Available() }

// takeResend reports whether size bytes of video may be sent again now. When the
// line becomes narrow the peer misses much at once and asks for it until it
// comes; all that at once would keep the line full, and away from it the key
// frame of the layer that fits. Unlike mediasoup, which has no such bound.
func (b *bandwidth) takeResend(size int) bool {
	now := b.t.m.now
	rate := resendShare * float64(b.available()) / 8 // bytes per second
	b.resends += rate * (now - b.resendsAt).Seconds()
	b.resends = min(b.resends, max(rate*resendWindow.Seconds(), resendLeast))
	b.resendsAt = now
	if b.resends < float64(size) {
		return false
	}
	b.resends -= float64(size)
	return true
}

// share distributes what is available among the Consumers: in the first round
// each may take one layer, in the others as many as its priority says.
func (b *bandwidth) share() {
	left := uint32(min(b.available(), math.MaxUint32))
	considerLoss := b.mode == feedbackREMB
	b.order = b.order[:0]
	for _, c := range b.t.consumers {
		p := c.bitratePriority()
		if p == 0 {
			continue
		}
		i := len(b.order)
		b.order = append(b.order, nil)
		for ; i > 0 && b.order[i-1].priority <= p; i-- { // of equals the newer comes first
			b.order[i] = b.order[i-1]
		}
		b.order[i] = c
	}
	for base := true; left > 0; base = false {
		before := left
		for _, c := range b.order {
			steps := int(c.priority)
			if base {
				steps = 1
			}
			for range steps {
				used := c.increaseLayer(left, considerLoss)
				if used == 0 {
					break
				}
				left -= min(used, left)
			}
		}
		if left == before {
			break
		}
	}
	b.client.Distributed(b.t.m.now)
	for _, c := range b.order {
		c.applyLayers()
	}
	clear(b.order)
}

// needChange says that a Consumer could use another share.
func (b *bandwidth) needChange() {
	b.share()
	b.desire(false)
}

// needNothing says that a Consumer of video sends no more.
func (b *bandwidth) needNothing() {
	b.share()
	b.desire(true)
}

// left says that a Consumer is gone.
func (b *bandwidth) left() { b.desire(true) }

// receiveFeedback takes transport-wide feedback.
func (b *bandwidth) receiveFeedback(f rtcp.TransportCC) {
	if b.mode != feedbackTransportCC {
		return
	}
	b.estimator.Feedback(b.t.m.now, f)
	b.after()
	b.arm()
}

// receiveREMB takes the bitrate that the peer asks for. Unlike mediasoup also
// beside transport-wide feedback: it is how a limit of the peer is told.
func (b *bandwidth) receiveREMB(bitrate uint64) {
	if n, ok := b.t.m.may(b.t.m.logs.bwe, slog.LevelDebug, causeREMB); ok {
		b.t.m.logs.bwe.Debug("REMB received", "transport", b.t.id, "bitrate", bitrate, "skipped", n)
	}
	b.estimator.REMB(b.t.m.now, bitrate)
	b.after()
	b.arm()
}

// receiveReport takes what a receiver report says of one stream.
func (b *bandwidth) receiveReport(o *outbound, r rtcp.ReportBlock) {
	if b.mode != feedbackREMB {
		return
	}
	last := o.reported
	o.reported = reported{true, r.HighestSeq, r.CumulativeLost}
	if !last.known {
		return
	}
	expected, lost := int32(r.HighestSeq-last.highest), r.CumulativeLost-last.lost
	if expected <= 0 {
		return
	}
	b.estimator.ReceiverReport(b.t.m.now, int(min(max(lost, 0), expected)), int(expected), o.send.RTT())
	b.after()
	b.arm()
}

// reported is what the last receiver report of a stream said.
type reported struct {
	known   bool
	highest uint32 // extended sequence number
	lost    int32  // ever
}

// fillOutgoing adds what is known of the bandwidth.
func (t *transport) fillOutgoing(s *TransportStats) {
	b := t.bandwidth
	if b == nil {
		return
	}
	s.Estimated = true
	if b.connected {
		s.AvailableOutgoingBitrate = b.available()
	}
	s.PacketLossSent = b.estimator.PacketLoss()
	counter := &b.probation.sent
	s.ProbationBytesSent, s.ProbationSendBitrate = counter.Bytes(), counter.Rate(t.m.now)
}
