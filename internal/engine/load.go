package engine

import (
	"math/bits"
	"time"
)

// Load is how busy a Worker is, over the last second or more.
type Load struct {
	CPU              float64 // 1 is one core
	PacketsPerSecond float64 // in and out
	BytesPerSecond   float64 // in and out
	MaxTurn          time.Duration
}

// A loadMeter turns counters into rates.
type loadMeter struct {
	at      time.Duration
	cpu     time.Duration
	packets uint64
	bytes   uint64
	maxTurn time.Duration // since at
	last    Load
	known   bool
}

const loadWindow = time.Second

func (l *loadMeter) start() { l.cpu = threadCPU() }

func (m *Machine) turnEnds(now time.Duration) {
	d := now - m.now
	m.count.Turns++
	m.count.MaxTurn = max(m.count.MaxTurn, d)
	m.load.maxTurn = max(m.load.maxTurn, d)
	m.count.TurnLength[min(bits.Len64(uint64(d/(16*time.Microsecond))), len(m.count.TurnLength)-1)]++
}

// Load returns how busy the loop is, handshakes and SCTP included (design §4.13).
// Readings less than a second apart are the same.
func (m *Machine) Load() (Load, error) {
	l := &m.load
	elapsed := m.now - l.at
	if l.known && elapsed < loadWindow || elapsed <= 0 {
		return l.last, nil
	}
	cpu := threadCPU() + m.elsewhere()
	packets := m.count.PacketsIn + m.count.PacketsOut
	bytes := m.count.BytesIn + m.count.BytesOut
	seconds := elapsed.Seconds()
	l.last = Load{
		CPU:              (cpu - l.cpu).Seconds() / seconds,
		PacketsPerSecond: float64(packets-l.packets) / seconds,
		BytesPerSecond:   float64(bytes-l.bytes) / seconds,
		MaxTurn:          l.maxTurn,
	}
	l.known, l.at, l.cpu, l.packets, l.bytes, l.maxTurn = true, m.now, cpu, packets, bytes, 0
	return l.last, nil
}

// elsewhere returns the time that goroutines besides the loop have computed.
func (m *Machine) elsewhere() time.Duration {
	busy := m.busy
	for _, t := range m.transports {
		if t.sctp != nil {
			busy += t.sctp.sctp.Busy()
		}
	}
	return busy
}

// Usage is what getrusage(2) says of the loop's thread, and the time of
// handshakes and of SCTP in User. Fields that a system does not count are 0.
type Usage struct {
	User, System                                  time.Duration
	MaxRSS, MinorFaults, MajorFaults              uint64
	InBlock, OutBlock, VoluntaryCS, InvoluntaryCS uint64
}

// Usage returns what the Worker has used since it began.
func (m *Machine) Usage() (Usage, error) {
	u := threadUsage()
	u.User += m.elsewhere()
	return u, nil
}
