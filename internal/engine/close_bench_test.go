package engine

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCloseRouter closes a Router with so many Producers on one transport, and
// a Consumer of each on another one. The time for each must not grow with their
// number.
func BenchmarkCloseRouter(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				w := newVirtualWorld(b)
				require.NoError(b, w.m.CreateRouter("r"))
				for i, id := range []string{"in", "out"} {
					_, err := w.m.CreatePlainTransport("r", PlainTransportOptions{
						ID: id, ListenInfo: ListenInfo{Protocol: UDP, IP: netip.MustParseAddr("10.0.0.1"), Port: uint16(1000 + i)},
					})
					require.NoError(b, err)
				}
				for i := range uint32(n) {
					params := opusParams(1000 + i)
					params.MID = ""
					require.NoError(b, produceOn(w.m, "in", ProduceOptions{
						ID: fmt.Sprint(i), Kind: Audio, RTPParameters: params, RTPMapping: identity(params, 1<<20+i),
					}))
					_, err := w.m.Consume("out", ConsumeOptions{
						ID: fmt.Sprint("c", i), ProducerID: fmt.Sprint(i), RTPParameters: params, ConsumableEncodings: []Encoding{{SSRC: 1<<20 + i}},
					})
					require.NoError(b, err)
				}
				b.StartTimer()
				require.NoError(b, w.m.CloseRouter("r"))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/Producer")
		})
	}
}
