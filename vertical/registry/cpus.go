package registry

import "runtime"

// CPUs returns how many CPUs this process may use: those of its affinity, and no
// more whole ones than its cgroups grant, but at least one.
func CPUs() int {
	n := runtime.NumCPU()
	if q, ok := quota(); ok {
		n = min(n, max(1, int(q)))
	}
	return n
}
