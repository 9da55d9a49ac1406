package driver

import "golang.org/x/sys/windows"

// Binding a port that a socket with exclusive use holds gives WSAEACCES.
var (
	addrInUse        = [...]error{windows.WSAEADDRINUSE, windows.WSAEACCES}
	addrNotAvailable = [...]error{windows.WSAEADDRNOTAVAIL}
	tooManyFiles     = [...]error{windows.WSAEMFILE, windows.WSAENOBUFS}
)
