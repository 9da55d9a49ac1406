//go:build !linux || portable

package driver

// A sockaddr only says whether a socket can send there: package net wants
// nothing else.
type sockaddr struct {
	n uint32 // 0: not valid
}
