// Package registry counts the Workers of a machine, across the processes that
// run them: together they are to be no more than it has CPUs.
//
// The state is a directory with one file for each CPU. Who has a CPU has an
// advisory lock on its file, for as long as it needs it. The system drops the
// lock when the process ends, however it ends: nothing has to be cleaned up, no
// PID is mistaken for that of a successor, and processes in containers that share
// the directory need not see each other. What is in a file, a PID and when that
// process started, is for people: it tells who has the CPU.
//
// The files are to be left alone. Who locks one that has been deleted meanwhile
// tries again. Where one is deleted while a process has that CPU, another one can get
// it as well, until the first calls [Registry.Acquire]: if nobody was faster it takes
// the file anew. A CPU that two have is free again when both have given it back.
// Acquire makes the directory again, too, with no more permissions than it had when
// it was opened: to delete it is to delete all files.
package registry

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mafalda-sfu/mafalda"
)

// A Registry is a directory in which processes register what they use. Its
// methods may be called by many goroutines at a time.
type Registry struct {
	// Constant after open.
	dir      string // absolute
	mode     fs.FileMode
	mkdirAll func(dir string, mode fs.FileMode) error

	mu   sync.Mutex
	held map[int]*os.File // guarded by mu; locked, by CPU
}

// Open returns the Registry in a directory, which is created if it is missing.
// It has to be on a local file system. All processes that are given the same one
// share the CPUs; they need permission to write to its files. Open does not wait.
// Errors: [errors.ErrUnsupported] where the system has no locks that end with the
// process; those of package os.
func Open(dir string) (*Registry, error) { return open(dir, mkdirShared) }

// mkdirShared makes a directory for whoever mode says. Those that it is in are only
// this user's to write to.
func mkdirShared(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.MkdirAll(dir, mode)
}

// open is Open with what makes the directory, unless it is there, and refuses one
// that is not to be used.
func open(dir string, mkdirAll func(dir string, mode fs.FileMode) error) (*Registry, error) {
	if err := mkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir) // to make the same one later
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	// A system that knows no locks says so here and not later.
	f, err := lock(filepath.Join(dir, "probe"))
	if err == nil {
		err = f.Close()
	} else if errors.Is(err, errLocked) { // then it does
		err = nil
	}
	if err != nil {
		return nil, err
	}
	mode := st.Mode() & (fs.ModePerm | fs.ModeSticky)
	return &Registry{dir: dir, mode: mode, mkdirAll: mkdirAll, held: map[int]*os.File{}}, nil
}

// Default returns the Registry that all processes of this user share: in
// XDG_RUNTIME_DIR, if that is a directory of this user, and else in the directory
// for temporary files. Where these differ between processes, as for a service
// beside a login session or in a container, they have to be given one with [Open].
// Errors: as of Open, and one where the directory belongs to somebody else.
func Default() (*Registry, error) {
	// After su the variable may still name that of somebody else.
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && ours(filepath.Clean(dir)) == nil {
		return open(filepath.Join(dir, "mafalda"), mkdirInOurs)
	}
	return open(filepath.Join(os.TempDir(), "mafalda-"+strconv.Itoa(os.Getuid())), mkdirOurs)
}

// mkdirInOurs makes a directory in one of this user, which it does not make.
func mkdirInOurs(dir string, mode fs.FileMode) error {
	if err := ours(filepath.Dir(dir)); err != nil {
		return err
	}
	return os.MkdirAll(dir, mode)
}

// mkdirOurs makes a directory for this user alone. The parent may be writable for
// all: what is there has to be ours.
func mkdirOurs(dir string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, mode&0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return ours(dir)
}

// Acquire takes one of the first limit CPUs, until release is called, of which
// only the first call has an effect, or the process ends. Neither waits. When all
// are taken the error is a [mafalda.ErrUnavailable] that says who has them. One
// whose file can't be opened counts as taken, and when none is left that is the
// error, as it is when the directory was deleted and can't be made. Processes with
// different limits get along: each takes one only while fewer than its limit are
// taken of those.
func (r *Registry) Acquire(limit int) (release func(), err error) {
	var broken error
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.mkdirAll(r.dir, r.mode); err != nil { // somebody may have deleted it
		return nil, err
	}
	r.restoreLocked()
	for i := range limit {
		if r.held[i] != nil {
			continue
		}
		f, err := lock(r.file(i))
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			broken = cmp.Or(broken, err)
			continue
		}
		write(f)
		r.held[i] = f
		return sync.OnceFunc(func() { r.release(i) }), nil
	}
	if broken != nil {
		return nil, broken
	}
	return nil, fmt.Errorf("all %d CPUs are in use%s: %w", limit, r.who(limit), mafalda.ErrUnavailable)
}

func (r *Registry) release(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.held[i]
	delete(r.held, i)
	_ = f.Truncate(0) // only people would read it
	_ = f.Close()     // and with it the lock goes
}

// restoreLocked takes the files of the CPUs that are held anew, where somebody has
// deleted them and nobody else has the new ones.
func (r *Registry) restoreLocked() {
	for i, old := range r.held {
		if isAt(old, r.file(i)) {
			continue
		}
		f, err := lock(r.file(i))
		if err != nil {
			continue
		}
		write(f)
		r.held[i] = f
		_ = old.Close() // nobody can find it
	}
}

// lock is lockFile, of the file that has the name then and not of one that was
// deleted in between.
func lock(name string) (*os.File, error) { return lockBy(lockFile, name) }

func lockBy(lockFile func(name string) (*os.File, error), name string) (*os.File, error) {
	for range 100 {
		f, err := lockFile(name)
		if err != nil || isAt(f, name) {
			return f, err
		}
		_ = f.Close() // nobody can find it
	}
	return nil, &os.PathError{Op: "lock", Path: name, Err: errors.New("deleted again and again")}
}

// isAt reports whether f is what has the name now.
func isAt(f *os.File, name string) bool {
	own, err := f.Stat()
	if err != nil {
		return false
	}
	st, err := os.Lstat(name)
	return err == nil && os.SameFile(own, st)
}

// A Holder is a process that has a CPU.
type Holder struct {
	// CPU is the number of the CPU in the Registry, from 0.
	CPU int
	// PID is the id of the process.
	PID int
}

// Holders returns who has one of the first limit CPUs. It is a snapshot to look
// at, by CPU, and the caller's: it takes no lock, so as to be in nobody's way, and
// leaves out processes that have ended or are of another PID namespace. Where the
// system does not tell when a process started, one that has ended may be in it.
func (r *Registry) Holders(limit int) []Holder {
	var out []Holder
	for i := range limit {
		if st, err := os.Lstat(r.file(i)); err != nil || !st.Mode().IsRegular() {
			continue // a pipe would have us wait
		}
		b, err := os.ReadFile(r.file(i))
		if err != nil {
			continue
		}
		var pid int
		var start uint64
		if _, err := fmt.Sscan(string(b), &pid, &start); err != nil {
			continue // free, or being written just now
		}
		if now, ok := startTime(pid); ok && now == start {
			out = append(out, Holder{CPU: i, PID: pid})
		}
	}
	return out
}

func (r *Registry) file(i int) string { return filepath.Join(r.dir, "cpu"+strconv.Itoa(i)) }

// who returns the PIDs of all holders, each once, for an error.
func (r *Registry) who(limit int) string {
	var pids []string
	for _, h := range r.Holders(limit) {
		if pid := strconv.Itoa(h.PID); !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	if pids == nil {
		return ""
	}
	return " by the processes " + strings.Join(pids, ", ")
}

// write says in f whose it is. An error, as of a full file system, is of no
// importance: what counts is the lock.
func write(f *os.File) {
	pid := os.Getpid()
	start, _ := startTime(pid)
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d %d\n", pid, start), 0)
}
