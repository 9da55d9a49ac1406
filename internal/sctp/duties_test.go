package sctp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// abortPacket is an ABORT with a good checksum.
func abortPacket(tag uint32, flags byte) []byte {
	p := make([]byte, headerLen+chunkHeaderLen)
	copy(p, []byte{0x13, 0x88, 0x13, 0x88})
	binary.BigEndian.PutUint32(p[offTag:], tag)
	p[headerLen], p[headerLen+1], p[headerLen+3] = typeAbort, flags, chunkHeaderLen
	return seal(p)
}

// Duty 1: an ABORT of somebody who does not know the tag.
func TestForgedAbort(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet func(ours, peers uint32) []byte
		ends   bool
	}{
		{"wrong tag", func(_, _ uint32) []byte { return abortPacket(0xdeadbeef, 0) }, false},
		{"no tag", func(_, _ uint32) []byte { return abortPacket(0, 0) }, false},
		{"wrong tag, reflected", func(_, _ uint32) []byte { return abortPacket(0xdeadbeef, flagT) }, false},
		{"peer's tag, not reflected", func(_, p uint32) []byte { return abortPacket(p, 0) }, false},
		{"our tag, reflected", func(o, _ uint32) []byte { return abortPacket(o, flagT) }, false},
		{"bad checksum", func(o, _ uint32) []byte { p := abortPacket(o, 0); p[offCRC]++; return p }, false},
		{"our tag", func(o, _ uint32) []byte { return abortPacket(o, 0) }, true},
		{"peer's tag, reflected", func(_, p uint32) []byte { return abortPacket(p, flagT) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, y := pair(t, Config{}, Config{})
				y.openIn(1, ordered)
				x.openOut(1, ordered)
				y.do(func() {
					y.a.mu.Lock()
					ours, peers := y.a.wire.localTag, y.a.wire.peerTag
					y.a.mu.Unlock()
					y.a.Receive(c.packet(ours, peers))
				})
				synctest.Wait()
				if c.ends {
					y.until(Closed)
					return
				}
				_, err := x.write(1, 51, []byte("alive"))
				require.NoError(t, err)
				require.Equal(t, "alive", string(y.message().Data))
			})
		})
	}
}

func carriesData(p []byte) bool { return p[headerLen] == typeData || p[headerLen] == typeIData }

// pump sends n messages as fast as x takes them.
func pump(x *end, id uint16, n, size int) {
	x.t.Helper()
	refused := 0
	for sent := 0; sent < n; {
		b := make([]byte, size)
		binary.BigEndian.PutUint32(b, uint32(sent))
		switch _, err := x.write(id, 53, b); err {
		case nil:
			sent++
			refused = 0
		case ErrSendBufferFull:
			refused++
			require.Less(x.t, refused, 3000, "stalled after %d messages", sent)
			time.Sleep(10 * time.Millisecond)
		default:
			require.NoError(x.t, err)
		}
	}
}

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
			for ; err == nil && sent < 2*patience; sent += len(message) {
				_, err = x.a.SendPatiently(1, 51, message[:])
			}
			require.ErrorIs(t, err, ErrSendBufferFull, "there is an end to it")
			require.GreaterOrEqual(t, sent, patience)
			require.True(t, x.a.Crowded())
			require.True(t, x.a.Jammed())
			x.a.CloseOutbound(1)
			require.False(t, x.a.Jammed())
		})
		require.Equal(t, Unjammed, x.next().Kind)
		require.True(t, relieved())
	})
}

// Duty 3: a message that the window can't hold blocks all others for good.
func TestWedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{MaxSendMessageSize: 1 << 20}, Config{MaxReceiverWindowBufferSize: 100000})
		x.openOut(1, ordered)
		x.openOut(2, ordered)
		y.openIn(1, ordered)
		y.openIn(2, ordered)
		_, err := x.write(1, 51, make([]byte, 300000))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = x.write(2, 51, []byte("x"))
		require.NoError(t, err)
		require.ErrorIs(t, y.until(Failed).Err, ErrWedged)
		x.until(Closed)
	})
}

// Duty 4: messages wait for the association.
func TestBeforeConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := link(t, Config{}, Config{})
		y.openIn(3, ordered)
		x.openOut(3, ordered)
		sent := 0
		for ; ; sent++ {
			n, err := x.write(3, 51, binary.BigEndian.AppendUint32(make([]byte, 996), uint32(sent)))
			if err != nil {
				require.ErrorIs(t, err, ErrSendBufferFull)
				break
			}
			require.EqualValues(t, (sent+1)*1000, n)
		}
		require.Equal(t, 2000, sent)
		x.do(x.a.Start)
		for i := range sent {
			require.EqualValues(t, i, binary.BigEndian.Uint32(y.message().Data[996:]))
		}
		// What waits for a stream that is closed again goes with it.
		z, _ := link(t, Config{}, Config{})
		for range 3 {
			z.openOut(3, ordered)
			z.do(func() {
				for {
					if _, err := z.a.Send(3, 51, make([]byte, 1000)); err != nil {
						break
					}
				}
				z.a.CloseOutbound(3)
				require.Empty(t, z.a.table.streams)
				require.Zero(t, z.a.table.queued+z.a.table.waiting+len(z.a.table.active))
			})
		}
	})
}

// Duty 5: an id rests until both ends have reset it.
func TestQuarantine(t *testing.T) {
	for _, interleaving := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{DataChannel: true, noInterleaving: !interleaving}
			x, y := pair(t, cfg, cfg)
			openBoth := func(e *end) { e.openIn(11, ordered); e.openOut(11, ordered) }
			talk := func(text string) {
				for range 3 {
					_, err := x.write(11, 51, []byte(text))
					require.NoError(t, err)
					require.Equal(t, text, string(y.message().Data))
				}
			}
			openBoth(x)
			openBoth(y)
			talk("first life")
			x.do(func() {
				x.a.CloseOutbound(11)
				require.ErrorIs(t, x.a.OpenOutbound(11, ordered, 0), ErrStreamInUse)
			})
			require.Equal(t, Event{Kind: StreamReset, Stream: 11}, y.next())
			time.Sleep(time.Minute)
			x.do(func() { require.ErrorIs(t, x.a.OpenOutbound(11, ordered, 0), ErrStreamInUse) })
			_, err := y.write(11, 51, []byte("other way"))
			require.NoError(t, err)
			require.Equal(t, "other way", string(x.message().Data))

			y.do(func() { y.a.CloseOutbound(11) })
			time.Sleep(time.Second)
			require.Empty(t, kinds(x), "the answer to a reset is no event")
			x.openOut(11, ordered)
			y.openOut(11, ordered)
			talk("second life")
			_, err = y.write(11, 51, []byte("again"))
			require.NoError(t, err)
			require.Equal(t, "again", string(x.message().Data))

			// A stream that was never used, too; and without any trace.
			x.do(func() { x.a.CloseInbound(11); x.a.CloseOutbound(11) })
			y.do(func() { y.a.CloseInbound(11); y.a.CloseOutbound(11) })
			x.openOut(12, ordered)
			x.do(func() { x.a.CloseOutbound(12) })
			time.Sleep(time.Second)
			for _, e := range []*end{x, y} {
				e.do(func() {
					e.a.mu.Lock()
					defer e.a.mu.Unlock()
					delete(e.a.table.streams, 12) // one-sided, so it rests for ever
					require.Empty(t, e.a.table.streams)
				})
			}
		})
	}
}

// Streams come and go while the association of a pipe stays: none is left behind,
// used or not, whichever end is told first, and an id has a new life soon.
func TestAnswer(t *testing.T) {
	for _, channel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			x, y := pair(t, Config{DataChannel: channel}, Config{DataChannel: channel})
			for i := range 12 {
				id := uint16(i % 4)
				x.openOut(id, ordered)
				y.openIn(id, ordered)
				if i%3 > 0 || channel {
					_, err := x.write(id, 51, []byte{byte(i)})
					require.NoError(t, err)
					require.Equal(t, []byte{byte(i)}, y.message().Data)
				}
				if i%2 == 0 {
					y.do(func() { y.a.CloseInbound(id) })
				}
				x.do(func() { x.a.CloseOutbound(id) })
				time.Sleep(time.Second)
				if i%2 != 0 {
					y.do(func() { y.a.CloseInbound(id) })
				}
				for _, e := range []*end{x, y} {
					left := -1
					for begin := time.Now(); left != 0 && time.Since(begin) < time.Minute; time.Sleep(time.Second) {
						e.do(func() {
							e.a.mu.Lock()
							defer e.a.mu.Unlock()
							left = len(e.a.table.streams) + len(e.a.table.readers)
						})
					}
					require.Zero(t, left, "round %d", i)
				}
			}
		})
	}
}

// With CloseInbound a data channel ends as a whole, and not otherwise.
func TestCloseInbound(t *testing.T) {
	for _, channel := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			x, y := pair(t, Config{DataChannel: channel}, Config{DataChannel: true})
			x.openIn(4, ordered)
			y.openOut(4, ordered)
			_, err := y.write(4, 51, []byte("x"))
			require.NoError(t, err)
			x.message()
			x.do(func() { x.a.CloseInbound(4) })
			time.Sleep(time.Second)
			if channel {
				require.Equal(t, Event{Kind: StreamReset, Stream: 4}, y.next())
			} else {
				require.Empty(t, kinds(y))
			}
		})
	}
}

// Duty 6: nobody else notices that a peer is gone.
func TestVanished(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			x, y := pair(t, Config{}, Config{})
			x.openOut(1, ordered)
			time.Sleep(time.Hour)
			require.Empty(t, kinds(x), "an idle peer answers")
			x.do(func() { x.drop = func([]byte) bool { return true } })
			y.do(func() { y.drop = func([]byte) bool { return true } })
			if busy {
				_, err := x.write(1, 51, []byte("x"))
				require.NoError(t, err)
			}
			began := time.Now()
			require.ErrorIs(t, x.until(Failed).Err, ErrVanished)
			require.InDelta(t, 300, time.Since(began).Seconds(), 40)
		})
	}
}

// Duty 7: streams that nobody opened are drained, and not too many.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{}, Config{})
		for id := range uint16(1000) {
			x.openOut(id, ordered)
		}
		for range 20 {
			for id := range uint16(1000) {
				_, err := x.write(id, 51, make([]byte, 1000))
				require.NoError(t, err)
			}
			time.Sleep(time.Minute) // many new streams at once overflow pion's accept queue
		}
		require.EqualValues(t, 20000, y.a.Dropped())
		require.Empty(t, y.messages)
		y.do(func() {
			y.a.mu.Lock()
			defer y.a.mu.Unlock()
			require.Equal(t, 1000, y.a.table.strangers)
		})
		y.openIn(77, ordered)
		_, err := x.write(77, 51, []byte("now"))
		require.NoError(t, err)
		require.Equal(t, "now", string(y.message().Data))

		for id := range uint16(1000) { // a reset ends a stranger
			x.do(func() { x.a.CloseOutbound(id) })
		}
		strangers := func() (n int) {
			y.do(func() {
				y.a.mu.Lock()
				defer y.a.mu.Unlock()
				n = y.a.table.strangers
			})
			return n
		}
		for range 10 { // what is lost of a thousand resets at a time is asked for again, later and later
			if time.Sleep(time.Minute); strangers() == 0 {
				break
			}
		}
		require.Zero(t, strangers())
		y.do(func() {
			y.a.mu.Lock()
			defer y.a.mu.Unlock()
			require.Len(t, y.a.table.streams, 1)
		})
	})
}

func TestTooManyStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{}, Config{})
		x.do(func() {
			for id := range uint16(20000) {
				require.NoError(t, x.a.OpenOutbound(id, ordered, 0))
				_, err := x.a.Send(id, 51, []byte("x"))
				require.NoError(t, err)
			}
		})
		require.ErrorIs(t, y.until(Failed).Err, ErrTooManyStreams)
		x.until(Closed)
		y.do(func() { require.LessOrEqual(t, len(y.a.table.readers), MaxStrangers) })
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
