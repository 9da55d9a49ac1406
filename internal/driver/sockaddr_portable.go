//go:build !linux || portable

package driver

// A sockaddr is not needed where package net sends.
type sockaddr struct{}
