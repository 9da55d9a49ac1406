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
		if below, ok := v.part().pass.Inner().(transport); ok {
			t = below // of an SFU of this package below
			continue
		}
		k, ok := v.part().rr.w.inner.(mafalda.Killer)
		if !ok {
			return errors.ErrUnsupported
		}
		return k.Kill(reason)
	}
}

// SameWorker reports whether two Transports are on one real Worker.
func SameWorker(a, b mafalda.Transport) bool {
	return a.(transport).part().rr.w == b.(transport).part().rr.w
}

// OnWorkerOf reports whether a Transport and an RTPObserver are on one real Worker.
func OnWorkerOf(t mafalda.Transport, o mafalda.RTPObserver) bool {
	return t.(transport).part().rr.w == o.(rtpObserver).part().rr.w
}

// RealRouters returns how many real Routers r has, or will have.
func RealRouters(r mafalda.Router) int {
	v := r.(*router)
	v.w.s.mu.Lock()
	defer v.w.s.mu.Unlock()
	return len(v.reals)
}
