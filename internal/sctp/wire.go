package sctp

import (
	"encoding/binary"
	"hash/crc32"
)

// An SCTP packet (RFC 9260 §3):
//
//	source port | destination port | verification tag | CRC32c | chunks …
//	     2               2                  4             4
//
// and a chunk, padded to four bytes, which its length does not count:
//
//	type | flags | length | value …
//	  1      1       2
const (
	offTag    = 4
	offCRC    = 8
	headerLen = 12

	chunkHeaderLen = 4

	flagT         = 0x01 // of ABORT, SHUTDOWN COMPLETE: the tag is the receiver's peer's
	flagUnordered = 0x04 // of DATA, I-DATA
	flagBegin     = 0x02 // of DATA, I-DATA: the first of a message
	flagEnd       = 0x01 // the last of a message

	dataHeaderLen  = 16 // with the chunk header; RFC 9260 §3.3.1
	idataHeaderLen = 20 // RFC 8260 §2.1
	initLen        = 20
	sackLen        = 16

	paramReset         = 13 // Outgoing SSN Reset Request, RFC 6525 §4.1
	paramResetResponse = 16 // §4.4
	resetInProgress    = 6

	maxPacket = 8192 // pion reads no more
)

// Chunk types that pion knows.
const (
	typeData             = 0
	typeInit             = 1
	typeInitAck          = 2
	typeSack             = 3
	typeHeartbeat        = 4
	typeHeartbeatAck     = 5
	typeAbort            = 6
	typeShutdown         = 7
	typeShutdownAck      = 8
	typeError            = 9
	typeCookieEcho       = 10
	typeCookieAck        = 11
	typeShutdownComplete = 14
	typeIData            = 64
	typeReconfig         = 130
	typeForwardTSN       = 192
	typeIForwardTSN      = 194
)

// known is the set of chunk types that pion knows.
var known = func() (k [256]bool) {
	for _, t := range []byte{
		typeData, typeInit, typeInitAck, typeSack, typeHeartbeat, typeHeartbeatAck, typeAbort, typeShutdown,
		typeShutdownAck, typeError, typeCookieEcho, typeCookieAck, typeShutdownComplete, typeIData, typeReconfig,
		typeForwardTSN, typeIForwardTSN,
	} {
		k[t] = true
	}
	return k
}()

// maxResets is how many reset requests of the peer may wait for their data.
// RFC 6525 §5.1.1 allows one.
const maxResets = 128

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of RFC 9260 §6.8 with the field itself as zero.
func checksum(p []byte) uint32 {
	var zero [4]byte
	c := crc32.Update(0, castagnoli, p[:offCRC])
	c = crc32.Update(c, castagnoli, zero[:])
	return crc32.Update(c, castagnoli, p[headerLen:])
}

// looksValid reports whether p has the shape of a packet: what tells SCTP from
// other things on a plain transport, too.
func looksValid(p []byte) bool {
	return len(p) >= headerLen+chunkHeaderLen && len(p) <= maxPacket && len(p)%4 == 0
}

// isInit reports whether p begins an association.
func isInit(p []byte) bool {
	return len(p) >= headerLen+initLen && p[headerLen] == typeInit && binary.BigEndian.Uint32(p[offTag:]) == 0
}

// A chunk is a view of one chunk without its padding.
type chunk []byte

func (c chunk) kind() byte   { return c[0] }
func (c chunk) flags() byte  { return c[1] }
func (c chunk) isData() bool { return c[0] == typeData || c[0] == typeIData }

// nextChunk returns the first chunk of b and its length with padding; false if
// there is no whole one.
func nextChunk(b []byte) (chunk, int, bool) {
	if len(b) < chunkHeaderLen {
		return nil, 0, false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	padded := (n + 3) &^ 3
	if n < chunkHeaderLen || padded > len(b) {
		return nil, 0, false
	}
	return chunk(b[:n]), padded, true
}

// payload returns the length of the data in a DATA or I-DATA chunk; false if
// there is none.
func (c chunk) payload() (int, bool) {
	n := len(c) - dataHeaderLen
	if c.kind() == typeIData {
		n = len(c) - idataHeaderLen
	}
	return n, n > 0
}

// single reports whether a DATA or I-DATA chunk is a whole message.
func (c chunk) single() bool { return c.flags()&(flagBegin|flagEnd) == flagBegin|flagEnd }

// tsn is that of a DATA or I-DATA chunk.
func (c chunk) tsn() uint32 { return binary.BigEndian.Uint32(c[4:]) }

// wire is what the packets in both directions tell. It belongs to the lock of
// its Association.
type wire struct {
	haveLocal, havePeer bool
	localTag, peerTag   uint32
	ports               [4]byte // of packets that we send

	negotiated  bool // the peer's INIT or INIT ACK was seen
	connected   bool // and the handshake is over
	peerStreams struct{ out, in uint16 }

	seen        tsns            // of the peer
	sent, acked uint32          // last TSN that we sent and the peer acknowledged
	flight      fifo            // payload lengths of the TSNs between
	flightBytes int             // their sum
	resets      map[uint32]bool // the peer's reset requests that are in progress
	closed      bool            // the peer told that it has no room
	reopened    bool            // and then that it has
	reply       []byte          // to what was received last, in place of pion's
	lastSack    []byte          // value of the last SACK that we sent
}

// allowed applies the rules of RFC 9260 §8.5 to the tag of a whole packet.
// pion looks at no tag.
func (w *wire) allowed(p []byte) bool {
	tag := binary.BigEndian.Uint32(p[offTag:])
	chunks, reflected, inits := 0, 0, 0
	for b := p[headerLen:]; len(b) > 0; {
		c, n, ok := nextChunk(b)
		if !ok {
			return false
		}
		b = b[n:]
		chunks++
		switch c.kind() {
		case typeInit:
			inits++
		case typeAbort, typeShutdownComplete:
			if c.flags()&flagT != 0 {
				reflected++
			}
		}
	}
	switch {
	case chunks == 0:
		return false
	case inits > 0: // alone, and of nobody yet
		return chunks == 1 && tag == 0
	case reflected > 0: // of a peer that does not know us
		return chunks == 1 && w.havePeer && tag == w.peerTag
	}
	return w.haveLocal && tag == w.localTag
}

// outgoing learns from a packet of ours. sent is called for each message
// fragment that is sent for the first time; credit for what a SACK advertises,
// which becomes what it returns.
func (w *wire) outgoing(p []byte, sent func(stream uint16, n int, end bool), credit func(uint32) uint32) {
	if len(p) < headerLen+chunkHeaderLen {
		return
	}
	copy(w.ports[:], p)
	if p[headerLen] != typeInit {
		w.havePeer = true
		w.peerTag = binary.BigEndian.Uint32(p[offTag:])
	}
	for b := p[headerLen:]; len(b) > 0; {
		c, n, ok := nextChunk(b)
		if !ok {
			return
		}
		b = b[n:]
		switch c.kind() {
		case typeInit, typeInitAck:
			if len(c) >= initLen {
				w.haveLocal = true
				w.localTag = binary.BigEndian.Uint32(c[4:])
				w.sent = binary.BigEndian.Uint32(c[16:]) - 1
				w.acked = w.sent
			}
		case typeData, typeIData:
			size, ok := c.payload()
			tsn := binary.BigEndian.Uint32(c[4:])
			if !ok || int32(tsn-w.sent) <= 0 {
				continue
			}
			w.sent = tsn
			w.flight.push(size)
			w.flightBytes += size
			sent(binary.BigEndian.Uint16(c[8:]), size, c.flags()&flagEnd != 0)
		case typeSack:
			if len(c) >= sackLen {
				was := binary.BigEndian.Uint32(c[8:])
				if is := credit(was); is != was {
					binary.BigEndian.PutUint32(c[8:], is)
					binary.LittleEndian.PutUint32(p[offCRC:], checksum(p))
				}
				w.lastSack = append(w.lastSack[:0], c[chunkHeaderLen:]...)
			}
		case typeReconfig:
			w.answered(c)
		}
	}
}

// answered forgets the reset requests of the peer that c answers for good.
func (w *wire) answered(c chunk) {
	eachParam(c, func(kind uint16, v []byte) {
		if kind == paramResetResponse && len(v) >= 8 && binary.BigEndian.Uint32(v[4:]) != resetInProgress {
			delete(w.resets, binary.BigEndian.Uint32(v))
		}
	})
}

// eachParam walks the parameters of a RE-CONFIG chunk. v is without the header
// of four bytes.
func eachParam(c chunk, f func(kind uint16, v []byte)) {
	for b := c[chunkHeaderLen:]; len(b) >= 4; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.BigEndian.Uint16(b), b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// admitReset reports whether pion may see a RE-CONFIG chunk. It keeps requests
// that must wait, and its own bound can be evaded.
func (w *wire) admitReset(c chunk) bool {
	ok := true
	eachParam(c, func(kind uint16, v []byte) {
		if kind != paramReset || len(v) < 4 {
			return
		}
		n := binary.BigEndian.Uint32(v)
		if w.resets[n] {
			return
		}
		if len(w.resets) >= maxResets {
			ok = false
			return
		}
		if w.resets == nil {
			w.resets = map[uint32]bool{}
		}
		w.resets[n] = true
	})
	return ok
}

// filter keeps the chunks of a packet that pion may see, in place, and returns
// it; nil drops it all. What it knows nothing of it treats as RFC 9260 §3.2
// says, where pion drops whole packets: by the upper bits of the type, go on or
// stop. Of each kind but data one chunk in a packet is enough: each of them may
// make pion answer. holding says that readers wait.
func (w *wire) filter(p []byte, holding bool, data func(chunk) bool) []byte {
	if !looksValid(p) || binary.LittleEndian.Uint32(p[offCRC:]) != checksum(p) || !w.allowed(p) {
		return nil
	}
	var seen [256]bool
	kept := headerLen
	for b := p[headerLen:]; len(b) > 0; {
		c, n, _ := nextChunk(b) // allowed has walked them
		whole := b[:n]
		b = b[n:]
		kind := c.kind()
		if !known[kind] {
			if kind&0x80 == 0 {
				break
			}
			continue
		}
		if c.isData() {
			if !data(c) {
				continue
			}
		} else {
			if seen[kind] {
				continue
			}
			seen[kind] = true
			if kind == typeReconfig && holding { // what a reset stream holds counts for no window
				w.postpone(c)
				continue
			}
			if !w.inspect(c) {
				continue
			}
		}
		kept += copy(p[kept:], whole)
	}
	if kept == headerLen {
		return nil
	}
	if kept < len(p) {
		p = p[:kept]
		binary.LittleEndian.PutUint32(p[offCRC:], checksum(p))
	}
	return p
}

// inspect learns from a control chunk of the peer, and reports whether pion may
// see it.
func (w *wire) inspect(c chunk) bool {
	switch c.kind() {
	case typeInit, typeInitAck:
		// One that comes later may be of anybody: it has no tag.
		if len(c) < initLen || w.connected {
			return false
		}
		w.negotiated = true
		w.peerStreams.out = binary.BigEndian.Uint16(c[12:])
		w.peerStreams.in = binary.BigEndian.Uint16(c[14:])
		w.seen.init(binary.BigEndian.Uint32(c[16:]))
	case typeSack:
		if len(c) < sackLen {
			return false
		}
		tsn := binary.BigEndian.Uint32(c[4:])
		if int32(tsn-w.sent) > 0 {
			return false
		}
		room := binary.BigEndian.Uint32(c[8:]) >= mtu
		w.reopened = w.reopened || w.closed && room
		w.closed = !room
		for int32(tsn-w.acked) > 0 {
			w.acked++
			w.flightBytes -= w.flight.pop()
		}
	case typeReconfig:
		return w.admitReset(c)
	}
	return true
}

// postpone lets the peer ask again for a reset: readers come first.
func (w *wire) postpone(c chunk) {
	eachParam(c, func(kind uint16, v []byte) {
		if kind == paramReset && len(v) >= 4 && w.reply == nil {
			answer := append([]byte{0, paramResetResponse, 0, 12}, v[:4]...)
			w.reply = w.control(typeReconfig, append(answer, 0, 0, 0, resetInProgress))
		}
	})
}

// outstanding is how many TSNs the peer has not acknowledged.
func (w *wire) outstanding() int { return int(w.sent - w.acked) }

// abort returns an ABORT for the peer; nil while its tag is unknown.
func (w *wire) abort() []byte { return w.control(typeAbort, nil) }

// heartbeat returns a HEARTBEAT for the peer; nil while its tag is unknown.
func (w *wire) heartbeat() []byte {
	return w.control(typeHeartbeat, []byte{0, 1, 0, 8, 0, 0, 0, 0}) // RFC 9260 §3.3.5: info, 8 bytes with this head
}

// update returns the last SACK again with another window.
func (w *wire) update(credit uint32) []byte {
	if len(w.lastSack) < sackLen-chunkHeaderLen {
		return nil
	}
	binary.BigEndian.PutUint32(w.lastSack[4:], credit)
	return w.control(typeSack, w.lastSack)
}

// isNudge reports whether p is the empty HEARTBEAT with which we make pion send.
func isNudge(p []byte) bool {
	return len(p) == headerLen+chunkHeaderLen && p[headerLen] == typeHeartbeat
}

// control returns a packet with one chunk; value is padded.
func (w *wire) control(kind byte, value []byte) []byte {
	if !w.havePeer {
		return nil
	}
	p := make([]byte, headerLen+chunkHeaderLen, headerLen+chunkHeaderLen+len(value))
	copy(p, w.ports[:])
	binary.BigEndian.PutUint32(p[offTag:], w.peerTag)
	p[headerLen] = kind
	binary.BigEndian.PutUint16(p[headerLen+2:], uint16(chunkHeaderLen+len(value)))
	p = append(p, value...)
	binary.LittleEndian.PutUint32(p[offCRC:], checksum(p))
	return p
}

// A fifo is a queue of lengths.
type fifo struct {
	items []uint16
	head  int
}

func (f *fifo) push(n int) {
	if f.head > 64 && f.head > len(f.items)/2 {
		f.items = f.items[:copy(f.items, f.items[f.head:])]
		f.head = 0
	}
	f.items = append(f.items, uint16(n))
}

func (f *fifo) pop() int {
	if f.head == len(f.items) {
		return 0
	}
	n := f.items[f.head]
	f.head++
	return int(n)
}
