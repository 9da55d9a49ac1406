package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// pipedScenarios are the recordings of pipes. Those without SRTP take the road
// through memory.
var pipedScenarios = []*scenario{
	{name: "12-pipe-opus", codec: "opus", setup: piped(true, recordedSeed)},
	{name: "12-pipe-vp8-nortx", codec: "vp8", setup: piped(false, recordedSeed), ignoreWide: true, ignore: []string{"tap/probator"}, acts: pipedPauses},
	{
		name: "12-pipe-vp8-rtx", codec: "vp8", setup: piped(false, 4), ignoreWide: true, ignore: []string{"tap/probator"}, acts: pipedPauses,
		later: map[int]float64{160: 10}, // the pause overtook it
	},
	{
		name: "12-pipe-sim", codec: "vp8", setup: piped(false, recordedSeed), producerSpec: simulcast("L1T3"), report: simulcastReport,
		ignoreWide: true, ignore: []string{"tap/probator"},
	},
}

// What pauses the Producer pauses the pipe Producer too, which is done above the
// engine.
var pipedPauses = map[string]func(*session){
	"P paused": func(s *session) {
		s.require(s.m.PauseProducer("P1"))
		s.require(s.m.PauseProducer("pipeProducer"))
	},
	"P resumed": func(s *session) {
		s.require(s.m.ResumeProducer("P1"))
		s.require(s.m.ResumeProducer("pipeProducer"))
	},
}

const (
	pipedRouter = "router2"
	pipedSSRC   = 80_000_000 // of the streams between the pipes
	tapSSRC     = 81_000_000
	pipedMapped = 999_000
)

// piped is one Producer, a pipe Consumer of it on a PlainTransport, and one
// Consumer on another Router, to which it is piped. The seed decides when the
// pipes report, on which scores depend.
func piped(srtp bool, seed uint64) func(*session) {
	return func(s *session) {
		s.m.random = rand.New(rand.NewPCG(seed, 0))
		s.require(s.m.CreateRouter(pipedRouter))
		src := s.connect("src", false)
		tap := s.connect("tap", false)
		dst := s.connectOn(pipedRouter, "dst", false)
		s.pipes(srtp)
		s.produce(src)

		was := s.rec.Events["pipe"].Items[0].V.(object)
		p := s.m.producers["P1"]
		params := RTPParameters{CNAME: recordedCNAME}
		tapped := RTPParameters{CNAME: recordedCNAME}
		for _, x := range was["pts"].([]any) {
			x := x.([]any)
			c := recordedCodecs[s.o.codec]
			c.MimeType, c.PayloadType = x[0].(string), uint8(x[1].(float64))
			if c.MimeType == "video/rtx" {
				c.Parameters = map[string]any{"apt": int(params.Codecs[0].PayloadType)}
			} else if p.kind == Video {
				c.Feedback = slices.Clone(videoFeedback[1:])
			}
			tapped.Codecs = append(tapped.Codecs, c)
			if c.Feedback != nil && len(was["pts"].([]any)) > 1 {
				c.Feedback = videoFeedback
			}
			params.Codecs = append(params.Codecs, c)
		}
		for _, x := range was["ext"].([]any) {
			x := x.([]any)
			params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{
				URI: recordedURIs[x[1].(string)], ID: uint8(x[0].(float64)),
			})
		}
		mapping := RTPMapping{}
		for _, c := range params.Codecs {
			mapping.Codecs = append(mapping.Codecs, CodecMapping{c.PayloadType, c.PayloadType})
		}
		var consumable []Encoding
		for i, e := range p.params.Encodings {
			n := uint32(i)
			e := Encoding{SSRC: pipedSSRC + n, ScalabilityMode: e.ScalabilityMode}
			mapping.Encodings = append(mapping.Encodings, EncodingMapping{SSRC: e.SSRC, MappedSSRC: pipedMapped + n})
			consumable = append(consumable, Encoding{SSRC: recordedMapped + n, ScalabilityMode: e.ScalabilityMode})
			tapped.Encodings = append(tapped.Encodings, Encoding{SSRC: tapSSRC + n, ScalabilityMode: e.ScalabilityMode})
			s.labels[tapSSRC+n] = fmt.Sprintf("tap.%d", i)
			if was["rtx"].([]any)[i] == true {
				e.RTXSSRC = pipedSSRC + 100 + n
			}
			params.Encodings = append(params.Encodings, e)
		}
		consume := func(id, transport string, params RTPParameters) ConsumeResult {
			r, err := s.m.Consume(transport, ConsumeOptions{
				ID: id, ProducerID: "P1", RTPParameters: params, Pipe: true, ConsumableEncodings: consumable,
			})
			s.require(err)
			return r
		}
		for k, section := range s.rec.RTP {
			for _, row := range section.Rows { // ours leaves out the element of a MID that there is none of
				if !strings.HasPrefix(k, "tap/tap") {
					continue
				}
				text := row[7]
				if several, ok := text.(object); ok { // they differ in the wide sequence number
					text = several["runs"].([]any)[0]
				}
				row[7] = strings.TrimSpace(strings.TrimPrefix(text.(string), "1:0000000000000000"))
			}
		}
		is := object{}
		for k, v := range was {
			is[k] = v
		}
		is["pipeType"] = consume("pipeConsumer", "pipe1", params).Type.String()
		s.require(produceOn(s.m, "pipe2", ProduceOptions{ID: "pipeProducer", Kind: p.kind, RTPParameters: params, RTPMapping: mapping}))
		is["tapType"] = consume("tapConsumer", tap.name, tapped).Type.String()
		s.event("pipe", is)
		s.names["pipeProducer"] = "pipeProducer"
		s.consumeOf("C1", dst, "pipeProducer", pipedMapped)
	}
}

// pipes makes the PipeTransports "pipe1" and "pipe2" and connects them, over
// virtual UDP with SRTP, or in memory.
func (s *session) pipes(srtp bool) {
	local := netip.MustParseAddr("127.0.0.1")
	ports := [2]netip.AddrPort{netip.AddrPortFrom(local, 3001), netip.AddrPortFrom(local, 3002)}
	dumps := [2]TransportDump{}
	for i, router := range []string{recordedRouter, pipedRouter} {
		d, err := s.m.CreatePipeTransport(router, PipeTransportOptions{
			ID: fmt.Sprintf("pipe%d", i+1), EnableSRTP: srtp, ListenInfo: ListenInfo{Protocol: UDP, IP: local, Port: ports[i].Port()},
		})
		s.require(err)
		dumps[i] = d
	}
	toPeers := s.d.onUDP
	for i := range 2 {
		id, other := dumps[i].ID, ports[1-i]
		if srtp {
			_, err := s.m.ConnectPipe(id, PipeConnectOptions{Remote: other, SRTP: dumps[1-i].Pipe.SRTP})
			s.require(err)
			continue
		}
		if i == 0 {
			l := newLoop(func() { s.after(0, func() {}) }, func() {}) // there is another turn
			l.join(s.m)
		}
		_, err := s.m.connectPipeInMemory(id, s.m.lanes[0], uint64(1+i), uint64(2-i), other)
		s.require(err)
	}
	s.d.onUDP = func(sock *virtualUDP, to netip.AddrPort, b []byte) {
		if !slices.Contains(ports[:], to) {
			toPeers(sock, to, b)
			return
		}
		s.after(0, func() { s.udp(s.socket(to), sock.local, b) })
	}
	note := s.onNote
	s.onNote = func(n Notification) {
		switch b := n.Body.(type) {
		case ConsumerProducerPause, ConsumerProducerResume:
			if n.Target != "C1" {
				return // the recorder did not listen
			}
		case ProducerScoreChange:
			if n.Target == "pipeProducer" {
				list := []any{}
				for _, x := range b.Scores {
					list = append(list, object{"encodingIdx": num(x.EncodingIndex), "score": num(x.Score)})
				}
				s.event("pipeProducer.score", list)
				return
			}
		}
		note(n)
	}
}
