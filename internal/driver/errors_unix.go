//go:build !windows

package driver

import "syscall"

var (
	addrInUse        = [...]error{syscall.EADDRINUSE}
	addrNotAvailable = [...]error{syscall.EADDRNOTAVAIL}
	tooManyFiles     = [...]error{syscall.EMFILE, syscall.ENFILE}
)
