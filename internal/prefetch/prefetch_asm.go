//go:build (amd64 || arm64) && !portable

package prefetch

import "unsafe"

// lines asks for n bytes, which are not 0, from p on.
//
//go:noescape
func lines(p unsafe.Pointer, n uintptr)
