package registry

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups string
		files  map[string]string
		want   float64
		ok     bool
	}{
		{"v2", "0::/a/b\n", map[string]string{"a/b/cpu.max": "150000 100000\n"}, 1.5, true},
		{"v2: no limit", "0::/a\n", map[string]string{"a/cpu.max": "max 100000\n"}, 0, false},
		{"v2: a parent's", "0::/a/b\n", map[string]string{"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4, true},
		{"v2: the lowest", "0::/a/b\n", map[string]string{"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"}, 2, true},
		{"v2: in a namespace", "0::/\n", map[string]string{"cpu.max": "50000 100000\n"}, 0.5, true},
		{"v1", "4:cpu,cpuacct:/x\n0::/\n", map[string]string{"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 2, true},
		{"v1: no limit", "4:cpu,cpuacct:/x\n", map[string]string{"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 0, false},
		{"v1: another controller", "4:cpuset:/x\n", map[string]string{"cpu/x/cpu.cfs_quota_us": "100000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 0, false},
		{"rubbish", "x\n0::/a\n", map[string]string{"a/cpu.max": "1 2 3\n", "cpu.max": "5 0\n"}, 0, false},
		{"no cgroups", "", nil, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			groups := filepath.Join(dir, "cgroup")
			require.NoError(t, os.WriteFile(groups, []byte(c.groups), 0o600))
			for name, content := range c.files {
				file := filepath.Join(dir, "fs", name)
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
				require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			}
			q, ok := quotaAt(groups, filepath.Join(dir, "fs"))
			assert.Equal(t, c.ok, ok)
			assert.Equal(t, c.want, q)
		})
	}
	_, ok := quotaAt(filepath.Join(t.TempDir(), "nothing"), t.TempDir())
	assert.False(t, ok)
}

func TestStartTime(t *testing.T) {
	one, ok := startTime(os.Getpid())
	require.True(t, ok)
	two, _ := startTime(os.Getpid())
	assert.Equal(t, one, two)
	_, ok = startTime(1 << 30)
	assert.False(t, ok)
}
