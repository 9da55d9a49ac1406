package engine

import (
	"fmt"
	"math"
	"strings"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// layeredScenarios are those of Producers with several streams or layers.
var layeredScenarios = []*scenario{
	{
		name: "06-rid-streams", codec: "vp8", producerSpec: producerSpec{
			mid: "v", ext: map[string]uint8{"mid": 1, "rid": 2, "rrid": 3}, encodings: []Encoding{{RID: "lo"}, {RID: "hi"}},
		},
		script: func(s *session) { s.labels[6001], s.labels[6002] = "in6001", "in6002" },
	},

	{name: "07-sim-sr", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport},
	{name: "07-sim-nosr", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport},
	{name: "07-sim-preferred00", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport, preferred: &Layers{Spatial: 0, Temporal: 0}},
	{name: "07-sim-pli-unanswered", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport, preferred: &Layers{Spatial: 0, Temporal: 2}},
	{
		name: "07-sim-stop-return", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport,
		// Then mediasoup leaves temporal layer 1 out until one of layer 2 comes.
		until: map[string]int{"dst/C1": 32}, ignore: []string{"C1.layerschange"},
	},
	{
		name: "07-sim-late-layers", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport,
		// Then mediasoup switches, because another stream has come; we have asked for
		// that layer when it came, which the recording does not answer.
		until: map[string]int{"dst/C1": 42}, ignore: []string{"src/PLI", "C1.layerschange", "C1.score"},
	},
	{name: "07-sim-two-consumers-pause", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport},
	{name: "07-sim-nack-after-switch", codec: "vp8", producerSpec: simulcast("L1T3"), report: simulcastReport},
	{name: "07-sim-h264", codec: "h264", producerSpec: simulcast("L1T1"), report: simulcastReport},

	{name: "08-vp9-L1T3", codec: "vp9", producerSpec: scalable("L1T3")},
	{name: "08-vp9-L3T3", codec: "vp9", producerSpec: scalable("L3T3")},
	{name: "08-vp9-L3T3_KEY", codec: "vp9", producerSpec: scalable("L3T3_KEY")},
	// A check of the layers asked for the key frame that came in the same ms.
	{name: "08-vp9-layer-stop", codec: "vp9", producerSpec: scalable("L3T3_KEY"), later: map[int]float64{290: 20, 291: 20}},
	{name: "08-av1-L2T2", codec: "av1", producerSpec: producerSpec{
		ext: map[string]uint8{"dd": 5}, encodings: scalable("L2T2").encodings,
	}},
}

// layeredActs are what the recorder noted of the calls in those.
var layeredActs = map[string]func(*session){
	"C paused":                  func(s *session) { s.require(s.m.PauseConsumer("C1")) },
	"C resumed":                 func(s *session) { s.require(s.m.ResumeConsumer("C1")) },
	"P paused":                  func(s *session) { s.require(s.m.PauseProducer("P1")) },
	"P resumed":                 func(s *session) { s.require(s.m.ResumeProducer("P1")) },
	"source makes L2 key frame": func(*session) {},
}

func simulcast(mode string) (p producerSpec) {
	for i := range uint32(3) {
		p.encodings = append(p.encodings, Encoding{SSRC: 3001 + i, RTXSSRC: 3101 + i, ScalabilityMode: mode})
	}
	return p
}

func scalable(mode string) producerSpec {
	return producerSpec{encodings: []Encoding{{SSRC: 2222, RTXSSRC: 2223, ScalabilityMode: mode}}}
}

// simulcastReport is the report about one of three streams; those that the
// recorder made at once name the same time.
func simulcastReport(s *session, note string) rtcp.SenderReport {
	var layer uint32
	fmt.Sscanf(note, "L%d", &layer)
	ms := math.Round(s.ms()/100) * 100
	return rtcp.SenderReport{
		SSRC: 3001 + layer, NTP: s.m.ntp() - uint64((s.ms()-ms)/1000*(1<<32)), RTPTimestamp: 1_000_000 + 4_000_000*layer + uint32(90*ms),
		PacketCount: uint32(s.ins / 3), OctetCount: uint32(60 * s.ins / 3),
	}
}

// prefer calls SetPreferredLayers.
func (s *session) prefer(note string) {
	var l Layers
	if _, err := fmt.Sscanf(strings.TrimPrefix(note, "setPreferredLayers "), "%d,%d", &l.Spatial, &l.Temporal); err != nil {
		s.t.Fatal(err)
	}
	got, err := s.m.SetPreferredLayers("C1", l)
	s.require(err)
	if *got != l {
		s.t.Errorf("%s: got %v", note, *got)
	}
}
