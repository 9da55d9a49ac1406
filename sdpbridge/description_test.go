package sdpbridge

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mafalda-sfu/mafalda"
	"github.com/stretchr/testify/require"
)

var ssrcs = regexp.MustCompile(`\b[1-9]\d{8}\b`)

func writeGolden(t testing.TB, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join("testdata", name+".sdp"), []byte(text), 0o644))
}

func TestParseRTPCapabilities(t *testing.T) {
	router := newFakeRouter(t).caps
	caps, err := ParseRTPCapabilities(readSDP(t, "chromium-receive"), router)
	require.NoError(t, err)
	var codecs []string
	for _, c := range caps.Codecs {
		codecs = append(codecs, c.MIMEType)
	}
	require.Equal(t, []string{"audio/opus", "video/VP8", "video/rtx", "video/H264", "video/rtx"}, codecs)
	require.Equal(t, uint8(101), caps.Codecs[1].PreferredPayloadType, "the Router's number")
	for _, e := range caps.HeaderExtensions {
		require.Contains(t, router.HeaderExtensions, e)
	}
	require.Greater(t, len(caps.HeaderExtensions), 8)
	_, err = mafalda.ValidateAndNormalizeRTPCapabilities(caps)
	require.NoError(t, err)

	caps, err = ParseRTPCapabilities(readSDP(t, "chromium-publish"), router)
	require.NoError(t, err)
	require.Empty(t, caps.Codecs, "it only sends")

	_, err = ParseRTPCapabilities("x", router)
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
}

func TestParseFormatParameters(t *testing.T) {
	cases := map[string]map[string]any{
		"minptime=10;useinbandfec=1":          {"minptime": 10, "useinbandfec": 1},
		" a=1 ; b = x ":                       {"a": 1, "b": "x"},
		"profile-level-id=640028":             {"profile-level-id": "640028"},
		"n=007;m=-1;big=99999999999999999999": {"n": "007", "m": -1, "big": "99999999999999999999"},
		"0-15":                                {"0-15": ""},
		"111/111":                             {"111/111": ""},
		"sprop-parameter-sets=Z0LAH9kAUAW7ARAAAPpAADqYBQ==,a;": {"sprop-parameter-sets": "Z0LAH9kAUAW7ARAAAPpAADqYBQ==,a"},
		"": {},
	}
	for text, want := range cases {
		got := map[string]any{}
		parseFMTP(got, text)
		require.Equal(t, want, got, text)
		again := map[string]any{}
		parseFMTP(again, formatFMTP(got))
		require.Equal(t, want, again, text)
	}
}

func TestStaticPayloadTypes(t *testing.T) {
	d := mustParse(t, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8 9 77\r\n")
	var names []string
	for _, c := range d.Media[0].Codecs {
		names = append(names, c.MIMEType)
	}
	require.Equal(t, []string{"audio/PCMU", "audio/PCMA", "audio/G722"}, names)
	require.Equal(t, SendRecv, d.Media[0].Direction)
}

func TestMarshalRefuses(t *testing.T) {
	for name, m := range map[string]Media{
		"type":      {Type: "au dio", Protocol: "x"},
		"MID":       {Type: "audio", Protocol: "x", Direction: SendOnly, MID: "\n"},
		"direction": {Type: "audio", Protocol: "x"},
		"codec":     {Type: "audio", Protocol: "x", Direction: SendOnly, Codecs: []mafalda.RTPCodecParameters{{MIMEType: "audio/\r"}}},
		"extension": {Type: "audio", Protocol: "x", Direction: SendOnly, HeaderExtensions: []HeaderExtension{{1, "a b", ""}}},
	} {
		_, err := (&Description{Media: []Media{m}}).Marshal()
		require.ErrorIs(t, err, mafalda.ErrInvalidArgument, name)
	}
}

func seeds(f *testing.F) {
	names, err := filepath.Glob("testdata/*.sdp")
	require.NoError(f, err)
	require.NotEmpty(f, names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(b))
	}
}

// FuzzParse: what is parsed can be written, and reads the same.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text)
		if err != nil {
			require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
			return
		}
		again := mustParse(t, d.String()) // not all of d can be written
		third := mustParse(t, again.String())
		if diff := cmp.Diff(again, third); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzAnswer: no offer breaks a Session, one after another and in answer to
// ours; what is refused makes nothing.
func FuzzAnswer(f *testing.F) {
	seeds(f)
	router, producers := published(f)
	f.Fuzz(func(t *testing.T, text string) {
		s, transport := newFakeSession(t, router, Options{})
		answer, err := s.Answer(t.Context(), text, mafalda.ConsumerOptions{ProducerID: producers[1]})
		if err != nil {
			require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
			require.Empty(t, transport.producers)
			require.Empty(t, transport.connects)
		} else {
			d := mustParse(t, answer)
			require.Len(t, d.Media, len(mustParse(t, text).Media))
			_, err := s.Answer(t.Context(), text)
			require.NoError(t, err)
		}
		for _, id := range producers {
			_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id})
			if err != nil {
				require.True(t, len(s.sections) > 0, err)
			}
		}
		offer, err := s.Offer(t.Context())
		if err != nil {
			return
		}
		mustParse(t, offer)
		if s.SetAnswer(t.Context(), text) != nil {
			_ = s.SetAnswer(t.Context(), answerTo(t, offer).String())
		}
	})
}
