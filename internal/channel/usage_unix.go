//go:build unix

package channel

import (
	"golang.org/x/sys/unix"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// usage is that of the whole process, which is the worker.
func usage(*engine.Machine) (fbs.WorkerResourceUsageResponseT, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return fbs.WorkerResourceUsageResponseT{}, err
	}
	ms := func(t unix.Timeval) uint64 { return uint64(t.Nano() / 1e6) }
	return fbs.WorkerResourceUsageResponseT{
		RuUtime: ms(r.Utime), RuStime: ms(r.Stime),
		RuMaxrss: uint64(r.Maxrss), RuIxrss: uint64(r.Ixrss), RuIdrss: uint64(r.Idrss), RuIsrss: uint64(r.Isrss),
		RuMinflt: uint64(r.Minflt), RuMajflt: uint64(r.Majflt), RuNswap: uint64(r.Nswap),
		RuInblock: uint64(r.Inblock), RuOublock: uint64(r.Oublock),
		RuMsgsnd: uint64(r.Msgsnd), RuMsgrcv: uint64(r.Msgrcv), RuNsignals: uint64(r.Nsignals),
		RuNvcsw: uint64(r.Nvcsw), RuNivcsw: uint64(r.Nivcsw),
	}, nil
}
