package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadCPU returns the CPU time of the calling thread, which is the loop's.
func threadCPU() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func threadUsage() Usage {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &r) != nil {
		return Usage{}
	}
	return Usage{
		User: time.Duration(r.Utime.Nano()), System: time.Duration(r.Stime.Nano()),
		MaxRSS: uint64(r.Maxrss), MinorFaults: uint64(r.Minflt), MajorFaults: uint64(r.Majflt),
		InBlock: uint64(r.Inblock), OutBlock: uint64(r.Oublock),
		VoluntaryCS: uint64(r.Nvcsw), InvoluntaryCS: uint64(r.Nivcsw),
	}
}
