package sdpbridge

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func readSDP(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".sdp"))
	require.NoError(t, err)
	return string(b)
}

func mustParse(t testing.TB, text string) *Description {
	t.Helper()
	d, err := Parse(text)
	require.NoError(t, err, text)
	return d
}

var originID = regexp.MustCompile(`o=- \d+ `)

// TestAnswerGolden compares the answers to what browsers offer with
// testdata/*.answer.sdp.
func TestAnswerGolden(t *testing.T) {
	for _, name := range []string{"chromium-publish", "chromium-simulcast", "chromium-receive", "firefox-publish"} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFakeSession(t, newFakeRouter(t), Options{})
			answer, err := s.Answer(t.Context(), readSDP(t, name))
			require.NoError(t, err)
			answer = originID.ReplaceAllString(answer, "o=- 1 ")
			if *update {
				require.NoError(t, os.WriteFile(filepath.Join("testdata", name+".answer.sdp"), []byte(answer), 0o644))
			}
			require.Equal(t, readSDP(t, name+".answer"), answer)
		})
	}
}

func TestAnswerMakesProducers(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{})
	_, err := s.Answer(t.Context(), readSDP(t, "firefox-publish"))
	require.NoError(t, err)
	require.Len(t, transport.producers, 2)
	require.Equal(t, []mafalda.DTLSParameters{{Role: mafalda.DTLSRoleAuto, Fingerprints: []mafalda.DTLSFingerprint{{
		Algorithm: mafalda.FingerprintSHA256,
		Value:     "3C:77:1B:6A:33:21:E5:4D:0A:8E:90:0F:41:9C:7E:0D:55:72:2B:D6:1E:89:C0:97:43:AA:FE:10:62:7F:5C:E8",
	}}}}, transport.connects)
	video := transport.producers[1].o
	require.Equal(t, mafalda.MediaKindVideo, video.Kind)
	require.Equal(t, mafalda.RTPParameters{
		MID:  "1",
		MSID: "{5f7d3cc5-1c35-4b0a-a3f6-cd12b3d4f6a1} {c2a7e2ab-4e43-44ce-9f35-3f1d0b9f6e21}",
		Codecs: []mafalda.RTPCodecParameters{
			{
				MIMEType: "video/VP8", PayloadType: 120, ClockRate: 90000,
				Parameters: map[string]any{"max-fs": 12288, "max-fr": 60},
				RTCPFeedback: []mafalda.RTCPFeedback{
					{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "goog-remb"}, {Type: "transport-cc"},
				},
			},
			{
				MIMEType: "video/rtx", PayloadType: 124, ClockRate: 90000,
				Parameters: map[string]any{"apt": 120}, RTCPFeedback: []mafalda.RTCPFeedback{},
			},
		},
		HeaderExtensions: []mafalda.RTPHeaderExtensionParameters{
			{URI: mafalda.RTPHeaderExtensionMID, ID: 3},
			{URI: mafalda.RTPHeaderExtensionAbsSendTime, ID: 4},
			{URI: mafalda.RTPHeaderExtensionTimeOffset, ID: 5},
			{URI: mafalda.RTPHeaderExtensionTransportWideCC, ID: 7},
		},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: 2871264430, RTX: &mafalda.RTXParameters{SSRC: 3114672009}}},
		RTCP:      mafalda.RTCPParameters{CNAME: "{a6b5f2b2-13a5-4a2f-8f4b-3dd7a8b4e7f1}", ReducedSize: true},
	}, video.RTPParameters)
}

func TestAnswerSimulcast(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{})
	offer := readSDP(t, "chromium-simulcast")
	require.Equal(t, []string{"h", "m", "l"}, mustParse(t, offer).Media[1].RIDs)
	answer, err := s.Answer(t.Context(), offer)
	require.NoError(t, err)
	require.Contains(t, answer, "a=rid:h recv\r\na=rid:m recv\r\na=rid:l recv\r\na=simulcast:recv h;m;l\r\n")
	p := transport.producers[1].o.RTPParameters
	require.Equal(t, []mafalda.RTPEncodingParameters{{RID: "h"}, {RID: "m"}, {RID: "l"}}, p.Encodings)
	require.Equal(t, "1", p.MID)
	for _, uri := range []mafalda.RTPHeaderExtensionURI{
		mafalda.RTPHeaderExtensionMID, mafalda.RTPHeaderExtensionRTPStreamID, mafalda.RTPHeaderExtensionRepairedRTPStreamID,
	} {
		require.Contains(t, answer, string(uri))
		require.True(t, slices.ContainsFunc(p.HeaderExtensions, func(e mafalda.RTPHeaderExtensionParameters) bool { return e.URI == uri }))
	}
	d := mustParse(t, answer)
	require.Equal(t, "application", d.Media[2].Type)
	require.True(t, d.Media[2].Rejected)
	require.Equal(t, []string{"0", "1"}, d.Bundle)

	again, err := s.Answer(t.Context(), offer)
	require.NoError(t, err)
	require.Contains(t, again, "a=simulcast:recv h;m;l\r\n")
	require.Len(t, transport.producers, 2)
}

// TestAnswerData: data channels are accepted where the Transport has SCTP, on
// the usual port and in the BUNDLE group.
func TestAnswerData(t *testing.T) {
	offer := readSDP(t, "chromium-simulcast")
	for name, c := range map[string]struct {
		sctp     *mafalda.SCTPParameters
		offer    string
		accepted bool
	}{
		"accepted":   {&mafalda.SCTPParameters{Port: 5000, MaxReceiveMessageSize: 1234}, offer, true},
		"no SCTP":    {nil, offer, false},
		"other port": {&mafalda.SCTPParameters{}, strings.Replace(offer, "sctp-port:5000", "sctp-port:5001", 1), false},
		"apart":      {&mafalda.SCTPParameters{}, strings.Replace(offer, "BUNDLE 0 1 2", "BUNDLE 0 1", 1), false},
		"old syntax": {&mafalda.SCTPParameters{}, strings.Replace(offer, "webrtc-datachannel", "5000", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, transport := newFakeSession(t, newFakeRouter(t), Options{})
			transport.sctp = c.sctp
			answer, err := s.Answer(t.Context(), c.offer)
			require.NoError(t, err)
			d := mustParse(t, answer)
			require.Equal(t, !c.accepted, d.Media[2].Rejected)
			if !c.accepted {
				require.Equal(t, []string{"0", "1"}, d.Bundle)
				return
			}
			require.Equal(t, []string{"0", "1", "2"}, d.Bundle)
			require.Equal(t, uint16(5000), d.Media[2].SCTPPort)
			require.Equal(t, uint32(1234), d.Media[2].MaxMessageSize)
			require.Equal(t, []string{"webrtc-datachannel"}, d.Media[2].Formats)
		})
	}
}

// A peer that rejects data channels is not asked again.
func TestOfferData(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{})
	transport.sctp = &mafalda.SCTPParameters{Port: 5000, MaxReceiveMessageSize: 262144}
	require.True(t, s.NegotiationNeeded())
	offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	require.Contains(t, offer, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
	require.Contains(t, offer, "a=sctp-port:5000\r\na=max-message-size:262144\r\n")
	require.Equal(t, []string{"s0"}, mustParse(t, offer).Bundle)
	rejected := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:s0\r\n"
	require.NoError(t, s.SetAnswer(t.Context(), rejected))
	require.False(t, s.NegotiationNeeded())
	offer, err = s.Offer(t.Context())
	require.NoError(t, err)
	require.True(t, mustParse(t, offer).Media[0].Rejected)
}

// Where the streams of a simulcast can't be told apart, or the codec has no
// simulcast, the peer is made to send one stream without RID.
func TestAnswerWithoutSimulcast(t *testing.T) {
	offer := readSDP(t, "chromium-simulcast")
	for name, text := range map[string]string{
		"no RID extension": strings.ReplaceAll(offer, "rtp-stream-id", "other"),
		"one stream":       strings.ReplaceAll(offer, "a=simulcast:send h;m;l", "a=simulcast:send h"),
		"no simulcast":     strings.ReplaceAll(offer, "a=simulcast:send", "a=simulcast:recv"),
	} {
		t.Run(name, func(t *testing.T) {
			s, transport := newFakeSession(t, newFakeRouter(t), Options{})
			answer, err := s.Answer(t.Context(), text)
			require.NoError(t, err)
			require.NotContains(t, answer, "a=rid")
			require.NotContains(t, answer, "simulcast")
			require.NotContains(t, answer, string(mafalda.RTPHeaderExtensionRTPStreamID))
			require.Equal(t, []mafalda.RTPEncodingParameters{{}}, transport.producers[1].o.RTPParameters.Encodings)
		})
	}
}

// Spatial layers of VP9 and AV1 travel in one stream.
func TestSimulcastCodecs(t *testing.T) {
	m := mustParse(t, readSDP(t, "chromium-simulcast")).Media[1]
	for mime, ok := range map[string]bool{"video/VP8": true, "video/h264": true, "video/VP9": false, "video/AV1": false} {
		require.Equal(t, ok, m.simulcasts(mafalda.RTPCodecParameters{MIMEType: mime}), mime)
	}
}

func TestParseSimulcast(t *testing.T) {
	for value, rids := range map[string][]string{
		"send a;b;c":           {"a", "b", "c"},
		"recv x;y send ~a,d;b": {"a", "b"},
		"send a;a;b":           {"a", "b"},
		"recv a;b":             nil,
		"send":                 nil,
		"send a;<b>;c":         {"a", "c"},
		"":                     nil,
	} {
		var m Media
		m.parseSimulcast(value)
		require.Equal(t, rids, m.RIDs, value)
	}
}

func TestAnswerRenegotiates(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{})
	first := readSDP(t, "firefox-publish")
	_, err := s.Answer(t.Context(), first)
	require.NoError(t, err)
	audio, video := transport.producers[0], transport.producers[1]

	// The same again changes nothing, whatever the order of extensions.
	_, err = s.Answer(t.Context(), strings.Replace(first, "a=extmap:7 ", "a=extmap:77 urn:unknown\r\na=extmap:7 ", 1))
	require.NoError(t, err)
	require.Len(t, transport.producers, 2)
	require.Equal(t, 0, transport.restarts)

	// Other SSRCs make another Producer.
	_, err = s.Answer(t.Context(), strings.ReplaceAll(first, "1702343071", "1702343072"))
	require.NoError(t, err)
	require.True(t, audio.Closed())
	require.Len(t, transport.producers, 3)
	audio = transport.producers[2]
	require.False(t, audio.Closed() || video.Closed())

	// New ICE credentials restart ICE.
	restart := strings.ReplaceAll(strings.ReplaceAll(first, "1702343071", "1702343072"), "8c3f2b11", "deadbeef")
	answer, err := s.Answer(t.Context(), restart)
	require.NoError(t, err)
	require.Equal(t, 1, transport.restarts)
	require.Equal(t, "ufrag1", mustParse(t, answer).Media[0].ICE.UsernameFragment)
	require.Len(t, transport.connects, 1)

	// What the peer stops sending is closed.
	answer, err = s.Answer(t.Context(), strings.ReplaceAll(restart, "a=sendonly", "a=inactive"))
	require.NoError(t, err)
	require.True(t, audio.Closed() && video.Closed())
	require.Equal(t, Inactive, mustParse(t, answer).Media[0].Direction)

	// Another certificate is another peer.
	_, err = s.Answer(t.Context(), strings.Replace(restart, "3C:77", "3C:78", 1))
	require.ErrorIs(t, err, mafalda.ErrInvalidState)
}

// A Producer that the application closed does not come back by itself.
func TestAnswerKeepsClosedProducersClosed(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{})
	offer := readSDP(t, "firefox-publish")
	_, err := s.Answer(t.Context(), offer)
	require.NoError(t, err)
	require.False(t, s.NegotiationNeeded())
	require.NoError(t, transport.producers[1].Close())
	require.True(t, s.NegotiationNeeded())
	answer, err := s.Answer(t.Context(), offer)
	require.NoError(t, err)
	require.Len(t, transport.producers, 2)
	require.Equal(t, Inactive, mustParse(t, answer).Media[1].Direction)
	require.False(t, s.NegotiationNeeded())
}

func TestAnswerAsksTheApplication(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{Accept: func(o *mafalda.ProducerOptions) bool {
		o.Paused, o.RTPParameters = true, mafalda.RTPParameters{}
		return o.Kind == mafalda.MediaKindAudio
	}})
	answer, err := s.Answer(t.Context(), readSDP(t, "firefox-publish"))
	require.NoError(t, err)
	require.Len(t, transport.producers, 1)
	require.True(t, transport.producers[0].o.Paused)
	require.Equal(t, "0", transport.producers[0].o.RTPParameters.MID)
	require.Equal(t, Inactive, mustParse(t, answer).Media[1].Direction)
}

func TestAnswerIsTakenBack(t *testing.T) {
	s, transport := newFakeSession(t, newFakeRouter(t), Options{Accept: func(o *mafalda.ProducerOptions) bool { return true }})
	transport.fail = mafalda.ErrInvalidState
	_, err := s.Answer(t.Context(), readSDP(t, "firefox-publish"))
	require.ErrorIs(t, err, mafalda.ErrInvalidState)
	require.Empty(t, transport.connects)
	for _, p := range transport.producers {
		require.True(t, p.Closed())
	}
	_, err = s.Answer(t.Context(), readSDP(t, "firefox-publish"))
	require.NoError(t, err)
}

// TestAnswerRefuses has offers that change nothing.
func TestAnswerRefuses(t *testing.T) {
	good := readSDP(t, "firefox-publish")
	cases := map[string]string{
		"empty":                 "",
		"no SDP":                "hello",
		"no m-section":          "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
		"no fingerprint":        strings.Replace(good, "a=fingerprint", "a=footprint", 1),
		"unknown fingerprint":   strings.Replace(good, "a=fingerprint:sha-256", "a=fingerprint:md5", 1),
		"short fingerprint":     strings.Replace(good, "3C:77", "3C", 1),
		"wrong fingerprint":     strings.Replace(good, "3C:77", "3C:zz", 1),
		"shifted fingerprint":   strings.Replace(good, "3C:77", "3C7:7", 1),
		"no ufrag":              strings.ReplaceAll(good, "a=ice-ufrag", "a=ice-fragu"),
		"no password":           strings.ReplaceAll(good, "a=ice-pwd", "a=ice-dwp"),
		"no rtcp-mux":           strings.ReplaceAll(good, "a=rtcp-mux\r\n", ""),
		"ICE-lite":              strings.Replace(good, "a=group", "a=ice-lite\r\na=group", 1),
		"holdconn":              strings.ReplaceAll(good, "actpass", "holdconn"),
		"same MID twice":        strings.Replace(good, "a=mid:1", "a=mid:0", 1),
		"MID with a space":      strings.Replace(good, "a=mid:1", "a=mid:1 2", 1),
		"long MID":              strings.Replace(good, "a=mid:1", "a=mid:"+strings.Repeat("1", 99), 1),
		"same SSRC twice":       strings.ReplaceAll(good, "1702343071", "3114672009"),
		"SSRC 0":                strings.ReplaceAll(good, "1702343071", "0"),
		"SSRC beyond 32 bits":   strings.ReplaceAll(good, "1702343071", "17023430710"),
		"FID of one":            strings.ReplaceAll(good, "FID 2871264430 3114672009", "FID 2871264430 2871264430"),
		"payload type 128":      strings.ReplaceAll(good, "109", "128"),
		"clock rate 0":          strings.ReplaceAll(good, "opus/48000", "opus/0"),
		"channels 0":            strings.ReplaceAll(good, "opus/48000/2", "opus/48000/0"),
		"rtpmap without rate":   strings.ReplaceAll(good, "VP8/90000", "VP8"),
		"extension of two URIs": strings.Replace(good, "a=extmap:4 ", "a=extmap:1 ", 1),
		"too long":              good + strings.Repeat("a=x:0123456789\r\n", maxText/16),
		"too many m-sections":   good + strings.Repeat("m=audio 9 RTP/AVP 0\r\n", maxMedia),
	}
	for name, offer := range cases {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, good, offer)
			s, transport := newFakeSession(t, newFakeRouter(t), Options{})
			_, err := s.Answer(t.Context(), offer)
			require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
			_, ok := errors.AsType[*mafalda.Error](err)
			require.True(t, ok)
			require.Empty(t, transport.producers)
			require.Empty(t, transport.connects)
		})
	}
}

// TestAnswerRefusesChanges has second offers that don't continue the first.
func TestAnswerRefusesChanges(t *testing.T) {
	good := readSDP(t, "firefox-publish")
	video := strings.Index(good, "m=video")
	cases := map[string]string{
		"fewer m-sections":  good[:video],
		"another MID":       strings.NewReplacer("a=mid:1", "a=mid:9", "BUNDLE 0 1", "BUNDLE 0 9").Replace(good),
		"another type":      strings.Replace(good, "m=video", "m=application", 1),
		"swapped m-section": good[:strings.Index(good, "m=audio")] + good[video:] + good[strings.Index(good, "m=audio"):video],
	}
	for name, offer := range cases {
		t.Run(name, func(t *testing.T) {
			s, transport := newFakeSession(t, newFakeRouter(t), Options{})
			_, err := s.Answer(t.Context(), good)
			require.NoError(t, err)
			_, err = s.Answer(t.Context(), offer)
			require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
			for _, p := range transport.producers {
				require.False(t, p.Closed())
			}
		})
	}
}

// TestAnswerRejects has m-sections that are rejected while the rest goes on.
func TestAnswerRejects(t *testing.T) {
	good := readSDP(t, "firefox-publish")
	cases := map[string]string{
		"outside of BUNDLE": strings.Replace(good, "BUNDLE 0 1", "BUNDLE 0", 1),
		"without DTLS":      good[:strings.Index(good, "m=video")] + strings.Replace(good[strings.Index(good, "m=video"):], "UDP/TLS/RTP/SAVPF", "RTP/AVP", 1),
		"rejected":          strings.Replace(good, "a=bundle-only\r\n", "", 1),
		"unknown codecs":    strings.NewReplacer("VP8/", "VPX/", "VP9/", "VPY/", "H264/", "H269/").Replace(good),
	}
	for name, offer := range cases {
		t.Run(name, func(t *testing.T) {
			s, transport := newFakeSession(t, newFakeRouter(t), Options{})
			answer, err := s.Answer(t.Context(), offer)
			require.NoError(t, err)
			d := mustParse(t, answer)
			require.False(t, d.Media[0].Rejected)
			require.True(t, d.Media[1].Rejected)
			require.Equal(t, []string{"0"}, d.Bundle)
			require.Len(t, transport.producers, 1)
		})
	}
}
