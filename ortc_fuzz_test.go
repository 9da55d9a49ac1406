package mafalda

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzORTC feeds all functions with whatever decodes. None panics, none changes
// its arguments or returns memory that is shared with them.
func FuzzORTC(f *testing.F) {
	params := `{"mid":"0","codecs":[
		{"mimeType":"video/H264","payloadType":96,"clockRate":90000,"parameters":{"packetization-mode":1,"profile-level-id":"42e01f"},"rtcpFeedback":[{"type":"nack"},{"type":"nack","parameter":"pli"}]},
		{"mimeType":"video/rtx","payloadType":97,"clockRate":90000,"parameters":{"apt":96}}],
		"headerExtensions":[{"uri":"urn:ietf:params:rtp-hdrext:sdes:mid","id":1,"parameters":{"a":1}}],
		"encodings":[{"ssrc":1,"rtx":{"ssrc":2},"codecPayloadType":96,"scalabilityMode":"L1T3","dtx":true,"maxBitrate":3},{"rid":"r"}],
		"rtcp":{"cname":"c"}}`
	caps := `{"codecs":[
		{"kind":"video","mimeType":"video/h264","preferredPayloadType":100,"clockRate":90000,"parameters":{"packetization-mode":1,"level-asymmetry-allowed":1},"rtcpFeedback":[{"type":"transport-cc"}]},
		{"kind":"video","mimeType":"video/rtx","preferredPayloadType":101,"clockRate":90000,"parameters":{"apt":100}}],
		"headerExtensions":[{"kind":"video","uri":"urn:ietf:params:rtp-hdrext:sdes:mid","preferredId":1,"direction":"sendrecv"}]}`
	const stream = `{"streamId":1,"maxRetransmits":3}`
	f.Add(params, caps, stream)
	f.Add(`{"codecs":[{"mimeType":"audio/opus","payloadType":111,"clockRate":48000,"channels":2}]}`,
		`{"codecs":[{"mimeType":"audio/opus","clockRate":48000,"channels":2},{"mimeType":"audio/multiopus","clockRate":48000,"channels":6,"parameters":{"num_streams":4,"coupled_streams":2}}]}`, stream)
	f.Add(`{"codecs":[{"mimeType":"video/VP9","payloadType":98,"clockRate":90000,"parameters":{"profile-id":2}}]}`, `{"codecs":[{"mimeType":"video/VP9","clockRate":90000,"parameters":{"profile-id":"2"}}]}`, `{"streamId":65535,"ordered":true,"maxPacketLifeTime":0}`)
	f.Add(`{"codecs":[]}`, `{}`, `{}`)
	for i, in := range mappingInputs(f) {
		if i%40 == 0 {
			f.Add(in[0], in[1], stream)
		}
	}

	f.Fuzz(func(t *testing.T, paramsJSON, capsJSON, streamJSON string) {
		var stream SCTPStreamParameters
		if json.Unmarshal([]byte(streamJSON), &stream) == nil {
			apart(t, "ValidateAndNormalizeSCTPStreamParameters", &stream, nil, func() any { return some(ValidateAndNormalizeSCTPStreamParameters(stream)) })
		}
		var params RTPParameters
		var caps RTPCapabilities
		var codecs RouterRTPCapabilities
		if json.Unmarshal([]byte(paramsJSON), &params) != nil || json.Unmarshal([]byte(capsJSON), &caps) != nil || json.Unmarshal([]byte(capsJSON), &codecs) != nil {
			return
		}
		apart(t, "ValidateAndNormalizeRTPParameters", &params, &caps, func() any { return some(ValidateAndNormalizeRTPParameters(params)) })
		apart(t, "ValidateAndNormalizeRTPCapabilities", &params, &caps, func() any { return some(ValidateAndNormalizeRTPCapabilities(caps)) })
		router := some(GenerateRouterRTPCapabilities(codecs.Codecs))
		apart(t, "GenerateRouterRTPCapabilities", &codecs, &caps, func() any { return some(GenerateRouterRTPCapabilities(codecs.Codecs)) })
		// What was not normalised must not hurt either.
		chain(t, params, caps)
		chain(t, params, *router)
		if n, err := ValidateAndNormalizeRTPParameters(params); err == nil {
			chain(t, n, *router)
			again := some(ValidateAndNormalizeRTPParameters(n))
			if !reflect.DeepEqual(n, *again) {
				t.Errorf("normalising twice: %+v, then %+v", n, *again)
			}
		}
	})
}

// TestORTCSharesNothing checks the same with the inputs of the golden files.
func TestORTCSharesNothing(t *testing.T) {
	t.Parallel()
	for i, in := range mappingInputs(t) {
		if i%25 != 0 {
			continue // all of them take a while, and are much alike
		}
		var params RTPParameters
		var caps RTPCapabilities
		require.NoError(t, json.Unmarshal([]byte(in[0]), &params))
		require.NoError(t, json.Unmarshal([]byte(in[1]), &caps))
		chain(t, params, caps)
	}
}

// mappingInputs returns the RTP parameters and capabilities of a golden file, as JSON.
func mappingInputs(t testing.TB) [][2]string {
	t.Helper()
	values := readValues(t)
	var list [][2]string
	for _, c := range readGolden[[]goldenCase](t, "mapping.json") {
		var in [2]string
		for i, v := range resolve(c.In, values).([]any) {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			in[i] = string(text)
		}
		list = append(list, in)
	}
	return list
}

// chain follows a Producer with p on a Router with caps to its Consumers.
func chain(t *testing.T, p RTPParameters, caps RTPCapabilities) {
	matched, mapping, err := ProducerRTPParametersMapping(p, caps)
	apart(t, "ProducerRTPParametersMapping", &p, &caps, func() any {
		p, mapping, _ := ProducerRTPParametersMapping(p, caps)
		return &struct {
			P       RTPParameters
			Mapping RTPMapping
		}{p, mapping}
	})
	consumable := p
	if err == nil {
		c, err := ConsumableRTPParameters(MediaKindVideo, matched, caps, mapping)
		if err == nil {
			consumable = c
		}
		apart(t, "ConsumableRTPParameters", &matched, &caps, func() any { return some(ConsumableRTPParameters(MediaKindVideo, matched, caps, mapping)) })
	}
	can, canErr := CanConsume(consumable, caps)
	for _, pipe := range []bool{false, true} {
		for _, rtx := range []bool{false, true} {
			o := ConsumerRTPParametersOptions{ConsumableRTPParameters: consumable, RemoteRTPCapabilities: caps, Pipe: pipe, EnableRTX: rtx}
			_, err := ConsumerRTPParameters(o)
			if canErr == nil && can && err != nil && !startsWithRTX(consumable) {
				t.Errorf("CanConsume says yes, ConsumerRTPParameters %v", err)
			}
			apart(t, "ConsumerRTPParameters", &consumable, &caps, func() any { return some(ConsumerRTPParameters(o)) })
			apart(t, "PipeConsumerRTPParameters", &consumable, &caps, func() any { return new(PipeConsumerRTPParameters(consumable, rtx)) })
		}
	}
}

func startsWithRTX(p RTPParameters) bool { return len(p.Codecs) > 0 && isRTX(p.Codecs[0].MIMEType) }

// some returns a pointer to v, so that it can be scribbled on.
func some[T any](v T, _ error) *T { return &v }

// apart fails if f changes a or b, or if writing to its result does.
func apart(t *testing.T, name string, a, b any, f func() any) {
	t.Helper()
	before, _ := json.Marshal([]any{a, b})
	scribble(f())
	after, _ := json.Marshal([]any{a, b})
	if string(before) != string(after) {
		t.Errorf("%s shares memory with its arguments:\n%s\n%s", name, before, after)
	}
}

// scribble changes everything that can be reached from the pointer p.
func scribble(p any) { scribbleOn(reflect.ValueOf(p)) }

func scribbleOn(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribbleOn(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			scribbleOn(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribbleOn(v.Index(i))
		}
	case reflect.Map:
		if !v.IsNil() {
			v.SetMapIndex(reflect.ValueOf("scribbled"), reflect.ValueOf("on"))
		}
	case reflect.String:
		v.SetString(v.String() + "!")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint((v.Uint() + 1) & 0xff)
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	}
}
