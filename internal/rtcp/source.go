package rtcp

import "encoding/binary"

const (
	itemEnd   = 0
	itemCNAME = 1
	maxText   = 255 // bytes of an SDES item
)

// An SDESChunk names one source (RFC 3550 §6.5), to write it.
type SDESChunk struct {
	SSRC  uint32
	CNAME string // longer than 255 bytes is cut
}

// A Source is a view of an SDES chunk: one source and its items.
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                             SSRC                              |
//	| item type     | length        | value …       | 0 to the next |
//	| multiple of four, at least one                                |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Source []byte

// SSRC returns the SSRC of the source.
func (s Source) SSRC() uint32 { return binary.BigEndian.Uint32(s) }

// CNAME returns the canonical name, a view, nil if the chunk has none.
func (s Source) CNAME() []byte {
	for i := ssrcLen; s[i] != itemEnd; i += 2 + int(s[i+1]) {
		if s[i] == itemCNAME {
			return s[i+2 : i+2+int(s[i+1])]
		}
	}
	return nil
}

// chunkLen returns the length of the chunk at the beginning of b with its
// terminating zeros, 0 when it is malformed.
func chunkLen(b []byte) int {
	i := ssrcLen
	for {
		if i >= len(b) {
			return 0
		}
		if b[i] == itemEnd {
			break
		}
		if i+1 >= len(b) {
			return 0
		}
		i += 2 + int(b[i+1])
	}
	if n := (i + 4) &^ 3; n <= len(b) {
		return n
	}
	return 0
}

func (p Packet) validSDES() bool {
	rest := p[headerLen:]
	for range p.Count() {
		n := chunkLen(rest)
		if n == 0 {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// Sources walks the chunks of a TypeSDES packet.
type Sources struct {
	rest []byte
	left uint8
}

// Sources returns the chunks of a TypeSDES packet.
func (p Packet) Sources() Sources {
	if !p.is(TypeSDES) {
		return Sources{}
	}
	return Sources{rest: p[headerLen:], left: p.Count()}
}

// Next returns the next chunk.
func (s *Sources) Next() (Source, bool) {
	if s.left == 0 {
		return nil, false
	}
	n := chunkLen(s.rest)
	if n == 0 {
		s.left = 0
		return nil, false
	}
	c := Source(s.rest[:n])
	s.left--
	s.rest = s.rest[n:]
	return c, true
}

// AppendSDES appends as many TypeSDES packets as the chunks need, 31 to
// each; none for no chunks.
func AppendSDES(dst []byte, chunks []SDESChunk) []byte {
	for len(chunks) > 0 {
		n := min(len(chunks), maxCount)
		start := len(dst)
		dst = append(dst, version|uint8(n), TypeSDES, 0, 0)
		for _, c := range chunks[:n] {
			dst = appendChunk(dst, c.SSRC, c.CNAME)
		}
		dst = finish(dst, start)
		chunks = chunks[n:]
	}
	return dst
}

func appendChunk(dst []byte, ssrc uint32, cname string) []byte {
	cname = cname[:min(len(cname), maxText)]
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = append(dst, itemCNAME, uint8(len(cname)))
	dst = append(dst, cname...)
	// One to four zeros; the chunk began at a multiple of four.
	return appendZeros(dst, 4-(2+len(cname))%4)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, 0)
	}
	return dst
}

func (p Packet) validBye() bool {
	end := headerLen + int(p.Count())*ssrcLen
	return end == len(p) || end < len(p) && end+1+int(p[end]) <= len(p)
}
