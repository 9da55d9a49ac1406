package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// An rtpListener finds the Producer of a packet (media-plane §5.4).
type rtpListener struct {
	// The last hit: packets of one sender come in runs.
	lastSSRC uint32
	last     *producer

	ssrcs map[uint32]*producer
	mids  map[string]*producer
	rids  map[string]*producer
}

func newRTPListener() rtpListener {
	return rtpListener{
		ssrcs: map[uint32]*producer{}, mids: map[string]*producer{}, rids: map[string]*producer{},
	}
}

// add registers what p's parameters name; on an error nothing stays.
func (l *rtpListener) add(p *producer) (err error) {
	defer func() {
		if err != nil {
			l.remove(p)
		}
	}()
	claim := func(ssrc uint32) error {
		if ssrc == 0 {
			return nil
		}
		if o := l.ssrcs[ssrc]; o != nil {
			return invalidState("ssrc %d is in use", ssrc)
		}
		l.ssrcs[ssrc] = p
		return nil
	}
	for _, e := range p.params.Encodings {
		if err := claim(e.SSRC); err != nil {
			return err
		}
		if err := claim(e.RTXSSRC); err != nil {
			return err
		}
	}
	if mid := p.params.MID; mid != "" {
		if l.mids[mid] != nil {
			return invalidState("mid %q is in use", mid)
		}
		l.mids[mid] = p
	}
	for _, e := range p.params.Encodings {
		if e.RID == "" {
			continue
		}
		if o := l.rids[e.RID]; o != nil {
			if p.params.MID == "" {
				return invalidState("rid %q is in use", e.RID)
			}
			continue
		}
		l.rids[e.RID] = p
	}
	return nil
}

// remove forgets p. It looks at nothing but what can be p's.
func (l *rtpListener) remove(p *producer) {
	for _, ssrc := range p.learned {
		forget(l.ssrcs, ssrc, p)
	}
	for _, e := range p.params.Encodings {
		forget(l.ssrcs, e.SSRC, p)
		forget(l.ssrcs, e.RTXSSRC, p)
		forget(l.rids, e.RID, p)
	}
	forget(l.mids, p.params.MID, p)
	if l.last == p {
		l.last = nil
	}
}

// forget deletes a key from m if it is that of p.
func forget[K comparable](m map[K]*producer, key K, p *producer) {
	if m[key] == p {
		delete(m, key)
	}
}

// maxLearned bounds the SSRCs that one transport learns from packets.
const maxLearned = 1024

// find returns the Producer of pkt or nil. A known MID or RID teaches it the
// SSRC; a MID that is unknown does not fall through to the RID.
func (l *rtpListener) find(pkt rtp.Packet, ids *extensionIDs) *producer {
	ssrc := pkt.SSRC()
	if l.last != nil && l.lastSSRC == ssrc {
		return l.last
	}
	p := l.ssrcs[ssrc]
	if p == nil {
		if p = l.byName(pkt, ids); p == nil || len(l.ssrcs) >= maxLearned {
			return p
		}
		l.ssrcs[ssrc] = p
		p.learned = append(p.learned, ssrc)
	}
	l.lastSSRC, l.last = ssrc, p
	return p
}

func (l *rtpListener) byName(pkt rtp.Packet, ids *extensionIDs) *producer {
	if ids.mid != 0 {
		if v := pkt.Extension(ids.mid); v != nil {
			return l.mids[string(v)]
		}
	}
	return l.rids[string(rid(pkt, ids))]
}

// rid returns the RID of a packet, or that of the stream it repairs.
func rid(pkt rtp.Packet, ids *extensionIDs) []byte {
	if ids.rid != 0 {
		if v := pkt.Extension(ids.rid); v != nil {
			return v
		}
	}
	if ids.rrid != 0 {
		return pkt.Extension(ids.rrid)
	}
	return nil
}

// bySSRC returns the Producer of an SSRC that an RTCP packet names.
func (l *rtpListener) bySSRC(ssrc uint32) *producer { return l.ssrcs[ssrc] }

func (l *rtpListener) fill(d *TransportDump) {
	for _, ssrc := range slices.Sorted(maps.Keys(l.ssrcs)) {
		d.SSRCProducers = append(d.SSRCProducers, SSRCOwner{ssrc, l.ssrcs[ssrc].id})
	}
	names := func(m map[string]*producer) (o []NameOwner) {
		for name, p := range m {
			o = append(o, NameOwner{name, p.id})
		}
		slices.SortFunc(o, func(a, b NameOwner) int { return cmp.Compare(a.Name, b.Name) })
		return o
	}
	d.MIDProducers, d.RIDProducers = names(l.mids), names(l.rids)
}
