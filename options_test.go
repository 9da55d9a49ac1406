package mafalda

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var localhost = netip.MustParseAddr("127.0.0.1")

func udp(change ...func(*ListenInfo)) ListenInfo {
	l := ListenInfo{Protocol: ProtocolUDP, IP: localhost}
	for _, f := range change {
		f(&l)
	}
	return l
}

func srtpKey(suite SRTPCryptoSuite, n int) *SRTPParameters {
	return &SRTPParameters{suite, base64.StdEncoding.EncodeToString(make([]byte, n))}
}

func fingerprint(algorithm FingerprintAlgorithm, n int) DTLSFingerprint {
	return DTLSFingerprint{algorithm, strings.TrimSuffix(strings.Repeat("aB:", n), ":")}
}

func TestValidate(t *testing.T) {
	plain := PlainTransportOptions{ListenInfo: udp()}
	comedia := PlainTransportOptions{ListenInfo: udp(), Comedia: true}
	noMux := PlainTransportOptions{ListenInfo: udp(), RTCPMux: new(false)}
	withSRTP := PlainTransportOptions{ListenInfo: udp(), EnableSRTP: true}
	tcp := ListenInfo{Protocol: ProtocolTCP, IP: localhost}
	dtls := func(role DTLSRole, f ...DTLSFingerprint) error {
		return (&WebRTCTransportConnectOptions{DTLSParameters{role, f}}).validate()
	}
	certificate, key, err := GenerateDTLSCertificate()
	require.NoError(t, err)
	own := func(certificate, key string) error {
		return (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, DTLSCertificate: certificate, DTLSPrivateKey: key}).Validate()
	}
	tests := []struct {
		name string
		err  error
		ok   bool
	}{
		{"worker: zero value", (&WorkerSettings{}).Validate(), true},
		{"worker: all", (&WorkerSettings{LogLevel: LogLevelDebug, LogTags: logTags, RTCMinPort: 2000, RTCMaxPort: 2000, DTLSCertificateFile: "c", DTLSPrivateKeyFile: "k"}).Validate(), true},
		{"worker: log level", (&WorkerSettings{LogLevel: "loud"}).Validate(), false},
		{"worker: log tag", (&WorkerSettings{LogTags: []LogTag{LogTagICE, "x"}}).Validate(), false},
		{"worker: ports inverted", (&WorkerSettings{RTCMinPort: 2000, RTCMaxPort: 1999}).Validate(), false},
		{"worker: max below the default min", (&WorkerSettings{RTCMaxPort: 9999}).Validate(), false},
		{"worker: min above the default max", (&WorkerSettings{RTCMinPort: 60000}).Validate(), false},
		{"worker: certificate without key", (&WorkerSettings{DTLSCertificateFile: "c"}).Validate(), false},
		{"worker: key without certificate", (&WorkerSettings{DTLSPrivateKeyFile: "k"}).Validate(), false},
		{"worker update: zero value", (&WorkerUpdateableSettings{}).Validate(), true},
		{"worker update: log level", (&WorkerUpdateableSettings{LogLevel: "x"}).Validate(), false},
		{"worker update: log tag", (&WorkerUpdateableSettings{LogTags: []LogTag{"x"}}).Validate(), false},

		{"server: empty", (&WebRTCServerOptions{}).Validate(), false},
		{"server: both protocols", (&WebRTCServerOptions{ListenInfos: []ListenInfo{udp(), tcp}}).Validate(), true},
		{"server: second is bad", (&WebRTCServerOptions{ListenInfos: []ListenInfo{udp(), {Protocol: ProtocolTCP}}}).Validate(), false},

		{"listen: no protocol", (&ListenInfo{IP: localhost}).validate(), false},
		{"listen: unknown protocol", (&ListenInfo{Protocol: "sctp", IP: localhost}).validate(), false},
		{"listen: no IP", (&ListenInfo{Protocol: ProtocolUDP}).validate(), false},
		{"listen: range", new(udp(func(l *ListenInfo) { l.PortRange = PortRange{1000, 1000} })).validate(), true},
		{"listen: range inverted", new(udp(func(l *ListenInfo) { l.PortRange = PortRange{1001, 1000} })).validate(), false},
		{"listen: range without begin", new(udp(func(l *ListenInfo) { l.PortRange = PortRange{0, 1000} })).validate(), false},
		{"listen: range without end", new(udp(func(l *ListenInfo) { l.PortRange = PortRange{1000, 0} })).validate(), false},
		{"listen: announced", new(udp(func(l *ListenInfo) { l.AnnouncedAddress = "sfu.example" })).validate(), true},
		{"listen: announced nonsense", new(udp(func(l *ListenInfo) { l.AnnouncedAddress = "a b" })).validate(), false},
		{"listen: send buffer", new(udp(func(l *ListenInfo) { l.SendBufferSize = -1 })).validate(), false},
		{"listen: receive buffer", new(udp(func(l *ListenInfo) { l.RecvBufferSize = -1 })).validate(), false},
		{"listen: buffers up to what the system can express", new(udp(func(l *ListenInfo) { l.SendBufferSize, l.RecvBufferSize = 1<<31-1, 1<<31-1 })).validate(), true},
		{"listen: huge send buffer", new(udp(func(l *ListenInfo) { l.SendBufferSize = 1 << 31 })).validate(), false},
		{"listen: huge receive buffer", new(udp(func(l *ListenInfo) { l.RecvBufferSize = 1 << 32 })).validate(), false},

		{"webrtc: nothing to listen on", (&WebRTCTransportOptions{}).Validate(), false},
		{"webrtc: zero else", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}}).Validate(), true},
		{"webrtc: bad listen info", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{{}}}).Validate(), false},
		{"webrtc: first bitrate", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, InitialAvailableOutgoingBitrate: math.MaxUint32}).Validate(), true},
		{"webrtc: first bitrate too high", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, InitialAvailableOutgoingBitrate: math.MaxUint32 + 1}).Validate(), false},
		{"webrtc: negative first bitrate", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, InitialAvailableOutgoingBitrate: -1}).Validate(), false},
		{"webrtc: consent off", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, ICEConsentTimeout: new(time.Duration(0))}).Validate(), true},
		{"webrtc: consent negative", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, ICEConsentTimeout: new(-time.Second)}).Validate(), false},
		{"webrtc: consent too long", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, ICEConsentTimeout: new(61 * time.Second)}).Validate(), false},
		{"webrtc: consent too short", (&WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}, ICEConsentTimeout: new(9 * time.Second)}).Validate(), false},
		{"webrtc: certificate", own(certificate, key), true},
		{"webrtc: certificate without key", own(certificate, ""), false},
		{"webrtc: key without certificate", own("", key), false},
		{"webrtc: certificate and key swapped", own(key, certificate), false},
		{"webrtc: huge certificate", own(certificate+strings.Repeat("\n", 1<<16), key), false},
		{"webrtc: huge key", own(certificate, key+strings.Repeat("\n", 1<<16)), false},

		{"dtls: sha-256", dtls("", fingerprint(FingerprintSHA256, 32)), true},
		{"dtls: sha-1, server", dtls(DTLSRoleServer, fingerprint(FingerprintSHA1, 20)), true},
		{"dtls: second is bad", dtls("", fingerprint(FingerprintSHA512, 64), DTLSFingerprint{}), false},
		{"dtls: role", dtls("boss", fingerprint(FingerprintSHA256, 32)), false},
		{"dtls: none", dtls(DTLSRoleAuto), false},
		{"dtls: algorithm", dtls("", fingerprint("md5", 16)), false},
		{"dtls: length", dtls("", fingerprint(FingerprintSHA256, 31)), false},
		{"dtls: no colons", dtls("", DTLSFingerprint{FingerprintSHA1, strings.Repeat("ab", 20)}), false},
		{"dtls: colons misplaced", dtls("", DTLSFingerprint{FingerprintSHA1, strings.Repeat("ab", 20) + strings.Repeat(":", 19)}), false},
		{"dtls: not hexadecimal", dtls("", DTLSFingerprint{FingerprintSHA1, "xy" + fingerprint(FingerprintSHA1, 20).Value[2:]}), false},

		{"plain: least", plain.Validate(), true},
		{"plain: zero value", (&PlainTransportOptions{}).Validate(), false},
		{"plain: tcp", (&PlainTransportOptions{ListenInfo: tcp}).Validate(), false},
		{"plain: rtcp on tcp", (&PlainTransportOptions{ListenInfo: udp(), RTCPListenInfo: &tcp}).Validate(), false},
		{"plain: bad rtcp", (&PlainTransportOptions{ListenInfo: udp(), RTCPListenInfo: &ListenInfo{}}).Validate(), false},
		{"plain: suite", (&PlainTransportOptions{ListenInfo: udp(), SRTPCryptoSuite: "ROT13"}).Validate(), false},

		{"connect: address", (&PlainTransportConnectOptions{IP: localhost, Port: 9}).validate(&plain), true},
		{"connect: no IP", (&PlainTransportConnectOptions{Port: 9}).validate(&plain), false},
		{"connect: no port", (&PlainTransportConnectOptions{IP: localhost}).validate(&plain), false},
		{"connect: RTCP port with mux", (&PlainTransportConnectOptions{IP: localhost, Port: 9, RTCPPort: 10}).validate(&plain), false},
		{"connect: no RTCP port without mux", (&PlainTransportConnectOptions{IP: localhost, Port: 9}).validate(&noMux), false},
		{"connect: RTCP port without mux", (&PlainTransportConnectOptions{IP: localhost, Port: 9, RTCPPort: 10}).validate(&noMux), true},
		{"connect: comedia needs nothing", (&PlainTransportConnectOptions{}).validate(&comedia), true},
		{"connect: SRTP not enabled", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES128CM80, 30)}).validate(&plain), false},
		{"connect: SRTP missing", (&PlainTransportConnectOptions{IP: localhost, Port: 9}).validate(&withSRTP), false},
		{"connect: CM-80", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES128CM80, 30)}).validate(&withSRTP), true},
		{"connect: CM-32", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES128CM32, 30)}).validate(&withSRTP), true},
		{"connect: GCM-128", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES128GCM, 28)}).validate(&withSRTP), true},
		{"connect: GCM-256", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES256GCM, 44)}).validate(&withSRTP), true},
		{"connect: key length", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey(SRTPAES256GCM, 43)}).validate(&withSRTP), false},
		{"connect: key not base64", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: &SRTPParameters{SRTPAES128CM80, "!"}}).validate(&withSRTP), false},
		{"connect: suite", (&PlainTransportConnectOptions{IP: localhost, Port: 9, SRTPParameters: srtpKey("ROT13", 30)}).validate(&withSRTP), false},

		{"producer: audio", (&ProducerOptions{Kind: MediaKindAudio}).validate(), true},
		{"producer: no kind", (&ProducerOptions{}).validate(), false},
		{"producer: longest delay", (&ProducerOptions{Kind: MediaKindVideo, KeyFrameRequestDelay: maxKeyFrameRequestDelay}).validate(), true},
		{"producer: delay too long", (&ProducerOptions{Kind: MediaKindVideo, KeyFrameRequestDelay: maxKeyFrameRequestDelay + 1}).validate(), false},
		{"producer: delay negative", (&ProducerOptions{Kind: MediaKindVideo, KeyFrameRequestDelay: -1}).validate(), false},
		{"consumer: no producer", (&ConsumerOptions{}).validate(), false},
		{"consumer: producer", (&ConsumerOptions{ProducerID: "p"}).validate(), true},

		{"trace: sr of a Producer", validateTraceEvents([]TraceEventType{TraceSR, TraceRTP}, producerTraceEvents), true},
		{"trace: sr of a Consumer", validateTraceEvents([]TraceEventType{TraceSR}, consumerTraceEvents), false},
		{"trace: none", validateTraceEvents(nil, consumerTraceEvents), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ok {
				assert.NoError(t, tt.err)
			} else {
				assert.ErrorIs(t, tt.err, ErrInvalidArgument)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	first, last := (&WorkerSettings{}).portRange()
	assert.Equal(t, [2]uint16{10000, 59999}, [2]uint16{first, last})

	var web WebRTCTransportOptions
	assert.Equal(t, 30*time.Second, web.iceConsentTimeout())
	assert.True(t, web.enableUDP() && web.enableTCP())
	web.EnableTCP = new(false)
	assert.False(t, web.enableTCP())

	plain := PlainTransportOptions{ListenInfo: udp()}
	assert.Equal(t, SRTPAES128CM80, plain.srtpCryptoSuite())
	assert.True(t, plain.rtcpMux())
	assert.Nil(t, plain.rtcpListenInfo())
	plain.RTCPMux = new(false)
	assert.Equal(t, plain.ListenInfo, *plain.rtcpListenInfo())
	plain.ListenInfo.Port = 4
	assert.Zero(t, plain.rtcpListenInfo().Port, "RTP has that port")
	plain.RTCPMux, plain.RTCPListenInfo = new(true), new(udp(func(l *ListenInfo) { l.Port = 5 }))
	assert.False(t, plain.rtcpMux(), "an RTCPListenInfo turns RTCPMux off")
	assert.EqualValues(t, 5, plain.rtcpListenInfo().Port)

	assert.True(t, (&ConsumerOptions{}).enableRTX(MediaKindVideo))
	assert.False(t, (&ConsumerOptions{}).enableRTX(MediaKindAudio))
	assert.False(t, (&ConsumerOptions{EnableRTX: new(false)}).enableRTX(MediaKindVideo))
	assert.True(t, (&ConsumerOptions{EnableRTX: new(true)}).enableRTX(MediaKindAudio))
}

func TestLoadBetween(t *testing.T) {
	before, after := WorkerResourceUsage{Utime: 100, Stime: 50}, WorkerResourceUsage{Utime: 300, Stime: 100}
	assert.Equal(t, 0.25, LoadBetween(before, after, time.Second).CPU)
	assert.Zero(t, LoadBetween(after, before, time.Second))
	assert.Zero(t, LoadBetween(before, after, 0))
}

func TestIsHost(t *testing.T) {
	for _, s := range []string{"", "192.0.2.9", "2001:db8::1", "room.example", "localhost", "my_host"} {
		assert.True(t, isHost(s), s)
	}
	for _, s := range []string{"no address", "http://room.example", "192.0.2", "192.0.2.9:3000", "a..b", "-a.example", "a\r\nb", strings.Repeat("a.", 127)} {
		assert.False(t, isHost(s), s)
	}
}
