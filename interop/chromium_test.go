package interop

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// openChromium opens a page in a Chromium of its own.
func openChromium(t *testing.T, ctx context.Context, s *signalling, p *page) {
	t.Helper()
	start(t, nil, "chromium", chromiumFlags(t,
		"--unsafely-treat-insecure-origin-as-secure="+s.http.URL, // where it is not on a loopback address
		s.url(p))...)
	require.NoError(t, p.loaded(ctx))
}

// chromiumFlags are those that a test needs, and more.
func chromiumFlags(t *testing.T, more ...string) []string {
	return append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(),
		"--no-first-run", "--no-default-browser-check", "--disable-component-update", "--disable-sync",
		"--disable-background-networking", "--disable-breakpad", "--log-level=3", "--disable-dev-shm-usage",
		"--autoplay-policy=no-user-gesture-required",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding",
		"--disable-backgrounding-occluded-windows", "--window-size=1000,700",
	}, more...)
}

// A pair is two pages in two browsers, for one test after the other.
type pair struct {
	a, b *page
}

func openPair(t *testing.T) pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := newSignalling(t)
	p := pair{s.page("a"), s.page("b")}
	openChromium(t, ctx, s, p.a)
	openChromium(t, ctx, s, p.b)
	return p
}

// fresh reloads both pages and, when the test has failed, logs what they said.
func (p pair) fresh(t *testing.T, ctx context.Context) {
	t.Helper()
	var wg sync.WaitGroup
	for _, page := range []*page{p.a, p.b} {
		page.takeLog()
		wg.Go(func() {
			if err := page.reload(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			for _, line := range page.takeLog() {
				if t.Failed() {
					t.Logf("page %s: %s", page.name, line)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

type pairCase struct {
	name string
	run  func(t *testing.T, ctx context.Context, p pair)
}

// onPair runs cases one after the other, beside other tests.
func onPair(t *testing.T, cases []pairCase) {
	needPrograms(t, "chromium")
	t.Parallel()
	pages := openPair(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			pages.fresh(t, ctx)
			c.run(t, ctx, pages)
		})
	}
}
