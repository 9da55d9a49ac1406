package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// slice is how long the kernel lets a loop run before others have their turn, if
// they want one.
const slice = 100 * time.Microsecond

// wakeSoon asks the kernel for short turns of the calling thread, which take
// place soon after it wakes: by the scheduler of Linux 6.12 and later a thread
// with a shorter slice comes before one with a longer, for as long as it has had
// no more than its share (sched_setattr(2), sched_runtime). The share stays the
// same. Older kernels ignore it. What it returns undoes it.
func wakeSoon() (undo func()) {
	nothing := func() {}
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil || before.Policy != unix.SCHED_NORMAL {
		return nothing // somebody has chosen
	}
	setSlice(before, uint64(slice))
	ours, err := unix.SchedGetAttr(0, 0)
	if err != nil || ours.Runtime == before.Runtime {
		return nothing // an older kernel, or it is forbidden
	}
	return func() {
		now, err := unix.SchedGetAttr(0, 0)
		if err != nil || now.Runtime != ours.Runtime {
			return // somebody has chosen meanwhile
		}
		setSlice(now, 0) // the kernel's
		if now, err = unix.SchedGetAttr(0, 0); err == nil && now.Runtime != before.Runtime {
			setSlice(now, before.Runtime)
		}
	}
}

// setSlice changes the slice of the calling thread, and no other of its attributes a.
func setSlice(a *unix.SchedAttr, runtime uint64) {
	set := *a
	set.Runtime = runtime
	_ = unix.SchedSetAttr(0, &set, 0) // where it is forbidden all stays as it was
}
