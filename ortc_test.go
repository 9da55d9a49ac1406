package mafalda

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// videoRouter has an H264 codec of the main profile, level 5, beside opus.
func videoRouter(t testing.TB) RTPCapabilities {
	t.Helper()
	caps, err := GenerateRouterRTPCapabilities([]RouterRTPCodecCapability{
		{MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{MIMEType: "video/h264", ClockRate: 90000, Parameters: map[string]any{
			"level-asymmetry-allowed": 1, "packetization-mode": 1, "profile-level-id": "4d0032",
		}},
	})
	require.NoError(t, err)
	return caps
}

// TestORTCChain follows one Producer to its Consumers, as test-ortc of mediasoup does.
func TestORTCChain(t *testing.T) {
	t.Parallel()
	caps := videoRouter(t)
	params, err := ValidateAndNormalizeRTPParameters(RTPParameters{
		Codecs: []RTPCodecParameters{
			{MIMEType: "video/H264", PayloadType: 111, ClockRate: 90000, Parameters: map[string]any{
				"packetization-mode": 1, "profile-level-id": "4d0032", "foo": "bar",
			}},
			{MIMEType: "video/rtx", PayloadType: 112, ClockRate: 90000, Parameters: map[string]any{"apt": 111}},
		},
		Encodings: []RTPEncodingParameters{
			{SSRC: 11111111, RTX: &RTXParameters{SSRC: 11111112}, MaxBitrate: 111111, ScalabilityMode: "L1T3"},
			{SSRC: 21111111, RTX: &RTXParameters{SSRC: 21111112}, MaxBitrate: 222222, ScalabilityMode: "L1T3"},
			{RID: "high", MaxBitrate: 333333, ScalabilityMode: "L1T3"},
		},
		RTCP: RTCPParameters{CNAME: "qwerty1234"},
		MSID: "stream track",
	})
	require.NoError(t, err)
	params, mapping, err := ProducerRTPParametersMapping(params, caps)
	require.NoError(t, err)
	assert.Equal(t, []RTPCodecMapping{{111, 101}, {112, 102}}, mapping.Codecs)
	first := mapping.Encodings[0].MappedSSRC
	assert.GreaterOrEqual(t, first, uint32(100_000_000))
	assert.Less(t, first, uint32(999_999_999))
	assert.Equal(t, []RTPEncodingMapping{
		{SSRC: 11111111, MappedSSRC: first}, {SSRC: 21111111, MappedSSRC: first + 1}, {RID: "high", MappedSSRC: first + 2},
	}, mapping.Encodings)

	consumable, err := ConsumableRTPParameters(MediaKindVideo, params, caps, mapping)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"packetization-mode": 1, "profile-level-id": "4d0032", "foo": "bar"}, consumable.Codecs[0].Parameters)
	assert.Equal(t, RTPEncodingParameters{SSRC: first + 2, MaxBitrate: 333333, ScalabilityMode: "L1T3"}, consumable.Encodings[2])
	assert.Equal(t, RTCPParameters{CNAME: "qwerty1234", ReducedSize: true}, consumable.RTCP)

	remote := RTPCapabilities{
		Codecs: []RTPCodecCapability{
			{MIMEType: "video/H264", PreferredPayloadType: 101, ClockRate: 90000,
				Parameters:   map[string]any{"packetization-mode": 1, "profile-level-id": "4d0032", "baz": "LOLOL"},
				RTCPFeedback: []RTCPFeedback{{"nack", ""}, {"nack", "pli"}, {"foo", "FOO"}, {"transport-cc", ""}}},
			{MIMEType: "video/rtx", PreferredPayloadType: 102, ClockRate: 90000, Parameters: map[string]any{"apt": 101}},
		},
		HeaderExtensions: []RTPHeaderExtension{
			{Kind: MediaKindVideo, URI: RTPHeaderExtensionMID, PreferredID: 1},
			{Kind: MediaKindVideo, URI: RTPHeaderExtensionVideoOrientation, PreferredID: 8},
			{Kind: MediaKindVideo, URI: RTPHeaderExtensionTimeOffset, PreferredID: 2}, // not the Router's id
		},
	}
	can, err := CanConsume(consumable, remote)
	require.NoError(t, err)
	assert.True(t, can)

	consumer, err := ConsumerRTPParameters(ConsumerRTPParametersOptions{
		ConsumableRTPParameters: consumable, RemoteRTPCapabilities: remote, EnableRTX: true,
	})
	require.NoError(t, err)
	assert.Equal(t, consumable.Codecs[0].Parameters, consumer.Codecs[0].Parameters)
	assert.Equal(t, []RTCPFeedback{{"nack", ""}, {"nack", "pli"}, {"foo", "FOO"}}, consumer.Codecs[0].RTCPFeedback)
	ssrc := consumer.Encodings[0].SSRC
	assert.Equal(t, []RTPEncodingParameters{
		{SSRC: ssrc, RTX: &RTXParameters{SSRC: ssrc + 1}, ScalabilityMode: "L3T3", MaxBitrate: 333333},
	}, consumer.Encodings)
	assert.Equal(t, []RTPHeaderExtensionParameters{
		{URI: RTPHeaderExtensionMID, ID: 1, Parameters: map[string]any{}},
		{URI: RTPHeaderExtensionVideoOrientation, ID: 8, Parameters: map[string]any{}},
	}, consumer.HeaderExtensions)
	assert.Equal(t, "stream track", consumer.MSID)

	pipe := PipeConsumerRTPParameters(consumable, false)
	require.Len(t, pipe.Codecs, 1)
	assert.Equal(t, []RTCPFeedback{{"nack", "pli"}, {"ccm", "fir"}}, pipe.Codecs[0].RTCPFeedback)
	require.Len(t, pipe.Encodings, 3)
	for i, e := range pipe.Encodings {
		assert.Nil(t, e.RTX)
		assert.Equal(t, consumable.Encodings[i].MaxBitrate, e.MaxBitrate)
		assert.Equal(t, "L1T3", e.ScalabilityMode)
	}
	var ids []uint8
	for _, e := range pipe.HeaderExtensions {
		ids = append(ids, e.ID)
	}
	assert.Equal(t, []uint8{7, 8, 9, 11, 12}, ids)
}

// TestDependencyDescriptor checks the one deliberate difference: a Consumer gets
// the extension, so that AV1 SVC can be decoded.
func TestDependencyDescriptor(t *testing.T) {
	t.Parallel()
	caps, err := GenerateRouterRTPCapabilities([]RouterRTPCodecCapability{{MIMEType: "video/AV1", ClockRate: 90000}})
	require.NoError(t, err)
	params := RTPParameters{Codecs: []RTPCodecParameters{{MIMEType: "video/AV1", PayloadType: 45, ClockRate: 90000}}}
	params, mapping, err := ProducerRTPParametersMapping(params, caps)
	require.NoError(t, err)
	consumable, err := ConsumableRTPParameters(MediaKindVideo, params, caps, mapping)
	require.NoError(t, err)
	consumer, err := ConsumerRTPParameters(ConsumerRTPParametersOptions{ConsumableRTPParameters: consumable, RemoteRTPCapabilities: caps})
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(consumer.HeaderExtensions, func(e RTPHeaderExtensionParameters) bool {
		return e.URI == RTPHeaderExtensionDependencyDescriptor && e.ID == 7
	}))
}

func TestORTCErrorClasses(t *testing.T) {
	t.Parallel()
	opus := RouterRTPCodecCapability{MIMEType: "audio/opus", ClockRate: 48000, Channels: 2}
	pt := func(c RouterRTPCodecCapability, pt uint8) RouterRTPCodecCapability {
		c.PreferredPayloadType = &pt
		return c
	}
	router := func(codecs ...RouterRTPCodecCapability) error {
		_, err := GenerateRouterRTPCapabilities(codecs)
		return err
	}
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"mime type without kind", router(RouterRTPCodecCapability{MIMEType: "opus", ClockRate: 48000}), ErrInvalidArgument},
		{"no clock rate", router(RouterRTPCodecCapability{MIMEType: "audio/opus"}), ErrInvalidArgument},
		{"payload type of 8 bits", router(pt(opus, 128)), ErrInvalidArgument},
		{"payload type twice", router(pt(opus, 100), pt(opus, 100)), ErrInvalidArgument},
		{"payload type taken by an earlier codec", router(opus, pt(opus, 100)), ErrInvalidArgument},
		{"payload type kept from a later codec", router(pt(opus, 100), opus), nil},
		{"unknown codec", router(RouterRTPCodecCapability{MIMEType: "audio/chicken", ClockRate: 48000}), errors.ErrUnsupported},
		{"mono opus", router(RouterRTPCodecCapability{MIMEType: "audio/opus", ClockRate: 48000, Channels: 1}), errors.ErrUnsupported},
		{"32 codecs", router(slices.Repeat([]RouterRTPCodecCapability{opus}, 32)...), nil},
		{"33 codecs", router(slices.Repeat([]RouterRTPCodecCapability{opus}, 33)...), ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, class := range []error{ErrInvalidArgument, ErrInvalidState, ErrNotFound, ErrUnavailable, errors.ErrUnsupported} {
				assert.Equal(t, class == tt.want, errors.Is(tt.err, class), "errors.Is(%v, %v)", tt.err, class)
			}
			assert.Equal(t, tt.want == nil, tt.err == nil)
		})
	}
}

func TestParameterNormalisation(t *testing.T) {
	t.Parallel()
	type text string
	tests := []struct {
		in, want any
		ok       bool
	}{
		{1, 1, true},
		{int64(-7), -7, true},
		{uint8(3), 3, true},
		{2.0, 2, true},
		{float32(0.5), 0.5, true},
		{1e21, 1e21, true},
		{json.Number("12"), 12, true},
		{json.Number("1.5"), 1.5, true},
		{json.Number("x"), nil, false},
		{"1", "1", true},
		{text("a"), "a", true},
		{"", "", true},
		{nil, nil, false},
		{true, nil, false},
		{[]int{1}, nil, false},
		{math.NaN(), nil, false},
		{math.Inf(-1), nil, false},
	}
	for _, tt := range tests {
		got, ok := normalizeParameter(tt.in)
		assert.Equal(t, tt.ok, ok, "normalizeParameter(%#v)", tt.in)
		assert.Equal(t, tt.want, got, "normalizeParameter(%#v)", tt.in)
	}
	_, err := ValidateAndNormalizeRTPCapabilities(RTPCapabilities{Codecs: []RTPCodecCapability{
		{MIMEType: "video/rtx", ClockRate: 90000, Parameters: map[string]any{"apt": "101"}},
	}})
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

func TestRequiredJSONFields(t *testing.T) {
	t.Parallel()
	var p RTPParameters
	err := json.Unmarshal([]byte(`{"codecs":[{"mimeType":"audio/PCMU","clockRate":8000}]}`), &p)
	require.ErrorIs(t, err, ErrInvalidArgument)
	require.NoError(t, json.Unmarshal([]byte(`{"codecs":[{"mimeType":"audio/PCMU","payloadType":0,"clockRate":8000}]}`), &p))
	assert.Equal(t, []RTPCodecParameters{{MIMEType: "audio/PCMU", ClockRate: 8000}}, p.Codecs)

	var s SCTPStreamParameters
	require.ErrorIs(t, json.Unmarshal([]byte(`{"ordered":true}`), &s), ErrInvalidArgument)
	require.NoError(t, json.Unmarshal([]byte(`{"streamId":0}`), &s))
}

func TestJSONKeepsEmptyLists(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(RTPParameters{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"rtcp":{"reducedSize":false}}`, string(text))
	n, err := ValidateAndNormalizeRTPParameters(RTPParameters{Codecs: []RTPCodecParameters{}})
	require.NoError(t, err)
	text, err = json.Marshal(n)
	require.NoError(t, err)
	assert.JSONEq(t, `{"codecs":[],"headerExtensions":[],"encodings":[],"rtcp":{"reducedSize":true}}`, string(text))
}

func TestSupportedRTPCapabilitiesIsACopy(t *testing.T) {
	t.Parallel()
	caps := SupportedRTPCapabilities()
	assert.Len(t, caps.Codecs, 25)
	assert.Len(t, caps.HeaderExtensions, 18)
	want := plain(caps)
	scribble(&caps)
	if diff := cmp.Diff(want, plain(SupportedRTPCapabilities())); diff != "" {
		t.Errorf("changing the result changes the next one (-want +got)\n%s", diff)
	}
}

func TestRTPParametersClone(t *testing.T) {
	t.Parallel()
	params := RTPParameters{
		Codecs:           []RTPCodecParameters{{MIMEType: "video/VP8", Parameters: map[string]any{"a": 1}, RTCPFeedback: []RTCPFeedback{{Type: "nack"}}}},
		HeaderExtensions: []RTPHeaderExtensionParameters{{URI: RTPHeaderExtensionMID, Parameters: map[string]any{"b": "c"}}},
		Encodings:        []RTPEncodingParameters{{CodecPayloadType: new(uint8(1)), RTX: &RTXParameters{SSRC: 2}}},
	}
	caps := RouterRTPCapabilities{
		Codecs:           []RouterRTPCodecCapability{{PreferredPayloadType: new(uint8(1)), Parameters: map[string]any{"a": 1}, RTCPFeedback: []RTCPFeedback{{}}}},
		HeaderExtensions: []RTPHeaderExtension{{PreferredID: 1}},
	}
	remote := videoRouter(t)
	before := []any{plain(params), plain(caps), plain(remote)}
	p, c, r := params.clone(), caps.clone(), remote.clone()
	assert.Equal(t, []any{params, caps, remote}, []any{p, c, r})
	scribble(&p)
	scribble(&c)
	scribble(&r)
	assert.Equal(t, before, []any{plain(params), plain(caps), plain(remote)})
	assert.Nil(t, RTPParameters{}.clone().Codecs)
	assert.NotNil(t, RTPParameters{Codecs: []RTPCodecParameters{}}.clone().Codecs)
}
