package engine

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A loop has short slices, if the kernel has them, and its thread gives them back.
func TestWakeSoon(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := func() *unix.SchedAttr {
		a, err := unix.SchedGetAttr(0, 0)
		require.NoError(t, err)
		return a
	}
	before := attr()
	mine := *before
	mine.Runtime = uint64(slice)
	require.NoError(t, unix.SchedSetAttr(0, &mine, 0))
	want := attr().Runtime // what this kernel makes of it
	mine.Runtime = 0
	require.NoError(t, unix.SchedSetAttr(0, &mine, 0))

	undo := wakeSoon()
	require.Equal(t, want, attr().Runtime)
	undo()
	require.Equal(t, before, attr())

	w, _ := newTestWorker(t)
	var got uint64
	run(t, w, func(*Machine) error {
		a, err := unix.SchedGetAttr(0, 0)
		got = a.Runtime
		return err
	})
	require.Equal(t, want, got)
}

// Who has chosen another policy keeps it.
func TestWakeSoonNotAsked(t *testing.T) {
	type result struct {
		before, after *unix.SchedAttr
		err           error
	}
	results := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		var r result
		batch := unix.SchedAttr{Policy: unix.SCHED_BATCH}
		err := unix.SchedSetAttr(0, &batch, 0)
		r.before, r.err = unix.SchedGetAttr(0, 0)
		r.err = errors.Join(err, r.err)
		wakeSoon()()
		r.after, err = unix.SchedGetAttr(0, 0)
		r.err = errors.Join(err, r.err)
		results <- r
	}()
	r := <-results
	require.NoError(t, r.err)
	require.Equal(t, r.before, r.after)
}
