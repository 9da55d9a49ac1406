//go:build !amd64 || portable

package aesgcm

const (
	hasFast    = false
	maxFastAAD = 0
)

// A schedule is what assembly wants to know of a key; there is none here.
type schedule struct{ _ byte }

func newSchedule([]byte) *schedule                                    { return nil }
func (*schedule) key() []byte                                         { return nil }
func (*schedule) seal(_, _ []byte, _ *[NonceSize]byte, _ []byte)      {}
func (*schedule) open(_, _ []byte, _ *[NonceSize]byte, _ []byte) bool { return false }
