//go:build unix

package registry

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefault(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(tmp, "run"))
	r, err := Default()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(tmp, "run", "mafalda"), r.dir)

	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", tmp)
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
