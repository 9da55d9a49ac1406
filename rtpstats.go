package mafalda

// RTPStreamStatsType is the type of an [RTPStreamStats] record.
type RTPStreamStatsType string

// The types of [RTPStreamStats].
const (
	InboundRTP  RTPStreamStatsType = "inbound-rtp"  // received by us
	OutboundRTP RTPStreamStatsType = "outbound-rtp" // sent by us
)

// RTPStreamStats are the statistics of one RTP stream, in a record of
// [Producer.Stats] or [Consumer.Stats].
type RTPStreamStats struct {
	Type      RTPStreamStatsType `json:"type"`
	Timestamp int64              `json:"timestamp"` // ms of the Worker's monotonic clock
	SSRC      uint32             `json:"ssrc"`
	RTXSSRC   uint32             `json:"rtxSsrc,omitempty"`
	RID       string             `json:"rid,omitempty"`
	Kind      MediaKind          `json:"kind"`
	MIMEType  string             `json:"mimeType"`

	PacketCount uint64 `json:"packetCount"`
	ByteCount   uint64 `json:"byteCount"` // whole RTP packets
	Bitrate     int    `json:"bitrate"`   // bit/s
	// BitrateByLayer has a bitrate for each "spatial.temporal" layer, of
	// inbound streams with more than one.
	BitrateByLayer map[string]int `json:"bitrateByLayer,omitzero"`

	PacketsLost          int64  `json:"packetsLost"`  // may be negative: duplicates count
	FractionLost         uint8  `json:"fractionLost"` // of 256, in the last report
	Jitter               uint32 `json:"jitter"`       // units of the RTP clock
	PacketsDiscarded     uint64 `json:"packetsDiscarded"`
	PacketsRetransmitted uint64 `json:"packetsRetransmitted"`
	PacketsRepaired      uint64 `json:"packetsRepaired"`
	NACKCount            uint64 `json:"nackCount"`
	NACKPacketCount      uint64 `json:"nackPacketCount"`
	PLICount             uint64 `json:"pliCount"`
	FIRCount             uint64 `json:"firCount"`
	// RoundTripTime is in milliseconds, 0 while unknown.
	RoundTripTime       float64 `json:"roundTripTime"`
	RTXPacketsDiscarded uint64  `json:"rtxPacketsDiscarded,omitempty"`
	Score               int     `json:"score"` // 0 to 10
}

// RTPStreamDump is the state of one RTP stream.
type RTPStreamDump struct {
	Params    RTPStreamParams `json:"params"`
	Score     int             `json:"score"`
	RTXStream *RTXStreamDump  `json:"rtxStream,omitempty"`
}

// RTPStreamParams are what was negotiated for one RTP stream.
type RTPStreamParams struct {
	EncodingIdx    int    `json:"encodingIdx"`
	SSRC           uint32 `json:"ssrc"`
	PayloadType    uint8  `json:"payloadType"`
	MIMEType       string `json:"mimeType"`
	ClockRate      uint32 `json:"clockRate"` // Hz
	RID            string `json:"rid,omitempty"`
	CNAME          string `json:"cname"`
	RTXSSRC        uint32 `json:"rtxSsrc,omitempty"`
	RTXPayloadType *uint8 `json:"rtxPayloadType,omitempty"`
	UseNACK        bool   `json:"useNack"`
	UsePLI         bool   `json:"usePli"`
	UseFIR         bool   `json:"useFir"`
	UseInBandFEC   bool   `json:"useInBandFec"`
	UseDTX         bool   `json:"useDtx"`
	SpatialLayers  int    `json:"spatialLayers"`
	TemporalLayers int    `json:"temporalLayers"`
}

// RTXStreamDump is the state of the retransmissions of an RTP stream.
type RTXStreamDump struct {
	Params RTXStreamParams `json:"params"`
}

// RTXStreamParams are what was negotiated for retransmissions.
type RTXStreamParams struct {
	SSRC        uint32 `json:"ssrc"`
	PayloadType uint8  `json:"payloadType"`
	MIMEType    string `json:"mimeType"`
	ClockRate   uint32 `json:"clockRate"` // Hz
	RRID        string `json:"rrid,omitempty"`
	CNAME       string `json:"cname"`
}
