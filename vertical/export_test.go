package vertical

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

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

// Left says what real Workers there are, and why.
func (s *SFU) Left() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, x := range s.real {
		fmt.Fprintf(&b, "Worker: uses %d routers %d over %t idle %t", x.uses, x.routers, x.over, x.idle != nil)
		for w, n := range x.users {
			fmt.Fprintf(&b, "; %d of %s (closed %t)", n, w.id, w.Closed())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// CloseListeners counts who waits for the end of a Producer.
func CloseListeners(p mafalda.Producer) int {
	e := reflect.ValueOf(&p.Observer().Close).Elem().FieldByName("listeners")
	return reflect.NewAt(e.Type(), unsafe.Pointer(e.UnsafeAddr())).MethodByName("Load").Call(nil)[0].Elem().Len()
}
