package interop

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// gstreamerSuite is how GStreamer names a suite and writes a key.
func gstreamerSuite(t *testing.T, key *mafalda.SRTPParameters) (cipher, auth, hex string) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key.KeyBase64)
	require.NoError(t, err)
	hex = fmt.Sprintf("%x", raw)
	switch key.CryptoSuite {
	case mafalda.SRTPAES128CM80:
		return "aes-128-icm", "hmac-sha1-80", hex
	case mafalda.SRTPAES128CM32:
		return "aes-128-icm", "hmac-sha1-32", hex
	case mafalda.SRTPAES128GCM:
		return "aes-128-gcm", "null", hex
	case mafalda.SRTPAES256GCM:
		return "aes-256-gcm", "null", hex
	}
	t.Fatalf("no suite %s", key.CryptoSuite)
	return "", "", ""
}

// gstreamerElements are those that come in packages of plugins.
var gstreamerElements = []string{
	"rtpbin", "srtpenc", "srtpdec", "vp8enc", "vp8dec", "vp9enc", "vp9dec", "openh264dec", "h264parse",
	"opusenc", "opusdec", "rtpvp8pay", "rtph264depay", "rtpopuspay", "udpsrc", "videotestsrc", "audiotestsrc",
}

// rtcpAuth is the authentication of RTCP, which CM-32 has as CM-80 (RFC 5764
// §4.1.2).
func rtcpAuth(auth string) string { return strings.Replace(auth, "-32", "-80", 1) }

// gstreamerPublish sends a test picture or a tone, with sender reports.
func gstreamerPublish(t *testing.T, s stream) []string {
	encode := map[string]string{
		"opus": "opusenc ! rtpopuspay",
		"VP8":  "vp8enc deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=25 ! rtpvp8pay mtu=1200 picture-id-mode=2",
		"VP9":  "vp9enc deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=25 ! rtpvp9pay mtu=1200 picture-id-mode=2",
	}[s.encoding()]
	require.NotEmpty(t, encode)
	source := fmt.Sprintf("videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1", plainWidth, plainHeight, plainFrameRate)
	if s.kind == mafalda.MediaKindAudio {
		source = fmt.Sprintf("audiotestsrc is-live=true freq=%d volume=0.5 ! audio/x-raw,rate=48000,channels=2", plainTone)
	}
	pipeline := fmt.Sprintf("rtpbin name=b %s ! %s pt=%d ssrc=%d ! b.send_rtp_sink_0 ", source, encode, s.payloadType, s.ssrc)
	rtp, rtcp := "b.send_rtp_src_0", "b.send_rtcp_src_0"
	if s.key != nil {
		cipher, auth, key := gstreamerSuite(t, s.key)
		pipeline += fmt.Sprintf("srtpenc name=e key=%s rtp-cipher=%s rtp-auth=%s rtcp-cipher=%s rtcp-auth=%s %s ! e.rtp_sink_0 %s ! e.rtcp_sink_0 ",
			key, cipher, auth, cipher, rtcpAuth(auth), rtp, rtcp)
		rtp, rtcp = "e.rtp_src_0", "e.rtcp_src_0"
	}
	pipeline += fmt.Sprintf("%s ! udpsink host=%s port=%d async=false %s ! udpsink host=%s port=%d sync=false async=false",
		rtp, s.ip, s.port, rtcp, s.ip, s.rtcpPort)
	return append([]string{"-q"}, strings.Fields(pipeline)...)
}

// gstreamerReceive decodes a stream. Encrypted RTCP is not looked at: srtpdec
// takes it on a pad of its own only.
func gstreamerReceive(t *testing.T, s stream) []string {
	decode := map[string]string{
		"opus": "rtpopusdepay ! opusdec",
		"VP8":  "rtpvp8depay ! vp8dec",
		"VP9":  "rtpvp9depay ! vp9dec",
		"H264": "rtph264depay ! h264parse ! openh264dec",
	}[s.encoding()]
	require.NotEmpty(t, decode)
	clock, raw := 90000, fmt.Sprintf("videoconvert ! video/x-raw,format=I420,width=%d,height=%d", plainWidth, plainHeight)
	if s.kind == mafalda.MediaKindAudio {
		clock, raw = 48000, "audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=48000,channels=1"
	}
	caps := fmt.Sprintf("media=%s,clock-rate=%d,encoding-name=%s,payload=%d,ssrc=(uint)%d", s.kind, clock, strings.ToUpper(s.encoding()), s.payloadType, s.ssrc)
	source := fmt.Sprintf("udpsrc address=%s port=%d caps=", s.ip, s.port)
	var pipeline string
	if s.key == nil {
		pipeline = fmt.Sprintf("rtpbin name=b latency=100 %sapplication/x-rtp,%s ! b.recv_rtp_sink_0 udpsrc address=%s port=%d ! b.recv_rtcp_sink_0 b.",
			source, caps, s.ip, s.rtcpPort)
	} else {
		cipher, auth, key := gstreamerSuite(t, s.key)
		pipeline = fmt.Sprintf("udpsrc address=%s port=%d ! fakesink %sapplication/x-srtp,%s,srtp-key=(buffer)%s,"+
			"srtp-cipher=(string)%s,srtp-auth=(string)%s,srtcp-cipher=(string)%s,srtcp-auth=(string)%s ! srtpdec ! rtpjitterbuffer latency=100",
			s.ip, s.rtcpPort, source, caps, key, cipher, auth, cipher, rtcpAuth(auth))
	}
	return append([]string{"-q"}, strings.Fields(pipeline+" ! "+decode+" ! "+raw+" ! fdsink fd=1 sync=false")...)
}
