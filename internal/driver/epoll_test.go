//go:build linux && !portable

package driver

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const onEpoll = true

// cpu returns the processor time that the test has used, in nanoseconds: other
// work on the machine does not count.
func cpu() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts)
	return ts.Nano()
}

func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name string
		run  int // datagrams to each destination in a row
	}{{"sendmmsg", 1}, {"gso4", 4}} {
		b.Run(c.name, func(b *testing.B) {
			d, err := New()
			require.NoError(b, err)
			defer d.Close()
			s, err := d.ListenUDP(UDPConfig{Addr: lo4, SendBuffer: 8 << 20})
			require.NoError(b, err)
			dests := make([]Dest, 64)
			for i := range dests { // sockets that nobody reads: full soon
				p, err := d.ListenUDP(UDPConfig{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), 0), RecvBuffer: 4096})
				require.NoError(b, err)
				dests[i] = s.Dest(p.LocalAddr())
			}
			payload := make([]byte, 1200)
			b.ReportAllocs()
			n, start := 0, cpu()
			for b.Loop() {
				for i := range dests {
					for range c.run {
						copy(s.Reserve(1200), payload)
						s.Commit(&dests[i], 1200)
						n++
					}
				}
				d.Flush()
			}
			b.ReportMetric(float64(cpu()-start)/float64(n), "cpu-ns/packet")
			b.ReportMetric(float64(d.Stats().PacketsOut)/float64(d.Stats().SendCalls), "packets/call")
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	d, err := New()
	require.NoError(b, err)
	defer d.Close()
	s, err := d.ListenUDP(UDPConfig{Addr: lo4, SendBuffer: 8 << 20, RecvBuffer: 8 << 20})
	require.NoError(b, err)
	p, err := d.ListenUDP(UDPConfig{Addr: lo4, SendBuffer: 8 << 20, RecvBuffer: 8 << 20})
	require.NoError(b, err)
	to := p.Dest(s.LocalAddr())
	back := s.Dest(p.LocalAddr())
	e := &echo{dest: map[netip.AddrPort]*Dest{p.LocalAddr(): &back}}
	b.ReportAllocs()
	n, start := 0, cpu()
	for b.Loop() {
		for i := range 60 {
			p.Reserve(1200)
			p.Commit(&to, 1200-i%2) // no runs
		}
		d.Flush()
		for e.count = 0; e.count < 120; {
			if err := d.Wait(100_000_000, e); err != nil {
				b.Fatal(err)
			}
			d.Flush()
		}
		n += 120
	}
	b.ReportMetric(float64(cpu()-start)/float64(n), "cpu-ns/packet")
}
