package registry

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// quota returns how many CPUs the cgroups of this process grant in all, false
// for no limit.
func quota() (float64, bool) { return quotaAt("/proc/self/cgroup", "/sys/fs/cgroup") }

// quotaAt reads the cgroups that file names under their mount point, of either
// version: the lowest quota on the way up to the root.
func quotaAt(file, mount string) (float64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	lowest, limited := 0.0, false
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path (cgroups(7))
		p := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(p) != 3 {
			continue
		}
		read, top := quotaV2, mount
		if p[0] != "0" {
			if !slices.Contains(strings.Split(p[1], ","), "cpu") {
				continue
			}
			read, top = quotaV1, filepath.Join(mount, "cpu")
		}
		for dir := filepath.Clean("/" + p[2]); ; dir = filepath.Dir(dir) {
			if q, ok := read(filepath.Join(top, dir)); ok && (!limited || q < lowest) {
				lowest, limited = q, true
			}
			if dir == "/" {
				break
			}
		}
	}
	return lowest, limited
}

// quotaV2 reads «$MAX $PERIOD» (Linux, Documentation/admin-guide/cgroup-v2.rst).
func quotaV2(dir string) (float64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return 0, false
	}
	return ratio(f[0], f[1])
}

// quotaV1 reads the two files of the controller cpu; no limit is -1.
func quotaV1(dir string) (float64, bool) {
	q, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return 0, false
	}
	p, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0, false
	}
	return ratio(strings.TrimSpace(string(q)), strings.TrimSpace(string(p)))
}

func ratio(quota, period string) (float64, bool) {
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil || q <= 0 { // «max» is no number
		return 0, false
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil || p <= 0 {
		return 0, false
	}
	return q / p, true
}
