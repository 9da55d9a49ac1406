package mafalda

import (
	"context"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A webRTCServer is a [WebRTCServer] of a worker.
type webRTCServer struct {
	object
	events   WebRTCServerEvents
	observer WebRTCServerObserver

	transports []*webRTCTransport // guarded by w.mu; in order of creation, until they have ended
}

var _ WebRTCServer = (*webRTCServer)(nil)

func newWebRTCServer(w *worker, data any) *webRTCServer {
	s := new(webRTCServer)
	s.init(w, "WebRTCServer", newID(), data)
	return s
}

func (s *webRTCServer) Events() *WebRTCServerEvents     { return &s.events }
func (s *webRTCServer) Observer() *WebRTCServerObserver { return &s.observer }

func (s *webRTCServer) Dump(ctx context.Context) (WebRTCServerDump, error) {
	d, err := ask(ctx, &s.object, "Dump", func(m machine) (engine.DumpWebRTCServer, error) {
		return m.DumpWebRTCServer(s.id)
	})
	if err != nil {
		return WebRTCServerDump{}, err
	}
	return webRTCServerDump(d), nil
}

// closeLocked closes the server and the transports on it.
func (s *webRTCServer) closeLocked(c *closing, cause *Event[struct{}]) {
	if !c.begin(&s.life) {
		return
	}
	for _, t := range s.transports {
		t.closeLocked(c, &t.events.ListenServerClose)
	}
	c.emit(cause)
	c.emit(&s.observer.Close)
	c.end(&s.object, func() {
		s.transports = nil
		forget(&s.w.life, &s.w.servers, s)
	})
}

func (s *webRTCServer) Close() error {
	var c closing
	s.w.mu.Lock()
	if s.Closed() {
		s.w.mu.Unlock()
		return nil
	}
	s.closeLocked(&c, nil)
	c.orphansLocked()
	s.w.mu.Unlock()
	s.w.leaveOnLoop(s.id, func(m machine) error { return m.CloseWebRTCServer(s.id) })
	play(c.steps)
	return nil
}
