package interop

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A signalling serves the page and carries commands to it and requests from
// it, all by HTTP: a page asks for its next command and waits for it.
type signalling struct {
	http *httptest.Server

	mu    sync.Mutex
	pages map[string]*page // guarded by mu
}

// A handler answers a request of a page.
type handler func(ctx context.Context, body []byte) (any, error)

// A page is one page in a browser.
type page struct {
	name     string
	commands chan command

	mu       sync.Mutex
	hello    chan struct{}          // closed when the page has loaded; guarded by mu
	gone     chan struct{}          // closed when the page has loaded anew; guarded by mu
	waiting  map[int]chan<- outcome // guarded by mu
	handlers map[string]handler     // guarded by mu
	lastID   int                    // guarded by mu
	log      []string               // guarded by mu
}

type command struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Args any    `json:"args"`
}

type outcome struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

// newSignalling bundles the page and serves it.
func newSignalling(t *testing.T) *signalling {
	t.Helper()
	return newSignallingAt(t, localhost)
}

// newSignallingAt serves the page on that address.
func newSignallingAt(t *testing.T, ip netip.Addr) *signalling {
	t.Helper()
	bundle := bundlePage(t)
	s := &signalling{pages: map[string]*page{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("page", "index.html"))
	})
	mux.HandleFunc("GET /main.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("POST /{what}", s.serve)
	listener, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	require.NoError(t, err)
	s.http = httptest.NewUnstartedServer(mux)
	s.http.Listener.Close()
	s.http.Listener = listener
	s.http.Start()
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// bundlePage makes one script of the page and mediasoup-client.
func bundlePage(t *testing.T) string {
	t.Helper()
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	// The program itself: the launcher in node_modules/.bin needs a script to
	// have been run, and Node.
	esbuild := filepath.Join("node_modules", "@esbuild", runtime.GOOS+"-"+arch, "bin", "esbuild")
	needFiles(t, esbuild, filepath.Join("node_modules", "mediasoup-client", "package.json"))
	out := filepath.Join(t.TempDir(), "main.js")
	b, err := exec.Command(esbuild, "page/main.js", "--bundle", "--format=esm", "--log-level=warning", "--outfile="+out).CombinedOutput()
	require.NoError(t, err, "%s", b)
	return out
}

// page adds a page of that name.
func (s *signalling) page(name string) *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &page{
		name: name, commands: make(chan command), hello: make(chan struct{}), gone: make(chan struct{}),
		waiting: map[int]chan<- outcome{}, handlers: map[string]handler{},
	}
	s.pages[name] = p
	return p
}

func (s *signalling) url(p *page) string { return s.http.URL + "/?page=" + p.name }

func (s *signalling) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.pages[r.URL.Query().Get("page")]
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if p == nil || err != nil {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	answer, err := p.handle(r.Context(), r.PathValue("what"), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if answer != nil {
		json.NewEncoder(w).Encode(answer) // the page may be gone
	}
}

func (p *page) handle(ctx context.Context, what string, body []byte) (any, error) {
	switch what {
	case "hello":
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.hello)
		close(p.gone)
		p.gone = make(chan struct{})
		return nil, nil
	case "next":
		p.mu.Lock()
		gone := p.gone
		p.mu.Unlock()
		select {
		case <-gone: // who asked is no more
		case c := <-p.commands:
			return c, nil
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
		}
		return nil, nil
	case "result":
		var o outcome
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if w := p.waiting[o.ID]; w != nil {
			delete(p.waiting, o.ID)
			w <- o
		}
		return nil, nil
	case "log":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.log = append(p.log, string(body))
		return nil, nil
	}
	p.mu.Lock()
	h := p.handlers[what]
	p.mu.Unlock()
	if h == nil {
		return nil, errors.New("nobody handles " + what)
	}
	return h(ctx, body)
}

// on sets who answers a request of the page.
func (p *page) on(what string, h handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[what] = h
}

// loaded waits until the page runs.
func (p *page) loaded(ctx context.Context) error {
	p.mu.Lock()
	hello := p.hello
	p.mu.Unlock()
	select {
	case <-hello:
		return nil
	case <-ctx.Done():
		return errors.New("page " + p.name + " does not load")
	}
}

// reload starts the page afresh.
func (p *page) reload(ctx context.Context) error {
	p.mu.Lock()
	p.hello = make(chan struct{})
	p.mu.Unlock()
	if err := p.do(ctx, "reload", nil, nil); err != nil {
		return err
	}
	return p.loaded(ctx)
}

// do runs a command in the page and stores what it returns in result, which
// may be nil.
func (p *page) do(ctx context.Context, name string, args, result any) error {
	done := make(chan outcome, 1)
	p.mu.Lock()
	p.lastID++
	id := p.lastID
	p.waiting[id] = done
	p.mu.Unlock()
	select {
	case p.commands <- command{ID: id, Name: name, Args: args}:
	case <-ctx.Done():
		return errors.New(name + ": the page asks for no command")
	}
	select {
	case o := <-done:
		switch {
		case o.Error != "":
			return errors.New(name + ": " + o.Error)
		case result != nil:
			return json.Unmarshal(o.Result, result)
		}
		return nil
	case <-ctx.Done():
		return errors.New(name + ": " + ctx.Err().Error())
	}
}

// takeLog returns what the page logged since the last call.
func (p *page) takeLog() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.log
	p.log = nil
	return l
}
