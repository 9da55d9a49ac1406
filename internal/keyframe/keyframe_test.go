package keyframe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ms   = time.Millisecond
	ssrc = 0x8ae
)

// A script is what happens to a Manager at which ms.
type script struct {
	needed, force, received []int
	stop                    int // 0: never
}

// run plays a script for 12 s and returns when requests were sent. late is how
// much each Expire comes after its deadline.
func run(t *testing.T, delay, late time.Duration, s script) []int {
	t.Helper()
	m := New(delay)
	var sent []int
	has := func(list []int, now int) bool {
		for _, at := range list {
			if at == now {
				return true
			}
		}
		return false
	}
	for now := range 12_000 {
		at := time.Duration(now) * ms
		if d, ok := m.Deadline(); ok && d+late <= at {
			m.Expire(at, func(got uint32) {
				require.EqualValues(t, ssrc, got)
				sent = append(sent, now)
			})
			d, ok = m.Deadline()
			require.False(t, ok && d <= at, "a deadline is left over")
		}
		if has(s.needed, now) && m.Needed(at, ssrc) {
			sent = append(sent, now)
		}
		if has(s.force, now) && m.Force(at, ssrc) {
			sent = append(sent, now)
		}
		if has(s.received, now) {
			m.Received(ssrc)
		}
		if s.stop != 0 && s.stop == now {
			m.Stop()
		}
	}
	_, ok := m.Deadline()
	require.False(t, ok, "nothing is left to do")
	return sent
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delay time.Duration
		s     script
		want  []int
	}{
		// mediasoup's TestKeyFrameRequestManager.cpp.
		"requested once, not received on time":  {0, script{needed: []int{0}}, []int{0, 1000}},
		"requested many times, never received":  {0, script{needed: []int{0, 10, 20, 30}}, []int{0, 1000}},
		"received on time":                      {0, script{needed: []int{0}, received: []int{500}}, []int{0}},
		"force then need":                       {0, script{force: []int{0}, needed: []int{10}, received: []int{20}}, []int{0}},
		"force is never held back":              {0, script{needed: []int{0}, force: []int{10, 20}, received: []int{30}}, []int{0, 10, 20}},
		"force with a delay":                    {1500 * ms, script{needed: []int{0}, force: []int{10}, received: []int{30}}, []int{0, 10}},
		"requested again, received every time":  {0, script{needed: []int{0, 20, 40}, received: []int{10, 30, 50}}, []int{0, 20, 40}},
		"requested while repeated":              {0, script{needed: []int{0, 1500}}, []int{0, 1000, 2000}},
		"requested after it was given up":       {0, script{needed: []int{0, 2500}}, []int{0, 1000, 2500, 3500}},
		"force restarts the second":             {0, script{needed: []int{0}, force: []int{900}}, []int{0, 900, 1900}},
		"force restarts the delay":              {2000 * ms, script{needed: []int{0, 1600}, force: []int{1500}, received: []int{10, 1510, 3600}}, []int{0, 1500, 3500}},
		"delay forgets who asked before force":  {2000 * ms, script{needed: []int{0, 100}, force: []int{200}, received: []int{210}}, []int{0, 200}},
		"delay outlives the answer":             {2000 * ms, script{needed: []int{0, 100}, received: []int{50, 2010}}, []int{0, 2000}},
		"nobody asked during the delay":         {2000 * ms, script{needed: []int{0}, received: []int{50}}, []int{0}},
		"delays in a row":                       {500 * ms, script{needed: []int{0, 100, 600, 1100}, received: []int{50, 550, 1050, 1550}}, []int{0, 500, 1000, 1500}},
		"delay and repetition end together":     {1000 * ms, script{needed: []int{0, 500}}, []int{0, 1000}},
		"a stop ends the repetition":            {0, script{needed: []int{0}, stop: 500}, []int{0}},
		"a stop ends the delay":                 {2000 * ms, script{needed: []int{0, 100, 300}, stop: 200, received: []int{310}}, []int{0, 300}},
		"a key frame that nobody asked for":     {0, script{received: []int{10}, needed: []int{20}}, []int{20, 1020}},
		"resume: by the consumer and by itself": {0, script{needed: []int{9024}, force: []int{9024}, received: []int{9050}}, []int{9024, 9024}},
	} {
		require.Equal(t, c.want, run(t, c.delay, 0, c.s), name)
	}
}

// TestRecorded plays what the mediasoup worker 3.27.1 was recorded to do, with
// the observed times of requests and answers.
func TestRecorded(t *testing.T) {
	t.Parallel()
	asked := []int{1025, 1075, 1525, 4525, 8525}
	for name, c := range map[string]struct {
		delay time.Duration
		s     script
		want  []int
	}{
		"05-pli-answered":              {0, script{needed: asked, received: []int{1050, 1100, 1550, 4550, 8550}}, []int{1025, 1075, 1525, 4525, 8525}},
		"05-pli-unanswered":            {0, script{needed: asked}, []int{1025, 2025, 4525, 5525, 8525, 9525}},
		"05-pli-delay2000-answered":    {2000 * ms, script{needed: asked, received: []int{1050, 3050, 5050, 8550}}, []int{1025, 3025, 5025, 8525}},
		"05-pli-delay2000-unanswered":  {2000 * ms, script{needed: asked}, []int{1025, 2025, 3025, 5025, 6025, 8525, 9525}},
		"05-create-resume, key frames": {0, script{needed: []int{1526, 4525, 7025, 9024, 10525}, force: []int{9024}, received: []int{1598, 4549, 7049, 9050, 10549}}, []int{1526, 4525, 7025, 9024, 9024, 10525}},
		"05-fir-only-producer":         {0, script{needed: []int{1505}}, []int{1505, 2505}},
		"05-first-packet-key":          {0, script{force: []int{0}}, []int{0, 1000}},
	} {
		require.Equal(t, c.want, run(t, c.delay, 0, c.s), name)
	}
	// On a wheel that is 5 ms late the same requests go out, later each time.
	late := run(t, 2000*ms, 5*ms, script{needed: asked})
	require.Len(t, late, 7)
	for i, at := range []int{1025, 2025, 3025, 5025, 6025, 8525, 9525} {
		require.InDelta(t, at, late[i], 20)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	m := New(0)
	require.True(t, m.Needed(0, 1))
	require.True(t, m.Needed(10*ms, 2))
	require.True(t, m.Needed(20*ms, 3))
	require.False(t, m.Needed(30*ms, 2))
	m.Received(2)
	at, ok := m.Deadline()
	require.True(t, ok)
	require.Equal(t, 1000*ms, at)
	var sent []uint32
	m.Expire(5*time.Second, func(ssrc uint32) { sent = append(sent, ssrc) })
	require.Equal(t, []uint32{1, 3}, sent)
	m.Expire(10*time.Second, func(uint32) { t.Error("sent again") })
	_, ok = m.Deadline()
	require.False(t, ok)
}
