//go:build !unix

package channel

import (
	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// usage is that of the loop, as far as the system counts it.
func usage(m *engine.Machine) (fbs.WorkerResourceUsageResponseT, error) {
	u, err := m.Usage()
	return fbs.WorkerResourceUsageResponseT{
		RuUtime: milliseconds(u.User), RuStime: milliseconds(u.System), RuMaxrss: u.MaxRSS,
		RuMinflt: u.MinorFaults, RuMajflt: u.MajorFaults, RuInblock: u.InBlock, RuOublock: u.OutBlock,
		RuNvcsw: u.VoluntaryCS, RuNivcsw: u.InvoluntaryCS,
	}, err
}
