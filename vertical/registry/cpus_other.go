//go:build !linux

package registry

func quota() (float64, bool) { return 0, false }
