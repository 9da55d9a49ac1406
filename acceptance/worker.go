package acceptance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var workerCases = []testCase{
	{
		name:        "Worker/Create",
		explanation: "a Worker has an id and a pid, is open, and keeps its appData; every setting is taken",
		upstream:    []string{"Worker 2"},
		run:         testWorkerCreate,
	},
	{
		name:        "Worker/WrongSettings",
		explanation: "a wrong setting is ErrInvalidArgument, and no Worker is left",
		upstream:    []string{"Worker 3"},
		run:         testWorkerWrongSettings,
	},
	{
		name:        "Worker/UpdateSettings",
		explanation: "log level and tags can be changed; a wrong one is ErrInvalidArgument, and ErrWorkerClosed comes after Close",
		upstream:    []string{"Worker 4", "Worker 5", "Worker 6"},
		run:         testWorkerUpdateSettings,
	},
	{
		name:        "Worker/Dump",
		explanation: "a dump lists the ids of what lives in the Worker, and nothing after all of it was closed",
		upstream:    []string{"Worker 7", "Worker 8"},
		run:         testWorkerDump,
	},
	{
		name:        "Worker/ResourceUsage",
		explanation: "a Worker tells what it used; ErrWorkerClosed after Close",
		upstream:    []string{"Worker 9"},
		run:         testWorkerResourceUsage,
	},
	{
		name:        "Worker/Load",
		explanation: "a Worker that is a LoadReporter tells its load, which is never negative",
		run:         testWorkerLoad,
	},
	{
		name:        "Worker/Close",
		explanation: "Close is idempotent, is heard once by the observer, is no death, and ends Done",
		upstream:    []string{"Worker 10"},
		run:         testWorkerClose,
	},
	{
		name:        "Worker/ClosedCreatesNothing",
		explanation: "a closed Worker creates nothing: ErrWorkerClosed",
		upstream:    []string{"WebRtcServer 6", "Router 3", "newer 10"},
		run:         testWorkerClosedCreatesNothing,
	},
	{
		name:        "Worker/Died",
		explanation: "the death of a Worker ends its Routers and servers, then is told by Died while Closed and Died are true already, then by the observer's Close; other Workers run on",
		upstream:    []string{"Worker 11"},
		run:         testWorkerDied,
	},
	{
		name:        "Worker/Listings",
		explanation: "a Worker lists its open Routers and WebRTCServers in the order of creation, and the observer hears each before the call returns",
		upstream:    []string{"Router 1", "WebRtcServer 1"},
		run:         testWorkerListings,
	},
	{
		name:        "Worker/Logger",
		explanation: "what a Worker has to say goes to its Logger, as far as LogLevel admits",
		upstream:    []string{"mediasoup 2"},
		run:         testWorkerLogger,
	},
	{
		name:        "Worker/Context",
		explanation: "a context that ended before the call is the error, and nothing was created",
		run:         testWorkerContext,
	},
}

// certificate writes a self-signed certificate and its key as PEM files and
// returns their paths.
func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "acceptance"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return certFile, keyFile
}

func testWorkerCreate(t *testing.T, s *suite) {
	w := s.worker(t)
	require.NotEmpty(t, w.ID())
	require.Positive(t, w.PID())
	require.False(t, w.Closed())
	require.False(t, w.Died())
	require.False(t, ended(w.Done()))
	require.Nil(t, w.AppData())
	events, observer := w.Events(), w.Observer()
	require.Same(t, events, w.Events(), "it never changes")
	require.Same(t, observer, w.Observer(), "it never changes")

	cert, key := certificate(t)
	all, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{
		LogLevel: mafalda.LogLevelDebug, LogTags: []mafalda.LogTag{mafalda.LogTagInfo},
		Logger:     slog.New(slog.DiscardHandler),
		RTCMinPort: 1, RTCMaxPort: 9999,
		DTLSCertificateFile: cert, DTLSPrivateKeyFile: key,
		AppData: map[string]int{"foo": 456},
	})
	require.NoError(t, err)
	require.NotEqual(t, w.ID(), all.ID())
	data, ok := mafalda.AppDataAs[map[string]int](all)
	require.True(t, ok)
	require.Equal(t, 456, data["foo"])
	all.SetAppData("other")
	require.Equal(t, "other", all.AppData())
	require.NoError(t, all.Close())
	require.True(t, all.Closed())
	require.False(t, all.Died())
	require.Equal(t, "other", all.AppData())
}

func testWorkerWrongSettings(t *testing.T, s *suite) {
	cert, key := certificate(t)
	_, other := certificate(t)
	for name, settings := range map[string]mafalda.WorkerSettings{
		"log level":               {LogLevel: "chicken"},
		"log tag":                 {LogTags: []mafalda.LogTag{"chicken"}},
		"ports":                   {RTCMinPort: 1000, RTCMaxPort: 999},
		"certificate alone":       {DTLSCertificateFile: cert},
		"key alone":               {DTLSPrivateKeyFile: key},
		"no such certificate":     {DTLSCertificateFile: "notfound/cert.pem", DTLSPrivateKeyFile: key},
		"no such key":             {DTLSCertificateFile: cert, DTLSPrivateKeyFile: "notfound/priv.pem"},
		"key is no key":           {DTLSCertificateFile: cert, DTLSPrivateKeyFile: cert},
		"certificate is a key":    {DTLSCertificateFile: key, DTLSPrivateKeyFile: key},
		"key of another":          {DTLSCertificateFile: cert, DTLSPrivateKeyFile: other},
		"log level in upper case": {LogLevel: "ERROR"},
	} {
		_, err := s.sfu.CreateWorker(t.Context(), settings)
		requireErrorIn(t, name, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, s.sfu.Workers())
}

func testWorkerUpdateSettings(t *testing.T, s *suite) {
	w := s.worker(t)
	ctx := t.Context()
	require.NoError(t, w.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{}))
	require.NoError(t, w.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{
		LogLevel: mafalda.LogLevelDebug, LogTags: []mafalda.LogTag{mafalda.LogTagICE},
	}))
	requireError(t, w.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{LogLevel: "chicken"}), mafalda.ErrInvalidArgument)
	requireError(t, w.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{LogTags: []mafalda.LogTag{"chicken"}}),
		mafalda.ErrInvalidArgument)
	require.NoError(t, w.Close())
	requireError(t, w.UpdateSettings(ctx, mafalda.WorkerUpdateableSettings{LogLevel: mafalda.LogLevelError}),
		mafalda.ErrWorkerClosed)
}

func testWorkerDump(t *testing.T, s *suite) {
	ctx := t.Context()
	w := s.worker(t)
	d, err := w.Dump(ctx)
	require.NoError(t, err)
	require.Equal(t, mafalda.WorkerDump{
		PID: w.PID(), WebRTCServerIDs: []string{}, RouterIDs: []string{},
		MessageHandlers: mafalda.WorkerMessageHandlers{RequestHandlers: []string{}, NotificationHandlers: []string{}},
	}, d)

	r := newRoom(t, w)
	server := r.server(t)
	tr := r.direct(t)
	p := produce(t, tr, mafalda.MediaKindAudio, audio("", 1))
	c := r.consume(t, tr, p)
	d, err = w.Dump(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{server.ID()}, d.WebRTCServerIDs)
	require.Equal(t, []string{r.router.ID()}, d.RouterIDs)
	require.ElementsMatch(t, []string{server.ID(), r.router.ID(), tr.ID(), p.ID(), c.ID()}, d.MessageHandlers.RequestHandlers)
	require.ElementsMatch(t, []string{tr.ID(), p.ID()}, d.MessageHandlers.NotificationHandlers)

	require.NoError(t, r.router.Close())
	require.NoError(t, server.Close())
	d, err = w.Dump(ctx)
	require.NoError(t, err)
	require.Empty(t, d.WebRTCServerIDs)
	require.Empty(t, d.RouterIDs)
	require.Empty(t, d.MessageHandlers.RequestHandlers)
	require.Empty(t, d.MessageHandlers.NotificationHandlers)

	require.NoError(t, w.Close())
	_, err = w.Dump(ctx)
	requireError(t, err, mafalda.ErrWorkerClosed)
}

func testWorkerResourceUsage(t *testing.T, s *suite) {
	w := s.worker(t)
	a, err := w.ResourceUsage(t.Context())
	require.NoError(t, err)
	b, err := w.ResourceUsage(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, b.Utime+b.Stime, a.Utime+a.Stime, "it only grows")
	require.NoError(t, w.Close())
	_, err = w.ResourceUsage(t.Context())
	requireError(t, err, mafalda.ErrWorkerClosed)
}

func testWorkerLoad(t *testing.T, s *suite) {
	w := s.worker(t)
	if l, ok := w.(mafalda.LoadReporter); ok {
		for range 2 {
			load, err := l.Load(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, load.CPU, 0.0)
			require.GreaterOrEqual(t, load.PacketsPerSecond, 0.0)
			require.GreaterOrEqual(t, load.BytesPerSecond, 0.0)
			require.GreaterOrEqual(t, load.MaxTurn, time.Duration(0))
		}
	}
	a := mafalda.WorkerResourceUsage{Utime: 100, Stime: 50}
	b := mafalda.WorkerResourceUsage{Utime: 400, Stime: 250}
	require.InDelta(t, 0.5, mafalda.LoadBetween(a, b, time.Second).CPU, 1e-9)
}

func testWorkerClose(t *testing.T, s *suite) {
	w := s.worker(t)
	var j journal
	noteIf(t, &j, &w.Observer().Close, "close", func() bool { return w.Closed() && !ended(w.Done()) })
	note(&j, &w.Events().Died, "died")
	for range 3 {
		require.NoError(t, w.Close())
	}
	require.True(t, w.Closed())
	done(t, w)
	require.False(t, w.Died())
	require.Equal(t, []string{"close"}, j.read())
}

func testWorkerClosedCreatesNothing(t *testing.T, s *suite) {
	w := s.worker(t)
	require.NoError(t, w.Close())
	_, err := w.CreateRouter(t.Context(), mafalda.RouterOptions{})
	requireError(t, err, mafalda.ErrWorkerClosed)
	_, err = w.CreateWebRTCServer(t.Context(), mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{listenUDP()}})
	requireError(t, err, mafalda.ErrWorkerClosed)
	require.ErrorIs(t, err, mafalda.ErrClosed)
	require.ErrorIs(t, err, mafalda.ErrInvalidState)
	require.Empty(t, w.Routers())
	require.Empty(t, w.WebRTCServers())
}

func testWorkerDied(t *testing.T, s *suite) {
	w, other := s.worker(t), s.worker(t)
	x := newTree(t, newRoom(t, w))
	x.worker.Events().Died.On(func(error) {
		if !w.Closed() || !w.Died() {
			t.Error("the getters are behind the event")
		}
	})
	reason := hear(t, &w.Events().Died)
	require.NoError(t, s.killer(t, w)(errors.New("planted")))
	done(t, w)
	require.Equal(t, []string{
		"p transportclose", "p close", "own transportclose", "own close",
		"data transportclose", "data close", "data own transportclose", "data own close", "in routerclose", "in close",
		"far transportclose", "far close", "data far transportclose", "data far close", "out routerclose", "out close",
		"router workerclose", "router close", "server workerclose", "server close", "died", "worker close",
	}, x.j.read())
	require.Error(t, receive(t, reason, "the cause of death"))
	require.True(t, w.Died())
	require.True(t, x.router.Closed())
	_, err := w.Dump(t.Context())
	requireError(t, err, mafalda.ErrWorkerClosed)
	_, err = x.router.Dump(t.Context())
	requireError(t, err, mafalda.ErrWorkerClosed)
	require.Equal(t, []mafalda.Worker{other}, s.sfu.Workers())
	require.NoError(t, w.Close())

	require.False(t, other.Closed())
	_, err = other.CreateRouter(t.Context(), mafalda.RouterOptions{})
	require.NoError(t, err)
}

func testWorkerListings(t *testing.T, s *suite) {
	w := s.worker(t)
	var routers []mafalda.Router
	w.Observer().NewRouter.On(func(r mafalda.Router) { routers = append(routers, r) })
	var servers []mafalda.WebRTCServer
	w.Observer().NewWebRTCServer.On(func(x mafalda.WebRTCServer) { servers = append(servers, x) })
	a, b := newRoom(t, w), newRoom(t, w)
	x, y := a.server(t), a.server(t)
	require.Equal(t, []mafalda.Router{a.router, b.router}, routers)
	require.Equal(t, []mafalda.WebRTCServer{x, y}, servers)
	require.Equal(t, routers, w.Routers())
	require.Equal(t, servers, w.WebRTCServers())
	require.NoError(t, a.router.Close())
	require.NoError(t, x.Close())
	require.Equal(t, []mafalda.Router{b.router}, w.Routers())
	require.Equal(t, []mafalda.WebRTCServer{y}, w.WebRTCServers())
}

// A lockedBuffer is written by the Worker and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

func testWorkerLogger(t *testing.T, s *suite) {
	for _, level := range []mafalda.LogLevel{mafalda.LogLevelDebug, mafalda.LogLevelNone} {
		var out lockedBuffer
		w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{
			LogLevel: level, Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		require.NoError(t, err)
		require.NoError(t, w.Close())
		done(t, w)
		if level == mafalda.LogLevelNone {
			require.Zero(t, out.Len())
		} else {
			eventually(t, "a record of the Worker", func() bool { return out.Len() > 0 })
		}
	}
}

func testWorkerContext(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	w := s.worker(t)
	cancel()
	_, err := s.sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	requireError(t, err, context.Canceled)
	_, err = w.CreateRouter(ctx, mafalda.RouterOptions{})
	requireError(t, err, context.Canceled)
	_, err = w.Dump(ctx)
	requireError(t, err, context.Canceled)
	require.Len(t, s.sfu.Workers(), 1)
	require.Empty(t, w.Routers())
	d, err := w.Dump(t.Context())
	require.NoError(t, err)
	require.Empty(t, d.RouterIDs)
}
