package engine

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The recorder's own reading of packets, which our parsers have no part in.

type object = map[string]any

func num[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float64](v T) any {
	return float64(v)
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// An rtpRow is what the recorder notes of one RTP packet.
type rtpRow struct {
	in         any // index of the input, nil when the payload is too small
	t          float64
	seq, ts    float64 // as offset from the first of the stream
	marker, pt float64
	size       float64
	ext        string
	payload8   string
	extra      object
}

func (s *session) readRTP(who string, b []byte) (label string, seq uint16, r rtpRow) {
	ssrc, ts := be32(b[8:]), be32(b[4:])
	seq = be16(b[2:])
	media, isRTX := s.mediaOf[ssrc]
	if !isRTX {
		media = ssrc
	}
	if _, ok := s.bases[ssrc]; !ok {
		base := streamBase{seq, ts}
		if m, ok := s.bases[media]; ok && isRTX {
			base.ts = m.ts
		}
		s.bases[ssrc] = base
	}
	base := s.bases[ssrc]
	r = rtpRow{
		t: s.ms(), seq: float64(int16(seq - base.seq)), ts: float64(int32(ts - base.ts)),
		marker: float64(b[1] >> 7), pt: float64(b[1] & 127), size: float64(len(b)), extra: object{},
	}
	cc := int(b[0] & 15)
	at := 12 + 4*cc
	var elements map[int]string
	if b[0]&0x10 != 0 {
		end := at + 4 + 4*int(be16(b[at+2:]))
		two := be16(b[at:]) != 0xbede
		if two {
			r.extra["two"] = fmt.Sprintf("%x", be16(b[at:]))
		}
		elements = readElements(b[at+4:end], two)
		at = end
	}
	pad := 0
	if b[0]&0x20 != 0 {
		pad = int(b[len(b)-1])
		r.extra["pad"] = num(pad)
	}
	if cc > 0 {
		r.extra["cc"] = num(cc)
	}
	payload := b[at : len(b)-pad]
	if isRTX {
		r.extra["osn"] = num(int16(be16(payload) - s.bases[media].seq))
		payload = payload[2:]
	}
	if len(payload) >= 4 {
		r.in = num(be16(payload[len(payload)-2:]))
	}
	r.payload8 = hex.EncodeToString(payload[:min(8, len(payload))])
	r.ext = s.renderElements(elements, &r)
	return s.label(ssrc), seq, r
}

func readElements(b []byte, two bool) map[int]string {
	m := map[int]string{}
	for len(b) > 0 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		id, n, head := int(b[0]>>4), int(b[0]&15)+1, 1
		if two {
			id, n, head = int(b[0]), int(b[1]), 2
		}
		m[id] = hex.EncodeToString(b[head : head+n])
		b = b[head+n:]
	}
	return m
}

// renderElements lists header extensions by id, with what differs from run to
// run made comparable.
func (s *session) renderElements(m map[int]string, r *rtpRow) string {
	var ids []int
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var parts []string
	for _, id := range ids {
		v := m[id]
		switch {
		case id == 4 && v != "000000":
			v = "T"
		case id == 5 && s.o.ignoreWide:
			v = "-"
		case id == 10:
			same := "captureDiff"
			if n, ok := r.in.(float64); ok && s.captures[int(n)] != "" && strings.HasPrefix(s.captures[int(n)], v[:16]) {
				same = "captureSame"
			}
			if len(v) > 16 {
				same += "+off16"
				off, _ := hex.DecodeString(v[16:])
				ms := float64(int64(binary.BigEndian.Uint64(off))) / (1 << 32) * 1000
				r.extra["actOffMs"] = num(math.Round(ms))
			}
			v = same
		}
		parts = append(parts, fmt.Sprintf("%d:%s", id, v))
	}
	return strings.Join(parts, " ")
}

// readRTCP reads a compound; types names its parts.
func (s *session) readRTCP(b []byte) (types string, parts []any) {
	var names []string
	for len(b) >= 4 {
		n := 4 * (int(be16(b[2:])) + 1)
		p := s.readReport(b[:n])
		names = append(names, p["type"].(string))
		parts = append(parts, p)
		b = b[n:]
	}
	return strings.Join(names, "+"), parts
}

func (s *session) readReport(p []byte) object {
	count, label := int(p[0]&31), func(at int) any { return s.label(be32(p[at:])) }
	feedback := func(name string) object {
		return object{"type": name, "sender": label(4), "media": label(8)}
	}
	switch typ := int(p[1]); {
	case typ == 200:
		o := object{
			"type": "SR", "count": num(count), "ssrc": label(4), "ntpRelMs": s.ntpMS(p[8:]), "rtpTsOff": nil,
			"packets": num(be32(p[20:])), "octets": num(be32(p[24:])), "blocks": s.readBlocks(p[28:], count),
		}
		ssrc := be32(p[4:])
		if base, ok := s.bases[ssrc]; ok {
			o["rtpTsOff"] = num(int32(be32(p[16:]) - base.ts))
		}
		s.lastSR[ssrc] = compactTime{be32(p[10:]), s.d.now}
		return o
	case typ == 201:
		return object{"type": "RR", "sender": label(4), "blocks": s.readBlocks(p[8:], count)}
	case typ == 202:
		return object{"type": "SDES", "chunks": s.readChunks(p[4:], count)}
	case typ == 205 && count == 1:
		return readNACK(feedback("NACK"), p[12:])
	case typ == 205 && count == 15:
		return readTransportCC(feedback("TCC"), p)
	case typ == 206 && count == 1:
		return feedback("PLI")
	case typ == 206 && count == 4:
		o := feedback("FIR")
		o["fci"], o["len"] = []any{[]any{label(12), num(p[16])}}, num(len(p))
		return o
	case typ == 206 && count == 15:
		o := feedback("REMB")
		mantissa := uint64(p[17]&3)<<16 | uint64(be16(p[18:]))
		ssrcs := []any{}
		for i := range int(p[16]) {
			ssrcs = append(ssrcs, label(20+4*i))
		}
		o["bitrate"], o["ssrcs"] = num(mantissa<<(p[17]>>2)), ssrcs
		return o
	case typ == 207:
		return object{"type": "XR", "sender": label(4), "blocks": s.readXR(p[8:])}
	default:
		return object{"type": fmt.Sprintf("pt%d", typ), "cnt": num(count)}
	}
}

func (s *session) readBlocks(b []byte, count int) []any {
	blocks := []any{}
	for i := range count {
		z := b[24*i:]
		blocks = append(blocks, object{
			"ssrc": s.label(be32(z)), "fraction": num(z[4]),
			"lost": num(int32(be32(z[4:])<<8) >> 8), "ehsn": num(be32(z[8:])), "jitter": num(be32(z[12:])),
			"lsr": s.named(be32(z[16:])), "dlsrMs": num(math.Round(float64(be32(z[20:])) / 65.536)),
		})
	}
	return blocks
}

// named says what report a compact NTP time is of.
func (s *session) named(compact uint32) any {
	if compact == 0 {
		return num(0)
	}
	if name, ok := s.reportNames[compact]; ok {
		return name
	}
	return "unknown"
}

func (s *session) readChunks(b []byte, count int) []any {
	chunks, at := []any{}, 0
	for range count {
		ssrc := s.label(be32(b[at:]))
		at += 4
		items := []any{}
		for b[at] != 0 {
			n := int(b[at+1])
			text := string(b[at+2 : at+2+n])
			if text == recordedCNAME {
				text = "consumer-cname(=producer)"
			}
			items = append(items, []any{num(b[at]), text})
			at += 2 + n
		}
		at = (at + 4) &^ 3
		chunks = append(chunks, object{"ssrc": ssrc, "items": items})
	}
	return chunks
}

func readNACK(o object, b []byte) object {
	var items, seqs []any
	for ; len(b) > 0; b = b[4:] {
		pid, blp := be16(b), be16(b[2:])
		items = append(items, []any{num(pid), num(blp)})
		seqs = append(seqs, num(pid))
		for i := range uint16(16) {
			if blp>>i&1 != 0 {
				seqs = append(seqs, num(pid+1+i))
			}
		}
	}
	if n := len(items); n > 6 {
		items = append(append(slices.Clone(items[:3]), "..."), items[n-3:]...)
	}
	o["items"], o["n"], o["first"], o["last"] = items, num(len(seqs)), seqs[0], seqs[len(seqs)-1]
	return o
}

func readTransportCC(o object, p []byte) object {
	base, n := int(be16(p[12:])), int(be16(p[14:]))
	var status []uint16
	for q := 20; len(status) < n; q += 2 {
		w := be16(p[q:])
		switch {
		case w>>15 == 0:
			for range w & 0x1fff {
				status = append(status, w>>13&3)
			}
		case w>>14&1 == 0:
			for i := 13; i >= 0; i-- {
				status = append(status, w>>i&1)
			}
		default:
			for i := 6; i >= 0; i-- {
				status = append(status, w>>(2*i)&3)
			}
		}
	}
	lost := []any{}
	for i, v := range status[:n] {
		if v == 0 {
			lost = append(lost, num(base+i))
		}
	}
	o["base"], o["n"], o["lost"], o["fb"] = num(base), num(n), lost, num(p[19])
	return o
}

func (s *session) readXR(b []byte) []any {
	blocks := []any{}
	for len(b) > 0 {
		n := 4 * int(be16(b[2:]))
		v := b[4 : 4+n]
		switch b[0] {
		case 4:
			blocks = append(blocks, object{"bt": "RRT", "ntpRelMs": s.ntpMS(v)})
			s.lastRRT = compactTime{be32(v[2:]), s.d.now}
		case 5:
			for ; len(v) > 0; v = v[12:] {
				blocks = append(blocks, object{
					"bt": "DLRR", "ssrc": s.label(be32(v)), "lrr": s.named(be32(v[4:])),
					"dlrrMs": num(math.Round(float64(be32(v[8:])) / 65.536)),
				})
			}
		default:
			blocks = append(blocks, object{"bt": num(b[0])})
		}
		b = b[4+n:]
	}
	return blocks
}

// ntpMS is an NTP time as ms since the start.
func (s *session) ntpMS(b []byte) any {
	const epoch = 2208988800
	whole := time.Duration(be32(b)-epoch) * time.Second
	fraction := time.Duration(float64(be32(b[4:])) / (1 << 32) * 1e9)
	return num(math.Round(float64(whole+fraction-s.m.ntpOffset-s.start) / 1e6))
}
