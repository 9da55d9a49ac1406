package sctp

import (
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func seeds(f *testing.F) {
	f.Add(packetOf(local, chunkOf(typeData, 3, make([]byte, 20)...)))
	f.Add(packetOf(local, chunkOf(typeIData, 3, make([]byte, 20)...)))
	f.Add(packetOf(local, chunkOf(typeHeartbeat, 0, 0, 1, 0, 8, 1, 2, 3, 4), chunkOf(typeCookieEcho, 0, 1, 2, 3)))
	f.Add(packetOf(local, chunkOf(typeReconfig, 0, 0, paramReset, 0, 16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3)))
	f.Add(packetOf(local, chunkOf(typeReconfig, 0, 0, paramResetResponse, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2)))
	f.Add(packetOf(local, chunkOf(typeSack, 0, 0, 0, 0, 100, 0, 1, 0, 0, 0, 1, 0, 1, 0, 2, 0, 3, 0, 0, 0, 9)))
	f.Add(packetOf(local, chunkOf(typeForwardTSN, 0, 0, 0, 0, 100, 0, 1, 0, 2)))
	f.Add(packetOf(local, chunkOf(typeIForwardTSN, 0, 0, 0, 0, 100, 0, 1, 0, 1, 0, 0, 0, 2)))
	f.Add(packetOf(local, chunkOf(typeError, 0, 0, 1, 0, 8, 0, 0, 0, 0), chunkOf(typeShutdown, 0, 0, 0, 0, 1)))
	f.Add(packetOf(local, chunkOf(typeShutdownAck, 0), chunkOf(typeAbort, 0, 0, 12, 0, 8, 1, 1, 1, 1)))
	f.Add(packetOf(0, chunkOf(typeInit, 0, append(make([]byte, 16), 0xc0, 0, 0, 4, 0x80, 8, 0, 6, 192, 130, 0, 0)...)))
	f.Add(packetOf(local, chunkOf(typeInitAck, 0, append(make([]byte, 16), 0, 7, 0, 8, 1, 2, 3, 4)...)))
}

// The filter alone: what it lets through is whole and for us.
func FuzzFilter(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		p = append([]byte(nil), p...)
		if len(p) >= headerLen {
			seal(p)
		}
		w := testWire()
		kept := w.filter(p, false, func(c chunk) bool { _, ok := c.payload(); return ok })
		if kept == nil {
			return
		}
		require.True(t, looksValid(kept))
		require.Equal(t, checksum(kept), binary.LittleEndian.Uint32(kept[offCRC:]))
		require.True(t, w.allowed(kept))
		for b := kept[headerLen:]; len(b) > 0; {
			c, n, ok := nextChunk(b)
			require.True(t, ok)
			require.True(t, known[c.kind()])
			b = b[n:]
		}
		w.outgoing(kept, func(uint16, int, bool) {}, func(n uint32) uint32 { return n })
	})
}

// Whatever a peer sends into an association that is connected, nothing panics,
// and all goroutines end.
func FuzzReceive(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{noInterleaving: len(p)%8 == 0}
			x, y := pair(t, cfg, cfg)
			y.openIn(0, ordered)
			y.openOut(0, StreamParameters{})
			x.openOut(0, ordered)
			_, err := x.write(0, 51, []byte("before"))
			require.NoError(t, err)
			y.message()
			_, _ = y.write(0, 51, make([]byte, 5000))
			y.do(func() {
				y.a.mu.Lock()
				tag, cum := y.a.wire.localTag, y.a.wire.sent
				var last uint32
				if s := y.a.wire.lastSack; len(s) >= 4 {
					last = binary.BigEndian.Uint32(s)
				}
				y.a.mu.Unlock()
				// Several packets out of the input, each with good tags and numbers
				// near those that are in use.
				for len(p) >= chunkHeaderLen {
					n := min(len(p), max(int(p[0])*4, 16))
					q := append([]byte(nil), p[:n]...)
					p = p[n:]
					if q = append(packetOf(tag), q...); len(q) > headerLen+8 {
						at := q[headerLen+4:]
						switch q[headerLen] {
						case typeData, typeIData, typeForwardTSN, typeIForwardTSN:
							binary.BigEndian.PutUint32(at, last+uint32(at[3]%8))
						case typeSack, typeShutdown:
							binary.BigEndian.PutUint32(at, cum-uint32(at[3]%8))
						}
					}
					for len(q)%4 != 0 {
						q = append(q, 0)
					}
					y.a.Receive(seal(q))
				}
			})
			synctest.Wait()
			_, _ = x.write(0, 51, []byte("after"))
			_, _ = y.write(0, 51, []byte("after"))
			synctest.Wait()
		})
	})
}
