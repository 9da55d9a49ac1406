package driver

import (
	"errors"
	"net"
)

var (
	errAddr   = errors.New("invalid address")
	errClosed = net.ErrClosed
)

// Errors of this system for drivers that do without its sockets.
var (
	ErrAddrInUse        = addrInUse[0]
	ErrAddrNotAvailable = addrNotAvailable[0]
)

// IsAddrNotAvailable reports whether err says that the host has no such
// address.
func IsAddrNotAvailable(err error) bool { return isOneOf(err, addrNotAvailable[:]) }

// IsTooManyFiles reports whether err says that the process or the system has
// no file descriptor left.
func IsTooManyFiles(err error) bool { return isOneOf(err, tooManyFiles[:]) }

func isOneOf(err error, codes []error) bool {
	for _, c := range codes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}
