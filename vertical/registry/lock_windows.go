package registry

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errLocked says that somebody has the file.
var errLocked = errors.New("locked")

// lockAt is the byte that is locked: nobody reads or writes there.
const lockAt = 1 << 30

// lockFile opens a file, which is created if it is missing, and locks it until
// it is closed. Error: errLocked.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{Offset: lockAt})
	if err == nil {
		return f, nil
	}
	_ = f.Close() // the first error counts
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return nil, errLocked
	}
	return nil, &os.PathError{Op: "lock", Path: name, Err: err}
}

// ours returns nil: directories for temporary files belong to one user.
func ours(string) error { return nil }
