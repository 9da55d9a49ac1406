package vertical

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/mafalda-sfu/mafalda"
)

// create has f create an inner Transport on a real Router, on the real Worker that
// only returns if that is not nil, and returns what stands for it. f gets the app
// data to create it with.
func create[T interface {
	comparable
	mafalda.Transport
}](
	ctx context.Context, r *router, only func() *realWorker, server *server, data any,
	f func(*realRouter, any) (T, error), outer func(T) T,
) (T, error) {
	var none, inner T
	for i := 0; ; i++ {
		rr, err := r.enter(ctx, only())
		if errors.Is(err, errDied) && i < attempts {
			continue // since it was looked up
		}
		if err != nil {
			return none, err
		}
		tag := &transportTag{rr: rr, server: server, data: data, leave: sync.OnceFunc(rr.leave)}
		if inner, err = something(f(rr, tag)); err == nil {
			break
		}
		tag.leave()
		if err := rr.again(err, i); err != nil {
			return none, err
		}
	}
	t := outer(inner)
	if t.Closed() {
		if err := r.openError(); err != nil {
			return none, err
		}
		if server != nil && server.Closed() {
			return none, fmt.Errorf("WebRTCServer %s was closed: %w", server.id, mafalda.ErrInvalidState)
		}
	}
	return t, nil
}

// something returns what the SFU below made, which may have made nothing without saying
// why.
func something[T comparable](v T, err error) (T, error) {
	var nothing T
	if err == nil && v == nothing {
		err = fmt.Errorf("nil instead of a %v: %w", reflect.TypeFor[T](), mafalda.ErrUnavailable)
	}
	return v, err
}

// ready returns the error of a call that must not go on: wrong is what is wrong
// with its options.
func (r *router) ready(ctx context.Context, wrong error) error {
	if wrong != nil {
		return wrong
	}
	return r.check(ctx)
}

func (r *router) CreateWebRTCTransport(ctx context.Context, o mafalda.WebRTCTransportOptions) (mafalda.WebRTCTransport, error) {
	const op = "CreateWebRTCTransport"
	if err := o.Validate(); err != nil {
		return nil, r.fail(op, err)
	}
	var x *server
	if o.WebRTCServer != nil {
		var err error
		if x, err = r.serverOf(o.WebRTCServer); err != nil {
			return nil, r.fail(op, err)
		}
	}
	if err := r.check(ctx); err != nil {
		return nil, r.fail(op, err)
	}
	t, err := r.createWebRTC(ctx, o, x, x.only)
	if x != nil && errors.Is(err, errNoPort) { // where it has its first ports there is room
		t, err = r.createWebRTC(ctx, o, x, x.first)
	}
	if err != nil {
		return nil, r.fail(op, err)
	}
	return t, nil
}

// errNoPort is that a WebRTCServer gets no ports on another Worker.
var errNoPort = fmt.Errorf("no port for the WebRTCServer on another Worker: %w", mafalda.ErrUnavailable)

func (r *router) createWebRTC(ctx context.Context, o mafalda.WebRTCTransportOptions, x *server, only func() *realWorker) (mafalda.WebRTCTransport, error) {
	return create(ctx, r, only, x, o.AppData,
		func(rr *realRouter, tag any) (mafalda.WebRTCTransport, error) {
			o := o
			o.AppData = tag
			if x == nil {
				return rr.createWebRTC(ctx, o)
			}
			inner, release, err := x.on(ctx, rr.w)
			if err != nil {
				return nil, err
			}
			o.WebRTCServer = inner
			t, err := something(rr.createWebRTC(ctx, o))
			if err != nil {
				release()
				return nil, err
			}
			t.Observer().Close.On(func(struct{}) { release() })
			return t, nil
		}, r.w.s.space.WebRTCTransport)
}

// createWebRTC creates a Transport on rr with the certificate of the virtual Worker,
// unless it is to have another one, or the SFU below can't do that.
func (rr *realRouter) createWebRTC(ctx context.Context, o mafalda.WebRTCTransportOptions) (mafalda.WebRTCTransport, error) {
	if o.DTLSCertificate != "" {
		return rr.inner.CreateWebRTCTransport(ctx, o)
	}
	of, err := rr.r.w.identity()
	if err != nil {
		return nil, err
	}
	o.DTLSCertificate, o.DTLSPrivateKey = of.certificate, of.key
	t, err := rr.inner.CreateWebRTCTransport(ctx, o)
	if of != (identity{}) && errors.Is(err, errors.ErrUnsupported) {
		o.DTLSCertificate, o.DTLSPrivateKey = "", ""
		t, err = rr.inner.CreateWebRTCTransport(ctx, o)
	}
	return t, err
}

// anywhere is for Transports that may be on any real Worker.
func anywhere() *realWorker { return nil }

func (r *router) CreatePlainTransport(ctx context.Context, o mafalda.PlainTransportOptions) (mafalda.PlainTransport, error) {
	err := r.ready(ctx, o.Validate())
	var t mafalda.PlainTransport
	if err == nil {
		t, err = create(ctx, r, anywhere, nil, o.AppData, func(rr *realRouter, tag any) (mafalda.PlainTransport, error) {
			o := o
			o.AppData = tag
			return rr.inner.CreatePlainTransport(ctx, o)
		}, r.w.s.space.PlainTransport)
	}
	if err != nil {
		return nil, r.fail("CreatePlainTransport", err)
	}
	return t, nil
}

func (r *router) CreatePipeTransport(ctx context.Context, o mafalda.PipeTransportOptions) (mafalda.PipeTransport, error) {
	err := r.ready(ctx, o.Validate())
	var t mafalda.PipeTransport
	if err == nil {
		t, err = create(ctx, r, anywhere, nil, o.AppData, func(rr *realRouter, tag any) (mafalda.PipeTransport, error) {
			o := o
			o.AppData = tag
			return rr.inner.CreatePipeTransport(ctx, o)
		}, r.w.s.space.PipeTransport)
	}
	if err != nil {
		return nil, r.fail("CreatePipeTransport", err)
	}
	return t, nil
}

func (r *router) CreateDirectTransport(ctx context.Context, o mafalda.DirectTransportOptions) (mafalda.DirectTransport, error) {
	err := r.ready(ctx, o.Validate())
	var t mafalda.DirectTransport
	if err == nil {
		t, err = create(ctx, r, anywhere, nil, o.AppData, func(rr *realRouter, tag any) (mafalda.DirectTransport, error) {
			o := o
			o.AppData = tag
			return rr.inner.CreateDirectTransport(ctx, o)
		}, r.w.s.space.DirectTransport)
	}
	if err != nil {
		return nil, r.fail("CreateDirectTransport", err)
	}
	return t, nil
}
