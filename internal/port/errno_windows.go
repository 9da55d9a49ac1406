package port

import "syscall"

// WSAEMFILE, WSAENOBUFS and WSAEADDRNOTAVAIL.
var hopelessErrors = [...]error{syscall.Errno(10024), syscall.Errno(10055), syscall.Errno(10049)}
