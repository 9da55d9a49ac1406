package engine

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// A reports collects one RTCP compound (media-plane §5.6). On the wire follow
// sender reports, receiver reports, SDES, XR.
type reports struct {
	senders []byte // whole SR packets
	blocks  []rtcp.ReportBlock
	cnames  []rtcp.SDESChunk
	dlrr    []rtcp.DLRREntry
	rrt     bool
}

func (r *reports) reset() {
	r.senders, r.blocks, r.cnames, r.dlrr, r.rrt = r.senders[:0], r.blocks[:0], r.cnames[:0], r.dlrr[:0], false
}

func (r *reports) empty() bool { return len(r.senders) == 0 && len(r.blocks) == 0 }

// size is the length of the compound.
func (r *reports) size() int {
	n := len(r.senders)
	perPacket := func(count, each int) {
		n += 8*((count+30)/31) + count*each
	}
	perPacket(len(r.blocks), 24)
	for _, c := range r.cnames {
		n += (4 + 2 + len(c.CNAME) + 1 + 3) &^ 3
	}
	if len(r.cnames) > 0 {
		n += 4 * ((len(r.cnames) + 30) / 31)
	}
	if r.rrt || len(r.dlrr) > 0 {
		n += 8
		if r.rrt {
			n += 12
		}
		if len(r.dlrr) > 0 {
			n += 4 + 12*len(r.dlrr)
		}
	}
	return n
}

// mark remembers how much is in r, so that what does not fit can be taken out.
func (r *reports) mark() [5]int {
	m := [5]int{len(r.senders), len(r.blocks), len(r.cnames), len(r.dlrr), 0}
	if r.rrt {
		m[4] = 1
	}
	return m
}

func (r *reports) cut(m [5]int) {
	r.senders, r.blocks, r.cnames, r.dlrr, r.rrt = r.senders[:m[0]], r.blocks[:m[1]], r.cnames[:m[2]], r.dlrr[:m[3]], m[4] == 1
}

// sendReports is the periodic RTCP of a transport: what its Consumers send and
// its Producers receive.
func (t *transport) sendReports(time.Duration) {
	m := t.m
	r := &m.reports
	r.reset()
	ntp := m.ntp()
	for _, c := range t.consumers {
		t.gather(r, ntp, func() { c.report(r, ntp) })
	}
	for _, p := range t.producers {
		t.gather(r, ntp, func() { p.report(r) })
	}
	t.sendCompound(r, ntp)
	m.wheel.Set(&t.reports, t.nextReport())
}

// gather adds what add brings, in a compound of its own if it does not fit.
func (t *transport) gather(r *reports, ntp uint64, add func()) {
	before := r.mark()
	add()
	if r.size() <= maxRTCP || before == [5]int{} {
		return
	}
	// Send what was there before, keep what is new.
	rest := reports{
		senders: append([]byte(nil), r.senders[before[0]:]...),
		blocks:  append([]rtcp.ReportBlock(nil), r.blocks[before[1]:]...),
		cnames:  append([]rtcp.SDESChunk(nil), r.cnames[before[2]:]...),
		dlrr:    append([]rtcp.DLRREntry(nil), r.dlrr[before[3]:]...),
		rrt:     r.rrt,
	}
	r.cut(before)
	t.sendCompound(r, ntp)
	r.reset()
	r.senders = append(r.senders, rest.senders...)
	r.blocks = append(r.blocks, rest.blocks...)
	r.cnames = append(r.cnames, rest.cnames...)
	r.dlrr = append(r.dlrr, rest.dlrr...)
	r.rrt = rest.rrt
}

func (t *transport) sendCompound(r *reports, ntp uint64) {
	if r.empty() {
		return
	}
	b := append(t.m.compound[:0], r.senders...)
	if len(r.blocks) > 0 {
		b = rtcp.AppendReceiverReport(b, 0, r.blocks)
	}
	if len(r.cnames) > 0 {
		b = rtcp.AppendSDES(b, r.cnames)
	}
	if !r.rrt {
		ntp = 0
	}
	t.sendRTCP(rtcp.AppendXR(b, 0, ntp, r.dlrr))
}
