package engine

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/stream"
)

// recordedCNAME is the CNAME of every Producer of the recorder.
const recordedCNAME = "cn"

// A session replays one recording on a Machine in virtual time and notes what
// comes out as the recorder did.
type session struct {
	*virtualWorld
	rec   *recording
	o     *scenario
	start time.Duration // of the scenario: 0 ms

	agenda    []appointment
	endpoints map[string]*endpoint
	bySocket  map[*virtualUDP]*endpoint
	names     map[string]string // of objects by id, as in the recording: P1, C1
	consumers int

	labels      map[uint32]string
	mediaOf     map[uint32]uint32 // RTX to media
	bases       map[uint32]streamBase
	lastSR      map[uint32]compactTime
	lastRRT     compactTime
	reportNames map[uint32]string
	captures    map[int]string

	// seqs are the first sequence number that C1 gave to each input, sent all
	// of them in order.
	seqs map[int]uint16
	sent []uint16
	reps int // SRs of the source so far
	ins  int // RTP packets of the source so far
	ts   uint32

	rtp    map[string][]rtpRow
	rtcp   map[string][]recordedItem
	events map[string][]recordedItem
	stats  map[string][]recordedItem
}

type appointment struct {
	at time.Duration
	do func()
}

type streamBase struct {
	seq uint16
	ts  uint32
}

type compactTime struct {
	ntp uint32
	at  time.Duration
}

// An endpoint is the peer of one transport.
type endpoint struct {
	name   string
	addr   netip.AddrPort
	sock   *virtualUDP
	direct bool
	onRTCP func(types string)
}

const recordedRouter = "router"

func newSession(t *testing.T, o *scenario, seed uint64) *session {
	s := &session{
		virtualWorld: newVirtualWorld(t), rec: readRecording(t, o.name), o: o, start: 10 * time.Second,
		endpoints: map[string]*endpoint{}, bySocket: map[*virtualUDP]*endpoint{}, names: map[string]string{},
		labels:  map[uint32]string{0: "0", 1234: "probator", 0x5151: "sink"},
		mediaOf: map[uint32]uint32{}, bases: map[uint32]streamBase{}, lastSR: map[uint32]compactTime{},
		reportNames: map[uint32]string{}, captures: map[int]string{}, seqs: map[int]uint16{},
		rtp: map[string][]rtpRow{}, rtcp: map[string][]recordedItem{}, events: map[string][]recordedItem{},
		stats: map[string][]recordedItem{},
	}
	s.m.ntpOffset = 1_700_000_000 * time.Second
	s.m.random = rand.New(rand.NewPCG(seed, 0))
	s.onNote = s.noted
	s.d.onUDP = func(sock *virtualUDP, to netip.AddrPort, b []byte) {
		e := s.bySocket[sock]
		if e == nil || e.addr != to {
			t.Errorf("a packet was sent to %s", to)
			return
		}
		s.received(e.name, e, b)
	}
	s.require(s.m.CreateRouter(recordedRouter))
	s.turn(s.start - time.Second)
	return s
}

// lead is by how many ms a transport was connected before the start, as the
// time of its first report shows.
func (s *session) lead(endpoint string) float64 {
	for k, sec := range s.rec.RTCP {
		if !strings.HasPrefix(k, endpoint+"/") || !isPeriodic(k) || len(sec.Items) == 0 {
			continue
		}
		if low, high, _ := bounds(sec.Items[0].T); high < 500 {
			return 500 - (low+high)/2
		}
	}
	return 52
}

func isPeriodic(section string) bool {
	return strings.Contains(section, "/SR") || strings.Contains(section, "/RR")
}

func (s *session) require(err error) {
	s.t.Helper()
	require.NoError(s.t, err)
}

// ms is the time since the start.
func (s *session) ms() float64 { return float64((s.d.now - s.start).Microseconds()) / 1000 }

func (s *session) label(ssrc uint32) string {
	if l, ok := s.labels[ssrc]; ok {
		return l
	}
	return "unk"
}

// at makes an appointment, in ms; those of the same time keep their order.
func (s *session) at(ms float64, do func()) {
	a := appointment{s.start + time.Duration(ms*float64(time.Millisecond)), do}
	i, _ := slices.BinarySearchFunc(s.agenda, a.at, func(x appointment, at time.Duration) int {
		if x.at <= at {
			return -1
		}
		return 1
	})
	s.agenda = slices.Insert(s.agenda, i, a)
}

// after makes an appointment relative to now.
func (s *session) after(ms float64, do func()) { s.at(s.ms()+ms, do) }

// run keeps all appointments.
func (s *session) run() {
	for len(s.agenda) > 0 {
		a := s.agenda[0]
		if at, ok := s.m.wheel.Next(); ok && at < a.at {
			s.turn(max(at, s.d.now)) // and it may lead to an earlier appointment
			continue
		}
		s.agenda = s.agenda[1:]
		s.turn(max(a.at, s.d.now))
		a.do()
		s.flush()
	}
}

// connect makes a PlainTransport and its peer.
func (s *session) connect(name string, comedia bool) *endpoint {
	s.t.Helper()
	return s.connectOn(recordedRouter, name, comedia)
}

func (s *session) connectOn(router, name string, comedia bool) *endpoint {
	s.t.Helper()
	s.turn(max(s.d.now, s.start-time.Duration(s.lead(name)*float64(time.Millisecond))))
	local := netip.MustParseAddr("127.0.0.1")
	port := uint16(1000 + len(s.endpoints))
	_, err := s.m.CreatePlainTransport(router, PlainTransportOptions{
		ID: name, Comedia: comedia, ListenInfo: ListenInfo{Protocol: UDP, IP: local, Port: port},
	})
	s.require(err)
	e := &endpoint{name: name, addr: netip.AddrPortFrom(local, 60000+port), sock: s.socket(netip.AddrPortFrom(local, port))}
	if !comedia {
		_, err := s.m.ConnectPlain(name, PlainConnectOptions{Remote: e.addr})
		s.require(err)
	}
	s.endpoints[name], s.bySocket[e.sock] = e, e
	return e
}

// direct makes a DirectTransport.
func (s *session) direct(name string) *endpoint {
	_, err := s.m.CreateDirectTransport(recordedRouter, DirectTransportOptions{ID: name})
	s.require(err)
	e := &endpoint{name: name, direct: true}
	s.endpoints[name] = e
	return e
}

// send delivers a packet of an endpoint.
func (s *session) send(e *endpoint, b []byte) {
	if !e.direct {
		s.udp(e.sock, e.addr, b)
		return
	}
	if b[1] >= 192 && b[1] <= 223 {
		s.m.transportSendRTCP(e.name, b)
	} else {
		s.m.producerSend("P1", b)
	}
	s.flush()
}

func (s *session) received(who string, e *endpoint, b []byte) {
	if b[1] >= 192 && b[1] <= 223 {
		types, parts := s.readRTCP(b)
		k := who + "/" + types
		s.rtcp[k] = append(s.rtcp[k], recordedItem{T: s.ms(), V: parts})
		if e.onRTCP != nil {
			e.onRTCP(types)
		}
		return
	}
	label, seq, row := s.readRTP(who, b)
	k := who + "/" + label
	s.rtp[k] = append(s.rtp[k], row)
	if label == "C1" || label == "CD" {
		if in, ok := row.in.(float64); ok {
			if _, ok := s.seqs[int(in)]; !ok {
				s.seqs[int(in)] = seq
			}
		}
		s.sent = append(s.sent, seq)
	}
}

func (s *session) event(name string, v any) {
	s.events[name] = append(s.events[name], recordedItem{T: s.ms(), V: v})
}

// noted turns a notification into an event of the recording.
func (s *session) noted(n Notification) {
	name := s.names[n.Target]
	switch b := n.Body.(type) {
	case ConsumerRTP:
		s.received(name, s.endpoints["direct"], b.Packet)
	case DirectRTCP:
		s.received(n.Target, s.endpoints["direct"], b.Packet)
	case ProducerScoreChange:
		list := []any{}
		for _, x := range b.Scores {
			o := object{"encodingIdx": num(x.EncodingIndex), "ssrc": s.label(x.SSRC), "score": num(x.Score)}
			if x.RID != "" {
				o["rid"] = x.RID
			}
			list = append(list, o)
		}
		s.event(name+".score", list)
	case ConsumerScoreChange:
		s.event(name+".score", renderScore(b.Score))
	case ConsumerLayersChange:
		s.event(name+".layerschange", renderLayers(b.Layers))
	case VideoOrientationChange:
		s.event(name+".videoorientationchange", object{
			"camera": b.Camera, "flip": b.Flip, "rotation": num(b.Rotation),
		})
	case ConsumerProducerPause:
		s.event(name+".producerpause", nil)
	case ConsumerProducerResume:
		s.event(name+".producerresume", nil)
	case ConsumerProducerClose:
		s.event(name+".producerclose", nil)
	case Trace:
		s.event(name+".trace", s.renderTrace(&b.Event))
	case PlainTuple:
	default:
		if s.notedOfObserver(name, b) {
			return
		}
		s.t.Errorf("notification %T of %s", b, n.Target)
	}
}

func renderLayers(l *Layers) any {
	if l == nil {
		return nil
	}
	return object{"spatialLayer": num(l.Spatial), "temporalLayer": num(l.Temporal)}
}

func renderScore(c ConsumerScore) any {
	list := []any{}
	for _, v := range c.ProducerScores {
		list = append(list, num(v))
	}
	return object{"score": num(c.Score), "producerScore": num(c.ProducerScore), "producerScores": list}
}

func (s *session) renderTrace(e *TraceEvent) any {
	var info any
	text := func(v string) any {
		if v == "" {
			return nil
		}
		return v
	}
	switch {
	case e.Packet != nil:
		p := e.Packet
		o := object{
			"payloadType": num(p.PayloadType), "sequenceNumber": num(p.SequenceNumber), "timestamp": num(p.Timestamp),
			"marker": p.Marker, "ssrc": s.label(p.SSRC), "isKeyFrame": p.KeyFrame, "size": num(p.Size),
			"payloadSize": num(p.PayloadSize), "spatialLayer": num(p.SpatialLayer), "temporalLayer": num(p.TemporalLayer),
			"mid": text(p.MID), "rid": text(p.RID), "rrid": text(p.RRID), "wideSequenceNumber": nil,
		}
		if p.HasWideSequenceNumber {
			o["wideSequenceNumber"] = num(p.WideSequenceNumber)
		}
		info = object{"rtpPacket": o, "isRtx": e.IsRTX}
	case e.SR != nil:
		info = object{
			"ssrc": s.label(e.SR.SSRC), "rtpTs": num(e.SR.RTPTimestamp),
			"packetCount": num(e.SR.PacketCount), "octetCount": num(e.SR.OctetCount),
		}
	case e.SSRC != 0:
		info = object{"ssrc": s.label(e.SSRC)}
	}
	return object{"type": e.Type, "direction": e.Direction, "info": info}
}

func renderStats(s *session, st *stream.Stats, typ string) object {
	kind := "audio"
	if st.Video {
		kind = "video"
	}
	return object{
		"ssrc": s.label(st.SSRC), "kind": kind, "mimeType": st.MimeType,
		"packetsLost": num(st.PacketsLost), "fractionLost": num(st.FractionLost), "jitter": num(st.Jitter),
		"packetsDiscarded": num(st.PacketsDiscarded), "packetsRetransmitted": num(st.PacketsRetransmitted),
		"packetsRepaired": num(st.PacketsRepaired), "nackCount": num(st.NACKCount),
		"nackPacketCount": num(st.NACKPacketCount), "pliCount": num(st.PLICount), "firCount": num(st.FIRCount),
		"roundTripTime": num(st.RoundTripTime), "rtxPacketsDiscarded": num(st.RTXPacketsDiscarded),
		"score": num(st.Score), "type": typ, "byteCount": num(st.ByteCount), "packetCount": num(st.PacketCount),
		"bitrate": num(st.Bitrate), "bitrateByLayer": object{},
	}
}

func renderReceived(s *session, st *stream.RecvStats) any {
	o := renderStats(s, &st.Stats, "inbound-rtp")
	layers := object{}
	for _, l := range st.Layers {
		layers[fmt.Sprintf("%d.%d", l.Spatial, l.Temporal)] = num(l.Bitrate)
	}
	o["bitrateByLayer"] = layers
	return o
}

// readStats notes the statistics that the recording has under a name.
func (s *session) readStats(name string) {
	list := []any{}
	switch name {
	case "producer":
		st, err := s.m.ProducerStats("P1")
		s.require(err)
		for i := range st.Streams {
			list = append(list, renderReceived(s, &st.Streams[i]))
		}
	case "consumer", "CD":
		id := "C1"
		if name == "CD" {
			id = name
		}
		st, err := s.m.ConsumerStats(id)
		s.require(err)
		list = append(list, renderStats(s, &st.Sent[0].Stats, "outbound-rtp"))
		if st.Received != nil {
			list = append(list, renderReceived(s, st.Received))
		}
	case "srcTransport":
		st, err := s.m.TransportStats("src")
		s.require(err)
		list = append(list, object{
			"bytesReceived": num(st.BytesReceived), "recvBitrate": num(st.RecvBitrate),
			"bytesSent": num(st.BytesSent), "sendBitrate": num(st.SendBitrate),
			"rtpBytesReceived": num(st.RTPBytesReceived), "rtpRecvBitrate": num(st.RTPRecvBitrate),
			"rtpBytesSent": num(st.RTPBytesSent), "rtpSendBitrate": num(st.RTPSendBitrate),
			"rtxBytesReceived": num(st.RTXBytesReceived), "rtxRecvBitrate": num(st.RTXRecvBitrate),
			"rtxBytesSent": num(st.RTXBytesSent), "rtxSendBitrate": num(st.RTXSendBitrate),
			"availableIncomingBitrate": num(st.AvailableIncomingBitrate), "maxIncomingBitrate": num(st.MaxIncomingBitrate),
			"rtpPacketLossReceived": num(st.PacketLossReceived),
		})
	case "pipeProducer":
		st, err := s.m.ProducerStats(name)
		s.require(err)
		for i := range st.Streams {
			list = append(list, renderReceived(s, &st.Streams[i]))
		}
	case "pipeConsumer":
		st, err := s.m.ConsumerStats(name)
		s.require(err)
		for i := range st.Sent {
			list = append(list, renderStats(s, &st.Sent[i].Stats, "outbound-rtp"))
		}
	default:
		return
	}
	s.stats[name] = append(s.stats[name], recordedItem{T: s.ms(), V: list})
}

// latency is how many ms a packet takes from the recorder to the worker.
const latency = 0.5

// feed makes the appointments of the recorded inputs. RTCP is made anew, since
// it depends on what was received before.
func (s *session) feed() {
	for _, row := range s.rec.Inputs {
		if row[0] == "rtcp" {
			from, note := row[2].(string), row[3].(string)
			s.at(first(row[1]), func() { // it is about what was received by then
				if b := s.control(note); b != nil {
					late := latency
					if i := strings.Index(note, "SR L"); i == 0 { // no two of them come at one time
						late += 0.1 * float64(note[4]-'0')
					}
					s.after(late, func() { s.send(s.endpoints[from], b) })
				}
			})
			continue
		}
		s.at(first(row[1])+latency+s.o.later[int(row[0].(float64))], func() {
			b := packetOf(row)
			if pkt, ok := rtp.Parse(b); ok && s.o.captureID != 0 {
				s.captures[int(row[0].(float64))] = hex.EncodeToString(pkt.Extension(s.o.captureID))
			}
			s.ins++
			s.ts = uint32(row[6].(float64))
			s.send(s.endpoints[row[2].(string)], b)
			if f := s.o.afterInput; f != nil {
				f(s, int(row[0].(float64)))
			}
		})
	}
	for _, item := range s.rec.Events["act"].Items {
		s.at(first(item.T), func() {
			text := item.V.(string)
			f := s.o.acts[text]
			if f == nil {
				f = layeredActs[text]
			}
			if strings.HasPrefix(text, "setPreferredLayers") {
				f = func(s *session) { s.prefer(text) }
			}
			if f == nil {
				s.t.Fatalf("act %q", text)
			}
			f(s)
			s.event("act", text)
		})
	}
	// The last packet was on its way when some of the statistics were read.
	last := first(s.rec.Inputs[len(s.rec.Inputs)-1][1])
	for name, sec := range s.rec.Stats {
		t := first(sec.Items[0].T)
		s.at(t+2*latency, func() { s.readStats(name) })
		if t-last < 30 {
			s.at(last, func() { s.readStats(name) })
		}
	}
}

// end makes the last appointment: time goes on until everything that was
// recorded has happened.
func (s *session) end() {
	last := 0.0
	see := func(t any) {
		_, high, _ := bounds(t)
		last = max(last, high)
	}
	for _, m := range []map[string]listSection{s.rec.RTCP, s.rec.Events, s.rec.Stats} {
		for _, sec := range m {
			for _, i := range sec.Items {
				see(i.T)
			}
		}
	}
	for _, row := range s.rec.Inputs {
		see(row[1])
	}
	s.at(last+1, func() {})
}

// mediaKind of a codec name.
func mediaKind(mime string) Kind {
	if strings.HasPrefix(mime, "audio/") {
		return Audio
	}
	return Video
}
