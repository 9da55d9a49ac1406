package vertical_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
)

// TestCrowd has hundreds of Routers of two virtual Workers share three real ones,
// with the same ids in both, kills all of these at once, again while they are
// replaced, and finds everybody again.
func TestCrowd(t *testing.T) {
	var cpus counted
	o := now(3)
	o.Registry = &cpus
	r := newRoom(t, o)
	second, err := r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
	require.NoError(t, err)
	const each = 60
	var rooms []*room
	for i := range 2 * each {
		w := r.worker
		if i >= each {
			w = second
		}
		rooms = append(rooms, &room{worker: w, router: newRouter(t, w)})
	}
	for round := range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var ends []mafalda.Lifetime // guarded by mu
		var transports []mafalda.Transport
		limit := make(chan struct{}, 16)
		for i, x := range rooms {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				in, err := x.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{AppData: i})
				if !assert.NoError(t, err) {
					return
				}
				out, err := x.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
				if !assert.NoError(t, err) {
					return
				}
				out.SetAppData(in)
				id := fmt.Sprint("id", i%each) // in both Workers
				o := audioOf(1)
				o.ID = id
				p, err := in.Produce(t.Context(), o)
				if !assert.NoError(t, err) || !assert.Equal(t, id, p.ID()) {
					return
				}
				c, err := out.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id, RTPCapabilities: x.router.RTPCapabilities()})
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, id, c.ProducerID())
				assert.Equal(t, i, in.AppData())
				assert.True(t, out.AppData() == in)
				assert.Equal(t, []mafalda.Transport{in, out}, x.router.Transports())
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, in, out, p, c)
				transports = append(transports, in, out)
			})
		}
		wg.Wait()
		require.Len(t, ends, 4*len(rooms), "round %d", round)
		u := r.sfu.Usage()
		require.Len(t, u.Workers, 3)
		require.Equal(t, 2*len(rooms), u.Transports)
		n := 0
		for _, w := range u.Workers {
			n += w.Transports
		}
		require.Equal(t, u.Transports, n)
		// All at once; other calls want them again at the same time.
		for i := range 6 {
			wg.Go(func() { _ = vertical.Kill(transports[i], errors.New("planted")) })
			wg.Go(func() {
				d, err := rooms[i].router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
				if assert.NoError(t, err) {
					_ = vertical.Kill(d, errors.New("planted again"))
					<-d.Done()
				}
			})
		}
		wg.Wait()
		for _, tr := range transports {
			_ = vertical.Kill(tr, errors.New("the rest"))
		}
		for _, e := range ends {
			<-e.Done()
		}
	}
	for _, x := range rooms {
		require.False(t, x.router.Closed())
		require.NoError(t, x.router.Close())
	}
	eventually(t, "everything is reaped", func() bool {
		used, _ := cpus.now()
		return used == 0 && len(r.inner.Workers()) == 0
	})
	_, most := cpus.now()
	require.LessOrEqual(t, most, 3)
	require.Zero(t, r.sfu.Usage().Pipes)
}
