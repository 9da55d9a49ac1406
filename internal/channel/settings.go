package channel

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
)

// ErrSettings is a setting that can't be used.
var ErrSettings = errors.New("settings error")

// Settings are what a worker is started with. The zero value has an error log
// and ports 10000 to 59999.
type Settings struct {
	LogLevel string // "debug", "warn", "error" or "none"; empty: "error"
	LogTags  []string
	// RTCMinPort and RTCMaxPort are the ports of who asks for none. nil: the default.
	RTCMinPort, RTCMaxPort *uint16
	// DTLSCertificateFile and DTLSPrivateKeyFile are PEM files, both or none:
	// then a certificate is made.
	DTLSCertificateFile, DTLSPrivateKeyFile string
}

// options are the command line options of mediasoup-worker. Each has a value.
var options = map[string]func(s *Settings, value string) error{
	"logLevel":            func(s *Settings, v string) error { s.LogLevel = v; return nil },
	"logTags":             func(s *Settings, v string) error { s.LogTags = append(s.LogTags, v); return nil },
	"rtcMinPort":          func(s *Settings, v string) (err error) { s.RTCMinPort, err = portNumber(v); return err },
	"rtcMaxPort":          func(s *Settings, v string) (err error) { s.RTCMaxPort, err = portNumber(v); return err },
	"dtlsCertificateFile": func(s *Settings, v string) error { s.DTLSCertificateFile = v; return nil },
	"dtlsPrivateKeyFile":  func(s *Settings, v string) error { s.DTLSPrivateKeyFile = v; return nil },
	// There is no libwebrtc inside.
	"libwebrtcFieldTrials": func(*Settings, string) error { return nil },
}

// ParseArgs reads the arguments of a worker, as getopt_long does: --name=value
// or --name value, where any beginning of a name will do that fits one only (npm
// mediasoup says --logTag). Other arguments are ignored. Errors: ErrSettings.
func ParseArgs(args []string) (Settings, error) {
	var s Settings
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			continue
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		option := match(name)
		if option == nil || !strings.HasPrefix(arg, "--") {
			return s, fmt.Errorf("%w: option %q", ErrSettings, arg)
		}
		if !inline {
			if len(args) == 0 {
				return s, fmt.Errorf("%w: option %q has no value", ErrSettings, arg)
			}
			value, args = args[0], args[1:]
		}
		if err := option(&s, value); err != nil {
			return s, fmt.Errorf("%w: option %q: %w", ErrSettings, arg, err)
		}
	}
	return s, nil
}

// match returns the option whose name is, or alone begins with, name.
func match(name string) func(*Settings, string) error {
	if o := options[name]; o != nil {
		return o
	}
	var found func(*Settings, string) error
	for n, o := range options {
		if strings.HasPrefix(n, name) {
			if found != nil {
				return nil
			}
			found = o
		}
	}
	return found
}

func portNumber(v string) (*uint16, error) {
	n, err := strconv.ParseUint(v, 10, 16)
	return new(uint16(n)), err
}

const firstPort, lastPort = 10000, 59999 // mediasoup's defaults

// ports returns the range of ports.
func (s *Settings) ports() (first, last uint16, err error) {
	first, last = firstPort, lastPort
	if s.RTCMinPort != nil {
		first = *s.RTCMinPort
	}
	if s.RTCMaxPort != nil {
		last = *s.RTCMaxPort
	}
	if last < first {
		return 0, 0, fmt.Errorf("%w: rtcMaxPort %d is below rtcMinPort %d", ErrSettings, last, first)
	}
	return max(first, 1), max(last, 1), nil // 0 would be any port
}

// certificate loads the certificate, or makes one.
func (s *Settings) certificate() (*dtls.Certificate, error) {
	if s.DTLSCertificateFile == "" && s.DTLSPrivateKeyFile == "" {
		return dtls.Generate(nil)
	}
	if s.DTLSCertificateFile == "" || s.DTLSPrivateKeyFile == "" {
		return nil, fmt.Errorf("%w: dtlsCertificateFile and dtlsPrivateKeyFile go together", ErrSettings)
	}
	cert, err := os.ReadFile(s.DTLSCertificateFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	key, err := os.ReadFile(s.DTLSPrivateKeyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	c, err := dtls.Load(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return c, nil
}

// log makes the log.
func (s *Settings) log() (*Log, error) {
	level := s.LogLevel
	if level == "" {
		level = "error"
	}
	l, ok := NewLog(level, s.LogTags)
	if !ok {
		return nil, fmt.Errorf("%w: log level %q", ErrSettings, s.LogLevel)
	}
	return l, nil
}
