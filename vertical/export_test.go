package vertical

import (
	"errors"

	"github.com/mafalda-sfu/mafalda"
)

// Kill lets the real Worker die on which a Transport is.
func Kill(t mafalda.Transport, reason error) error {
	for {
		v, ok := t.(transport)
		if !ok {
			return errors.ErrUnsupported
		}
		k, ok := v.part().rr.w.inner.(mafalda.Killer)
		if ok {
			return k.Kill(reason)
		}
		t = v.part().pass.Inner() // of an SFU of this package below
	}
}

// SameWorker reports whether two Transports are on one real Worker.
func SameWorker(a, b mafalda.Transport) bool {
	return a.(transport).part().rr.w == b.(transport).part().rr.w
}
