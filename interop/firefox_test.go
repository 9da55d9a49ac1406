package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// openFirefox opens a page in a Firefox of its own, in a network namespace:
// it never reaches an SFU on a loopback address.
func openFirefox(t *testing.T, ctx context.Context, ns *namespace, s *signalling, p *page) {
	t.Helper()
	profile := t.TempDir()
	var prefs strings.Builder
	for name, value := range map[string]any{
		"media.navigator.permission.disabled":               true,
		"media.navigator.streams.fake":                      true,
		"media.navigator.audio.fake_frequency":              440,
		"media.autoplay.default":                            0,
		"media.autoplay.blocking_policy":                    0,
		"dom.securecontext.allowlist":                       ns.here.String(), // else no camera over http
		"media.peerconnection.ice.obfuscate_host_addresses": false,
		"media.gmp-manager.updateEnabled":                   false,
		"media.peerconnection.video.start_bitrate":          2500, // kbit/s
		"app.update.enabled":                                false,
		"browser.shell.checkDefaultBrowser":                 false,
		"browser.aboutwelcome.enabled":                      false,
		"browser.safebrowsing.malware.enabled":              false,
		"browser.safebrowsing.phishing.enabled":             false,
		"datareporting.policy.dataSubmissionEnabled":        false,
		"toolkit.telemetry.enabled":                         false,
		"extensions.update.enabled":                         false,
		"network.captive-portal-service.enabled":            false,
		"network.connectivity-service.enabled":              false,
		"network.dns.disablePrefetch":                       true,
		"services.settings.server":                          "http://127.0.0.1:9",
	} {
		fmt.Fprintf(&prefs, "user_pref(%q, %#v);\n", name, value)
	}
	require.NoError(t, os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs.String()), 0o600))
	start(t, nil, "ip", "netns", "exec", ns.name, "env", "HOME="+profile, "MOZ_DISABLE_CONTENT_SANDBOX=1",
		"firefox-esr", "--headless", "--no-remote", "--profile", profile, s.url(p))
	require.NoError(t, p.loaded(ctx))
}

// camera is Firefox's fake one, which has another picture than our canvas.
func camera(v video) video {
	v.camera = true
	return v
}

// TestFirefox: a Firefox and a Chromium send to each other.
func TestFirefox(t *testing.T) {
	needPrograms(t, "chromium", "firefox-esr", "ip")
	t.Parallel()
	ns := newNamespace(t)
	s := newSignallingAt(t, ns.here)
	pages := pair{s.page("firefox"), s.page("chromium")}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	openFirefox(t, ctx, ns, s, pages.a)
	openChromium(t, ctx, s, pages.b)
	withData := network{options: mafalda.WebRTCTransportOptions{SCTPOptions: mafalda.SCTPOptions{EnableSCTP: true}}}
	for _, c := range []struct {
		name string
		run  func(t *testing.T, ctx context.Context, firefox, chromium *client)
	}{
		{"sends", firefoxSends},
		{"receives", firefoxReceives},
		{"simulcast", firefoxSimulcast},
		{"data", firefoxData},
		{"without a library", func(t *testing.T, ctx context.Context, firefox, chromium *client) {
			withoutLibrary(t, ctx, chromium, firefox.page)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			pages.fresh(t, ctx)
			r := newRoomAt(t, ns.here)
			c.run(t, ctx, r.join(t, ctx, pages.a, withData), r.join(t, ctx, pages.b, withData))
		})
	}
}

func firefoxSends(t *testing.T, ctx context.Context, firefox, chromium *client) {
	// A page of a Firefox without a sound card makes no tone itself.
	audio := firefox.sendMedia(t, ctx, "produceMicrophone", map[string]any{}, "audio/opus")
	picture := firefox.sendVideo(t, ctx, camera(vp8))
	heard, seen := chromium.receive(t, ctx, audio), chromium.receive(t, ctx, picture)
	chromium.untilDecoded(t, ctx, seen)
	time.Sleep(2 * time.Second)
	view := look(t, ctx, firefox, picture, chromium, seen, 8*time.Second)
	l := listen(t, ctx, chromium, heard)
	figures("firefox to chromium: vp8 %v", view)
	figures("firefox to chromium: opus energy=%.3f loudest=%.0fHz (440 sent) %.0fdB", l.energy, l.frequency, l.decibels)
	require.NoError(t, view.moves())
	require.InDelta(t, 440, l.frequency, 20, "another tone")
	require.Greater(t, l.decibels, -50.0) // the fake microphone is quiet
}

func firefoxReceives(t *testing.T, ctx context.Context, firefox, chromium *client) {
	audio, picture := chromium.sendAudio(t, ctx, 600), chromium.sendVideo(t, ctx, vp8)
	heard, seen := firefox.receive(t, ctx, audio), firefox.receive(t, ctx, picture)
	firefox.untilDecoded(t, ctx, seen)
	time.Sleep(2 * time.Second)
	calm := demands{decoded: 0.8, freezes: 8} // two browsers on few cores
	view := sees(t, calm, "chromium to firefox", func() sight { return look(t, ctx, chromium, picture, firefox, seen, 8*time.Second) })
	figures("chromium to firefox: vp8 %v", view)
	// Without a sound card nothing plays in Firefox, so its decoder has to tell.
	before, err := firefox.stats(ctx, heard.ID())
	require.NoError(t, err)
	time.Sleep(2 * time.Second)
	after, err := firefox.stats(ctx, heard.ID())
	require.NoError(t, err)
	a, b := before.Inbound, after.Inbound
	figures("chromium to firefox: opus packets=%d samples=%d concealed=%d energy=%.3f", b.PacketsReceived-a.PacketsReceived,
		b.TotalSamplesReceived-a.TotalSamplesReceived, b.ConcealedSamples-a.ConcealedSamples, b.TotalAudioEnergy-a.TotalAudioEnergy)
	require.Greater(t, b.PacketsReceived-a.PacketsReceived, 50)
	require.Greater(t, b.TotalAudioEnergy-a.TotalAudioEnergy, 0.005)
}

// firefoxSimulcast: Firefox sends three streams, Chromium sees the one asked for.
func firefoxSimulcast(t *testing.T, ctx context.Context, firefox, chromium *client) {
	v := camera(hd("video/VP8", simulcast("")))
	for _, e := range v.encodings { // of which Firefox knows none
		delete(e, "scalabilityMode")
	}
	picture := firefox.sendVideo(t, ctx, v)
	require.Equal(t, mafalda.ProducerTypeSimulcast, picture.Type())
	seen := chromium.receive(t, ctx, picture)
	chromium.untilDecoded(t, ctx, seen)
	last := 0                // how high the picture of the layer below was
	for spatial := range 3 { // the sizes are up to Firefox, which adapts them
		begin := time.Now()
		require.NoError(t, seen.SetPreferredLayers(ctx, mafalda.ConsumerLayers{SpatialLayer: spatial}))
		until(t, ctx, "the layer flows", func() (bool, error) {
			l := seen.CurrentLayers()
			return l != nil && l.SpatialLayer == spatial, nil
		})
		took := time.Since(begin)
		time.Sleep(time.Second)
		view := look(t, ctx, firefox, picture, chromium, seen, 3*time.Second)
		figures("firefox simulcast layer %d after %d ms: %v", spatial, took.Milliseconds(), view)
		require.NoError(t, view.moves())
		require.Greater(t, view.height, last)
		last = view.height
	}
}

// firefoxData: both browsers send messages, and both get them all in order.
func firefoxData(t *testing.T, ctx context.Context, firefox, chromium *client) {
	const count = 200
	for _, way := range []struct {
		name     string
		from, to *client
	}{{"firefox to chromium", firefox, chromium}, {"chromium to firefox", chromium, firefox}} {
		p := way.from.sendData(t, ctx, map[string]any{"label": "chat"})
		d := way.to.receiveData(t, ctx, p)
		require.NoError(t, way.from.do(ctx, "sendTexts", map[string]any{"dataProducerId": p.ID(), "count": count, "each": 5}, nil))
		until(t, ctx, "all messages came", func() (bool, error) {
			got, err := way.to.received(ctx, d)
			return got.InOrder == count, err
		})
		figures("data, %s: %d of %d in order", way.name, count, count)
	}
}

// moves returns an error unless the picture, whatever it is, moves.
func (s sight) moves() error {
	if s.decoded < 5 || s.samples < 10 || s.different < s.samples/2 {
		return fmt.Errorf("the picture stands still: %v", s)
	}
	return nil
}
