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
	"golang.org/x/sys/unix"

	"github.com/mafalda-sfu/mafalda"
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

	// It is made again, but not what it is in.
	require.NoError(t, os.RemoveAll(r.dir))
	release, err := r.Acquire(1)
	require.NoError(t, err)
	release()
	require.NoError(t, os.RemoveAll(run))
	_, err = r.Acquire(1)
	require.Error(t, err)
	assert.NoFileExists(t, run)

	t.Setenv("XDG_RUNTIME_DIR", "")
	for range 2 { // the second finds it
		r, err = Default()
		require.NoError(t, err)
	}
	st, err := os.Stat(r.dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())

	require.NoError(t, os.RemoveAll(r.dir))
	release, err = r.Acquire(1)
	require.NoError(t, err)
	release()
	st, err = os.Stat(r.dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	require.NoError(t, os.RemoveAll(r.dir))
	require.NoError(t, os.Symlink(tmp, r.dir)) // by somebody who was faster
	_, err = r.Acquire(1)
	require.Error(t, err)

	// Somebody else was there first, with a link to where we are not to write.
	elsewhere := t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	require.NoError(t, os.Symlink(tmp, filepath.Join(elsewhere, "mafalda-"+strconv.Itoa(os.Getuid()))))
	_, err = Default()
	require.Error(t, err)
}

// What somebody put in place of the file of a CPU is not followed, and does not
// keep others from being used.
func TestDamagedFiles(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	r, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(r.file(0), 0o700))
	require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(elsewhere, r.file(1)))
	require.NoError(t, os.Symlink("nowhere", r.file(2)))
	require.NoError(t, unix.Mkfifo(r.file(3), 0o600)) // reading it would wait
	_, err = r.Acquire(4)
	require.Error(t, err)
	assert.NotErrorIs(t, err, mafalda.ErrUnavailable, "it says what is wrong")
	release, err := r.Acquire(5)
	require.NoError(t, err)
	defer release()
	_, err = r.Acquire(5)
	require.Error(t, err)
	assert.Equal(t, []Holder{{CPU: 4, PID: os.Getpid()}}, r.Holders(5))
	b, err := os.ReadFile(elsewhere)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(b))
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

// What the directory is in is nobody else's to write to because the directory is.
func TestDeletedParent(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	parent := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.Mkdir(parent, 0o755))
	r, err := Open(filepath.Join(parent, "cpus"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(parent))
	release, err := r.Acquire(1)
	require.NoError(t, err)
	release()
	for path, want := range map[string]os.FileMode{parent: 0o755, r.dir: 0o777} {
		st, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, want, st.Mode().Perm(), path)
	}
}
