package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

const (
	serverModule = "github.com/livekit/livekit-server"
	serverDir    = "bench/livekit/server"
	// serverVariable tells the processes of the benchmark where the server is.
	serverVariable = "MAFALDA_BENCH_LIVEKIT"
	// building is how long the build may take, the first time.
	building = 3 * time.Minute
	starting = 20 * time.Second

	signalAddr = "127.0.0.1:7880"
	mediaPort  = 7882
	apiKey     = "bench"
	apiSecret  = "of a server that nobody else can reach"
)

// buildServer builds the server, unless the build cache has it.
func buildServer() error {
	ctx, cancel := context.WithTimeout(context.Background(), building)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "-C", serverDir, "tool", "-n", serverModule+"/cmd/server")
	c.WaitDelay = time.Second
	var said bytes.Buffer
	c.Stderr = &said
	path, err := c.Output()
	if ctx.Err() != nil {
		return fmt.Errorf("%w: building LiveKit's server took more than %v; the next time goes on from there", harness.ErrUnavailable, building)
	}
	if err != nil {
		return fmt.Errorf("%w: building LiveKit's server: %v: %s", harness.ErrUnavailable, err, lastLine(said.String()))
	}
	return os.Setenv(serverVariable, strings.TrimSpace(string(path)))
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// A server is LiveKit's, as a process of its own in the benchmark's network.
type server struct {
	cmd      *exec.Cmd
	versions map[string]string
	ended    chan error
}

const batchConfig = `
  batch_io:
    batch_size: 128
    max_flush_interval: 2ms`

func startServer(h *harness.Host, batch bool) (*server, error) {
	path := os.Getenv(serverVariable)
	versions, err := versionsOf(path)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`
port: 7880
bind_addresses: [127.0.0.1]
keys: {%q: %q}
logging: {level: fatal}
rtc:
  udp_port: %d
  node_ip: %s
  use_external_ip: false
  use_ice_lite: true
  allow_tcp_fallback: false`, apiKey, apiSecret, mediaPort, h.Addr())
	if batch {
		config += batchConfig
	}
	s := &server{cmd: exec.Command(path), versions: versions, ended: make(chan error, 1)}
	s.cmd.Env = append(os.Environ(), "LIVEKIT_CONFIG="+config)
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }() // ends with the server
	if err := s.answers(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// answers returns when the server does.
func (s *server) answers() error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(starting)
	client := http.Client{Timeout: time.Second}
	for {
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the server ended: %v", err)
		case <-late:
			return fmt.Errorf("the server does not answer after %v", starting)
		case <-again.C:
			r, err := client.Get("http://" + signalAddr)
			if err == nil {
				r.Body.Close()
				return nil
			}
		}
	}
}

// stop ends the server. There is nothing to be saved.
func (s *server) stop() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.ended
	return nil
}

// versionsOf tells of what the server was built.
func versionsOf(path string) (map[string]string, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the server: %w", err)
	}
	v := map[string]string{"go": info.GoVersion}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Replace != nil {
			m = m.Replace
		}
		if strings.HasPrefix(m.Path, "github.com/livekit/") || strings.HasPrefix(m.Path, "github.com/pion/") {
			v[m.Path] = m.Version
		}
	}
	return v, nil
}

// datagrams returns how many datagrams the network of this process has sent, or
// dropped at the device, which is what happens to them when nobody reads. It is
// 0 if the kernel does not tell.
func datagrams() uint64 {
	b, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		return 0
	}
	var names []string
	var sum uint64
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names[:min(len(names), len(f))] {
			if name == "OutDatagrams" || name == "SndbufErrors" {
				n, _ := strconv.ParseUint(f[i], 10, 64)
				sum += n
			}
		}
	}
	return sum
}
