package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// ffmpegPublish sends a test picture or a tone.
func ffmpegPublish(t *testing.T, s stream) []string {
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "warning", "-re", "-f", "lavfi"}
	switch s.encoding() {
	case "opus":
		args = append(args, "-i", fmt.Sprintf("sine=frequency=%d:sample_rate=48000", plainTone), "-ac", "2", "-c:a", "libopus", "-b:a", "64k")
	default:
		args = append(args, "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", plainWidth, plainHeight, plainFrameRate),
			"-pix_fmt", "yuv420p", "-b:v", "500k", "-g", fmt.Sprint(plainFrameRate))
	}
	switch s.encoding() {
	case "VP8":
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
	case "H264":
		args = append(args, "-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency")
	}
	args = append(args, "-f", "rtp", "-payload_type", fmt.Sprint(s.payloadType), "-ssrc", fmt.Sprint(s.ssrc))
	scheme := "rtp"
	if s.key != nil {
		scheme = "srtp"
		args = append(args, "-srtp_out_suite", string(s.key.CryptoSuite), "-srtp_out_params", s.key.KeyBase64)
	}
	return append(args, fmt.Sprintf("%s://%s:%d?rtcpport=%d&pkt_size=1200", scheme, s.ip, s.port, s.rtcpPort))
}

// ffmpegReceive decodes what an SDP file tells it.
func ffmpegReceive(t *testing.T, s stream) []string {
	profile, rtpmap, more := "RTP/AVP", s.encoding()+"/90000", ""
	switch s.encoding() {
	case "opus":
		rtpmap = "opus/48000/2"
	case "H264":
		more = fmt.Sprintf("a=fmtp:%d packetization-mode=1\n", s.payloadType)
	}
	if s.key != nil {
		profile = "RTP/SAVP"
		more += fmt.Sprintf("a=crypto:1 %s inline:%s\n", s.key.CryptoSuite, s.key.KeyBase64)
	}
	sdp := fmt.Sprintf("v=0\no=- 0 0 IN IP4 %[1]s\ns=mafalda\nc=IN IP4 %[1]s\nt=0 0\nm=%s %d %s %[5]d\na=rtpmap:%[5]d %s\n%s",
		s.ip, s.kind, s.port, profile, s.payloadType, rtpmap, more)
	file := filepath.Join(t.TempDir(), "stream.sdp")
	require.NoError(t, os.WriteFile(file, []byte(sdp), 0o600))
	args := []string{
		"-hide_banner", "-nostdin", "-loglevel", "warning", "-protocol_whitelist", "file,udp,rtp,srtp,crypto",
		"-fflags", "nobuffer", "-analyzeduration", "1000000", "-i", file,
	}
	if s.kind == mafalda.MediaKindAudio {
		return append(args, "-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1")
	}
	// No frame is doubled or left out for the sake of the frame rate.
	return append(args, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1")
}
