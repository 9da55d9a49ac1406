package mafalda

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/simnet"
)

// exactlyOne checks that err is an *Error of one class.
func exactlyOne(t *testing.T, err, class error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !assert.True(t, ok, "%v is no *Error", err) {
		return
	}
	assert.NotEmpty(t, e.Op)
	assert.NotEmpty(t, e.Object)
	for _, c := range []error{
		ErrInvalidArgument, ErrInvalidState, ErrNotFound, ErrUnavailable, errors.ErrUnsupported,
		context.Canceled, context.DeadlineExceeded,
	} {
		assert.Equal(t, c == class, errors.Is(err, c), "%v is %v", err, c)
	}
}

func TestCallErrors(t *testing.T) {
	ctx := t.Context()
	s := testSFU(t)
	w, err := s.CreateWorker(ctx, WorkerSettings{})
	require.NoError(t, err)
	other, err := s.CreateWorker(ctx, WorkerSettings{})
	require.NoError(t, err)
	r, server := testRouter(t, w), testServer(t, w)
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1))
	plain, err := r.CreatePlainTransport(ctx, PlainTransportOptions{ListenInfo: udp()})
	require.NoError(t, err)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	foreign := struct{ WebRTCServer }{server}
	two := audioOptions(5)
	two.RTPParameters.Encodings = append(two.RTPParameters.Encodings, RTPEncodingParameters{SSRC: 6})
	layers := audioOptions(7)
	layers.RTPParameters.Encodings[0].ScalabilityMode = "L3T3"
	caps := r.RTPCapabilities()
	webOn := func(s WebRTCServer) func() error {
		return func() error {
			_, err := r.CreateWebRTCTransport(ctx, WebRTCTransportOptions{WebRTCServer: s})
			return err
		}
	}
	produce := func(tr Transport, o ProducerOptions) func() error {
		return func() error { _, err := tr.Produce(ctx, o); return err }
	}
	consume := func(o ConsumerOptions) func() error {
		return func() error { _, err := d.Consume(ctx, o); return err }
	}
	withID := func(o ProducerOptions, id string) ProducerOptions {
		o.ID = id
		return o
	}
	tests := []struct {
		name  string
		call  func() error
		class error
	}{
		{"settings", func() error { _, err := s.CreateWorker(ctx, WorkerSettings{LogLevel: "x"}); return err }, ErrInvalidArgument},
		{"certificate file", func() error {
			_, err := s.CreateWorker(ctx, WorkerSettings{DTLSCertificateFile: "nowhere", DTLSPrivateKeyFile: "nowhere"})
			return err
		}, ErrInvalidArgument},
		{"two settings", func() error { _, err := CreateWorker(WorkerSettings{}, WorkerSettings{}); return err }, ErrInvalidArgument},
		{"cancelled CreateWorker", func() error { _, err := s.CreateWorker(cancelled, WorkerSettings{}); return err }, context.Canceled},
		{"cancelled operation", func() error { return p.Pause(cancelled) }, context.Canceled},
		{"cancelled creation", func() error { _, err := w.CreateRouter(cancelled, RouterOptions{}); return err }, context.Canceled},
		{"cancelled UpdateSettings", func() error { return w.UpdateSettings(cancelled, WorkerUpdateableSettings{}) }, context.Canceled},
		{"cancelled UpdateMediaCodecs", func() error { return r.UpdateMediaCodecs(cancelled, nil) }, context.Canceled},
		{"codec", func() error {
			_, err := w.CreateRouter(ctx, RouterOptions{MediaCodecs: []RouterRTPCodecCapability{{
				Kind: MediaKindAudio, MIMEType: "audio/x-aiff", ClockRate: 1,
			}}})
			return err
		}, errors.ErrUnsupported},
		{"foreign server", webOn(foreign), ErrInvalidArgument},
		{"server of another Worker", webOn(testServer(t, other)), ErrInvalidArgument},
		{"nothing to listen on", webOn(nil), ErrInvalidArgument},
		{"address of nobody", func() error {
			_, err := r.CreatePlainTransport(ctx, PlainTransportOptions{ListenInfo: udp(func(l *ListenInfo) {
				l.IP = netip.MustParseAddr("192.0.2.1")
			})})
			return err
		}, ErrUnavailable},
		{"port in use", func() error {
			_, err := r.CreatePlainTransport(ctx, PlainTransportOptions{ListenInfo: udp(func(l *ListenInfo) {
				l.Port = plain.Tuple().LocalPort
			})})
			return err
		}, ErrUnavailable},
		{"unconnectable", func() error { return plain.Connect(ctx, PlainTransportConnectOptions{}) }, ErrInvalidArgument},
		{"bitrate of a direct transport", func() error { return d.SetMaxIncomingBitrate(ctx, 1) }, errors.ErrUnsupported},
		{"kind", produce(d, ProducerOptions{Kind: "x"}), ErrInvalidArgument},
		{"simulcast of Opus", produce(d, two), ErrInvalidArgument},
		{"layers of Opus", produce(d, layers), ErrInvalidArgument},
		{"SSRC in use", produce(d, audioOptions(1)), ErrInvalidState},
		{"id in use", produce(d, withID(audioOptions(9), p.ID())), ErrInvalidState},
		{"id in use elsewhere", produce(plain, withID(audioOptions(9), p.ID())), ErrInvalidState},
		{"id of a Router", produce(d, withID(audioOptions(9), r.ID())), ErrInvalidState},
		{"no Producer id", consume(ConsumerOptions{RTPCapabilities: caps}), ErrInvalidArgument},
		{"unknown Producer", consume(ConsumerOptions{ProducerID: "x", RTPCapabilities: caps}), ErrNotFound},
		{"no codec in common", consume(ConsumerOptions{ProducerID: p.ID()}), errors.ErrUnsupported},
		{"trace type", func() error { return p.EnableTraceEvent(ctx, "bwe") }, ErrInvalidArgument},
	}
	for _, test := range tests {
		exactlyOne(t, test.call(), test.class)
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
	dump, err := w.Dump(ctx)
	require.NoError(t, err)
	assert.Len(t, dump.MessageHandlers.RequestHandlers, 5, "nothing is left of what failed")
	assert.Equal(t, []Transport{d, plain}, r.Transports())
	assert.Equal(t, []Producer{p}, d.Producers())
	require.NoError(t, server.Close())
	exactlyOne(t, webOn(server)(), ErrInvalidState)
	assert.Contains(t, p.Pause(cancelled).Error(), "Producer("+p.ID()+").Pause: ")
}

// TestCNAME: all Producers of a transport have one.
func TestCNAME(t *testing.T) {
	r := testRouter(t, testWorker(t))
	given := func(ssrc uint32, cname string) ProducerOptions {
		o := audioOptions(ssrc)
		o.RTPParameters.RTCP.CNAME = cname
		return o
	}
	for _, test := range []struct{ first, second, want string }{
		{"", "second", ""}, {"first", "second", "first"}, {"first", "", "first"},
	} {
		d := testDirect(t, r)
		a := testProduce(t, d, given(1, test.first)).RTPParameters().RTCP.CNAME
		b := testProduce(t, d, given(2, test.second)).RTPParameters().RTCP.CNAME
		assert.Equal(t, a, b)
		if test.want == "" {
			assert.Len(t, a, 8)
		} else {
			assert.Equal(t, test.want, a)
		}
	}
}

// TestCNAMEOfRefused: a Produce that fails decides no CNAME.
func TestCNAMEOfRefused(t *testing.T) {
	r := testRouter(t, testWorker(t))
	given := func(o ProducerOptions, cname string) ProducerOptions {
		o.RTPParameters.RTCP.CNAME = cname
		return o
	}
	simulcast := audioOptions(0)
	simulcast.RTPParameters.Encodings = []RTPEncodingParameters{{RID: "a"}, {RID: "b"}}
	unknown := audioOptions(3)
	unknown.RTPParameters.Codecs[0].MIMEType = "audio/PCMU"
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, refused := range map[string]struct {
		ctx   context.Context
		o     ProducerOptions
		class error
	}{
		"by the engine":      {t.Context(), simulcast, ErrInvalidArgument},
		"by the negotiation": {t.Context(), unknown, errors.ErrUnsupported},
		"by its context":     {cancelled, audioOptions(3), context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDirect(t, r)
			_, err := d.Produce(refused.ctx, given(refused.o, "refused"))
			exactlyOne(t, err, refused.class)
			p := testProduce(t, d, given(audioOptions(1), "first"))
			assert.Equal(t, "first", p.RTPParameters().RTCP.CNAME)
			_, err = d.Produce(refused.ctx, given(refused.o, "refused"))
			exactlyOne(t, err, refused.class)
			require.NoError(t, p.Close())
			assert.Equal(t, "first", testProduce(t, d, given(audioOptions(2), "second")).RTPParameters().RTCP.CNAME)
		})
	}
	// Of many at a time one decides.
	d := testDirect(t, r)
	var wg sync.WaitGroup
	names := make([]string, 8)
	for i := range names {
		wg.Go(func() {
			_, err := d.Produce(t.Context(), given(simulcast, "refused"))
			assert.ErrorIs(t, err, ErrInvalidArgument)
			p, err := d.Produce(t.Context(), given(audioOptions(uint32(10+i)), "name"+string(rune('0'+i))))
			if assert.NoError(t, err) {
				names[i] = p.RTPParameters().RTCP.CNAME
			}
		})
	}
	wg.Wait()
	assert.Len(t, slices.Compact(names), 1)
}

// TestMID: those that are not given count up (recording 05-cname-mid).
func TestMID(t *testing.T) {
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1))
	next := func(mid string) string {
		c, err := d.Consume(t.Context(), ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities(), MID: mid})
		require.NoError(t, err)
		return c.RTPParameters().MID
	}
	for _, test := range [][2]string{{"", "0"}, {"m", "m"}, {"", "1"}, {"", "2"}, {"4", "4"}, {"", "3"}} {
		assert.Equal(t, test[1], next(test[0]))
	}
	d.(*directTransport).nextMID = lastAutoMID
	assert.Equal(t, "99999999", next(""))
	assert.Equal(t, "0", next(""))
	_, err := d.Consume(t.Context(), ConsumerOptions{ProducerID: p.ID()})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.Equal(t, "1", next(""), "a failed call took none")
}

func TestCopies(t *testing.T) {
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	o := audioOptions(1)
	p := testProduce(t, d, o)
	c := testConsume(t, r, d, p)
	o.RTPParameters.Codecs[0].MIMEType = "changed"
	for range 2 {
		caps := r.RTPCapabilities()
		assert.Equal(t, "audio/opus", caps.Codecs[0].MIMEType)
		caps.Codecs[0].MIMEType = "changed"
		for _, params := range []RTPParameters{p.RTPParameters(), c.RTPParameters()} {
			assert.Equal(t, "audio/opus", params.Codecs[0].MIMEType)
			params.Codecs[0].MIMEType = "changed"
			params.Codecs[0].Parameters["x"] = 1
		}
		assert.NotContains(t, p.RTPParameters().Codecs[0].Parameters, "x")
		scores := c.Score().ProducerScores
		require.Len(t, scores, 1)
		assert.Zero(t, scores[0])
		scores[0] = 7
	}
}

// TestConsumersShareParameters: what Consumers of a Producer have alike is in
// memory once, and whoever changes what he gave or got changes no other.
func TestConsumersShareParameters(t *testing.T) {
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	p := testProduce(t, d, videoOptions(1))
	consume := func(caps RTPCapabilities) *consumer {
		c, err := d.Consume(t.Context(), ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps, EnableRTX: new(true)})
		require.NoError(t, err)
		before := plain(c.RTPParameters())
		scribble(&caps)
		require.Equal(t, before, plain(c.RTPParameters()), "the caller's capabilities are not kept")
		return c.(*consumer)
	}
	first, second := consume(r.RTPCapabilities()), consume(r.RTPCapabilities())
	require.Len(t, first.rtpParameters.Codecs, 2)
	assert.Same(t, &first.rtpParameters.Codecs[0], &second.rtpParameters.Codecs[0])
	assert.Same(t, &first.rtpParameters.HeaderExtensions[0], &second.rtpParameters.HeaderExtensions[0])

	for _, uri := range []RTPHeaderExtensionURI{RTPHeaderExtensionMID, RTPHeaderExtensionTransportWideCC} {
		few := r.RTPCapabilities()
		few.HeaderExtensions = slices.DeleteFunc(few.HeaderExtensions, func(e RTPHeaderExtension) bool { return e.URI != uri })
		for i := range few.Codecs {
			few.Codecs[i].RTCPFeedback = nil
		}
		other := consume(few).RTPParameters()
		require.Len(t, other.HeaderExtensions, 1)
		assert.Equal(t, uri, other.HeaderExtensions[0].URI)
		assert.Empty(t, other.Codecs[0].RTCPFeedback)
	}
	assert.Equal(t, plain(first.rtpParameters.Codecs), plain(consume(r.RTPCapabilities()).rtpParameters.Codecs))

	all := func() (v []any) {
		v = append(v, plain(p.(*producer).consumable))
		for _, c := range d.Consumers() {
			dump, err := c.Dump(t.Context())
			require.NoError(t, err)
			v = append(v, plain(c.RTPParameters()), plain(dump.RTPParameters), plain(dump.ConsumableRTPEncodings))
			scribble(new(c.RTPParameters()))
			scribble(&dump)
		}
		return v
	}
	assert.Equal(t, all(), all())
}

// TestConsumersOfOtherCodecs: lists that differ by nothing but the codec are not shared.
func TestConsumersOfOtherCodecs(t *testing.T) {
	w := testWorker(t)
	r, err := w.CreateRouter(t.Context(), RouterOptions{MediaCodecs: append(testCodecs(),
		RouterRTPCodecCapability{Kind: MediaKindVideo, MIMEType: "video/VP9", ClockRate: 90000})})
	require.NoError(t, err)
	d := testDirect(t, r)
	o := videoOptions(1)
	o.RTPParameters.Codecs = append(o.RTPParameters.Codecs, RTPCodecParameters{MIMEType: "video/VP9", PayloadType: 97, ClockRate: 90000})
	p := testProduce(t, d, o)
	for _, name := range []string{"video/VP8", "video/VP9", "video/VP8"} {
		caps := r.RTPCapabilities()
		caps.Codecs = slices.DeleteFunc(caps.Codecs, func(c RTPCodecCapability) bool { return c.MIMEType != name })
		c, err := d.Consume(t.Context(), ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: caps})
		require.NoError(t, err)
		require.Len(t, c.RTPParameters().Codecs, 1)
		assert.Equal(t, name, c.RTPParameters().Codecs[0].MIMEType)
		dump, err := c.Dump(t.Context())
		require.NoError(t, err)
		assert.Equal(t, name, dump.RTPParameters.Codecs[0].MIMEType)
	}
}

func TestUpdateMediaCodecs(t *testing.T) {
	r := testRouter(t, testWorker(t))
	d := testDirect(t, r)
	p := testProduce(t, d, audioOptions(1))
	caps := r.RTPCapabilities()
	require.NoError(t, r.UpdateMediaCodecs(t.Context(), nil))
	assert.Empty(t, r.RTPCapabilities().Codecs)
	assert.NotEmpty(t, r.RTPCapabilities().HeaderExtensions)
	assert.True(t, r.CanConsume(p.ID(), caps), "those that exist are not affected")
	_, err := d.Produce(t.Context(), audioOptions(2))
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	assert.False(t, r.CanConsume(p.ID(), RTPCapabilities{Codecs: []RTPCodecCapability{{MIMEType: "x"}}}), "invalid capabilities")
	assert.False(t, r.CanConsume("x", caps))
}

func TestDefaultSFU(t *testing.T) {
	w, err := CreateWorker(WorkerSettings{AppData: "mine"})
	require.NoError(t, err)
	assert.Equal(t, "mine", w.AppData())
	assert.Equal(t, os.Getpid(), w.PID())
	assert.Contains(t, defaultSFU().Workers(), w)
	require.NoError(t, w.Close())
	assert.NotContains(t, defaultSFU().Workers(), w)
	assert.Equal(t, SupportedRTPCapabilities(), New().SupportedRTPCapabilities())
}

// TestCertificate gives a Worker a certificate, and a transport another one, and looks
// for their fingerprints.
func TestCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, typ string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b}), 0o600))
		return path
	}
	settings := WorkerSettings{
		DTLSCertificateFile: write("cert.pem", "CERTIFICATE", der),
		DTLSPrivateKeyFile:  write("key.pem", "EC PRIVATE KEY", keyDER),
	}
	s := testSFU(t)
	var prints [][]DTLSFingerprint
	for range 2 {
		w, err := s.CreateWorker(t.Context(), settings)
		require.NoError(t, err)
		tr, err := testRouter(t, w).CreateWebRTCTransport(t.Context(), WebRTCTransportOptions{WebRTCServer: testServer(t, w)})
		require.NoError(t, err)
		prints = append(prints, tr.DTLSParameters().Fingerprints)
	}
	assert.Equal(t, prints[0], prints[1])

	own := WebRTCTransportOptions{ListenInfos: []ListenInfo{udp()}}
	own.DTLSCertificate, own.DTLSPrivateKey, err = GenerateDTLSCertificate()
	require.NoError(t, err)
	w, err := s.CreateWorker(t.Context(), settings)
	require.NoError(t, err)
	tr, err := testRouter(t, w).CreateWebRTCTransport(t.Context(), own)
	require.NoError(t, err)
	assert.NotEqual(t, prints[0], tr.DTLSParameters().Fingerprints)

	settings.DTLSPrivateKeyFile = settings.DTLSCertificateFile
	_, err = s.CreateWorker(t.Context(), settings)
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

// TestPortRange takes the ports of the settings, and no others.
func TestPortRange(t *testing.T) {
	w, err := testSFU(t).CreateWorker(t.Context(), WorkerSettings{RTCMinPort: 43100, RTCMaxPort: 43101})
	require.NoError(t, err)
	r := testRouter(t, w)
	for range 2 {
		tr, err := r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp()})
		require.NoError(t, err)
		assert.Contains(t, []uint16{43100, 43101}, tr.Tuple().LocalPort)
	}
	_, err = r.CreatePlainTransport(t.Context(), PlainTransportOptions{ListenInfo: udp()})
	exactlyOne(t, err, ErrUnavailable)
}

// TestDrive: drivers are made for Workers that start, and nobody else, and these
// close them.
func TestDrive(t *testing.T) {
	s := testSFU(t)
	n := simnet.New(1)
	made := 0
	s.Drive(func() driver.Driver {
		made++
		return n.BlockingDriver(netip.MustParseAddr("127.0.0.1"))
	})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx      context.Context
		settings WorkerSettings
	}{
		"wrong":     {t.Context(), WorkerSettings{RTCMinPort: 2, RTCMaxPort: 1}},
		"cancelled": {over, WorkerSettings{}},
		"no file":   {t.Context(), WorkerSettings{DTLSCertificateFile: "no-such-file", DTLSPrivateKeyFile: "no-such-file"}},
		"process":   {t.Context(), WorkerSettings{WorkerBin: "no-such-program"}},
	} {
		_, err := s.CreateWorker(c.ctx, c.settings)
		require.Error(t, err, name)
		require.Zero(t, made, name)
	}
	w, err := s.CreateWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	require.Equal(t, 1, made)
	n.Advance(time.Second) // which waits for all drivers
	require.NoError(t, w.Close())
	require.NoError(t, s.Close())
	_, err = s.CreateWorker(t.Context(), WorkerSettings{})
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, 1, made)
}

func TestUpdateSettings(t *testing.T) {
	var b bytes.Buffer
	w, err := testSFU(t).createWorker(t.Context(), WorkerSettings{Logger: slog.New(slog.NewTextHandler(&b, nil))})
	require.NoError(t, err)
	assert.EqualValues(t, slog.LevelError, w.back.(engineBackend).filter.level.Load())
	require.NoError(t, w.UpdateSettings(t.Context(), WorkerUpdateableSettings{LogLevel: LogLevelDebug, LogTags: []LogTag{LogTagICE}}))
	assert.EqualValues(t, slog.LevelDebug, w.back.(engineBackend).filter.level.Load())
	assert.ErrorIs(t, w.UpdateSettings(t.Context(), WorkerUpdateableSettings{LogLevel: "x"}), ErrInvalidArgument)
}
