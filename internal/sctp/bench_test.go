package sctp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One message of 100 bytes from Send to Handle, both ends and a link in memory.
func BenchmarkMessage(b *testing.B) {
	x, y := pair(b, Config{}, Config{})
	x.openOut(1, ordered)
	y.openIn(1, ordered)
	data := make([]byte, 100)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	b.ResetTimer()
	go func() {
		for sent := 0; sent < b.N; {
			x.do(func() {
				for range 64 {
					if sent < b.N {
						if _, err := x.a.Send(1, 51, data); err != nil {
							if err != ErrSendBufferFull {
								panic(err)
							}
							time.Sleep(100 * time.Microsecond)
							return
						}
						sent++
					}
				}
			})
		}
	}()
	for range b.N {
		y.message()
	}
	b.StopTimer()
	b.ReportMetric(float64((x.a.Busy()+y.a.Busy()).Nanoseconds())/float64(b.N), "busy-ns/op")
	require.Empty(b, y.messages)
}

// What the filter costs for each packet.
func BenchmarkIncoming(b *testing.B) {
	w := testWire()
	p := packetOf(local, chunkOf(typeData, 3, make([]byte, 1100)...))
	b.ReportAllocs()
	for b.Loop() {
		if w.filter(p, false, func(chunk) bool { return true }) == nil {
			b.Fatal("dropped")
		}
	}
}
