//go:build !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !linux && !windows

package driver

import "errors"

func reusePort(uintptr) error { return errors.ErrUnsupported }
