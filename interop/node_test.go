package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/interop/npm"
)

// A nodeApp is the application of node-app, which runs on npm's mediasoup and
// our worker binary.
type nodeApp struct {
	*process
	url string
}

func startNodeApp(t *testing.T, ctx context.Context) *nodeApp {
	t.Helper()
	node := npm.Node(".")
	needFiles(t, node, "node_modules/mediasoup/package.json")
	worker, err := npm.Worker(ctx, "", t.TempDir())
	require.NoError(t, err)
	var out tail
	a := &nodeApp{process: start(t, &out, "env", "MEDIASOUP_WORKER_BIN="+worker, node, "node-app/app.mjs")}
	until(t, ctx, "the application listens", func() (bool, error) {
		line, _, ok := strings.Cut(out.String(), "\n")
		a.url = line
		return ok, a.running()
	})
	return a
}

// call asks the application for something.
func (a *nodeApp) call(ctx context.Context, name string, args, result any) error {
	body, err := json.Marshal(args)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", name, answer)
	case result == nil:
		return nil
	}
	return json.Unmarshal(answer, result)
}

// An id is all that is known of an object of the application.
type id string

func (i id) ID() string { return string(i) }

// A peer is a page in the application's room.
type peer struct {
	*page
	app        *nodeApp
	caps       json.RawMessage
	send, recv id // transports
}

func (a *nodeApp) join(t *testing.T, ctx context.Context, p *page) *peer {
	t.Helper()
	for _, what := range []string{"connect", "produce", "producedata"} {
		p.on(what, func(ctx context.Context, body []byte) (any, error) {
			var answer json.RawMessage
			return &answer, a.call(ctx, what, json.RawMessage(body), &answer)
		})
	}
	var caps json.RawMessage
	require.NoError(t, a.call(ctx, "capabilities", nil, &caps))
	var loaded struct {
		RTPCapabilities json.RawMessage `json:"rtpCapabilities"`
	}
	require.NoError(t, p.do(ctx, "load", map[string]any{"routerRtpCapabilities": caps}, &loaded))
	c := &peer{page: p, app: a, caps: loaded.RTPCapabilities}
	c.send, c.recv = c.transport(t, ctx, "send"), c.transport(t, ctx, "recv")
	return c
}

func (p *peer) transport(t *testing.T, ctx context.Context, direction string) id {
	t.Helper()
	var options map[string]any
	require.NoError(t, p.app.call(ctx, "transport", map[string]any{"peer": p.name}, &options))
	require.NoError(t, p.do(ctx, "transport", map[string]any{"direction": direction, "options": options}, nil))
	return id(options["id"].(string))
}

// produce makes the page send something.
func (p *peer) produce(t *testing.T, ctx context.Context, command string, args map[string]any) id {
	t.Helper()
	args["transportId"] = p.send
	var produced struct{ ID id }
	require.NoError(t, p.do(ctx, command, args, &produced))
	return produced.ID
}

// consume makes the page receive what another one produces.
func (p *peer) consume(t *testing.T, ctx context.Context, producer id) id {
	t.Helper()
	var options map[string]any
	require.NoError(t, p.app.call(ctx, "consume", map[string]any{"transportId": p.recv, "producerId": producer, "rtpCapabilities": p.caps}, &options))
	require.NoError(t, p.do(ctx, "consume", map[string]any{"transportId": p.recv, "options": options}, nil))
	c := id(options["id"].(string))
	require.NoError(t, p.app.call(ctx, "resume", map[string]any{"consumerId": c}, nil))
	return c
}

func (p *peer) consumeData(t *testing.T, ctx context.Context, producer id) id {
	t.Helper()
	var options map[string]any
	require.NoError(t, p.app.call(ctx, "consumedata", map[string]any{"transportId": p.recv, "dataProducerId": producer}, &options))
	require.NoError(t, p.do(ctx, "consumeData", map[string]any{"transportId": p.recv, "options": options}, nil))
	return id(options["id"].(string))
}

// restart gives both transports new ICE credentials and waits until the page
// uses them: of all names in the application there is one for each transport
// then.
func (p *peer) restart(t *testing.T, ctx context.Context, transports int) {
	t.Helper()
	var fresh []string
	for _, transport := range []id{p.send, p.recv} {
		var params mafalda.ICEParameters
		require.NoError(t, p.app.call(ctx, "restart", map[string]any{"transportId": transport}, &params))
		require.NoError(t, p.do(ctx, "restartIce", map[string]any{"transportId": transport, "iceParameters": params}, nil))
		fresh = append(fresh, params.UsernameFragment)
	}
	until(t, ctx, "the page uses its new ICE credentials", func() (bool, error) {
		var names []string
		err := p.app.call(ctx, "names", nil, &names)
		return len(names) == transports && slices.Contains(names, fresh[0]) && slices.Contains(names, fresh[1]), err
	})
}

// closed waits until the application says that these objects were closed.
func (p *peer) closed(t *testing.T, ctx context.Context, want ...id) {
	t.Helper()
	var got []id
	for len(got) < len(want) {
		var events []struct{ Closed id }
		require.NoError(t, p.app.call(ctx, "next", map[string]any{"peer": p.name}, &events))
		for _, e := range events {
			got = append(got, e.Closed)
		}
	}
	require.ElementsMatch(t, want, got)
}

// A side of a call: what one peer sends, and how the other receives it.
type side struct {
	from, to       *peer
	tone           int // Hz
	audio, heard   id
	picture, seen  id
	chat, messages id
}

func newSide(t *testing.T, ctx context.Context, from, to *peer, tone int) *side {
	s := &side{from: from, to: to, tone: tone}
	s.audio = from.produce(t, ctx, "produceAudio", map[string]any{"frequency": tone})
	s.picture = from.produce(t, ctx, "produceVideo", map[string]any{"mimeType": "video/VP8", "width": 320, "height": 240, "frameRate": 15})
	s.chat = from.produce(t, ctx, "produceData", map[string]any{"options": map[string]any{"label": "chat"}})
	s.heard, s.seen = to.consume(t, ctx, s.audio), to.consume(t, ctx, s.picture)
	s.messages = to.consumeData(t, ctx, s.chat)
	to.untilDecoded(t, ctx, s.seen)
	return s
}

func (s *side) name() string { return s.from.name + " to " + s.to.name }

// good asserts what the receiver decodes.
func (s *side) good(t *testing.T, ctx context.Context, when string) {
	t.Helper()
	view := sees(t, clean, s.name(), func() sight { return look(t, ctx, s.from, s.picture, s.to, s.seen, 3*time.Second) })
	l := listen(t, ctx, s.to, s.heard)
	figures("node application, %s, %s: vp8 %v; opus energy=%.3f loudest=%.0fHz (%d sent)", when, s.name(), view, l.energy, l.frequency, s.tone)
	l.good(t, float64(s.tone))
}

// TestNode: two pages call each other through an application of Node that uses
// npm's mediasoup with our worker binary.
func TestNode(t *testing.T) {
	needPrograms(t, "chromium")
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	app := startNodeApp(t, ctx)
	pages := openPair(t)
	pages.fresh(t, ctx)
	a, b := app.join(t, ctx, pages.a), app.join(t, ctx, pages.b)
	there, back := newSide(t, ctx, a, b, 440), newSide(t, ctx, b, a, 600)
	for _, s := range []*side{there, back} {
		s.good(t, ctx, "call")
	}

	const count = 200
	for _, s := range []*side{there, back} {
		require.NoError(t, s.from.do(ctx, "sendTexts", map[string]any{"dataProducerId": s.chat, "count": count, "each": 5}, nil))
		until(t, ctx, "all messages came", func() (bool, error) {
			var got received
			err := s.to.do(ctx, "received", map[string]any{"id": s.messages}, &got)
			return got.InOrder == count, err
		})
		figures("node application, %s: %d of %d messages in order", s.name(), count, count)
	}

	for _, p := range []*peer{a, b} {
		p.restart(t, ctx, 4)
	}
	for _, s := range []*side{there, back} {
		s.good(t, ctx, "after an ICE restart")
	}
	for _, p := range []*peer{a, b} {
		for _, transport := range []id{p.send, p.recv} {
			var state struct{ ICEState, DTLSState, SCTPState string }
			require.NoError(t, app.call(ctx, "state", map[string]any{"transportId": transport}, &state))
			require.Equal(t, "completed connected connected", state.ICEState+" "+state.DTLSState+" "+state.SCTPState)
		}
	}

	// A page closes its picture: the other one is told, the rest goes on.
	require.NoError(t, a.do(ctx, "closeProducer", map[string]any{"producerId": there.picture}, nil))
	require.NoError(t, app.call(ctx, "closeproducer", map[string]any{"producerId": there.picture}, nil))
	b.closed(t, ctx, there.seen)
	var ended struct{ Track string }
	require.NoError(t, b.do(ctx, "closeConsumer", map[string]any{"id": there.seen}, &ended))
	require.Equal(t, "ended", ended.Track)
	listen(t, ctx, b, there.heard).good(t, float64(there.tone))
	a.untilDecoded(t, ctx, back.seen)

	// It leaves: so does what the other one received of it.
	require.NoError(t, app.call(ctx, "leave", map[string]any{"peer": a.name}, nil))
	b.closed(t, ctx, there.heard, there.messages)
	require.NoError(t, app.call(ctx, "quit", nil, nil))
	select {
	case <-app.exited:
	case <-ctx.Done():
		t.Fatal("the application does not end")
	}
	require.NoError(t, app.err)
}
