package driver

import (
	"os"

	"golang.org/x/sys/windows"
)

// Windows has one option, which does what SO_REUSEPORT does elsewhere.
func reusePort(fd uintptr) error {
	return os.NewSyscallError("setsockopt",
		windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1))
}
