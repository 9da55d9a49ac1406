package sctp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Duty 2: partial reliability of the peer under loss, by DATA and by I-DATA.
func TestPartialReliability(t *testing.T) {
	unordered := StreamParameters{MaxRetransmits: new(uint16(0))}
	for _, c := range []struct {
		name    string
		in      StreamParameters // of what x sends, known to y
		unknown bool             // y learns it by itself
		back    *StreamParameters
	}{
		{"unordered", unordered, false, nil},
		{"unordered, not announced", unordered, true, nil},
		{"unordered, back ordered", unordered, false, &ordered},
		{"ordered, back unordered", StreamParameters{Ordered: true, MaxRetransmits: new(uint16(0))}, false, &StreamParameters{}},
		{"unordered lifetime", StreamParameters{MaxPacketLifeTime: 50 * time.Millisecond}, false, nil},
	} {
		for _, interleaving := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, interleaving %v", c.name, interleaving), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := Config{noInterleaving: !interleaving}
					x, y := pair(t, cfg, cfg)
					r := rand.New(rand.NewPCG(1, 2))
					x.delay, y.delay = 5*time.Millisecond, 5*time.Millisecond
					x.do(func() { x.drop = func(p []byte) bool { return carriesData(p) && r.IntN(10) == 0 } })
					const size = 8000
					n := 1500
					if c.name == "unordered" && !interleaving {
						n = 6000 // unaware, pion stalls after 1,106
					}
					x.openOut(5, c.in)
					if !c.unknown {
						y.openIn(5, c.in)
					}
					stop := make(chan struct{})
					stopped := make(chan struct{})
					go func() {
						defer close(stopped)
						if c.back == nil {
							return
						}
						y.openOut(5, *c.back)
						for {
							select {
							case <-stop:
								return
							default:
								_, _ = y.write(5, 51, make([]byte, 50))
								time.Sleep(2 * time.Millisecond)
							}
						}
					}()
					pump(x, 5, n, size)
					close(stop)
					<-stopped
					time.Sleep(30 * time.Second)
					x.do(func() { require.Zero(t, x.a.BufferedAmount(5), "all was sent or given up") })
					y.do(func() {
						y.a.mu.Lock()
						defer y.a.mu.Unlock()
						// As it was before the last messages were taken.
						require.LessOrEqual(t, y.a.window.queued, uint32(4*size), "the window is open again")
					})
					if !c.unknown {
						require.Greater(t, len(y.messages), 20)
						require.Less(t, len(y.messages), n)
						t.Logf("%d of %d messages arrived", len(y.messages), n)
					}
				})
			})
		}
	}
}

// Duty 3: what is queued is bounded, and so is a message.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t,
			Config{SendBufferSize: 300000, PerStreamSendQueueLimit: 200000, MaxSendMessageSize: 100000},
			Config{MaxReceiveMessageSize: 50000})
		for id := range uint16(3) {
			x.openOut(id, ordered)
			y.openIn(id, ordered)
		}
		_, err := x.write(9, 51, []byte("x"))
		require.ErrorIs(t, err, ErrNoStream)
		_, err = x.write(0, 51, nil)
		require.ErrorIs(t, err, ErrEmptyMessage)
		_, err = x.write(0, 51, make([]byte, 100001))
		require.ErrorIs(t, err, ErrMessageTooLarge)
		_, err = x.write(0, 51, make([]byte, 50001))
		require.NoError(t, err)
		_, err = x.write(0, 51, make([]byte, 50000))
		require.NoError(t, err)
		require.Len(t, y.message().Data, 50000, "the longer one was dropped")
		require.EqualValues(t, 1, y.a.Dropped())

		x.do(func() { x.drop = carriesData })
		fill := func(id uint16) (n int) {
			for before := -1; n > before; synctest.Wait() { // until sending, too, makes no room any more
				before = n
				for ; ; n += 10000 {
					if _, err := x.write(id, 51, make([]byte, 10000)); err != nil {
						require.ErrorIs(t, err, ErrSendBufferFull)
						break
					}
				}
			}
			return n
		}
		unsent := func() (n int) {
			x.do(func() {
				x.a.mu.Lock()
				defer x.a.mu.Unlock()
				n = x.a.table.queued + x.a.table.given
			})
			return n
		}
		require.Zero(t, unsent())
		require.GreaterOrEqual(t, fill(0), 200000)
		require.InDelta(t, 200000, unsent(), 10000)
		require.NotZero(t, fill(1))
		require.InDelta(t, 300000, unsent(), 10000)
		require.Zero(t, fill(2))
		x.do(func() { x.drop = nil })
		time.Sleep(5 * time.Second)
		_, err = x.write(2, 51, []byte("x"))
		require.NoError(t, err)
	})
}

// Duty 3: as many messages as bytes.
func TestLimitOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := link(t, Config{}, Config{})
		x.openOut(0, ordered)
		x.do(func() {
			for range maxWaiting {
				_, err := x.a.Send(0, 51, []byte{1})
				require.NoError(t, err)
			}
			_, err := x.a.Send(0, 51, []byte{1})
			require.ErrorIs(t, err, ErrSendBufferFull)
		})
	})
}

// TestPatient: who looks at Crowded loses nothing, and hears when to go on.
func TestPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{SendBufferSize: 100000, PerStreamSendQueueLimit: 100000}, Config{})
		var message [10000]byte
		x.openOut(0, ordered)
		y.openIn(0, ordered)
		write := func() (err error) {
			x.do(func() { _, err = x.a.SendPatiently(0, 51, message[:]) })
			return err
		}
		crowded := func() (is bool) {
			x.do(func() { is = x.a.Crowded() })
			return is
		}
		relieved := func() bool {
			for {
				switch e := x.next(); e.Kind {
				case BufferedLow:
				case Relieved:
					return true
				default:
					return false
				}
			}
		}
		require.False(t, crowded())
		for range 2 {
			x.do(func() { x.drop = carriesData })
			sent := 0
			for ; !crowded(); sent++ {
				require.NoError(t, write())
				synctest.Wait()
			}
			require.GreaterOrEqual(t, sent*len(message), crowd)
			require.NoError(t, write(), "who has not looked yet")
			_, err := x.write(0, 51, message[:])
			require.ErrorIs(t, err, ErrSendBufferFull, "who does not look")
			x.do(func() { x.drop = nil })
			for range sent + 1 {
				y.message()
			}
			require.True(t, relieved())
			require.False(t, crowded())
		}

		x.do(func() {
			x.drop = carriesData
			for range maxWaiting / 2 {
				_, err := x.a.SendPatiently(0, 51, []byte{1})
				require.NoError(t, err)
			}
			require.True(t, x.a.Crowded(), "as many messages as bytes")
			x.a.CloseOutbound(0)
		})
		require.True(t, relieved(), "what was dropped does not wait")

		x.openOut(1, ordered)
		x.do(func() {
			var err error
			sent := 0
			for ; err == nil && sent < 2*patientLimit; sent += len(message) {
				_, err = x.a.SendPatiently(1, 51, message[:])
			}
			require.ErrorIs(t, err, ErrSendBufferFull, "there is an end to it")
			require.GreaterOrEqual(t, sent, patientLimit)
			require.True(t, x.a.Crowded())
			require.True(t, x.a.Jammed())
			x.a.CloseOutbound(1)
			require.False(t, x.a.Jammed())
		})
		require.Equal(t, Unjammed, x.next().Kind)
		require.True(t, relieved())
	})
}

// Duty 8: the buffered amount is what was not sent yet.
func TestBufferedAmount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := link(t, Config{}, Config{})
		x.delay, y.delay = 10*time.Millisecond, 10*time.Millisecond
		x.do(x.a.Start)
		x.until(Connected)
		y.until(Connected)
		y.openIn(0, ordered)
		x.do(func() { require.NoError(t, x.a.OpenOutbound(0, ordered, 1024)) })
		n, err := x.write(0, 51, []byte("foo"))
		require.NoError(t, err)
		require.Zero(t, n)
		time.Sleep(time.Second)
		require.Empty(t, kinds(x), "it was never above the threshold")
		x.do(func() {
			for range 500 {
				n, err = x.a.Send(0, 51, make([]byte, 1000))
				require.NoError(t, err)
			}
			require.Equal(t, n, x.a.BufferedAmount(0))
			require.Zero(t, x.a.BufferedAmount(1))
		})
		require.InDelta(t, 500000-4*mtu, int(n), 2000)
		ev := x.next()
		require.Equal(t, BufferedLow, ev.Kind)
		require.LessOrEqual(t, ev.Buffered, uint32(1024))
		x.do(func() { require.LessOrEqual(t, x.a.BufferedAmount(0), uint32(1024)) })
		time.Sleep(time.Second)
		require.Empty(t, kinds(x), "once")

		x.do(func() { // raised above what waits: at once
			x.a.SetLowThreshold(0, 0)
			for range 100 {
				_, err = x.a.Send(0, 51, make([]byte, 1000))
				require.NoError(t, err)
			}
			x.a.SetLowThreshold(0, 200000)
			x.a.SetLowThreshold(0, 300000)
			x.a.SetLowThreshold(9, 300000)
		})
		got := x.next().Buffered
		require.Greater(t, got, uint32(0))
		require.LessOrEqual(t, got, uint32(100000))
		require.Empty(t, kinds(x))
	})
}

// A message whose time is over is not sent at all.
func TestLifetimeInQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := link(t, Config{}, Config{})
		y.openIn(0, StreamParameters{})
		x.openOut(0, StreamParameters{MaxPacketLifeTime: time.Second})
		_, err := x.write(0, 51, []byte("old"))
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		_, err = x.write(0, 51, []byte("new"))
		require.NoError(t, err)
		x.do(x.a.Start)
		require.Equal(t, "new", string(y.message().Data))
		x.do(func() { require.Zero(t, x.a.table.waiting+x.a.table.queued+x.a.table.given) })
	})
}
