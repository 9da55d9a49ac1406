package sctp

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func packetOf(tag uint32, chunks ...[]byte) []byte {
	p := make([]byte, headerLen)
	copy(p, []byte{0x13, 0x88, 0x13, 0x88})
	binary.BigEndian.PutUint32(p[offTag:], tag)
	for _, c := range chunks {
		p = append(p, c...)
		for len(p)%4 != 0 {
			p = append(p, 0)
		}
	}
	return seal(p)
}

func chunkOf(kind, flags byte, value ...byte) []byte {
	c := append([]byte{kind, flags, 0, 0}, value...)
	binary.BigEndian.PutUint16(c[2:], uint16(len(c)))
	return c
}

const local, remote = 0x11223344, 0x55667788

func testWire() *wire {
	return &wire{haveLocal: true, havePeer: true, localTag: local, peerTag: remote, sent: 100, acked: 100}
}

// The rules of RFC 9260 §8.5.
func TestTags(t *testing.T) {
	initValue := make([]byte, initLen-chunkHeaderLen)
	for _, c := range []struct {
		name string
		tag  uint32
		in   [][]byte
		want bool
	}{
		{"ours", local, [][]byte{chunkOf(typeCookieAck, 0)}, true},
		{"none", 0, [][]byte{chunkOf(typeCookieAck, 0)}, false},
		{"peer's", remote, [][]byte{chunkOf(typeCookieAck, 0)}, false},
		{"init", 0, [][]byte{chunkOf(typeInit, 0, initValue...)}, true},
		{"init with a tag", local, [][]byte{chunkOf(typeInit, 0, initValue...)}, false},
		{"init and more", 0, [][]byte{chunkOf(typeInit, 0, initValue...), chunkOf(typeAbort, 0)}, false},
		{"more and init", 0, [][]byte{chunkOf(typeAbort, 0), chunkOf(typeInit, 0, initValue...)}, false},
		{"abort", local, [][]byte{chunkOf(typeAbort, 0)}, true},
		{"abort of another", remote, [][]byte{chunkOf(typeAbort, 0)}, false},
		{"reflected abort", remote, [][]byte{chunkOf(typeAbort, flagT)}, true},
		{"reflected abort with our tag", local, [][]byte{chunkOf(typeAbort, flagT)}, false},
		{"reflected abort with more", remote, [][]byte{chunkOf(typeAbort, flagT), chunkOf(typeCookieAck, 0)}, false},
		{"abort hidden behind more", local, [][]byte{chunkOf(typeCookieAck, 0), chunkOf(typeAbort, flagT)}, false},
		{"reflected completion", remote, [][]byte{chunkOf(typeShutdownComplete, flagT)}, true},
		{"completion of another", remote, [][]byte{chunkOf(typeShutdownComplete, 0)}, false},
		{"nothing", local, nil, false},
		{"broken chunk", local, [][]byte{{typeCookieAck, 0, 0, 3}}, false},
		{"chunk too long", local, [][]byte{{typeCookieAck, 0, 0, 8}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, testWire().allowed(packetOf(c.tag, c.in...)))
		})
	}
	stranger := &wire{}
	require.False(t, stranger.allowed(packetOf(0, chunkOf(typeCookieAck, 0))), "no tag yet")
	require.False(t, stranger.allowed(packetOf(0, chunkOf(typeAbort, flagT))), "no peer yet")
	require.Nil(t, stranger.abort())
}

func TestFilter(t *testing.T) {
	sack := func(tsn uint32) []byte {
		return chunkOf(typeSack, 0, append(binary.BigEndian.AppendUint32(nil, tsn), 0, 1, 0, 0, 0, 0, 0, 0)...)
	}
	ack, beat, data := chunkOf(typeCookieAck, 0), chunkOf(typeHeartbeat, 0, 1, 2, 3), chunkOf(typeData, 3, make([]byte, 13)...)
	skip, stop := chunkOf(0x84, 0, 9), chunkOf(0x20, 0, 9)
	for _, c := range []struct {
		name     string
		in, want [][]byte
	}{
		{"all known", [][]byte{ack, beat, data, data}, [][]byte{ack, beat, data, data}},
		{"unknown, go on", [][]byte{ack, skip, beat}, [][]byte{ack, beat}},
		{"unknown, stop", [][]byte{ack, stop, beat}, [][]byte{ack}},
		{"unknown only", [][]byte{skip}, nil},
		{"one of a kind", [][]byte{beat, beat, ack, beat}, [][]byte{beat, ack}},
		{"short init ack", [][]byte{chunkOf(typeInitAck, 0)}, nil},
		{"short sack", [][]byte{chunkOf(typeSack, 0)}, nil},
		{"sack", [][]byte{sack(100)}, [][]byte{sack(100)}},
		{"sack of what was not sent", [][]byte{sack(101)}, nil},
		{"empty data", [][]byte{chunkOf(typeData, 3, make([]byte, 12)...)}, [][]byte{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testWire()
			got := w.filter(packetOf(local, c.in...), false, func(c chunk) bool { _, ok := c.payload(); return ok })
			if len(c.want) == 0 {
				require.Nil(t, got)
				return
			}
			require.Equal(t, packetOf(local, c.want...), got)
		})
	}
	bad := packetOf(local, ack)
	bad[headerLen+1]++
	require.Nil(t, testWire().filter(bad, false, nil))
}

// pion keeps reset requests that wait for their data, and can be made to keep
// any number.
func TestManyResets(t *testing.T) {
	w := testWire()
	request := func(n uint32) []byte {
		v := []byte{0, paramReset, 0, 18}
		for _, x := range []uint32{n, 0, 1 << 31} {
			v = binary.BigEndian.AppendUint32(v, x)
		}
		return packetOf(local, chunkOf(typeReconfig, 0, append(v, 0, 1)...))
	}
	for n := range uint32(maxResets) {
		require.NotNil(t, w.filter(request(n), false, nil))
		require.NotNil(t, w.filter(request(n), false, nil), "again")
	}
	require.Nil(t, w.filter(request(maxResets), false, nil))
	answer := func(result uint32) []byte {
		v := []byte{0, paramResetResponse, 0, 12, 0, 0, 0, 5}
		return packetOf(remote, chunkOf(typeReconfig, 0, binary.BigEndian.AppendUint32(v, result)...))
	}
	w.outgoing(answer(resetInProgress), nil, nil)
	require.Nil(t, w.filter(request(maxResets), false, nil))
	w.outgoing(answer(1), nil, nil)
	require.Nil(t, w.filter(request(maxResets), true, nil), "readers wait")
	require.Equal(t, packetOf(remote, chunkOf(typeReconfig, 0,
		0, paramResetResponse, 0, 12, 0, 0, 0, maxResets, 0, 0, 0, resetInProgress))[4:], w.reply[4:])
	require.NotNil(t, w.filter(request(maxResets), false, nil))
	require.Len(t, w.resets, maxResets)
}

func TestFlight(t *testing.T) {
	w := testWire()
	sent := 0
	send := func(tsn uint32, n int) {
		v := binary.BigEndian.AppendUint32(nil, tsn)
		p := packetOf(remote, chunkOf(typeData, 3, append(v, make([]byte, 8+n)...)...))
		w.outgoing(p, func(_ uint16, n int, _ bool) { sent += n }, nil)
	}
	for tsn := uint32(101); tsn <= 1100; tsn++ {
		send(tsn, 10)
		send(tsn, 10) // again
		if tsn%2 == 0 {
			w.inspect(chunkOf(typeSack, 0, append(binary.BigEndian.AppendUint32(nil, tsn-20), make([]byte, 8)...)...))
		}
	}
	require.Equal(t, 10000, sent)
	require.Equal(t, 20, w.outstanding())
	require.Equal(t, 200, w.flightBytes)
	require.Less(t, len(w.flight.items), 200)
}

func TestWindow(t *testing.T) {
	now := time.Unix(1000, 0)
	const size = 1 << 20
	w := window{size: size}
	for range 3 * maxSmall { // nothing waits: no limit
		require.True(t, w.admit(1, false, true))
	}
	w.told(size-largeQueue-1, now)
	for range maxSmall {
		require.True(t, w.admit(1, false, true))
	}
	require.False(t, w.admit(1, false, true))
	require.True(t, w.admit(smallChunk, false, true))
	require.Zero(t, w.told(0, now), "full")
	for range size >> 10 {
		require.True(t, w.admit(1<<10, false, true))
	}
	require.False(t, w.admit(1<<10, false, true), "to fill gaps, but not for ever")
	require.Equal(t, now, w.full)
	_, tell := w.took(size / 4)
	require.False(t, tell, "too little")
	_, tell = w.took(size / 4)
	require.False(t, tell, "too many small ones")
	credit, tell := w.took(size/2 - largeQueue)
	require.True(t, tell)
	require.EqualValues(t, size-largeQueue, credit)
	require.True(t, w.full.IsZero())

	w = window{size: size}
	for range maxBacklog + 1 {
		require.True(t, w.admit(1, true, true))
	}
	require.False(t, w.admit(1, true, true), "readers are behind")
	require.True(t, w.admit(1, true, false), "to fill a gap")
	require.Zero(t, w.told(size, now), "whatever pion says")
	for range maxBacklog + 2 - slowBacklog/2 {
		_, tell = w.took(1)
		require.Equal(t, w.backlog == slowBacklog/2, tell)
	}
	require.True(t, w.admit(1, true, true))
}

func TestTSNs(t *testing.T) {
	var s tsns
	first := uint32(0xfffffff0)
	s.init(first)
	check := func(tsn uint32, before, ahead bool) {
		t.Helper()
		b, a := s.has(tsn)
		require.Equal(t, [2]bool{before, ahead}, [2]bool{b, a}, "%#x", tsn)
	}
	check(first-1, true, false)
	check(first, false, true)
	check(first+maxAhead-1, false, true)
	check(first+maxAhead, true, false)
	s.add(first + 1)
	check(first, false, false)
	check(first+1, true, false)
	s.add(first)
	check(first, true, false)
	next := first + 3
	for range 3 * rememberedTSNs { // each second one is lost
		s.add(next)
		check(next, true, false)
		check(next-1, false, false)
		check(next+1, false, true)
		next += 2
	}
	check(next-rememberedTSNs, true, false)
	s.add(next + maxAhead - 3)
	check(next, false, false)
}

// What is sent keeps to upstream's packet size.
func TestPacketSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(t, Config{}, Config{})
		longest := 0
		x.do(func() { x.log = func(p []byte) { longest = max(longest, len(p)) } })
		x.openOut(0, ordered)
		y.openIn(0, ordered)
		_, err := x.write(0, 51, make([]byte, 100000))
		require.NoError(t, err)
		y.message()
		x.do(func() {
			require.LessOrEqual(t, longest, mtu)
			require.Greater(t, longest, mtu-40)
		})
	})
}
