package channel

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// From the wire to the engine. What the verifier can't know is checked here.

func listenInfo(l *fbs.ListenInfoT) (engine.ListenInfo, error) {
	ip, err := netip.ParseAddr(l.Ip)
	if err != nil {
		return engine.ListenInfo{}, invalid("listen info with ip %q", l.Ip)
	}
	e := engine.ListenInfo{
		Protocol:         engine.UDP,
		IP:               ip,
		AnnouncedAddress: l.AnnouncedAddress,
		ExposeInternalIP: l.ExposeInternalIp,
		Port:             l.Port,
		PortMin:          l.PortRange.Min,
		PortMax:          l.PortRange.Max,
		IPv6Only:         l.Flags.Ipv6Only,
		UDPReusePort:     l.Flags.UdpReusePort,
		SendBufferSize:   int(min(l.SendBufferSize, math.MaxInt32)),
		RecvBufferSize:   int(min(l.RecvBufferSize, math.MaxInt32)),
	}
	if e.PortMin == 0 || e.PortMax == 0 { // half a range is none
		e.PortMin, e.PortMax = 0, 0
	}
	if l.Protocol == fbs.ProtocolTCP {
		e.Protocol = engine.TCP
	}
	return e, nil
}

func listenInfos(list []*fbs.ListenInfoT) ([]engine.ListenInfo, error) {
	out := make([]engine.ListenInfo, len(list))
	for i, l := range list {
		var err error
		if out[i], err = listenInfo(l); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// consentTimeout is 0 (off) or at least 10 s and at most 60, like that of mediasoup.
func consentTimeout(seconds uint8) time.Duration {
	if seconds == 0 {
		return 0
	}
	return time.Duration(min(max(seconds, 10), 60)) * time.Second
}

func remoteAddr(ip string, port *uint16) (netip.AddrPort, error) {
	if ip == "" {
		return netip.AddrPort{}, invalid("missing ip")
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.AddrPort{}, invalid("ip %q", ip)
	}
	if port == nil {
		return netip.AddrPort{}, invalid("missing port")
	}
	return netip.AddrPortFrom(a, *port), nil
}

// suites are the SRTP crypto suites, by number.
var suites = []string{
	fbs.SrtpCryptoSuiteAEAD_AES_256_GCM:        "AEAD_AES_256_GCM",
	fbs.SrtpCryptoSuiteAEAD_AES_128_GCM:        "AEAD_AES_128_GCM",
	fbs.SrtpCryptoSuiteAES_CM_128_HMAC_SHA1_80: "AES_CM_128_HMAC_SHA1_80",
	fbs.SrtpCryptoSuiteAES_CM_128_HMAC_SHA1_32: "AES_CM_128_HMAC_SHA1_32",
}

func srtpParameters(p *fbs.SrtpParametersT) (*engine.SRTPParameters, error) {
	if p == nil {
		return nil, nil
	}
	suite, err := name(suites, p.CryptoSuite)
	if err != nil {
		return nil, err
	}
	return &engine.SRTPParameters{CryptoSuite: suite, KeyBase64: p.KeyBase64}, nil
}

// name returns what v is called.
func name[E interface {
	~uint8
	String() string
}](names []string, v E) (string, error) {
	if int(v) >= len(names) {
		return "", invalid("unknown value %s", v)
	}
	return names[v], nil
}

// number returns the enum value that is called s. The engine knows no other names.
func number[E ~uint8](names []string, s string) E {
	for i, n := range names {
		if n == s {
			return E(i)
		}
	}
	return 0
}

var algorithms = []string{
	fbs.FingerprintAlgorithmSHA1:   "sha-1",
	fbs.FingerprintAlgorithmSHA224: "sha-224",
	fbs.FingerprintAlgorithmSHA256: "sha-256",
	fbs.FingerprintAlgorithmSHA384: "sha-384",
	fbs.FingerprintAlgorithmSHA512: "sha-512",
}

func dtlsParameters(p *fbs.DtlsParametersT) (engine.DTLSRole, []dtls.Fingerprint, error) {
	if p.Role > fbs.DtlsRoleSERVER {
		return 0, nil, invalid("unknown DTLS role %d", p.Role)
	}
	out := make([]dtls.Fingerprint, len(p.Fingerprints))
	for i, f := range p.Fingerprints {
		a, err := name(algorithms, f.Algorithm)
		if err != nil {
			return 0, nil, err
		}
		out[i] = dtls.Fingerprint{Algorithm: a, Value: f.Value}
	}
	return engine.DTLSRole(p.Role), out, nil // numbered alike
}

func kind(k fbs.MediaKind) engine.Kind {
	if k == fbs.MediaKindVIDEO {
		return engine.Video
	}
	return engine.Audio
}

var extensions = []string{
	fbs.RtpHeaderExtensionUriMid:                    "urn:ietf:params:rtp-hdrext:sdes:mid",
	fbs.RtpHeaderExtensionUriRtpStreamId:            "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
	fbs.RtpHeaderExtensionUriRepairRtpStreamId:      "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
	fbs.RtpHeaderExtensionUriAbsSendTime:            "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
	fbs.RtpHeaderExtensionUriTransportWideCcDraft01: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
	fbs.RtpHeaderExtensionUriSsrcAudioLevel:         "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
	fbs.RtpHeaderExtensionUriDependencyDescriptor:   "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
	fbs.RtpHeaderExtensionUriVideoOrientation:       "urn:3gpp:video-orientation",
	fbs.RtpHeaderExtensionUriTimeOffset:             "urn:ietf:params:rtp-hdrext:toffset",
	fbs.RtpHeaderExtensionUriAbsCaptureTime:         "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
	fbs.RtpHeaderExtensionUriPlayoutDelay:           "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
	fbs.RtpHeaderExtensionUriMediasoupPacketId:      "urn:mediasoup:params:rtp-hdrext:packet-id",
}

func rtpParameters(p *fbs.RtpParametersT) (engine.RTPParameters, error) {
	e := engine.RTPParameters{
		MID:              p.Mid,
		Codecs:           make([]engine.CodecParameters, len(p.Codecs)),
		HeaderExtensions: make([]engine.HeaderExtension, len(p.HeaderExtensions)),
		Encodings:        encodings(p.Encodings),
		CNAME:            p.Rtcp.Cname,
		ReducedSize:      p.Rtcp.ReducedSize,
		MSID:             p.Msid,
	}
	for i, c := range p.Codecs {
		k := engine.CodecParameters{
			MimeType: c.MimeType, PayloadType: c.PayloadType, ClockRate: c.ClockRate,
			Parameters: parameters(c.Parameters), Feedback: make([]engine.Feedback, len(c.RtcpFeedback)),
		}
		if c.Channels != nil {
			k.Channels = *c.Channels
		}
		for j, f := range c.RtcpFeedback {
			k.Feedback[j] = engine.Feedback{Type: f.Type, Parameter: f.Parameter}
		}
		e.Codecs[i] = k
	}
	for i, x := range p.HeaderExtensions {
		uri, err := name(extensions, x.Uri)
		if err != nil {
			return engine.RTPParameters{}, err
		}
		e.HeaderExtensions[i] = engine.HeaderExtension{URI: uri, ID: x.Id, Encrypt: x.Encrypt}
	}
	return e, nil
}

// parameters returns the values as the engine has them: string, int, float64,
// bool or []int32. Unknown types are left out.
func parameters(list []*fbs.ParameterT) map[string]any {
	out := make(map[string]any, len(list))
	for _, p := range list {
		switch v := p.Value.Value.(type) {
		case *fbs.BooleanValueT:
			out[p.Name] = v.Value != 0
		case *fbs.Integer32ValueT:
			out[p.Name] = int(v.Value)
		case *fbs.DoubleValueT:
			out[p.Name] = v.Value
		case *fbs.StringValueT:
			out[p.Name] = v.Value
		case *fbs.Integer32ArrayValueT:
			out[p.Name] = v.Value
		}
	}
	return out
}

func encodings(list []*fbs.RtpEncodingParametersT) []engine.Encoding {
	out := make([]engine.Encoding, len(list))
	for i, x := range list {
		e := engine.Encoding{
			RID: x.Rid, CodecPayloadType: x.CodecPayloadType, DTX: x.Dtx, ScalabilityMode: x.ScalabilityMode,
		}
		if x.Ssrc != nil {
			e.SSRC = *x.Ssrc
		}
		if x.Rtx != nil {
			e.RTXSSRC = x.Rtx.Ssrc
		}
		if x.MaxBitrate != nil {
			e.MaxBitrate = uint32(min(*x.MaxBitrate, math.MaxUint32))
		}
		out[i] = e
	}
	return out
}

func rtpMapping(m *fbs.RtpMappingT) engine.RTPMapping {
	e := engine.RTPMapping{
		Codecs:    make([]engine.CodecMapping, len(m.Codecs)),
		Encodings: make([]engine.EncodingMapping, len(m.Encodings)),
	}
	for i, c := range m.Codecs {
		e.Codecs[i] = engine.CodecMapping{PayloadType: c.PayloadType, MappedPayloadType: c.MappedPayloadType}
	}
	for i, x := range m.Encodings {
		e.Encodings[i] = engine.EncodingMapping{RID: x.Rid, MappedSSRC: x.MappedSsrc}
		if x.Ssrc != nil {
			e.Encodings[i].SSRC = *x.Ssrc
		}
	}
	return e
}

var (
	producerTraces = []string{
		fbs.ProducerTraceEventTypeKEYFRAME: "keyframe", fbs.ProducerTraceEventTypeFIR: "fir",
		fbs.ProducerTraceEventTypeNACK: "nack", fbs.ProducerTraceEventTypePLI: "pli",
		fbs.ProducerTraceEventTypeRTP: "rtp", fbs.ProducerTraceEventTypeSR: "sr",
	}
	consumerTraces = []string{
		fbs.ConsumerTraceEventTypeKEYFRAME: "keyframe", fbs.ConsumerTraceEventTypeFIR: "fir",
		fbs.ConsumerTraceEventTypeNACK: "nack", fbs.ConsumerTraceEventTypePLI: "pli",
		fbs.ConsumerTraceEventTypeRTP: "rtp",
	}
	transportTraces = []string{
		fbs.TransportTraceEventTypePROBATION: "probation", fbs.TransportTraceEventTypeBWE: "bwe",
	}
)

// traces returns the names of trace events; unknown ones are left out.
func traces[E ~uint8](names []string, list []E) []string {
	out := []string{}
	for _, v := range list {
		if int(v) < len(names) {
			out = append(out, names[v])
		}
	}
	return out
}

// traceTypes is the opposite of traces.
func traceTypes[E ~uint8](names []string, list []string) []E {
	out := []E{}
	for _, x := range list {
		if i := slices.Index(names, x); i >= 0 {
			out = append(out, E(i))
		}
	}
	return out
}
