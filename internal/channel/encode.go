package channel

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// From the engine to the wire: what several messages have in common. A vector
// is never nil here, since most are required.

// each returns f of each element.
func each[A, B any](list []A, f func(*A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// ids returns list, which may be nil, as a vector.
func ids(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// some returns a pointer to v, nil for the zero value.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func milliseconds(d time.Duration) uint64 { return uint64(d.Milliseconds()) }

func tuple(t *engine.Tuple) *fbs.TupleT {
	if t == nil {
		return nil
	}
	out := &fbs.TupleT{
		LocalAddress: t.LocalAddress, LocalPort: t.LocalPort,
		RemoteIp: t.RemoteIP, RemotePort: t.RemotePort, Protocol: fbs.ProtocolUDP,
	}
	if t.Protocol == "tcp" {
		out.Protocol = fbs.ProtocolTCP
	}
	return out
}

func ipPort(a *netip.AddrPort) *fbs.IpPortT {
	return &fbs.IpPortT{Ip: a.Addr().String(), Port: a.Port()}
}

func srtpOf(p *engine.SRTPParameters) *fbs.SrtpParametersT {
	if p == nil {
		return nil
	}
	return &fbs.SrtpParametersT{CryptoSuite: number[fbs.SrtpCryptoSuite](suites, p.CryptoSuite), KeyBase64: p.KeyBase64}
}

func mediaKind(video bool) fbs.MediaKind {
	if video {
		return fbs.MediaKindVIDEO
	}
	return fbs.MediaKindAUDIO
}

// rtpParametersOf leaves out the bitrates that were given, as mediasoup's worker does.
func rtpParametersOf(p *engine.RTPParameters) *fbs.RtpParametersT {
	return &fbs.RtpParametersT{
		Mid: p.MID,
		Codecs: each(p.Codecs, func(c *engine.CodecParameters) *fbs.RtpCodecParametersT {
			return &fbs.RtpCodecParametersT{
				MimeType: c.MimeType, PayloadType: c.PayloadType, ClockRate: c.ClockRate,
				Channels: some(c.Channels), Parameters: parametersOf(c.Parameters),
				RtcpFeedback: each(c.Feedback, func(f *engine.Feedback) *fbs.RtcpFeedbackT {
					return &fbs.RtcpFeedbackT{Type: f.Type, Parameter: f.Parameter}
				}),
			}
		}),
		HeaderExtensions: each(p.HeaderExtensions, func(x *engine.HeaderExtension) *fbs.RtpHeaderExtensionParametersT {
			return &fbs.RtpHeaderExtensionParametersT{
				Uri: number[fbs.RtpHeaderExtensionUri](extensions, x.URI), Id: x.ID, Encrypt: x.Encrypt,
				Parameters: []*fbs.ParameterT{},
			}
		}),
		Encodings: each(p.Encodings, encodingOf),
		Rtcp:      &fbs.RtcpParametersT{Cname: p.CNAME, ReducedSize: p.ReducedSize},
		Msid:      p.MSID,
	}
}

func encodingOf(e *engine.Encoding) *fbs.RtpEncodingParametersT {
	out := &fbs.RtpEncodingParametersT{
		Ssrc: some(e.SSRC), Rid: e.RID, CodecPayloadType: e.CodecPayloadType,
		Dtx: e.DTX, ScalabilityMode: e.ScalabilityMode,
	}
	if out.ScalabilityMode == "" {
		out.ScalabilityMode = "S1T1"
	}
	if e.RTXSSRC != 0 {
		out.Rtx = &fbs.RtxT{Ssrc: e.RTXSSRC}
	}
	return out
}

// parametersOf returns the parameters in order of their names.
func parametersOf(m map[string]any) []*fbs.ParameterT {
	out := []*fbs.ParameterT{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		p := &fbs.ParameterT{Name: k, Value: &fbs.ParameterValueT{}}
		switch v := m[k].(type) {
		case bool:
			b := &fbs.BooleanValueT{}
			if v {
				b.Value = 1
			}
			p.Value.Type, p.Value.Value = fbs.ParameterValueBooleanValue, b
		case int:
			p.Value.Type, p.Value.Value = fbs.ParameterValueInteger32Value, &fbs.Integer32ValueT{
				Value: int32(min(max(v, math.MinInt32), math.MaxInt32)),
			}
		case float64:
			p.Value.Type, p.Value.Value = fbs.ParameterValueDoubleValue, &fbs.DoubleValueT{Value: v}
		case string:
			p.Value.Type, p.Value.Value = fbs.ParameterValueStringValue, &fbs.StringValueT{Value: v}
		case []int32:
			p.Value.Type, p.Value.Value = fbs.ParameterValueInteger32ArrayValue, &fbs.Integer32ArrayValueT{Value: v}
		default:
			continue
		}
		out = append(out, p)
	}
	return out
}

func rtpMappingOf(m *engine.RTPMapping) *fbs.RtpMappingT {
	return &fbs.RtpMappingT{
		Codecs: each(m.Codecs, func(c *engine.CodecMapping) *fbs.CodecMappingT {
			return &fbs.CodecMappingT{PayloadType: c.PayloadType, MappedPayloadType: c.MappedPayloadType}
		}),
		Encodings: each(m.Encodings, func(e *engine.EncodingMapping) *fbs.EncodingMappingT {
			return &fbs.EncodingMappingT{Rid: e.RID, Ssrc: some(e.SSRC), MappedSsrc: e.MappedSSRC}
		}),
	}
}

func consumerScore(s *engine.ConsumerScore) *fbs.ConsumerScoreT {
	return &fbs.ConsumerScoreT{
		Score: s.Score, ProducerScore: s.ProducerScore, ProducerScores: append([]byte{}, s.ProducerScores...),
	}
}

func respond(t fbs.ResponseBody, value any) *fbs.ResponseBodyT {
	return &fbs.ResponseBodyT{Type: t, Value: value}
}
