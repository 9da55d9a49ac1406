package stream

import "time"

// Stats is what the statistics of both directions have in common.
type Stats struct {
	SSRC      uint32
	RTXSSRC   uint32 // 0 without RTX
	RID       string
	Video     bool
	MimeType  string
	ClockRate uint32

	PacketsLost          int32
	FractionLost         uint8  // of 256
	Jitter               uint32 // units of the RTP clock
	PacketsDiscarded     uint32
	PacketsRetransmitted uint32
	PacketsRepaired      uint32
	NACKCount            uint32 // NACK packets
	NACKPacketCount      uint32 // packets that they asked for
	PLICount, FIRCount   uint32
	RoundTripTime        float64 // ms, 0 while unknown
	RTXPacketsDiscarded  uint32
	Score                uint8

	PacketCount uint64
	ByteCount   uint64 // whole RTP packets, those without payload excepted
	Bitrate     uint32 // bit/s
}

// RecvStats are the statistics of a received stream.
type RecvStats struct {
	Stats
	// Layers has an element for each declared layer of a stream with more than
	// one, else none.
	Layers []LayerBitrate
}

// A LayerBitrate is what a layer takes, those below included; 0 while it is
// silent.
type LayerBitrate struct {
	Spatial, Temporal uint8
	Bitrate           uint32 // bit/s
}

// SendStats are the statistics of a sent stream.
type SendStats struct {
	Stats
}

// traffic counts what passes in a stream.
type traffic struct {
	nackCount, nackPacketCount uint32
	pliCount, firCount         uint32
	retransmitted, repaired    uint32
	packets, bytes             uint64
	rtt                        uint32 // compact NTP units, 0: unknown
	activeSince                time.Duration
}

func (t *traffic) stats(p *Params) Stats {
	return Stats{
		SSRC:                 p.SSRC,
		RTXSSRC:              p.RTXSSRC,
		RID:                  p.RID,
		Video:                p.Video,
		MimeType:             p.MimeType,
		ClockRate:            p.ClockRate,
		PacketsRetransmitted: t.retransmitted,
		PacketsRepaired:      t.repaired,
		NACKCount:            t.nackCount,
		NACKPacketCount:      t.nackPacketCount,
		PLICount:             t.pliCount,
		FIRCount:             t.firCount,
		RoundTripTime:        compactToMillis(t.rtt),
		PacketCount:          t.packets,
		ByteCount:            t.bytes,
	}
}
