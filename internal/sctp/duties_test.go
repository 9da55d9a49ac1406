package sctp

import (
	"encoding/binary"
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
