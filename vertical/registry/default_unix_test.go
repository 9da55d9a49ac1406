//go:build unix

package registry

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefault(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	run := filepath.Join(tmp, "run")
	t.Setenv("XDG_RUNTIME_DIR", run)
	r, err := Default()
	require.NoError(t, err)
	assert.NoFileExists(t, run, "nobody else can make it")
	assert.Equal(t, filepath.Join(tmp, "mafalda-"+strconv.Itoa(os.Getuid())), r.dir)
	require.NoError(t, os.Mkdir(run, 0o700))
	r, err = Default()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(run, "mafalda"), r.dir)

	t.Setenv("XDG_RUNTIME_DIR", "")
	for range 2 { // the second finds it
		r, err = Default()
		require.NoError(t, err)
	}
	st, err := os.Stat(r.dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())

	// Somebody else was there first, with a link to where we are not to write.
	elsewhere := t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	require.NoError(t, os.Symlink(tmp, filepath.Join(elsewhere, "mafalda-"+strconv.Itoa(os.Getuid()))))
	_, err = Default()
	require.Error(t, err)
}

func TestFilesAreKept(t *testing.T) {
	r, err := Open(t.TempDir())
	require.NoError(t, err)
	release, err := r.Acquire(1)
	require.NoError(t, err)
	defer release()
	st, err := os.Stat(r.file(0))
	require.NoError(t, err)
	if st.Mode()&os.ModeSticky == 0 && runtime.GOOS == "linux" { // others refuse it for files
		t.Error("what is not used for days may be removed")
	}
}
