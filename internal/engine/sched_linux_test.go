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

// The thread of a loop that ended has what the kernel gives others.
func TestWakeSoonEnds(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	usual, err := unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	setSlice(usual, 0)
	usual, err = unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	for name, end := range map[string]func(*Worker){
		"closed": (*Worker).Close,
		"died":   func(w *Worker) { w.post(func(*Machine) { panic("a test") }) },
	} {
		w, _ := newTestWorker(t)
		var thread int
		run(t, w, func(*Machine) error {
			thread = unix.Gettid()
			return nil
		})
		end(w)
		<-w.Done()
		a, err := unix.SchedGetAttr(thread, 0)
		require.NoError(t, err, name)
		require.Equal(t, usual.Runtime, a.Runtime, name)
	}
}

// Whoever has chosen something for the thread, before or meanwhile, keeps it.
func TestWakeSoonNotAsked(t *testing.T) {
	const other = uint64(50 * slice)
	for name, test := range map[string]struct{ before, meanwhile func(*unix.SchedAttr) }{
		"policy":           {before: func(a *unix.SchedAttr) { a.Policy = unix.SCHED_BATCH }},
		"slice":            {before: func(a *unix.SchedAttr) { a.Runtime = other }},
		"policy meanwhile": {meanwhile: func(a *unix.SchedAttr) { a.Policy = unix.SCHED_BATCH }},
		"slice meanwhile":  {meanwhile: func(a *unix.SchedAttr) { a.Runtime = other }},
		"nice meanwhile":   {meanwhile: func(a *unix.SchedAttr) { a.Nice = 19 }},
	} {
		t.Run(name, func(t *testing.T) {
			var want, got *unix.SchedAttr
			var err error
			attr := func() *unix.SchedAttr {
				a, e := unix.SchedGetAttr(0, 0)
				err = errors.Join(err, e)
				return a
			}
			change := func(f func(*unix.SchedAttr)) {
				if a := attr(); f != nil {
					f(a)
					err = errors.Join(err, unix.SchedSetAttr(0, a, 0))
				}
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread() // the thread ends with the goroutine
				change(test.before)
				before := attr()
				undo := wakeSoon()
				ours := attr()
				change(test.meanwhile)
				if want = attr(); want.Runtime == ours.Runtime {
					want.Runtime = before.Runtime
				}
				undo()
				got = attr()
			}()
			<-done
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}
