package acceptance

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var copyCases = []testCase{
	{
		name:        "Copies/Getters",
		explanation: "what a getter returns is a copy: changing it changes nothing",
		upstream:    []string{"3.20.1"},
		run:         testCopiesGetters,
	},
	{
		name:        "Copies/Options",
		explanation: "options are copied: changing them later changes nothing, and no call changes them",
		upstream:    []string{"3.20.1"},
		run:         testCopiesOptions,
	},
	{
		name:        "Copies/AppData",
		explanation: "appData is kept as it is, can be replaced at any time, also after the end, and is never shared",
		upstream:    []string{"Worker 2", "Router 1"},
		run:         testCopiesAppData,
	},
}

// spoil changes all that v refers to.
func spoil(v *mafalda.RTPParameters) {
	for i := range v.Codecs {
		v.Codecs[i].MIMEType = "spoilt"
		for k := range v.Codecs[i].Parameters {
			v.Codecs[i].Parameters[k] = "spoilt"
		}
		for k := range v.Codecs[i].RTCPFeedback {
			v.Codecs[i].RTCPFeedback[k].Type = "spoilt"
		}
	}
	for i := range v.HeaderExtensions {
		v.HeaderExtensions[i].ID = 255
	}
	for i := range v.Encodings {
		v.Encodings[i].SSRC = 1234567
		if v.Encodings[i].RTX != nil {
			v.Encodings[i].RTX.SSRC = 1234567
		}
	}
}

func spoilCapabilities(v *mafalda.RTPCapabilities) {
	for i := range v.Codecs {
		v.Codecs[i].MIMEType = "spoilt"
		for k := range v.Codecs[i].Parameters {
			v.Codecs[i].Parameters[k] = "spoilt"
		}
		for k := range v.Codecs[i].RTCPFeedback {
			v.Codecs[i].RTCPFeedback[k].Type = "spoilt"
		}
	}
	for i := range v.HeaderExtensions {
		v.HeaderExtensions[i].URI = "spoilt"
	}
}

// asJSON is a picture of v that nothing can change.
func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func testCopiesGetters(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	tr := in.transport.(mafalda.WebRTCTransport)
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	plain := r.plain(t, mafalda.PlainTransportOptions{RTCPMux: new(false), EnableSRTP: true})
	c := r.consume(t, plain, p)
	in.sendRTP(t, vp8Source(1).packet(vp8Key("x")))
	eventually(t, "scores", func() bool { return len(p.Score()) == 1 && c.Score().ProducerScore == 10 })
	picture := func() string {
		return asJSON(t, []any{
			r.router.RTPCapabilities(), tr.ICEParameters(), tr.ICECandidates(), tr.ICESelectedTuple(), tr.DTLSParameters(),
			plain.Tuple(), plain.RTCPTuple(), plain.SRTPParameters(), p.RTPParameters(), p.Score(), c.RTPParameters(), c.Score(),
		})
	}
	before := picture()
	caps := r.router.RTPCapabilities()
	spoilCapabilities(&caps)
	tr.ICECandidates()[0].Port = 1
	tr.ICESelectedTuple().RemotePort = 1
	tr.DTLSParameters().Fingerprints[0].Value = "spoilt"
	plain.RTCPTuple().LocalPort = 1
	plain.SRTPParameters().KeyBase64 = "spoilt"
	pp, cp := p.RTPParameters(), c.RTPParameters()
	spoil(&pp)
	spoil(&cp)
	p.Score()[0].Score = 1
	c.Score().ProducerScores[0] = 1
	require.Equal(t, before, picture())
}

func testCopiesOptions(t *testing.T, s *suite) {
	r := s.room(t)
	codecs := mediaCodecs()
	pictureOfCodecs := asJSON(t, codecs)
	router, err := r.worker.CreateRouter(t.Context(), mafalda.RouterOptions{MediaCodecs: codecs})
	require.NoError(t, err)
	require.Equal(t, pictureOfCodecs, asJSON(t, codecs))
	caps := asJSON(t, router.RTPCapabilities())
	for i := range codecs {
		codecs[i].MIMEType = "spoilt"
		for k := range codecs[i].Parameters {
			codecs[i].Parameters[k] = "spoilt"
		}
	}
	require.Equal(t, caps, asJSON(t, router.RTPCapabilities()))

	tr := r.direct(t)
	given := video("", 1)
	picture := asJSON(t, given)
	p := produce(t, tr, mafalda.MediaKindVideo, given)
	require.Equal(t, picture, asJSON(t, given))
	kept := asJSON(t, p.RTPParameters())
	spoil(&given)
	require.Equal(t, kept, asJSON(t, p.RTPParameters()))

	theirs := r.router.RTPCapabilities()
	picture = asJSON(t, theirs)
	c, err := tr.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: theirs})
	require.NoError(t, err)
	require.Equal(t, picture, asJSON(t, theirs))
	kept = asJSON(t, c.RTPParameters())
	spoilCapabilities(&theirs)
	require.Equal(t, kept, asJSON(t, c.RTPParameters()))
	require.True(t, r.router.CanConsume(p.ID(), r.router.RTPCapabilities()))
}

func testCopiesAppData(t *testing.T, s *suite) {
	x := newTree(t, s.room(t))
	objects := []interface {
		mafalda.AppDataHolder
		mafalda.Lifetime
	}{x.worker, x.server, x.router, x.in, x.out, x.p, x.own, x.far}
	for i, o := range objects {
		require.Nil(t, o.AppData())
		o.SetAppData(i)
	}
	for i, o := range objects {
		v, ok := mafalda.AppDataAs[int](o)
		require.True(t, ok)
		require.Equal(t, i, v)
		_, ok = mafalda.AppDataAs[string](o)
		require.False(t, ok)
	}
	require.NoError(t, x.worker.Close())
	for i, o := range objects {
		require.Equal(t, i, o.AppData())
		o.SetAppData("after")
		require.Equal(t, "after", o.AppData())
		o.SetAppData(nil)
		require.Nil(t, o.AppData())
	}
}
