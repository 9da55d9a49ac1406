package engine

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/port"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/timer"
)

const (
	slotSize   = 2048    // of a packet in the pool: MTU, slack for rewriting, and more
	chunkSlots = 512     // the pool grows by 1 MiB
	maxSlots   = 1 << 19 // 1 GiB of packets for one Worker
	maxFrame   = 65536   // of what a peer sends at once, by TCP
	maxRTCP    = 1292    // of a compound that we build (media-plane §5.1)
	timerTick  = 5 * time.Millisecond
)

// A Machine is all media state of one Worker. It belongs to one loop: whoever
// calls it does so through [Do], or turns it by hand in a test.
type Machine struct {
	// Constant after newMachine.
	cfg     Config
	drv     driver.Driver
	log     *slog.Logger
	post    func(func(*Machine)) bool
	backlog *backlog  // of data messages; shared with the Worker
	refused *refusals // shared with the Worker
	// ntpOffset plus now is the time since the Unix epoch. The wall clock is
	// read once, so that no report ever steps (media-plane §1.1).
	ntpOffset time.Duration

	logs logs // of the tags

	// Owned by the loop.
	random  *rand.Rand // a test may replace it
	now     time.Duration
	stale   bool // now is from before a wait
	stopped bool
	wheel   *timer.Wheel
	pool    *packetbuf.Pool
	ports   *port.Manager

	servers    map[string]*webRTCServer
	routers    map[string]*router
	transports map[string]*transport
	producers  map[string]*producer
	consumers  map[string]*consumer

	rtpObservers map[string]*rtpObserver

	dataProducers map[string]*dataProducer
	dataConsumers map[string]*dataConsumer
	told          uint64         // messages for the application
	suspended     []*association // until the backlog is drained
	crowded       []*association // pipes in memory that the message at hand found crowded
	// Order of creation, for dumps and closing.
	serverList []*webRTCServer
	routerList []*router

	coming      coming      // whose packets are going to be handled
	lanes       []*lane     // to other Workers that have pipes to us
	dirty       []*producer // with packets to fan out
	freePackets []*packet
	again       outgoing // of a retransmission
	reports     reports
	scratch     []byte // for packets that don't go straight to a socket
	plain       []byte // for RTCP that was decrypted; what answers it goes to scratch
	compound    []byte // for RTCP that we build
	compounds   uint64 // RTCP packets that have come

	seq      uint64
	inOp     bool
	opNotes  []Notification
	netNotes []Notification

	taps map[*transport]*Tap // nil without any

	count Counters
	load  loadMeter
	busy  time.Duration // that DTLS has computed for us, on other threads, and SCTP that has ended

	packetID uint32 // next value of the packet-id extension
}

// Counters count what a Worker did and dropped, by reason. They only grow.
type Counters struct {
	PacketsIn, BytesIn   uint64 // datagrams and TCP frames received
	PacketsOut, BytesOut uint64 // RTP packets sent, RTX included
	DropUnknownTuple     uint64 // neither STUN nor from a known peer
	DropUnknownKind      uint64 // neither STUN, RTP, RTCP nor DTLS
	DropNotConnected     uint64 // media before DTLS or connect
	DropSRTP             uint64 // did not authenticate, or was replayed
	DropMalformed        uint64 // RTP or RTCP that does not parse
	DropUnknownStream    uint64 // RTP of no Producer
	DropTooLarge         uint64 // RTP of more than a slot holds
	DropNoSlot           uint64 // the packet pool is full
	DropDTLS             uint64 // DTLS records refused or not taken
	DropDirect           uint64 // injected packets that could not be used
	DropSCTP             uint64 // SCTP packets refused or not taken
	DropLane             uint64 // to a Worker that takes no more in memory
	DropData             uint64 // messages that are too large, or for which the send buffer is full
	Turns                uint64
	// TurnLength[i] counts turns that worked less than 2^i × 16 µs.
	TurnLength [12]uint64
	MaxTurn    time.Duration
}

func newMachine(cfg Config, post func(func(*Machine)) bool) *Machine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Machine{
		cfg:        cfg,
		drv:        cfg.Driver,
		log:        cfg.Logger,
		logs:       newLogs(cfg.Logger),
		wheel:      timer.NewWheel(timerTick),
		pool:       packetbuf.NewPool(slotSize, chunkSlots, maxSlots),
		ports:      port.NewManager(),
		servers:    map[string]*webRTCServer{},
		routers:    map[string]*router{},
		transports: map[string]*transport{},
		producers:  map[string]*producer{},
		consumers:  map[string]*consumer{},

		rtpObservers: map[string]*rtpObserver{},

		backlog: &backlog{},
		refused: &refusals{},

		dataProducers: map[string]*dataProducer{},
		dataConsumers: map[string]*dataConsumer{},

		scratch:  make([]byte, maxFrame+256),
		plain:    make([]byte, maxFrame),
		compound: make([]byte, 0, 2*maxRTCP),
		random:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		packetID: rand.Uint32() >> 1,
	}
	m.post = func(f func(*Machine)) bool {
		return post(func(m *Machine) {
			if m != nil {
				f(m)
			}
		})
	}
	m.backlog.drained = func() { m.post((*Machine).resumeSCTP) }
	m.now = m.drv.Now()
	m.ntpOffset = time.Duration(time.Now().UnixNano()) - m.now
	return m
}

// ntp returns the time of this turn as 32.32 fixed point since 1900.
func (m *Machine) ntp() uint64 { return rtcp.NTP(m.ntpOffset + m.now) }

// PacketsHeld returns how many packets are in memory: none once all is closed.
func (m *Machine) PacketsHeld() int { return m.pool.InUse() }

func (m *Machine) notify(target string, body any) {
	m.seq++
	n := Notification{Seq: m.seq, Target: target, Body: body}
	if r := ruleOf(body); m.inOp && r != keepStream && r != keepAll { // packets have one queue, and so one order
		m.opNotes = append(m.opNotes, n)
	} else {
		m.netNotes = append(m.netNotes, n)
	}
}

// takeNotes returns the notifications of the network since the last call;
// they are valid until the next notify.
func (m *Machine) takeNotes() []Notification {
	n := m.netNotes
	m.netNotes = m.netNotes[:0]
	return n
}

// timeout is how long the loop may sleep; negative is for ever.
func (m *Machine) timeout(now time.Duration) time.Duration {
	at, ok := m.wheel.Next()
	if !ok {
		return -1
	}
	return max(at-now, 0)
}

// flush forwards what was received and sends what was queued.
func (m *Machine) flush() {
	m.fanOut()
	m.drv.Flush()
	for _, l := range m.lanes {
		l.flush()
	}
}

// tick reads the clock, once after each wait.
func (m *Machine) tick() {
	if m.stale {
		m.now = m.drv.Now()
		m.stale = false
	}
}

// periodic returns when a timer that fires now, a little late, is due again, so that
// delays don't add up.
func periodic(t *timer.Timer, now, interval time.Duration) time.Duration {
	if next := t.Deadline() + interval; next > now {
		return next
	}
	return now + interval
}

// A socketOwner is what the sockets of a driver belong to.
type socketOwner interface {
	receiveUDP(s driver.UDPSocket, from netip.AddrPort, data []byte)
	openTCP(c driver.TCPConn)
	receiveTCP(c driver.TCPConn, frame []byte)
	closeTCP(c driver.TCPConn)
}

var _ driver.Handler = (*Machine)(nil)

// HandleUDP implements [driver.Handler].
func (m *Machine) HandleUDP(s driver.UDPSocket, from netip.AddrPort, data []byte) {
	m.tick()
	m.count.PacketsIn++
	m.count.BytesIn += uint64(len(data))
	if o, ok := s.Owner().(socketOwner); ok {
		o.receiveUDP(s, from, data)
	}
}

// HandleTCPOpen implements [driver.Handler].
func (m *Machine) HandleTCPOpen(l driver.TCPListener, c driver.TCPConn) {
	m.tick()
	o, ok := l.Owner().(socketOwner)
	if !ok {
		c.Close()
		return
	}
	c.SetOwner(o)
	o.openTCP(c)
}

// HandleTCPFrame implements [driver.Handler].
func (m *Machine) HandleTCPFrame(c driver.TCPConn, frame []byte) {
	m.tick()
	m.count.PacketsIn++
	m.count.BytesIn += uint64(len(frame))
	if o, ok := c.Owner().(socketOwner); ok {
		o.receiveTCP(c, frame)
	}
}

// HandleTCPClose implements [driver.Handler].
func (m *Machine) HandleTCPClose(c driver.TCPConn) {
	m.tick()
	if o, ok := c.Owner().(socketOwner); ok {
		o.closeTCP(c)
	}
}

// beginOp has to precede an operation: what came before it is forwarded before
// it, so that a key frame that waits is no answer to a request that comes after.
func (m *Machine) beginOp() {
	m.fanOut()
	m.inOp = true
}

// EndOfBatch implements [driver.Handler]: what one batch brought leaves
// together, so that the packets of a burst stay neighbours.
func (m *Machine) EndOfBatch() { m.fanOut() }

// release closes everything without a word: the Worker has ended.
func (m *Machine) release() {
	defer func() {
		// After a panic the state may be anything; the sockets are closed by
		// the driver, and there is nobody left to tell.
		if v := recover(); v != nil {
			m.log.Error("closing a worker that died", "panic", v)
		}
		for _, t := range m.transports { // those that could not be closed
			if t.sctp != nil {
				t.sctp.abandon()
			}
		}
	}()
	for _, t := range m.transports { // first, since the rest may fail: it has goroutines
		if w, ok := t.part.(*webRTCTransport); ok && w.dtls != nil {
			w.dtls.Close()
		}
	}
	for len(m.routerList) > 0 {
		m.routerList[0].close()
	}
	for len(m.serverList) > 0 {
		m.serverList[0].close()
	}
}

// A DumpWorker lists what a Worker has, in order of creation.
type DumpWorker struct {
	WebRTCServerIDs, RouterIDs []string
	// Ids of what takes requests, and of what takes notifications.
	RequestHandlers, NotificationHandlers []string
}

// Dump describes the Worker.
func (m *Machine) Dump() (DumpWorker, error) {
	var d DumpWorker
	for _, s := range m.serverList {
		d.WebRTCServerIDs = append(d.WebRTCServerIDs, s.id)
		d.RequestHandlers = append(d.RequestHandlers, s.id)
	}
	for _, r := range m.routerList {
		d.RouterIDs = append(d.RouterIDs, r.id)
		d.RequestHandlers = append(d.RequestHandlers, r.id)
		for _, t := range r.transports {
			d.RequestHandlers = append(d.RequestHandlers, t.id)
			d.NotificationHandlers = append(d.NotificationHandlers, t.id)
			for _, p := range t.producers {
				d.RequestHandlers = append(d.RequestHandlers, p.id)
				d.NotificationHandlers = append(d.NotificationHandlers, p.id)
			}
			for _, c := range t.consumers {
				d.RequestHandlers = append(d.RequestHandlers, c.id)
			}
			for _, p := range t.dataProducers {
				d.RequestHandlers = append(d.RequestHandlers, p.id)
				d.NotificationHandlers = append(d.NotificationHandlers, p.id)
			}
			for _, c := range t.dataConsumers {
				d.RequestHandlers = append(d.RequestHandlers, c.id)
			}
		}
		for _, o := range r.observers {
			d.RequestHandlers = append(d.RequestHandlers, o.id)
		}
	}
	return d, nil
}

// Counters returns what the Worker counted, and what its driver did.
func (m *Machine) Counters() (Counters, driver.Stats, error) {
	return m.count, m.drv.Stats(), nil
}
