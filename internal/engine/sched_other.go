//go:build !linux

package engine

// wakeSoon does nothing: other kernels have no such thing.
func wakeSoon() (undo func()) { return func() {} }
