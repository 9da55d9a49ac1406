package engine

import "time"

// A Notification is something that happened to the object with id Target.
// An operation returns those that it caused; those of the network are handed,
// in order, to [Config.Notify]. Seq grows over both.
type Notification struct {
	Seq    uint64
	Target string
	// Body is one of the types below; the reader owns what it refers to.
	Body any
}

type (
	// ICEStateChange: the ICE state of a WebRTC transport changed.
	ICEStateChange struct{ State string }
	// ICESelectedTupleChange: media of a WebRTC transport takes another path.
	ICESelectedTupleChange struct{ Tuple Tuple }
	// DTLSStateChange: the DTLS state changed. RemoteCertificate is PEM and
	// there only when State is "connected".
	DTLSStateChange struct{ State, RemoteCertificate string }
	// PlainTuple: a comedia transport learned its peer.
	PlainTuple struct{ Tuple Tuple }
	// PlainRTCPTuple is PlainTuple for the RTCP port.
	PlainRTCPTuple struct{ Tuple Tuple }
	// DirectRTCP is an RTCP packet for the application of a direct transport.
	DirectRTCP struct{ Packet []byte }
	// ProducerScoreChange has the score of each stream of a Producer.
	ProducerScoreChange struct{ Scores []StreamScore }
	// VideoOrientationChange: what the sender's header extension says.
	VideoOrientationChange struct {
		Camera, Flip bool
		Rotation     int // degrees clockwise: 0, 90, 180, 270
	}
	// ConsumerProducerPause: the Producer of a Consumer was paused.
	ConsumerProducerPause struct{}
	// ConsumerProducerResume: the Producer of a Consumer was resumed.
	ConsumerProducerResume struct{}
	// ConsumerProducerClose: the Producer was closed, and the Consumer with it.
	ConsumerProducerClose struct{}
	// ConsumerRTP is an RTP packet for the application of a direct transport.
	ConsumerRTP struct{ Packet []byte }
	// ConsumerScoreChange has the scores of a Consumer.
	ConsumerScoreChange struct{ Score ConsumerScore }
	// SCTPStateChange: the state of SCTP changed.
	SCTPStateChange struct{ State string }
	// SCTPNegotiated: how many streams there may be. It comes before the state
	// is connected.
	SCTPNegotiated struct{ MaxOutbound, MaxInbound uint16 }
	// DataConsumerBufferedAmountLow: what waits to be sent fell to the threshold.
	DataConsumerBufferedAmountLow struct{ Amount uint32 }
	// DataConsumerSendBufferFull: a message was dropped.
	DataConsumerSendBufferFull struct{}
	// DataConsumerProducerPause: the DataProducer was paused.
	DataConsumerProducerPause struct{}
	// DataConsumerProducerResume: the DataProducer was resumed.
	DataConsumerProducerResume struct{}
	// DataConsumerProducerClose: the DataProducer was closed, and the
	// DataConsumer with it.
	DataConsumerProducerClose struct{}
	// DataConsumerMessage is a message for the application of a direct
	// transport. Its bytes are shared: nobody may modify them.
	DataConsumerMessage struct {
		PPID uint32
		Data []byte
	}
	// DominantSpeaker: another Producer of an active speaker observer dominates.
	DominantSpeaker struct{ ProducerID string }
	// AudioVolumes tells who is loud, the loudest first.
	AudioVolumes struct{ Volumes []Volume }
	// AudioSilence: nobody is loud any more.
	AudioSilence struct{}
	// ConsumerLayersChange has the layers that a Consumer sends, nil for none.
	ConsumerLayersChange struct{ Layers *Layers }
	// Trace is one trace event of a Transport, Producer or Consumer.
	Trace struct{ Event TraceEvent }
)

// StreamScore is the score (0 to 10) of one stream of a Producer.
type StreamScore struct {
	EncodingIndex int
	SSRC          uint32
	RID           string
	Score         uint8
}

// ConsumerScore has the score of what is sent, of the Producer's stream behind
// it and of all its streams.
type ConsumerScore struct {
	Score, ProducerScore uint8
	ProducerScores       []uint8
}

// Tuple is a path between a local and a remote address.
type Tuple struct {
	LocalAddress string // the announced one, if any
	LocalPort    uint16
	RemoteIP     string // empty while unknown
	RemotePort   uint16
	Protocol     string // "udp" or "tcp"
}

// TraceEvent is the content of a [Trace].
type TraceEvent struct {
	Type      string // "rtp", "keyframe", "nack", "pli", "fir", "sr"; of transports "probation", "bwe"
	Direction string // "in" or "out"
	Timestamp time.Duration
	Packet    *PacketDump // of rtp and keyframe
	IsRTX     bool        // of rtp and keyframe
	SSRC      uint32      // of pli, fir and sr
	SR        *SenderReport
	BWE       *BWETrace // of bwe
}

// BWETrace is what a transport knows of the bandwidth to its peer, in bit/s.
type BWETrace struct {
	REMB                      bool // the peer sends REMB; else transport-cc feedback
	Desired, EffectiveDesired uint64
	Min, Max, Start           uint64
	MaxPadding, Available     uint64
}

// PacketDump describes one RTP packet of a trace event.
type PacketDump struct {
	PayloadType                 uint8
	SequenceNumber              uint16
	Timestamp, SSRC             uint32
	Marker, KeyFrame            bool
	Size, PayloadSize           int
	SpatialLayer, TemporalLayer uint8
	MID, RID, RRID              string
	WideSequenceNumber          uint16
	HasWideSequenceNumber       bool
}

// SenderReport is the content of a sender report in a trace event.
type SenderReport struct {
	SSRC                    uint32
	NTPSeconds, NTPFraction uint32
	RTPTimestamp            uint32
	PacketCount, OctetCount uint32
}

// queueRule says how notifications wait for a slow listener.
type queueRule uint8

const (
	keepLatest   queueRule = iota // at most one for each object and type; the newest replaces it
	keepSequence                  // up to maxSequence for each object and type
	keepStream                    // a bounded number in all; the oldest is dropped
	keepAll                       // all; who sends them is held up instead, see backlog
)

const (
	maxSequence = 16   // states in a row that a slow listener still hears
	maxTraces   = 64   // trace events in a row
	maxStream   = 2048 // RTP and RTCP packets waiting for listeners of one Worker
)

func ruleOf(body any) queueRule {
	switch body.(type) {
	case ICEStateChange, DTLSStateChange, SCTPStateChange, Trace,
		ConsumerProducerPause, ConsumerProducerResume, ConsumerProducerClose,
		DataConsumerProducerPause, DataConsumerProducerResume, DataConsumerProducerClose:
		return keepSequence
	case DataConsumerMessage:
		return keepAll
	case ConsumerRTP, DirectRTCP:
		return keepStream
	}
	return keepLatest
}
