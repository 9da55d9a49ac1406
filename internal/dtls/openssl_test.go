package dtls

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// openssl runs the program until the end of the test.
func openssl(t *testing.T, args ...string) (*output, func(string)) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no openssl")
		}
		t.Skip("no openssl here: interoperability not tested")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return &out, func(s string) { _, _ = in.Write([]byte(s)) }
}

func certificateFiles(t *testing.T) (cert, key string, der []byte) {
	t.Helper()
	dir, c := t.TempDir(), plainCertificate(t)
	k, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	require.NoError(t, os.WriteFile(cert, []byte(encodePEM(c.Certificate[0])), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), 0o600))
	return cert, key, c.Certificate[0]
}

// udp connects an end with a socket, whose peer is to, or else whoever sends.
func udp(t *testing.T, e *end, to *net.UDPAddr) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	var peer atomic.Pointer[net.UDPAddr]
	peer.Store(to)
	e.route(func(b []byte) { _, _ = pc.WriteToUDP(b, peer.Load()) })
	done := make(chan struct{})
	go func() { // ends when pc is closed
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFromUDP(b)
			if err != nil {
				return
			}
			peer.Store(from)
			e.Feed(b[:n])
		}
	}()
	t.Cleanup(func() {
		e.Close()
		e.Wait()
		_ = pc.Close()
		<-done
	})
	return pc
}

var keymat = regexp.MustCompile(`Keying material: ([0-9A-F]+)`)

// requireKeymat compares our keys with those that openssl printed.
func requireKeymat(t *testing.T, out *output, k *Keys, role Role) {
	t.Helper()
	client, server := k.RemoteMaster, k.LocalMaster
	if role == Client {
		client, server = server, client
	}
	n := k.Suite.KeyLen()
	want := fmt.Sprintf("%X%X%X%X", client[:n], server[:n], client[n:], server[n:])
	require.Eventually(t, func() bool {
		m := keymat.FindStringSubmatch(out.String())
		return m != nil && strings.HasPrefix(m[1], want)
	}, patience, 5*time.Millisecond, "keying material differs or is missing")
}

const chromeCiphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" +
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"

func TestOpenSSLClient(t *testing.T) {
	const order = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"
	for _, c := range []struct {
		name  string
		args  []string
		suite srtp.Suite // empty: must fail
	}{
		{"ciphers of Chrome", []string{"-cipher", chromeCiphers, "-use_srtp", order}, srtp.AEADAES128GCM},
		{"ChaCha20", []string{"-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-use_srtp", order}, srtp.AEADAES128GCM},
		{"AES-256 GCM", []string{"-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-use_srtp", order}, srtp.AEADAES128GCM},
		{"AES-256 CBC", []string{"-cipher", "ECDHE-ECDSA-AES256-SHA", "-use_srtp", order}, srtp.AEADAES128GCM},
		{"our last flight lost", []string{"-use_srtp", order}, srtp.AEADAES128GCM},
		{"we close", []string{"-use_srtp", order}, srtp.AEADAES128GCM},
		{"fragmented flights", []string{"-mtu", "300", "-use_srtp", order}, srtp.AEADAES128GCM},
		{"only CM_32", []string{"-use_srtp", "SRTP_AES128_CM_SHA1_32"}, srtp.AESCM128SHA32},
		{"no srtp", nil, ""},
		{"no certificate", []string{"-use_srtp", order}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := start(t, Server, nil)
			pc := udp(t, e, nil)
			if c.name == "our last flight lost" {
				send, lost := *e.out.Load(), atomic.Bool{}
				e.route(func(b []byte) {
					if b[0] != typeChangeCipherSpec || lost.Swap(true) {
						send(b)
					}
				})
			}
			cert, key, der := certificateFiles(t)
			args := append([]string{"s_client", "-dtls1_2", "-connect", pc.LocalAddr().String(),
				"-keymatexport", exportLabel, "-keymatexportlen", "88"}, c.args...)
			if c.name != "no certificate" {
				args = append(args, "-cert", cert, "-key", key)
			}
			out, input := openssl(t, args...)
			e.expect(t, Connecting)
			if c.suite == "" {
				require.Error(t, e.expect(t, Failed).Err)
				e.quiet(t)
				return
			}
			ev := e.expect(t, Connected)
			require.Equal(t, c.suite, ev.Keys.Suite)
			require.Equal(t, der, ev.RemoteCertificate)
			requireKeymat(t, out, ev.Keys, Server)
			input("from openssl\n")
			require.Equal(t, "from openssl\n", string(e.expect(t, NoState).Data))
			require.NoError(t, e.Write([]byte("from us\n")))
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "from us") }, patience, 5*time.Millisecond)
			if c.name == "we close" {
				e.Close()
				e.quiet(t)
				require.Eventually(t, func() bool { return strings.Contains(out.String(), "closed") }, patience, 5*time.Millisecond)
				return
			}
			input("Q\n") // ends with close_notify
			e.expect(t, Closed)
			e.quiet(t)
		})
	}
}

func TestOpenSSLServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		suite srtp.Suite // empty: must fail
	}{
		{"theirs first", []string{"-use_srtp", "SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"}, srtp.AEADAES256GCM},
		{"fragmented flights", []string{"-mtu", "300", "-use_srtp", "SRTP_AEAD_AES_128_GCM"}, srtp.AEADAES128GCM},
		{"only CM_32", []string{"-use_srtp", "SRTP_AES128_CM_SHA1_32"}, srtp.AESCM128SHA32},
		{"no srtp", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A port that was free a moment ago.
			free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			require.NoError(t, err)
			to := free.LocalAddr().(*net.UDPAddr)
			require.NoError(t, free.Close())
			cert, key, der := certificateFiles(t)
			out, _ := openssl(t, append([]string{"s_server", "-dtls1_2", "-accept", to.String(), "-cert", cert, "-key", key,
				"-verify", "1", "-keymatexport", exportLabel, "-keymatexportlen", "88"}, c.args...)...)
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "ACCEPT") }, patience, 5*time.Millisecond)
			e := start(t, Client, nil)
			udp(t, e, to)
			e.expect(t, Connecting)
			if c.suite == "" {
				require.Error(t, e.expect(t, Failed).Err)
				e.quiet(t)
				return
			}
			ev := e.expect(t, Connected)
			require.Equal(t, c.suite, ev.Keys.Suite)
			require.Equal(t, der, ev.RemoteCertificate)
			requireKeymat(t, out, ev.Keys, Client)
			require.NoError(t, e.Write([]byte("from us\n")))
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "from us") }, patience, 5*time.Millisecond)
			// It closes its socket before it could say that it does, so we do it.
			e.Close()
			e.quiet(t)
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "DONE") }, patience, 5*time.Millisecond)
		})
	}
}
