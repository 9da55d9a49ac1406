//go:build (darwin || dragonfly || freebsd || netbsd || openbsd || linux) && (!linux || portable)

package driver

import (
	"os"

	"golang.org/x/sys/unix"
)

func reusePort(fd uintptr) error {
	unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}
