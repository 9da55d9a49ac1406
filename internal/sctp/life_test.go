package sctp

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func kinds(e *end) (got []string) {
	for {
		select {
		case ev := <-e.others:
			switch ev.Kind {
			case StateChanged:
				got = append(got, ev.State.String())
			case Negotiated:
				got = append(got, "negotiated")
				require.Equal(e.t, [2]uint16{65535, 65535}, [2]uint16{ev.MaxOutbound, ev.MaxInbound})
			default:
				got = append(got, "?")
			}
		default:
			return got
		}
	}
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		name         string
		simultaneous bool
	}{{"one side starts", false}, {"both do", true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, y := link(t, Config{}, Config{})
				x.delay, y.delay = 20*time.Millisecond, 20*time.Millisecond
				x.do(func() { require.Equal(t, Idle, x.a.State()) })
				x.do(x.a.Start)
				if c.simultaneous {
					y.do(y.a.Start)
				}
				time.Sleep(time.Second)
				want := []string{"connecting", "negotiated", "connected"}
				require.Empty(t, cmp.Diff(want, kinds(x)))
				require.Empty(t, cmp.Diff(want, kinds(y)))
				x.do(func() { require.Equal(t, Connected, x.a.State()) })

				x.do(x.a.Close)
				x.do(x.a.Close)
				time.Sleep(time.Second)
				require.Empty(t, kinds(x), "a closed association says nothing")
				require.Empty(t, cmp.Diff([]string{"closed"}, kinds(y)))
				_, err := y.write(1, 51, []byte("x"))
				require.ErrorIs(t, err, ErrClosed)
				y.do(func() {
					require.ErrorIs(t, y.a.OpenInbound(1, ordered), ErrClosed)
					require.ErrorIs(t, y.a.OpenOutbound(1, ordered, 0), ErrClosed)
					y.a.Start()
				})
				require.Empty(t, kinds(y), "there is no reconnection")
			})
		})
	}
}

func TestStartRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := link(t, Config{}, Config{})
		x.drop = func([]byte) bool { return true }
		data := make([]byte, headerLen+20)
		x.do(func() {
			require.False(t, x.a.Receive(data), "only an INIT starts an association")
			require.False(t, x.a.Receive(make([]byte, 8)))
			require.False(t, x.a.Receive(make([]byte, 33)))
			require.Equal(t, Idle, x.a.State())
		})
		x.do(func() {
			x.a.Start()
			x.a.Start()
			require.Equal(t, Connecting, x.a.State())
		})
		require.ErrorIs(t, x.until(Failed).Err, ErrHandshake)
	})
}

func TestCloseBeforeAnything(t *testing.T) {
	x, y := link(t, Config{}, Config{})
	y.do(func() { require.NoError(t, y.a.OpenOutbound(1, ordered, 0)) })
	_, err := y.write(1, 51, []byte("x"))
	require.NoError(t, err)
	x.do(x.a.Close)
	<-x.a.Done()
	x.do(func() { require.False(t, x.a.Receive(initPacket())) })
}

func initPacket() []byte {
	p := make([]byte, headerLen+initLen)
	copy(p, []byte{0x13, 0x88, 0x13, 0x88})
	p[headerLen+3] = initLen
	p[headerLen] = typeInit
	binary.BigEndian.PutUint32(p[headerLen+4:], 7)
	binary.BigEndian.PutUint32(p[headerLen+8:], 100000)
	binary.BigEndian.PutUint32(p[headerLen+12:], 0x000a000b)
	return seal(p)
}

func seal(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[offCRC:], checksum(p))
	return p
}

// The handshake is ended at every point of it.
func TestCloseWhileConnecting(t *testing.T) {
	for n := range 6 {
		synctest.Test(t, func(t *testing.T) {
			x, y := link(t, Config{}, Config{})
			y.delay = time.Millisecond
			seen := 0
			x.log = func([]byte) {
				if seen++; seen > n {
					x.a.Close()
				}
			}
			x.do(x.a.Start)
			time.Sleep(time.Minute)
		})
	}
}

// A loop that has ended takes the association with it.
func TestLoopGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{}, Config{})
		y.openOut(1, ordered)
		x.post(func() { x.a.box.post = func(func()) bool { return false } })
		synctest.Wait()
		_, err := y.write(1, 51, []byte("x"))
		require.NoError(t, err)
		<-x.a.Done()
	})
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := pair(t, Config{}, Config{})
		go x.a.guard(func() { panic("no") })
		var p *PanicError
		require.ErrorAs(t, x.until(Failed).Err, &p)
		require.Equal(t, "no", p.Value)
	})
}

func TestSuspend(t *testing.T) {
	for _, size := range []int{10, 1000, 60000} {
		synctest.Test(t, func(t *testing.T) {
			x, y := pair(t, Config{Wedged: time.Second}, Config{Wedged: time.Second})
			x.do(func() { x.delay = 5 * time.Millisecond })
			y.do(func() { y.delay = 5 * time.Millisecond })
			y.openIn(1, ordered)
			x.openOut(1, ordered)
			y.do(y.a.Suspend)
			sent := 0
			for idle := 0; idle < 20; {
				if _, err := x.write(1, 51, make([]byte, size)); err == nil {
					sent++
					idle = 0
				} else {
					require.ErrorIs(t, err, ErrSendBufferFull)
					idle++
					time.Sleep(time.Second)
				}
			}
			require.LessOrEqual(t, len(y.messages), 1, "one was under way")
			require.LessOrEqual(t, sent*size, DefaultSendBufferSize+DefaultWindow+1<<20)
			require.Greater(t, sent, 100)
			y.do(y.a.Resume)
			began := time.Now()
			for range sent {
				require.Len(t, y.message().Data, size)
			}
			t.Logf("%d × %d bytes in %v", sent, size, time.Since(began))
			require.Less(t, time.Since(began), 20*time.Second, "the peer was told, or its timer ran out once")
			_, err := x.write(1, 51, []byte("after"))
			require.NoError(t, err)
			require.Equal(t, "after", string(y.message().Data))
		})
	}
}

// A stream that is reset while nobody takes its messages gives them all.
func TestResetWhileSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{DataChannel: true}, Config{DataChannel: true})
		y.openIn(1, ordered)
		x.openOut(1, ordered)
		y.do(y.a.Suspend)
		for range 100 {
			_, err := x.write(1, 51, make([]byte, 100))
			require.NoError(t, err)
		}
		time.Sleep(time.Second) // what was not sent would be dropped
		x.do(func() { x.a.CloseOutbound(1) })
		time.Sleep(10 * time.Minute)
		require.Empty(t, kinds(y))
		y.do(y.a.Resume)
		require.Equal(t, Event{Kind: StreamReset, Stream: 1}, y.next())
		require.Len(t, y.messages, 100)
	})
}
