package mafalda

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDied(t *testing.T) {
	x := newTree(t)
	other, err := x.sfu.CreateWorker(t.Context(), WorkerSettings{})
	require.NoError(t, err)
	x.take()
	var why error
	x.worker.Events().Died.On(func(err error) {
		why = err
		assert.True(t, x.worker.Closed())
		assert.True(t, x.worker.Died())
		assert.True(t, x.router.Closed())
	})
	planted := errors.New("planted")
	require.NoError(t, x.worker.(Killer).Kill(planted))
	wait(t, x.worker.Done(), "Done")
	assert.Equal(t, fields(inWorker, `worker!Died worker.o!Close`), x.take())
	require.Error(t, why)
	assert.ErrorIs(t, why, planted)
	assert.Equal(t, "panic: planted", why.Error())
	assert.Equal(t, why.Error(), fmt.Sprintf("%v", why))
	assert.Equal(t, why.Error(), fmt.Sprintf("%s", why))
	assert.Equal(t, strconv.Quote(why.Error()), fmt.Sprintf("%q", why))
	stack := fmt.Sprintf("%+v", why)
	assert.True(t, strings.HasPrefix(stack, why.Error()+"\n"))
	assert.Contains(t, stack, "backend_engine_local.go")

	assert.True(t, x.worker.Died())
	assert.Equal(t, []Worker{other}, x.sfu.Workers())
	_, err = x.worker.Dump(t.Context())
	assert.ErrorIs(t, err, ErrWorkerClosed)
	_, err = x.audio.Stats(t.Context())
	assert.ErrorIs(t, err, ErrWorkerClosed)
	require.NoError(t, x.worker.Close())
	assert.Empty(t, x.take(), "events of Close after death")

	assert.False(t, other.Closed())
	assert.False(t, other.Died())
	testDirect(t, testRouter(t, other))
}

// TestDiedInACall: the call that the loop dies of, and those that wait.
func TestDiedInACall(t *testing.T) {
	w := testWorker(t)
	r := testRouter(t, w)
	var errs [8]chan error
	require.NoError(t, w.Kill(errors.New("planted")))
	for i := range errs {
		errs[i] = make(chan error, 1)
		go func() { // ends with the call
			for {
				if _, err := r.CreateDirectTransport(t.Context(), DirectTransportOptions{}); err != nil {
					errs[i] <- err
					return
				}
			}
		}()
	}
	for _, ch := range errs {
		assert.ErrorIs(t, wait(t, ch, "answer"), ErrWorkerClosed)
	}
	wait(t, w.Done(), "Done")
	assert.True(t, w.Died())
}

// TestCloseOfADeadLoop: Close before the death was noticed is Close.
func TestCloseOfADeadLoop(t *testing.T) {
	for range 20 {
		w := testWorker(t)
		r := testRouter(t, w)
		d := testDirect(t, r)
		require.NoError(t, w.Kill(errors.New("planted")))
		require.NoError(t, d.Close())
		require.NoError(t, r.Close())
		require.NoError(t, w.Close())
		wait(t, w.Done(), "Done")
	}
}
