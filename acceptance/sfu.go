package acceptance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var sfuCases = []testCase{
	{
		name:        "SFU/Version",
		explanation: "the library says its version and that of mediasoup whose behaviour it has",
		upstream:    []string{"mediasoup 1"},
		run: func(t *testing.T, _ *suite) {
			require.NotEmpty(t, mafalda.Version)
			require.Equal(t, "3.27.1", mafalda.MediasoupVersion)
		},
	},
	{
		name:        "SFU/SupportedRTPCapabilities",
		explanation: "the supported capabilities are a copy: changing it changes nothing",
		upstream:    []string{"mediasoup 3"},
		run:         testSupportedRTPCapabilities,
	},
	{
		name:        "SFU/ParseScalabilityMode",
		explanation: "a scalability mode is read from its beginning; nonsense is one layer of each kind",
		upstream:    []string{"mediasoup 4"},
		run:         testParseScalabilityMode,
	},
	{
		name:        "SFU/NewWorker",
		explanation: "the observer hears of a Worker before CreateWorker returns, and gets the same value as the caller and the listing",
		upstream:    []string{"Worker 2"},
		run:         testNewWorker,
	},
	{
		name:        "SFU/Workers",
		explanation: "open Workers are listed in the order of their creation",
		run:         testWorkers,
	},
	{
		name:        "SFU/Close",
		explanation: "closing an SFU closes its Workers first; then it creates no more",
		run:         testSFUClose,
	},
}

func testSupportedRTPCapabilities(t *testing.T, s *suite) {
	caps := s.sfu.SupportedRTPCapabilities()
	require.Len(t, caps.Codecs, 25)
	require.Len(t, caps.HeaderExtensions, 18)
	for i := range caps.Codecs {
		caps.Codecs[i].MIMEType = "bogus"
		if p := caps.Codecs[i].Parameters; p != nil {
			p["bogus"] = 1
		}
		for k := range caps.Codecs[i].RTCPFeedback {
			caps.Codecs[i].RTCPFeedback[k].Type = "bogus"
		}
		if pt := caps.Codecs[i].PreferredPayloadType; pt != nil {
			*pt = 99
		}
	}
	caps.HeaderExtensions[0].URI = "bogus"
	again := s.sfu.SupportedRTPCapabilities()
	require.Equal(t, mafalda.SupportedRTPCapabilities(), again)
	require.Equal(t, "audio/opus", again.Codecs[0].MIMEType)
}

func testParseScalabilityMode(t *testing.T, _ *suite) {
	for mode, want := range map[string]mafalda.ScalabilityMode{
		"L1T3":           {SpatialLayers: 1, TemporalLayers: 3},
		"L3T2_KEY":       {SpatialLayers: 3, TemporalLayers: 2, KSVC: true},
		"S2T3":           {SpatialLayers: 2, TemporalLayers: 3},
		"foo":            {SpatialLayers: 1, TemporalLayers: 1},
		"":               {SpatialLayers: 1, TemporalLayers: 1},
		"S0T3":           {SpatialLayers: 1, TemporalLayers: 1},
		"S1T0":           {SpatialLayers: 1, TemporalLayers: 1},
		"L20T3":          {SpatialLayers: 20, TemporalLayers: 3},
		"S200T3":         {SpatialLayers: 1, TemporalLayers: 1},
		"L4T7_KEY_SHIFT": {SpatialLayers: 4, TemporalLayers: 7, KSVC: true},
	} {
		require.Equal(t, want, mafalda.ParseScalabilityMode(mode), mode)
	}
}

func testNewWorker(t *testing.T, s *suite) {
	var seen []mafalda.Worker
	s.sfu.Observer().NewWorker.On(func(w mafalda.Worker) { seen = append(seen, w) })
	w := s.worker(t)
	require.Len(t, seen, 1, "heard before CreateWorker returned")
	require.True(t, seen[0] == w, "the observer's Worker is the caller's")
	require.Len(t, s.sfu.Workers(), 1)
	require.True(t, s.sfu.Workers()[0] == w, "the listed Worker is the caller's")
}

func testWorkers(t *testing.T, s *suite) {
	require.Empty(t, s.sfu.Workers())
	a, b, c := s.worker(t), s.worker(t), s.worker(t)
	require.Equal(t, []mafalda.Worker{a, b, c}, s.sfu.Workers())
	require.NotEqual(t, a.ID(), b.ID())
	require.NoError(t, b.Close())
	require.Equal(t, []mafalda.Worker{a, c}, s.sfu.Workers())
	list := s.sfu.Workers()
	list[0] = nil
	require.Equal(t, []mafalda.Worker{a, c}, s.sfu.Workers())
}

func testSFUClose(t *testing.T, s *suite) {
	w := s.worker(t)
	var j journal
	noteIf(t, &j, &w.Observer().Close, "worker close", w.Closed)
	noteIf(t, &j, &s.sfu.Observer().Close, "sfu close", s.sfu.Closed)
	require.False(t, s.sfu.Closed())
	require.NoError(t, s.sfu.Close())
	require.NoError(t, s.sfu.Close())
	done(t, s.sfu)
	done(t, w)
	require.Equal(t, []string{"worker close", "sfu close"}, j.read())
	require.False(t, w.Died())
	require.Empty(t, s.sfu.Workers())
	_, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	requireError(t, err, mafalda.ErrClosed)
}
