package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/keyframe"
)

// Three hundred who join within five seconds all want a key frame. With a delay
// of a second the sender is asked for at most one in each, and everybody has
// begun a second after the last has come.
func TestKeyFrameStorm(t *testing.T) {
	const (
		joins   = 300
		frame   = 33 * time.Millisecond
		encoder = 60 * time.Millisecond // from a request to its key frame
		within  = 5 * time.Second
		delay   = time.Second
	)
	w := newLayerWorld(t)
	w.unmanaged = true
	w.produce("video/VP8", Encoding{SSRC: 11})
	w.m.producers["p"].keyFrames = keyframe.New(delay)
	begin := w.d.now
	var asked []time.Duration
	started := map[uint32]bool{}
	joined := 0
	for answer := time.Duration(0); w.d.now < begin+within+2*delay; {
		for joined < joins && w.d.now-begin >= within*time.Duration(joined)/joins {
			w.consume(ConsumeOptions{ID: fmt.Sprint(joined)}, Encoding{SSRC: 1000 + uint32(joined)})
			joined++
		}
		w.advance(w.d.now + frame)
		if key := answer != 0 && w.d.now >= answer; key {
			w.media(11, uint32(w.d.now/time.Millisecond)*90, true, keyVP8...)
			answer = 0
		} else {
			w.media(11, uint32(w.d.now/time.Millisecond)*90, true, deltaVP8...)
		}
		for range w.takeRequested() {
			asked = append(asked, w.d.now)
			answer = w.d.now + encoder
		}
		for _, pkt := range w.take() {
			started[pkt.SSRC()] = true
		}
	}
	require.Equal(t, joins, joined)
	assert.Len(t, started, joins, "everybody got media")
	for i := 1; i < len(asked); i++ {
		assert.GreaterOrEqual(t, asked[i]-asked[i-1], delay-frame, "request %d", i)
	}
	assert.LessOrEqual(t, len(asked), int((within+delay)/delay)+1)
	assert.GreaterOrEqual(t, len(asked), int(within/delay), "nobody waits for longer than that")
}
