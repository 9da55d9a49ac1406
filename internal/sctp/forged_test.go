package sctp

import (
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// strangersInit is an INIT with that tag and first TSN.
func strangersInit(tag, tsn uint32) []byte {
	v := make([]byte, initLen-chunkHeaderLen)
	binary.BigEndian.PutUint32(v, tag)
	binary.BigEndian.PutUint32(v[4:], 1<<20)
	binary.BigEndian.PutUint16(v[8:], 3)
	binary.BigEndian.PutUint16(v[10:], 3)
	binary.BigEndian.PutUint32(v[12:], tsn)
	return packetOf(0, chunkOf(typeInit, 0, v...))
}

// An INIT needs to know no tag. One of somebody else changes nothing once the
// association is connected.
func TestForgedInit(t *testing.T) {
	for name, server := range map[string]bool{"to the server": true, "to the client": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, y := pair(t, Config{}, Config{})
				to, from := y, x
				if !server {
					to, from = x, y
				}
				to.openIn(1, ordered)
				from.openOut(1, ordered)
				_, err := from.write(1, 51, []byte("before"))
				require.NoError(t, err)
				require.Equal(t, "before", string(to.message().Data))
				seen := func() (last uint32, came bool) {
					to.a.mu.Lock()
					defer to.a.mu.Unlock()
					last = to.a.wire.seen.last
					came, _ = to.a.wire.seen.has(last)
					return last, came
				}
				last, _ := seen()
				for _, tsn := range []uint32{0, 1 << 31, 77} {
					to.do(func() { to.a.Receive(strangersInit(0x4711, tsn)) })
					synctest.Wait()
					now, came := seen()
					require.Equal(t, last, now, "what came is forgotten")
					require.True(t, came)
				}
				for range 3 {
					_, err := from.write(1, 51, []byte("alive"))
					require.NoError(t, err)
					require.Equal(t, "alive", string(to.message().Data))
				}
			})
		})
	}
}
