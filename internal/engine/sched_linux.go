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
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL {
		return func() {} // somebody has chosen
	}
	set := func(runtime time.Duration) {
		a.Runtime = uint64(runtime)
		_ = unix.SchedSetAttr(0, a, 0) // where it is forbidden all stays as it was
	}
	set(slice)
	return func() { set(0) }
}
