package harness

import "errors"

// ErrUnavailable is why a benchmark can't be run here: what it measures is not
// to be had. Its process ends with [ExitUnavailable] then.
var ErrUnavailable = errors.New("not available")

// ExitUnavailable is EX_UNAVAILABLE of sysexits.h.
const ExitUnavailable = 69
