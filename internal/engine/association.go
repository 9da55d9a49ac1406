package engine

import (
	"errors"
	"log/slog"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/sctp"
	"github.com/mafalda-sfu/mafalda/internal/subchannel"
)

// SCTPOptions turn SCTP on. Sizes are bytes; 0 is the default of mediasoup.
type SCTPOptions struct {
	MaxSendMessageSize, MaxReceiveMessageSize uint32 // 262,144
	SendBufferSize, PerStreamSendQueueLimit   uint32 // 2,000,000
	MaxReceiverWindowBufferSize               uint32 // 5,242,880
	// BufferedAmountLowThreshold is that of a new stream; 0 is 0.
	BufferedAmountLowThreshold uint32
	// DataChannel is for a peer that speaks RFC 8831, which no pipe does.
	DataChannel bool
}

// sctpPort is that of both sides.
const sctpPort = 5000

// An association is the SCTP of a transport.
type association struct {
	// Constant after enableSCTP.
	t       *transport
	options SCTPOptions
	sctp    *sctp.Association

	maxOutbound, maxInbound uint16 // negotiated streams; 0 before
	mute                    bool   // nothing may be sent any more

	holds     int  // reasons why no messages are taken
	suspended bool // the backlog is one of them
	crowd     crowd
}

// enableSCTP gives t an association, which sends packets with send.
func (t *transport) enableSCTP(o SCTPOptions, send func([]byte)) {
	for _, d := range []struct {
		field *uint32
		value uint32
	}{
		{&o.MaxSendMessageSize, sctp.DefaultMessageSize},
		{&o.MaxReceiveMessageSize, sctp.DefaultMessageSize},
		{&o.SendBufferSize, sctp.DefaultSendBufferSize},
		{&o.PerStreamSendQueueLimit, sctp.DefaultSendBufferSize},
		{&o.MaxReceiverWindowBufferSize, sctp.DefaultWindow},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	t.limitMessages(o.MaxSendMessageSize, o.MaxReceiveMessageSize)
	a := &association{t: t, options: o}
	m := t.m
	a.sctp = sctp.New(sctp.Config{
		MaxSendMessageSize:          o.MaxSendMessageSize,
		MaxReceiveMessageSize:       o.MaxReceiveMessageSize,
		SendBufferSize:              o.SendBufferSize,
		PerStreamSendQueueLimit:     o.PerStreamSendQueueLimit,
		MaxReceiverWindowBufferSize: o.MaxReceiverWindowBufferSize,
		DataChannel:                 o.DataChannel,
		Post:                        func(f func()) bool { return m.post(func(*Machine) { f() }) },
		Send: func(b []byte) {
			if !a.mute {
				t.tappedSCTP(true, b)
				send(b)
			}
		},
		Handle: a.handle,
	})
	a.crowd.late.Init(func(time.Duration) { a.crowd.clear(m, false) })
	t.sctp = a
}

// startSCTP shakes hands as soon as there is a path and something to carry;
// else the peer begins (media-plane §8.1).
func (t *transport) startSCTP() {
	if t.sctp != nil && t.connected && len(t.dataProducers)+len(t.dataConsumers) > 0 {
		t.sctp.sctp.Start()
	}
}

// isSCTP reports whether a datagram that is neither RTP nor RTCP may be SCTP.
func isSCTP(b []byte) bool { return len(b) >= 12 && len(b)%4 == 0 }

// receiveSCTP takes one packet of the peer.
func (t *transport) receiveSCTP(b []byte) {
	t.tappedSCTP(false, b)
	if t.sctp == nil || !t.sctp.sctp.Receive(b) {
		t.m.count.DropSCTP++
		if n, ok := t.m.may(t.m.logs.sctp, slog.LevelWarn, causeSCTP); ok {
			t.m.logs.sctp.Warn("SCTP dropped", "transport", t.id, "enabled", t.sctp != nil, "skipped", n)
		}
	}
}

func (a *association) handle(e sctp.Event) {
	t, m := a.t, a.t.m
	switch e.Kind {
	case sctp.StateChanged:
		if p, ok := errors.AsType[*sctp.PanicError](e.Err); ok {
			panic(&PanicError{Value: p.Value, Stack: p.Stack})
		}
		if e.State == sctp.Failed {
			m.logs.sctp.Warn("SCTP failed", "transport", t.id, "error", e.Err)
		} else {
			m.logs.sctp.Debug("SCTP state", "transport", t.id, "state", e.State.String())
		}
		if a.ended() {
			a.crowd.relieve(m)
		}
		m.notify(t.id, SCTPStateChange{State: e.State.String()})
	case sctp.Negotiated:
		a.maxOutbound, a.maxInbound = e.MaxOutbound, e.MaxInbound
		m.notify(t.id, SCTPNegotiated{MaxOutbound: e.MaxOutbound, MaxInbound: e.MaxInbound})
	case sctp.Message:
		a.receive(e.Stream, e.PPID, e.Data)
	case sctp.StreamReset:
		// The end of a data channel (RFC 8831 §6.7). Unlike mediasoup, which
		// deletes the DataConsumer without a word, we let it live, mute.
		if c := t.outStreams[e.Stream]; c != nil {
			if n, ok := m.may(m.logs.sctp, slog.LevelDebug, causeReset); ok {
				m.logs.sctp.Debug("SCTP stream reset by the peer", "dataConsumer", c.id, "stream", e.Stream, "skipped", n)
			}
			c.reset = true
			a.sctp.CloseOutbound(e.Stream)
		}
	case sctp.BufferedLow:
		if c := t.outStreams[e.Stream]; c != nil {
			m.notify(c.id, DataConsumerBufferedAmountLow{Amount: e.Buffered})
		}
	case sctp.Unjammed:
		a.crowd.clear(m, true)
	case sctp.Relieved:
		a.crowd.relieve(m)
	}
}

// receive hands a message to its DataProducer. While listeners, or pipes, have
// enough to do, the peer has to wait with the next.
func (a *association) receive(stream uint16, ppid uint32, data []byte) {
	t, m := a.t, a.t.m
	p := t.inStreams[stream]
	if p == nil {
		m.droppedMessage("no DataProducer has the stream", "transport", t.id, len(data))
		return
	}
	msg := DataMessage{PPID: ppid, Data: data}
	if t.piped {
		var l subchannel.Labels
		if l, msg.Data = subchannel.Parse(data); len(msg.Data) == 0 {
			m.droppedMessage("nothing but subchannels", "transport", t.id, len(data))
			return
		}
		msg.Subchannels, msg.Required, msg.Ignored = l.Subchannels, l.Required, l.Ignored
	}
	told := m.told
	p.receive(&msg)
	if m.told != told && m.backlog.full() && !a.suspended {
		a.suspended = true
		a.hold()
		m.suspended = append(m.suspended, a)
		m.backlog.stop()
	}
	for _, to := range m.takeCrowded() {
		to.delay(a)
	}
}

// hold stops the messages of the peer, until letGo was called as often.
func (a *association) hold() {
	if a.holds++; a.holds == 1 {
		a.sctp.Suspend()
	}
}

func (a *association) letGo() {
	if a.holds--; a.holds == 0 {
		a.sctp.Resume()
	}
}

// resumeSCTP lets those go on that wait for listeners.
func (m *Machine) resumeSCTP() {
	list := m.suspended
	m.suspended = nil
	for _, a := range list {
		a.suspended = false
		a.letGo()
	}
}

// ended reports whether nothing can be sent any more.
func (a *association) ended() bool {
	s := a.sctp.State()
	return s == sctp.Failed || s == sctp.Closed
}

// close tells the peer, if there is one.
func (a *association) close() {
	if a.mute {
		return
	}
	a.sctp.Close()
	a.crowd.relieve(a.t.m)
	if a.holds > 0 {
		a.t.m.unhold(a)
	}
	a.t.m.busy += a.sctp.Busy()
	a.mute = true
}

// abandon ends the goroutines and does nothing else.
func (a *association) abandon() {
	a.mute = true
	a.sctp.Close()
}

// openInbound lets the messages of a stream come.
func (a *association) openInbound(s *SCTPStreamParameters) error {
	return streamError(s, a.sctp.OpenInbound(s.StreamID, s.sctp()))
}

// openOutbound lets messages go.
func (a *association) openOutbound(s *SCTPStreamParameters) error {
	return streamError(s, a.sctp.OpenOutbound(s.StreamID, s.sctp(), a.options.BufferedAmountLowThreshold))
}

func streamError(s *SCTPStreamParameters, err error) error {
	if err == nil || errors.Is(err, sctp.ErrClosed) { // it carries nothing, but that is no reason not to be
		return nil
	}
	return invalidState("streamId %d: %v", s.StreamID, err)
}

func (p *SCTPStreamParameters) sctp() sctp.StreamParameters {
	s := sctp.StreamParameters{
		Ordered:           *p.Ordered,
		MaxPacketLifeTime: time.Duration(p.MaxPacketLifeTime) * time.Millisecond,
	}
	if p.MaxRetransmits != nil {
		s.MaxRetransmits = new(*p.MaxRetransmits)
	}
	return s
}

// SCTPDump is what SCTP adds to a [TransportDump].
type SCTPDump struct {
	Port    uint16
	Options SCTPOptions // defaults filled in
	State   string      // never "failed": that is "closed" here
	// MaxOutbound and MaxInbound are the negotiated numbers of streams, 0 before.
	MaxOutbound, MaxInbound uint16
	Streams                 []StreamOwner
}

// StreamOwner says to which DataProducer an inbound stream belongs.
type StreamOwner struct {
	StreamID uint16
	ID       string
}

func (a *association) state() string {
	if s := a.sctp.State(); s != sctp.Failed {
		return s.String()
	}
	return sctp.Closed.String()
}

func (a *association) dump() *SCTPDump {
	d := &SCTPDump{
		Port: sctpPort, Options: a.options, State: a.state(),
		MaxOutbound: a.maxOutbound, MaxInbound: a.maxInbound,
	}
	for _, p := range a.t.dataProducers {
		if p.stream != nil {
			d.Streams = append(d.Streams, StreamOwner{p.stream.StreamID, p.id})
		}
	}
	return d
}
