package engine

import (
	"encoding/binary"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/packetbuf"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// What became of a received packet.
type packetFate uint8

const (
	packetDiscarded packetFate = iota // of no stream of its Producer
	packetUnmapped                    // of a stream, but nobody is told of its payload type
	packetMedia
	packetRTX
)

// A packet is one RTP packet on its way from a Producer to its Consumers. They
// share it; what differs for each is written on the way out.
type packet struct {
	holders int           // who still needs it; see Machine.releasePacket
	ref     packetbuf.Ref // holds pkt
	pkt     rtp.Packet    // as received, decrypted; media, never RTX
	stream  *producerStream
	info    codec.Info
	out     outgoing
	// captured is when, on the Worker's clock, it was captured, if hasCaptured.
	captured    time.Duration
	hasCaptured bool
}

// newPacket takes a packet object from the free list, with one holder.
func (m *Machine) newPacket() *packet {
	if n := len(m.freePackets); n > 0 {
		pk := m.freePackets[n-1]
		m.freePackets = m.freePackets[:n-1]
		pk.holders = 1
		return pk
	}
	return &packet{holders: 1}
}

// releasePacket gives up one hold.
func (m *Machine) releasePacket(pk *packet) {
	if pk.holders--; pk.holders > 0 {
		return
	}
	m.pool.Release(pk.ref)
	pk.ref, pk.pkt, pk.stream = 0, nil, nil
	m.freePackets = append(m.freePackets, pk)
}

// An outgoing is what all Consumers send of a packet: payload type, header
// extensions with our ids, payload. Each Consumer adds sequence number,
// timestamp, SSRC and MID.
//
//	fixed header │ CSRCs │ BE DE len │ MID (8 bytes) … others … │ payload, padding
//	             └────────────────── head ──────────────────────┘└─ body ────────┘
type outgoing struct {
	first   byte   // version, padding, extension, CSRC count
	pt      uint8  // of the Router
	head    []byte // view of headBuf
	body    []byte // view of the packet: payload and padding
	padding int    // bytes at the end of body
	mid     int    // offset of the MID's element in head
	wide    int    // offset of the transport-wide number in head; 0: none
	two     bool   // two-byte form

	headBuf [4*15 + maxExtensions]byte
}

const (
	maxExtensions = 4 + 10 + 18 + 5 + 3 + 5 + 4 + 257 + 3 + 5 + 6 + 3
	midRoom       = 8 // bytes for a MID
)

// mangle prepares what Consumers send of pkt (media-plane §6.6): payload type
// pt, and the header extensions of the Producer, ids, under our own ids.
func (o *outgoing) mangle(pkt rtp.Packet, kind Kind, ids *extensionIDs, pt uint8, a added) {
	o.pt = pt
	csrcs := int(pkt[0] & 0x0f)
	o.first = pkt[0] | 0x10
	o.body = pkt[pkt.HeaderLen():]
	o.padding = pkt.PaddingLen()
	o.wide = 0
	b := append(o.headBuf[:0], pkt[12:12+4*csrcs]...)

	var values extensionValues
	values.read(pkt, kind, ids)
	o.two = len(values.dependency) > 16
	b = append(b, 0xbe, 0xde, 0, 0)
	start := len(b)
	if o.two {
		b[start-4], b[start-3] = 0x10, 0x00
	}
	o.mid = len(b)
	b = o.element(b, rtp.IDMID, midRoom)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	if v := values.captureTime; v != nil {
		b = o.appendCaptureTime(b, v, a.ahead)
	}
	b = o.copyElement(b, rtp.IDPlayoutDelay, values.playout)
	if kind == Audio {
		b = o.copyElement(b, rtp.IDAudioLevel, values.audioLevel)
	} else {
		b = o.element(b, rtp.IDAbsSendTime, 3)
		b = append(b, byte(a.sendTime>>16), byte(a.sendTime>>8), byte(a.sendTime))
		b = o.element(b, rtp.IDTransportWideCC, 2)
		o.wide = len(b)
		b = append(b, 0, 0)
		b = o.copyElement(b, rtp.IDDependencyDescriptor, values.dependency)
		b = o.copyElement(b, rtp.IDVideoOrientation, values.orientation)
		b = o.copyElement(b, rtp.IDTimeOffset, values.timeOffset)
	}
	switch {
	case values.packetID != nil:
		b = o.copyElement(b, rtp.IDPacketID, values.packetID)
	case a.packetID != 0:
		b = o.element(b, rtp.IDPacketID, 4)
		b = binary.BigEndian.AppendUint32(b, a.packetID)
	}
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start-2:], uint16((len(b)-start)/4))
	o.head = b
}

// element appends the head of an extension element.
func (o *outgoing) element(b []byte, id uint8, n int) []byte {
	if o.two {
		return append(b, id, byte(n))
	}
	return append(b, id<<4|byte(n-1))
}

func (o *outgoing) copyElement(b []byte, id uint8, value []byte) []byte {
	if value == nil {
		return b
	}
	return append(o.element(b, id, len(value)), value...)
}

// extensionValues are views of the header extensions that are passed on.
type extensionValues struct {
	captureTime, playout, audioLevel, dependency, orientation, timeOffset, packetID []byte
}

func (v *extensionValues) read(pkt rtp.Packet, kind Kind, ids *extensionIDs) {
	if pkt[0]&0x10 == 0 {
		return
	}
	get := func(id uint8, low, high int) []byte {
		if id == 0 {
			return nil
		}
		if b := pkt.Extension(id); len(b) >= low && len(b) <= high {
			return b
		}
		return nil
	}
	if v.captureTime = get(ids.captureTime, 8, 16); len(v.captureTime) != 8 && len(v.captureTime) != 16 {
		v.captureTime = nil
	}
	v.playout = get(ids.playout, 3, 3)
	if kind == Audio {
		v.audioLevel = get(ids.audioLevel, 1, 1)
	} else {
		v.dependency = get(ids.dependency, 1, 255)
		v.orientation = get(ids.orientation, 1, 1)
		v.timeOffset = get(ids.timeOffset, 3, 3)
	}
	v.packetID = get(ids.packetID, 4, 4)
}

// header writes a Consumer's header of o into b and returns its length.
func (o *outgoing) header(b []byte, h rtp.Header, mid string) int {
	b[0] = o.first
	b[1] = h.PayloadType
	if h.Marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.SequenceNumber)
	binary.BigEndian.PutUint32(b[4:], h.Timestamp)
	binary.BigEndian.PutUint32(b[8:], h.SSRC)
	n := 12 + copy(b[12:], o.head)
	switch at := 12 + o.mid; {
	case mid == "": // the room for it is padding then
		b[at] = 0
		if o.two {
			b[at+1] = 0
		}
	case o.two:
		b[at+1] = byte(len(mid))
		copy(b[at+2:], mid)
	default:
		b[at] = rtp.IDMID<<4 | byte(len(mid)-1)
		copy(b[at+1:], mid)
	}
	return n
}

// payload is the length of the payload without padding.
func (o *outgoing) payload() int { return len(o.body) - o.padding }

// size is the length of a packet made from o, without SRTP.
func (o *outgoing) size() int { return 12 + len(o.head) + len(o.body) }
