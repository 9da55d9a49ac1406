package registry

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

func TestAcquire(t *testing.T) {
	r, err := Open(filepath.Join(t.TempDir(), "new", "directory"))
	require.NoError(t, err)
	var release [3]func()
	for i := range release {
		release[i], err = r.Acquire(3)
		require.NoError(t, err)
	}
	_, err = r.Acquire(3)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	_, err = r.Acquire(0)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)

	more, err := r.Acquire(4)
	require.NoError(t, err, "others may be allowed more")
	more()
	release[1]()
	release[1]() // does nothing
	again, err := r.Acquire(3)
	require.NoError(t, err)
	_, err = r.Acquire(3)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	again()

	other, err := Open(t.TempDir())
	require.NoError(t, err)
	free, err := other.Acquire(1)
	require.NoError(t, err, "another directory is another machine")
	free()
}

func TestAcquireByMany(t *testing.T) {
	r, err := Open(t.TempDir())
	require.NoError(t, err)
	const limit = 3
	var mu sync.Mutex
	var held, most, got int // guarded by mu
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				release, err := r.Acquire(limit)
				if err != nil {
					assert.ErrorIs(t, err, mafalda.ErrUnavailable)
					runtime.Gosched()
					continue
				}
				mu.Lock()
				held++
				got++
				most = max(most, held)
				mu.Unlock()
				runtime.Gosched() // others may try
				mu.Lock()
				held--
				mu.Unlock()
				release()
			}
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, most, limit)
	assert.Greater(t, got, limit)
}

// Somebody deletes the files of CPUs that are held. Another process is another
// Registry here.
func TestDeletedFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is open can't be deleted")
	}
	dir := t.TempDir()
	r, err := Open(dir)
	require.NoError(t, err)
	other, err := Open(dir)
	require.NoError(t, err)
	first, err := r.Acquire(2)
	require.NoError(t, err)
	require.NoError(t, os.Remove(r.file(0)))

	// It is taken again before anybody else comes.
	second, err := r.Acquire(2)
	require.NoError(t, err)
	_, err = other.Acquire(2)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	assert.Len(t, other.Holders(2), 2)

	// Another process was faster: both have it, until both have given it back.
	require.NoError(t, os.Remove(r.file(1)))
	third, err := other.Acquire(2)
	require.NoError(t, err)
	_, err = r.Acquire(2)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	second()
	_, err = r.Acquire(2)
	require.ErrorIs(t, err, mafalda.ErrUnavailable)
	third()
	second, err = r.Acquire(2)
	require.NoError(t, err)
	second()
	first()
	assert.Empty(t, r.Holders(2))
}

// Somebody deletes all of it.
func TestDeletedDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is open can't be deleted")
	}
	t.Chdir(t.TempDir())
	r, err := Open("registry")
	require.NoError(t, err)
	other, err := Open("registry")
	require.NoError(t, err)
	dir := r.dir
	require.NoError(t, os.Chmod(dir, 0o750))
	again, err := Open(dir) // as if it had been so before
	require.NoError(t, err)
	first, err := again.Acquire(2)
	require.NoError(t, err)
	t.Chdir(t.TempDir()) // others still mean the same

	require.NoError(t, os.RemoveAll(dir))
	second, err := again.Acquire(2)
	require.NoError(t, err)
	st, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Zero(t, st.Mode().Perm()&^0o750, "for nobody else")
	_, err = other.Acquire(2)
	require.ErrorIs(t, err, mafalda.ErrUnavailable, "the first CPU was taken anew")
	assert.Len(t, r.Holders(2), 2)
	second()
	first()
	first, err = other.Acquire(1)
	require.NoError(t, err)
	first()

	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	_, err = r.Acquire(1)
	require.Error(t, err)
	assert.NotErrorIs(t, err, mafalda.ErrUnavailable, "it says what is wrong")
}

// A file that is deleted just before it is locked would be no lock.
func TestDeletedBeforeTheLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is open can't be deleted")
	}
	name := filepath.Join(t.TempDir(), "cpu0")
	times := 3
	late := func(name string) (*os.File, error) {
		f, err := lockFile(name)
		if times--; times >= 0 {
			require.NoError(t, os.Remove(name))
		}
		return f, err
	}
	f, err := lockBy(late, name)
	require.NoError(t, err)
	defer f.Close()
	_, err = lockFile(name)
	require.ErrorIs(t, err, errLocked)

	times = 1000
	_, err = lockBy(late, filepath.Join(t.TempDir(), "cpu1"))
	require.ErrorContains(t, err, "deleted again and again")
}

func TestHolders(t *testing.T) {
	r, err := Open(t.TempDir())
	require.NoError(t, err)
	assert.Empty(t, r.Holders(4))
	release, err := r.Acquire(4)
	require.NoError(t, err)
	assert.Equal(t, []Holder{{CPU: 0, PID: os.Getpid()}}, r.Holders(4))
	_, err = r.Acquire(1)
	assert.ErrorContains(t, err, "processes")
	release()
	assert.Empty(t, r.Holders(4))
}

// What a file says counts for nothing: only its lock does.
func TestWhatCrashesLeave(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir)
	require.NoError(t, err)
	for i, left := range []string{"1 1\n", "99999999 5\n", "", "rubbish", "1"} {
		require.NoError(t, os.WriteFile(r.file(i), []byte(left), 0o666))
	}
	if runtime.GOOS == "linux" {
		assert.Empty(t, r.Holders(5), "PID 1 started at another time")
	}
	for range 5 {
		release, err := r.Acquire(5)
		require.NoError(t, err)
		defer release()
	}
	assert.Len(t, r.Holders(5), 5)
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(file)
	require.Error(t, err)
	_, err = Open("")
	require.Error(t, err)

	r, err := Open(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(r.file(0), 0o700))
	_, err = r.Acquire(1)
	require.Error(t, err)
	assert.False(t, errors.Is(err, mafalda.ErrUnavailable))
}

func TestCPUs(t *testing.T) {
	n := CPUs()
	assert.Positive(t, n)
	assert.LessOrEqual(t, n, runtime.NumCPU())
}
