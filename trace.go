package mafalda

import (
	"encoding/json"
	"slices"
)

// TraceEventType is the type of a [TraceEvent].
type TraceEventType string

// The types of trace events.
const (
	TraceRTP      TraceEventType = "rtp"      // a packet; its info is an [RTPTraceInfo]
	TraceKeyFrame TraceEventType = "keyframe" // a packet with a key frame; an [RTPTraceInfo]
	TraceNACK     TraceEventType = "nack"     // a NACK; no info
	TracePLI      TraceEventType = "pli"      // a PLI; a [KeyFrameRequestTraceInfo]
	TraceFIR      TraceEventType = "fir"      // a FIR; a [KeyFrameRequestTraceInfo]
	TraceSR       TraceEventType = "sr"       // a sender report; a [SenderReportTraceInfo]

	TraceProbation TraceEventType = "probation" // a packet of padding, to measure the bandwidth; no info
	TraceBWE       TraceEventType = "bwe"       // a new estimate of the bandwidth; a [BWETraceInfo]
)

// What EnableTraceEvent of a Producer, a Consumer and a Transport takes.
var (
	producerTraceEvents = []TraceEventType{TraceRTP, TraceKeyFrame, TraceNACK, TracePLI, TraceFIR, TraceSR}
	consumerTraceEvents = []TraceEventType{TraceRTP, TraceKeyFrame, TraceNACK, TracePLI, TraceFIR}

	transportTraceEvents = []TraceEventType{TraceProbation, TraceBWE}
)

func validateTraceEvents(types, allowed []TraceEventType) error {
	for _, t := range types {
		if !slices.Contains(allowed, t) {
			return invalid("trace event type %q", t)
		}
	}
	return nil
}

// TraceDirection is «in» for what we receive, «out» for what we send.
type TraceDirection string

// The directions of trace events.
const (
	TraceIn  TraceDirection = "in"
	TraceOut TraceDirection = "out"
)

// A TraceEvent is one thing that EnableTraceEvent asked to see.
type TraceEvent struct {
	Type      TraceEventType `json:"type"`
	Timestamp int64          `json:"timestamp"` // ms of the Worker's monotonic clock
	Direction TraceDirection `json:"direction"`
	// Info is of the type that goes with Type, or nil.
	Info TraceInfo `json:"info,omitempty"`
}

// TraceInfo is the detail of a [TraceEvent]: an [RTPTraceInfo], a
// [KeyFrameRequestTraceInfo], a [SenderReportTraceInfo] or a [BWETraceInfo].
type TraceInfo interface{ traceInfo() }

// RTPTraceInfo is the detail of an rtp or keyframe event.
type RTPTraceInfo struct {
	RTPPacket RTPPacketDump `json:"rtpPacket"`
	IsRTX     bool          `json:"isRtx"`
}

// KeyFrameRequestTraceInfo is the detail of a pli or fir event.
type KeyFrameRequestTraceInfo struct {
	SSRC uint32 `json:"ssrc"` // of the stream whose key frame is wanted
}

// SenderReportTraceInfo is the detail of an sr event (RFC 3550 §6.4.1).
type SenderReportTraceInfo struct {
	SSRC         uint32 `json:"ssrc"`
	NTPSeconds   uint32 `json:"ntpSec"`
	NTPFraction  uint32 `json:"ntpFrac"`
	RTPTimestamp uint32 `json:"rtpTs"`
	PacketCount  uint32 `json:"packetCount"`
	OctetCount   uint32 `json:"octetCount"`
}

// BWEType is how the endpoint tells what it receives.
type BWEType string

// The types of bandwidth estimation.
const (
	BWETransportCC BWEType = "transport-cc"
	BWEREMB        BWEType = "remb"
)

// BWETraceInfo is the detail of a bwe event. Bitrates are in bit/s.
type BWETraceInfo struct {
	// DesiredBitrate is what the Consumers would need to send all that they
	// are asked for; EffectiveDesiredBitrate is what is asked of the estimator
	// on their behalf.
	DesiredBitrate          int `json:"desiredBitrate"`
	EffectiveDesiredBitrate int `json:"effectiveDesiredBitrate"`
	// MinBitrate, MaxBitrate and StartBitrate bound the estimator.
	MinBitrate   int `json:"minBitrate"`
	MaxBitrate   int `json:"maxBitrate"`
	StartBitrate int `json:"startBitrate"`
	// MaxPaddingBitrate is how much may be padding.
	MaxPaddingBitrate int `json:"maxPaddingBitrate"`
	// AvailableBitrate is the estimate, which the Consumers share.
	AvailableBitrate int     `json:"availableBitrate"`
	Type             BWEType `json:"bweType"`
}

func (RTPTraceInfo) traceInfo()             {}
func (KeyFrameRequestTraceInfo) traceInfo() {}
func (SenderReportTraceInfo) traceInfo()    {}
func (BWETraceInfo) traceInfo()             {}

// RTPPacketDump describes one RTP packet.
type RTPPacketDump struct {
	PayloadType    uint8  `json:"payloadType"`
	SequenceNumber uint16 `json:"sequenceNumber"`
	Timestamp      uint32 `json:"timestamp"`
	Marker         bool   `json:"marker"`
	SSRC           uint32 `json:"ssrc"`
	IsKeyFrame     bool   `json:"isKeyFrame"`
	Size           int    `json:"size"`        // bytes of the whole packet
	PayloadSize    int    `json:"payloadSize"` // bytes
	SpatialLayer   uint8  `json:"spatialLayer"`
	TemporalLayer  uint8  `json:"temporalLayer"`
	MID            string `json:"mid,omitempty"`
	RID            string `json:"rid,omitempty"`
	RRID           string `json:"rrid,omitempty"`
	// WideSequenceNumber is that of transport-cc, nil if the packet has none.
	WideSequenceNumber *uint16 `json:"wideSequenceNumber,omitempty"`
}

// UnmarshalJSON decodes Info as the type that goes with Type.
func (e *TraceEvent) UnmarshalJSON(b []byte) error {
	type plain TraceEvent // without methods
	v := struct {
		*plain
		Info json.RawMessage `json:"info"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	e.Info = nil
	if len(v.Info) == 0 || string(v.Info) == "null" {
		return nil
	}
	switch e.Type {
	case TraceRTP, TraceKeyFrame:
		return decodeTraceInfo[RTPTraceInfo](e, v.Info)
	case TracePLI, TraceFIR:
		return decodeTraceInfo[KeyFrameRequestTraceInfo](e, v.Info)
	case TraceSR:
		return decodeTraceInfo[SenderReportTraceInfo](e, v.Info)
	case TraceBWE:
		return decodeTraceInfo[BWETraceInfo](e, v.Info)
	}
	return nil
}

func decodeTraceInfo[I TraceInfo](e *TraceEvent, b []byte) error {
	var info I
	if err := json.Unmarshal(b, &info); err != nil {
		return err
	}
	e.Info = info
	return nil
}
