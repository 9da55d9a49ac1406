package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// A window is a page that is not ours to change, in a Chromium of its own with a
// camera and a microphone, driven over the DevTools protocol.
type window struct {
	browser *process

	mu   sync.Mutex // of one call at a time
	conn *websocket.Conn
	id   int
}

var devToolsListen = regexp.MustCompile(`DevTools listening on ws://([^/]+)/`)

func openWindow(t *testing.T, ctx context.Context, url string) *window {
	t.Helper()
	w := &window{browser: start(t, nil, "chromium", chromiumFlags(t, "--remote-debugging-port=0",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", url)...)}
	var at string
	until(t, ctx, "Chromium tells where DevTools are", func() (bool, error) {
		m := devToolsListen.FindStringSubmatch(w.browser.stderr.String())
		if m != nil {
			at = m[1]
		}
		return m != nil, w.browser.running()
	})
	var pages []struct{ Type, URL, WebSocketDebuggerURL string }
	until(t, ctx, "the page is open", func() (bool, error) {
		response, err := http.Get("http://" + at + "/json")
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return false, err
		}
		pages = nil
		if err := json.Unmarshal(body, &pages); err != nil {
			return false, err
		}
		for _, p := range pages {
			if p.Type == "page" && strings.HasPrefix(p.URL, "http") {
				w.conn, err = websocket.Dial(p.WebSocketDebuggerURL, "", "http://"+at)
				return err == nil, err
			}
		}
		return false, fmt.Errorf("%s", body)
	})
	t.Cleanup(func() { w.conn.Close() })
	return w
}

// eval returns what a JavaScript expression is, in result unless that is nil.
func (w *window) eval(expression string, result any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id++
	if err := w.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := websocket.JSON.Send(w.conn, map[string]any{
		"id": w.id, "method": "Runtime.evaluate",
		"params": map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true},
	}); err != nil {
		return err
	}
	for {
		var answer struct {
			ID     int
			Error  *struct{ Message string }
			Result struct {
				Result           struct{ Value json.RawMessage }
				ExceptionDetails json.RawMessage
			}
		}
		if err := websocket.JSON.Receive(w.conn, &answer); err != nil {
			return err
		}
		switch {
		case answer.ID != w.id:
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", expression, answer.Error.Message)
		case answer.Result.ExceptionDetails != nil:
			return fmt.Errorf("%s: %s", expression, answer.Result.ExceptionDetails)
		case result == nil:
			return nil
		default:
			return json.Unmarshal(answer.Result.Result.Value, result)
		}
	}
}

// does evaluates for the effect.
func (w *window) does(t testing.TB, expression string) {
	t.Helper()
	require.NoError(t, w.eval(expression, nil))
}

// untilTrue waits until an expression, which may await, is true; while it can't be evaluated, as
// when the page loads, it is not.
func (w *window) untilTrue(t testing.TB, ctx context.Context, what, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	until(t, ctx, what, func() (ok bool, err error) {
		err = w.eval("(async () => !!("+expression+"))()", &ok)
		if err == nil && !ok {
			var text string
			_ = w.eval("document.body.innerText", &text)
			err = fmt.Errorf("the page says %q", text)
		}
		return ok, err
	})
}
