//go:build unix && !solaris && !aix

package registry

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errLocked says that somebody has the file.
var errLocked = errors.New("locked")

// lockFile opens a file, which is created if it is missing, and locks it until
// it is closed. Error: errLocked.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close() // the first error counts
		return nil, cmp.Or(err, error(&os.PathError{Op: "lock", Path: name, Err: errors.New("not a regular file")}))
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err == nil {
		keep(f)
		return f, nil
	}
	_ = f.Close() // the first error counts
	if err == unix.EWOULDBLOCK {
		return nil, errLocked
	}
	return nil, &os.PathError{Op: "lock", Path: name, Err: err}
}

// keep sets the sticky bit, by which those who tidy up directories for temporary
// files know what to leave alone (XDG Base Directory Specification). With the file
// the lock would go, and somebody else could have the CPU as well.
func keep(f *os.File) {
	st, err := f.Stat()
	if err == nil && st.Mode()&os.ModeSticky == 0 {
		_ = f.Chmod(st.Mode() | os.ModeSticky) // of another user's file only he can, and has
	}
}

// ours returns an error unless dir is a directory that belongs to this user.
func ours(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a directory of this user", dir)
	}
	return nil
}
