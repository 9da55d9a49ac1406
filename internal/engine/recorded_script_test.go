package engine

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// A scenario says how the recorder made what it recorded.
type scenario struct {
	name  string
	codec string // of the Producer
	producerSpec
	comedia   bool  // the source's transport
	ignoreDTX bool  // of the Consumer
	captureID uint8 // id of abs-capture-time in the input, to be compared

	setup      func(*session) // nil: pair
	script     func(*session) // more appointments
	acts       map[string]func(*session)
	afterInput func(*session, int)
	report     func(*session, string) rtcp.SenderReport // nil: of what was sent
	later      map[int]float64                          // by how many ms inputs came later than was noted
	preferred  *Layers                                  // of the Consumer
	check      func(*session)                           // at the end
	until      map[string]int                           // rows of a section that are compared: what follows differs on purpose

	// What our bandwidth estimation does in another way (docs/differences.md).
	ignoreWide bool     // the value of the wide sequence number
	ignore     []string // sections of the recording
}

type producerSpec struct {
	mid        string
	ext        map[string]uint8
	encodings  []Encoding
	noRTX      bool
	feedback   []Feedback // nil: usual for the kind
	parameters map[string]any
	delay      time.Duration // between requests for key frames
	extra      []CodecParameters
}

var videoFeedback = []Feedback{{"nack", ""}, {"nack", "pli"}, {"ccm", "fir"}}

var recordedCodecs = map[string]CodecParameters{
	"opus": {MimeType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2},
	"pcmu": {MimeType: "audio/PCMU", PayloadType: 0, ClockRate: 8000},
	"vp8":  {MimeType: "video/VP8", PayloadType: 96, ClockRate: 90000},
	"vp9":  {MimeType: "video/VP9", PayloadType: 98, ClockRate: 90000},
	"h264": {MimeType: "video/H264", PayloadType: 108, ClockRate: 90000},
	"av1":  {MimeType: "video/AV1", PayloadType: 45, ClockRate: 90000},
}

// The Router's payload types.
var recordedMapping = map[uint8]uint8{
	111: 100, 0: 0, 13: 13, 96: 101, 97: 102, 98: 103, 99: 104, 108: 105, 109: 106, 45: 107, 46: 108,
}

var recordedURIs = map[string]string{
	"mid": uriMID, "rid": uriRID, "rrid": uriRRID, "ast": uriAbsSendTime, "twcc": uriTWCC, "lvl": uriAudioLevel,
	"dd": uriDependency, "ori": uriOrientation, "toff": uriTimeOffset, "act": uriCaptureTime, "pd": uriPlayout,
	// The last part of their URIs, as the recorder lists them.
	"abs-send-time": uriAbsSendTime, "draft-holmer-rmcat-transport-wide-cc-extensions-01": uriTWCC,
	"ssrc-audio-level": uriAudioLevel, "#dependency-descriptor-rtp-header-extension": uriDependency,
	"video-orientation": uriOrientation, "toffset": uriTimeOffset, "abs-capture-time": uriCaptureTime,
	"playout-delay": uriPlayout, "packet-id": uriPacketID,
}

const (
	recordedSSRC   = 2222
	recordedMapped = 888888
)

// produce makes P1 on a transport.
func (s *session) produce(e *endpoint) {
	s.t.Helper()
	o := s.o
	media := recordedCodecs[o.codec]
	kind := mediaKind(media.MimeType)
	media.Feedback, media.Parameters = o.feedback, maps.Clone(o.parameters)
	if media.Feedback == nil && kind == Video {
		media.Feedback = videoFeedback
	}
	params := RTPParameters{MID: o.mid, CNAME: recordedCNAME, Codecs: []CodecParameters{media}, Encodings: o.encodings}
	repair := kind == Video && !o.noRTX
	if repair {
		params.Codecs = append(params.Codecs, CodecParameters{
			MimeType: "video/rtx", PayloadType: media.PayloadType + 1, ClockRate: 90000,
			Parameters: map[string]any{"apt": int(media.PayloadType)},
		})
	}
	params.Codecs = append(params.Codecs, o.extra...)
	if params.Encodings == nil {
		params.Encodings = []Encoding{{SSRC: recordedSSRC}}
		if repair {
			params.Encodings[0].RTXSSRC = recordedSSRC + 1
			s.labels[recordedSSRC+1] = "inrtx2223"
		}
		s.labels[recordedSSRC] = "in2222"
	}
	for name, id := range o.ext {
		params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{URI: recordedURIs[name], ID: id})
	}
	var mapping RTPMapping
	for _, c := range params.Codecs {
		mapping.Codecs = append(mapping.Codecs, CodecMapping{c.PayloadType, recordedMapping[c.PayloadType]})
	}
	for i, x := range params.Encodings {
		if o.encodings != nil && x.RTXSSRC != 0 {
			s.labels[x.SSRC], s.labels[x.RTXSSRC] = fmt.Sprintf("in%d", x.SSRC), fmt.Sprintf("inrtx%d", x.RTXSSRC)
		}
		mapping.Encodings = append(mapping.Encodings, EncodingMapping{
			SSRC: x.SSRC, RID: x.RID, MappedSSRC: recordedMapped + uint32(i),
		})
	}
	s.names["P1"] = "P1"
	s.require(produceOn(s.m, e.name, ProduceOptions{
		ID: "P1", Kind: kind, RTPParameters: params, RTPMapping: mapping, KeyFrameRequestDelay: o.delay,
	}))
}

// consume makes a Consumer of P1, with the parameters that it had when it was
// recorded.
func (s *session) consume(name string, e *endpoint) {
	s.t.Helper()
	s.consumeOf(name, e, "P1", recordedMapped)
}

// consumeOf makes a Consumer of a Producer whose streams are mapped to SSRCs from
// mapped on.
func (s *session) consumeOf(name string, e *endpoint, producer string, mapped uint32) {
	s.t.Helper()
	was := s.rec.Events[name+".consumed"].Items[0].V.(object)
	s.consumers++
	ssrc := 70_000_000 + uint32(10*s.consumers)
	params := RTPParameters{MID: "0", CNAME: recordedCNAME, Encodings: []Encoding{{SSRC: ssrc}}}
	encoding := was["enc"].([]any)[0].(object)
	if mode, ok := encoding["scalabilityMode"].(string); ok {
		params.Encodings[0].ScalabilityMode = mode
	}
	s.labels[ssrc] = name
	if encoding["rtx"] == true {
		params.Encodings[0].RTXSSRC = ssrc + 1
		s.labels[ssrc+1], s.mediaOf[ssrc+1] = name+"rtx", ssrc
	}
	for _, x := range was["pts"].([]any) {
		x := x.([]any)
		c := CodecParameters{MimeType: x[0].(string), PayloadType: uint8(x[1].(float64)), ClockRate: 90000}
		if mediaKind(c.MimeType) == Audio {
			c.ClockRate = recordedCodecs[s.o.codec].ClockRate
		}
		if strings.HasSuffix(c.MimeType, "/rtx") {
			c.Parameters = map[string]any{"apt": int(params.Codecs[0].PayloadType)}
		} else {
			c.Parameters = maps.Clone(s.o.parameters)
		}
		for f := range strings.SplitSeq(x[2].(string), ",") {
			if typ, parameter, _ := strings.Cut(f, " "); typ != "" {
				c.Feedback = append(c.Feedback, Feedback{typ, parameter})
			}
		}
		params.Codecs = append(params.Codecs, c)
	}
	for _, x := range was["ext"].([]any) {
		x := x.([]any)
		params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{
			URI: recordedURIs[x[1].(string)], ID: uint8(x[0].(float64)),
		})
	}
	s.names[name] = name
	consumable := []Encoding{{SSRC: mapped}}
	if s.o.encodings != nil {
		consumable = nil
		for i, x := range s.o.encodings {
			consumable = append(consumable, Encoding{SSRC: mapped + uint32(i), ScalabilityMode: x.ScalabilityMode})
		}
	}
	r, err := s.m.Consume(e.name, ConsumeOptions{
		ID: name, ProducerID: producer, RTPParameters: params, Paused: was["paused"] == true, IgnoreDTX: s.o.ignoreDTX,
		ConsumableEncodings: consumable, PreferredLayers: s.o.preferred,
	})
	s.require(err)
	is := maps.Clone(was)
	is["paused"], is["score"], is["type"] = r.Paused, renderScore(r.Score), r.Type.String()
	if _, ok := was["preferredLayers"]; ok {
		is["preferredLayers"] = renderLayers(r.PreferredLayers)
	}
	s.event(name+".consumed", is)
}

// pair is one Producer and one Consumer on PlainTransports.
func pair(s *session) {
	src, dst := s.connect("src", s.o.comedia), s.connect("dst", false)
	s.produce(src)
	s.consume("C1", dst)
}

func (s *session) ssrcOf(label string) uint32 {
	for ssrc, l := range s.labels {
		if l == label {
			return ssrc
		}
	}
	s.t.Fatalf("no SSRC is labelled %s", label)
	return 0
}

const sink = 0x5151

// control makes the RTCP packet that the recorder noted; nil when it can't be.
func (s *session) control(note string) []byte {
	name, rest, _ := strings.Cut(note, " ")
	nack := func(seq, blp uint16) []byte {
		lost := []uint16{seq}
		for i := range uint16(16) {
			if blp>>i&1 != 0 {
				lost = append(lost, seq+1+i)
			}
		}
		return rtcp.AppendNACK(nil, sink, s.c1(), lost)
	}
	switch name {
	case "SR":
		r := rtcp.SenderReport{RTPTimestamp: s.ts, PacketCount: uint32(s.ins), OctetCount: uint32(60 * s.ins)}
		if s.o.report != nil {
			r = s.o.report(s, rest)
			rest = rest[strings.LastIndexByte(rest, ' ')+1:]
		}
		if r.SSRC == 0 {
			r.SSRC, r.NTP = recordedSSRC, s.m.ntp()
		}
		s.reportNames[rtcp.CompactNTP(r.NTP)] = rest
		return rtcp.AppendSenderReport(nil, r)
	case "PLI":
		return rtcp.AppendPLI(nil, sink, s.c1())
	case "FIR":
		return rtcp.AppendFIR(nil, sink, 0, s.c1(), uint8(s.ms()))
	case "NACK":
		if strings.HasPrefix(s.o.name, "12-") {
			return nack(s.sent[len(s.sent)-5], 0)
		}
		return nack(s.sent[5], 0)
	case "RR":
		lost, ok := strings.CutPrefix(rest, "lost ")
		if !ok {
			return nil
		}
		n, _ := strconv.Atoi(lost)
		b := rtcp.ReportBlock{SSRC: s.c1(), CumulativeLost: int32(n)}
		if now := s.ms(); s.o.name == "09-score-downstream" && now > 1500 && now < 4000 {
			b.FractionLost = 51
		}
		return rtcp.AppendReceiverReport(nil, sink, []rtcp.ReportBlock{b})
	case "nack":
		switch {
		case rest == "": // five at a time: 2nd, 4th, … 10th last
			s.reps++
			return nack(s.sent[len(s.sent)-2-2*((s.reps-1)%5)], 0)
		case strings.HasSuffix(rest, "th last"):
			n, _ := strconv.Atoi(strings.TrimSuffix(rest, "th last"))
			return nack(s.sent[len(s.sent)-n], 0)
		case rest == "of a never sent seq":
			return nack(s.seqs[180]+500, 0)
		}
		in, rest, _ := strings.Cut(strings.TrimPrefix(rest, "in"), " ")
		n, _ := strconv.Atoi(in)
		seq, ok := s.seqs[n]
		if !ok {
			return nil
		}
		if strings.HasPrefix(rest, "+ blp") {
			return nack(seq, 0b1000000000000101)
		}
		return nack(seq, 0)
	}
	s.t.Fatalf("RTCP %q", note)
	return nil
}

func (s *session) c1() uint32 { return s.ssrcOf("C1") }

// sinkReports has the sink of 02-rtcp-* report each second, and ask for delays
// twice; the source answers questions for its delay.
func sinkReports(s *session) {
	src, dst := s.endpoints["src"], s.endpoints["dst"]
	src.onRTCP = func(types string) {
		if strings.Contains(types, "XR") {
			last := s.lastRRT
			s.reportNames[last.ntp] = "RRT"
			s.after(latency, func() {
				s.send(src, rtcp.AppendXR(nil, recordedSSRC, 0, []rtcp.DLRREntry{{SSRC: recordedSSRC, LRR: last.ntp}}))
			})
		}
	}
	for ms := 750.0; ms < 8000; ms += 1000 {
		s.at(ms, func() {
			b := rtcp.ReportBlock{SSRC: s.c1()}
			if last, ok := s.lastSR[b.SSRC]; ok {
				b.LSR, b.DLSR = last.ntp, s.compactSince(last)
			}
			s.send(dst, rtcp.AppendReceiverReport(nil, sink, []rtcp.ReportBlock{b}))
		})
		if ms == 1750 || ms == 3750 {
			s.at(ms, func() {
				ntp := s.m.ntp()
				s.reportNames[rtcp.CompactNTP(ntp)] = "dstRRT"
				s.send(dst, rtcp.AppendXR(nil, sink, ntp, nil))
			})
		}
	}
	for ms := 300.0; ms < 8000; ms += 1000 {
		s.at(ms, func() {
			s.send(src, rtcp.AppendSDES(nil, []rtcp.SDESChunk{{SSRC: recordedSSRC, CNAME: recordedCNAME}}))
		})
	}
}

// compactSince is the time since t in units of 1/65536 s, and one.
func (s *session) compactSince(t compactTime) uint32 {
	return uint32(math.Round((s.d.now-t.at).Seconds()*65536)) + 1
}

// slowSink has the sink of 04-nack-rtt answer sender reports such that the
// round trip takes 300 ms.
func slowSink(s *session) {
	dst := s.endpoints["dst"]
	dst.onRTCP = func(types string) {
		if !strings.HasPrefix(types, "SR") {
			return
		}
		s.after(300, func() {
			last := s.lastSR[s.c1()]
			s.send(dst, rtcp.AppendReceiverReport(nil, sink, []rtcp.ReportBlock{{SSRC: s.c1(), LSR: last.ntp, DLSR: 66}}))
		})
	}
}
