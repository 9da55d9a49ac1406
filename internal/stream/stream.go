// Package stream follows one RTP stream: its sequence numbers, loss, jitter,
// round trip time, bitrates and score.
//
// A [Recv] is a stream that a Producer receives, a [Send] one that a Consumer
// sends. Both are machines: they take what packets and reports say, and the
// time, and have what is to be sent and notified asked from them. They neither
// read nor write packets.
//
// The behaviour is that of mediasoup's RtpStreamRecv and RtpStreamSend.
package stream

import "time"

// Params describes a stream. It does not change, but for the RTX part of a
// received stream, see [Recv.SetRTX].
type Params struct {
	EncodingIndex int // position in the encodings of the RTP parameters
	SSRC          uint32
	PayloadType   uint8
	MimeType      string
	ClockRate     uint32 // Hz
	RID, CNAME    string
	// RTXSSRC is the stream of retransmissions, 0 when there is none.
	RTXSSRC        uint32
	RTXPayloadType uint8

	UseNACK, UsePLI, UseFIR, UseInBandFEC, UseDTX bool

	SpatialLayers, TemporalLayers uint8 // 0 counts as 1
	Video                         bool
}

const (
	// mediaWindow is the window of bitrates. With discontinuous transmission
	// packets are too rare for it, where they are received; what is sent keeps it,
	// as in mediasoup.
	mediaWindow = 2500 * time.Millisecond
	dtxWindow   = 6000 * time.Millisecond
)

func (p *Params) window() time.Duration {
	if p.UseDTX {
		return dtxWindow
	}
	return mediaWindow
}

// A ReportBlock is the part of an RTCP report about one stream (RFC 3550
// §6.4.1).
type ReportBlock struct {
	SSRC           uint32
	FractionLost   uint8
	CumulativeLost int32  // 24 bits
	HighestSeq     uint32 // extended
	Jitter         uint32 // units of the RTP clock
	LSR, DLSR      uint32 // compact NTP, 1/65,536 s
}

// Compact NTP times count 1/65,536 s.
const compactSecond = 1 << 16

// compactDuration converts a time to compact NTP units.
func compactDuration(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(int64(d) / 1000 * compactSecond / 1_000_000)
}

// roundTrip returns, in compact NTP units, what passed since the remote's last
// report, the time that it was held excepted; 0 when clocks disagree.
func roundTrip(ntpNow, last, held uint32) uint32 {
	return uint32(max(0, int32(ntpNow-last-held)))
}

func compactToDuration(v uint32) time.Duration {
	return time.Duration(int64(v) * 1_000_000 / compactSecond * 1000)
}

// compactToMillis gives the value of the statistics.
func compactToMillis(v uint32) float64 { return float64(v) * 1000 / compactSecond }
