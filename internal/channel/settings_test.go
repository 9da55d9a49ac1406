package channel

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestParseArgs(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want Settings
	}{
		"none": {},
		"of npm mediasoup": {
			[]string{
				"--logLevel=debug", "--logTag=info", "--logTag=ice", "--rtcMinPort=0", "--rtcMaxPort=9999",
				"--dtlsCertificateFile=/a b", "--dtlsPrivateKeyFile=c=d", "--libwebrtcFieldTrials=x",
			},
			Settings{
				LogLevel: "debug", LogTags: []string{"info", "ice"}, RTCMinPort: new(uint16(0)), RTCMaxPort: new(uint16(9999)),
				DTLSCertificateFile: "/a b", DTLSPrivateKeyFile: "c=d",
			},
		},
		"values apart": {
			[]string{"--logLevel", "warn", "--logTags", "sctp", "--rtcMin", "1"},
			Settings{LogLevel: "warn", LogTags: []string{"sctp"}, RTCMinPort: new(uint16(1))},
		},
		"others":        {[]string{"x", "--logLevel=none", "-", "--", "--chicken"}, Settings{LogLevel: "none"}},
		"an empty one":  {[]string{"--logLevel="}, Settings{}},
		"the last wins": {[]string{"--logLevel=warn", "--logLevel=none"}, Settings{LogLevel: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseArgs(test.args)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(test.want, got))
		})
	}
}

func TestParseArgsErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown":     {"--chicken=1"},
		"short":       {"-l", "debug"},
		"ambiguous":   {"--log=debug"},
		"no value":    {"--logLevel"},
		"no number":   {"--rtcMinPort=x"},
		"too high":    {"--rtcMaxPort=65536"},
		"negative":    {"--rtcMinPort=-1"},
		"no name":     {"--=1"},
		"single dash": {"-logLevel=debug"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseArgs(args)
			require.ErrorIs(t, err, ErrSettings)
		})
	}
}

func TestSettingsErrors(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	require.NoError(t, os.WriteFile(junk, []byte("junk"), 0o600))
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, s := range map[string]Settings{
		"log level":           {LogLevel: "chicken"},
		"ports":               {RTCMinPort: new(uint16(1000)), RTCMaxPort: new(uint16(999))},
		"certificate alone":   {DTLSCertificateFile: junk},
		"key alone":           {DTLSPrivateKeyFile: junk},
		"missing certificate": {DTLSCertificateFile: missing, DTLSPrivateKeyFile: junk},
		"missing key":         {DTLSCertificateFile: junk, DTLSPrivateKeyFile: missing},
		"no certificate":      {DTLSCertificateFile: junk, DTLSPrivateKeyFile: junk},
	} {
		t.Run(name, func(t *testing.T) {
			err := Serve(context.Background(), Config{Settings: s, Requests: &emptyReader{}, Replies: io.Discard, Stderr: io.Discard})
			require.ErrorIs(t, err, ErrSettings)
		})
	}
}

type emptyReader struct{}

func (*emptyReader) Read([]byte) (int, error) { return 0, io.EOF }
