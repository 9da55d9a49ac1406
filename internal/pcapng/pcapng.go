// Package pcapng writes files that Wireshark opens: packets of UDP and SCTP, in
// the format of draft-ietf-opsawg-pcapng. The IP and UDP headers are made up
// around payloads that may have come another way.
package pcapng

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	sectionBlock   = 0x0a0d0d0a
	interfaceBlock = 1
	packetBlock    = 6
	countsBlock    = 5

	byteOrder = 0x1a2b3c4d
	linkRaw   = 101 // the packet begins with an IP header

	optionEnd       = 0
	optionFlags     = 2 // of a packet
	optionUnit      = 9 // of time stamps, of an interface
	optionReceived  = 4 // of counts
	optionDropped   = 5
	flagIn, flagOut = 1, 2

	protocolUDP  = 17
	protocolSCTP = 132

	ip4Header = 20
	ip6Header = 40
	udpHeader = 8
	// MaxOverhead is more than a block has beside the payload.
	MaxOverhead = 28 + ip6Header + udpHeader + 12 + 4 + 4
)

// AppendHeader appends what a file begins with. Packets may be of up to snap
// bytes of payload; time stamps are in nanoseconds.
func AppendHeader(b []byte, snap int) []byte {
	b, at := open(b, sectionBlock)
	b = binary.LittleEndian.AppendUint32(b, byteOrder)
	b = append(b, 1, 0, 0, 0)                                   // version 1.0
	b = binary.LittleEndian.AppendUint64(b, 0xffffffffffffffff) // of unknown length
	b = shut(b, at)
	b, at = open(b, interfaceBlock)
	b = append(b, linkRaw, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(snap+ip6Header+udpHeader))
	b = append(b, optionUnit, 0, 1, 0, 9, 0, 0, 0)
	return shut(append(b, optionEnd, 0, 0, 0), at)
}

// A Packet is one datagram.
type Packet struct {
	Time     time.Time
	From, To netip.AddrPort // both of one family
	Out      bool           // it was sent, not received
	SCTP     bool           // Payload is SCTP, right behind the IP header
	Payload  []byte         // its beginning
	Length   int            // of all of it
}

// AppendPacket appends one packet.
func AppendPacket(b []byte, p *Packet) []byte {
	b, at := open(b, packetBlock)
	b = binary.LittleEndian.AppendUint32(b, 0) // the first interface
	ns := uint64(p.Time.UnixNano())
	b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(ns))
	lengths := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	start := len(b)
	b = appendIP(b, p)
	header := len(b) - start
	b = append(b, p.Payload...)
	binary.LittleEndian.PutUint32(b[lengths:], uint32(len(b)-start))
	binary.LittleEndian.PutUint32(b[lengths+4:], uint32(header+p.Length))
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	flags := byte(flagIn)
	if p.Out {
		flags = flagOut
	}
	b = append(b, optionFlags, 0, 4, 0, flags, 0, 0, 0)
	return shut(append(b, optionEnd, 0, 0, 0), at)
}

// AppendCounts appends how many packets there were and how many of them are
// missing.
func AppendCounts(b []byte, now time.Time, seen, dropped uint64) []byte {
	b, at := open(b, countsBlock)
	b = binary.LittleEndian.AppendUint32(b, 0)
	ns := uint64(now.UnixNano())
	b = binary.LittleEndian.AppendUint32(b, uint32(ns>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(ns))
	b = binary.LittleEndian.AppendUint64(append(b, optionReceived, 0, 8, 0), seen)
	b = binary.LittleEndian.AppendUint64(append(b, optionDropped, 0, 8, 0), dropped)
	return shut(append(b, optionEnd, 0, 0, 0), at)
}

// open begins a block, whose length shut fills in.
func open(b []byte, kind uint32) (_ []byte, at int) {
	at = len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(b, 0, 0, 0, 0), at
}

func shut(b []byte, at int) []byte {
	n := uint32(len(b) - at + 4)
	binary.LittleEndian.PutUint32(b[at+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

// appendIP appends the headers of the whole packet. A UDP checksum of 0 says
// that there is none: the payload on the wire was another one.
func appendIP(b []byte, p *Packet) []byte {
	from, to := p.From.Addr().Unmap(), p.To.Addr().Unmap()
	protocol, n := byte(protocolUDP), udpHeader+p.Length
	if p.SCTP {
		protocol, n = protocolSCTP, p.Length
	}
	if from.Is4() && to.Is4() {
		start, total := len(b), ip4Header+n
		src, dst := from.As4(), to.As4()
		b = append(b, 0x45, 0, byte(total>>8), byte(total), 0, 0, 0x40, 0, 64, protocol, 0, 0)
		b = append(append(b, src[:]...), dst[:]...)
		sum := uint32(0)
		for i := start; i < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
		for sum>>16 != 0 {
			sum = sum&0xffff + sum>>16
		}
		binary.BigEndian.PutUint16(b[start+10:], ^uint16(sum))
	} else {
		src, dst := from.As16(), to.As16()
		b = append(b, 0x60, 0, 0, 0, byte(n>>8), byte(n), protocol, 64)
		b = append(append(b, src[:]...), dst[:]...)
	}
	if p.SCTP {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, p.From.Port())
	b = binary.BigEndian.AppendUint16(b, p.To.Port())
	return append(b, byte(n>>8), byte(n), 0, 0)
}
