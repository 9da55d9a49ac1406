package mafalda

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkConsume makes a Consumer of video beside another one, and closes it.
// Its time is mostly that of waking the Worker.
func BenchmarkConsume(b *testing.B) {
	r := testRouter(b, testWorker(b))
	d := testDirect(b, r)
	p := testProduce(b, d, videoOptions(1))
	testConsume(b, r, d, p)
	o := ConsumerOptions{ProducerID: p.ID(), RTPCapabilities: r.RTPCapabilities()}
	b.ReportAllocs()
	for b.Loop() {
		c, err := d.Consume(b.Context(), o)
		require.NoError(b, err)
		require.NoError(b, c.Close())
	}
}
