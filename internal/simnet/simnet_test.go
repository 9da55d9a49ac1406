package simnet

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	server = netip.MustParseAddr("10.0.0.1")
	client = netip.MustParseAddr("10.0.0.2")
	any4   = netip.MustParseAddrPort("0.0.0.0:0")
)

const ms = time.Millisecond

func at(ip netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(ip, port) }

// rec is a handler that writes down what comes, and answers.
type rec struct {
	d      *Driver
	log    []string
	opened []driver.TCPConn
	echo   bool
}

func (r *rec) add(format string, a ...any) {
	r.log = append(r.log, fmt.Sprintf("%v ", r.d.Now())+fmt.Sprintf(format, a...))
}

func (r *rec) HandleUDP(s driver.UDPSocket, from netip.AddrPort, b []byte) {
	r.add("%v %s", from, b)
	if r.echo {
		d := s.Dest(from)
		s.Commit(&d, copy(s.Reserve(len(b)), b))
	}
	b = b[:len(b)+driver.Headroom]
	clear(b)
}
func (r *rec) HandleTCPOpen(_ driver.TCPListener, c driver.TCPConn) {
	r.opened = append(r.opened, c)
	r.add("open %v", c.RemoteAddr().Addr())
}
func (r *rec) HandleTCPFrame(c driver.TCPConn, b []byte) {
	r.add("frame %s", b)
	if r.echo {
		c.Send(b)
	}
	b = b[:len(b)+driver.Headroom]
	clear(b)
}
func (r *rec) HandleTCPClose(driver.TCPConn) { r.add("closed") }
func (r *rec) EndOfBatch()                   { r.log = append(r.log, "end") }

func (r *rec) take() (log []string) {
	log, r.log = r.log, nil
	return log
}

func TestByHand(t *testing.T) {
	n := New(1)
	d := n.Driver(server)
	r := &rec{d: d, echo: true}
	n.SetLink(client, server, Link{Delay: 20 * ms})
	n.SetLink(server, client, Link{Delay: 30 * ms})
	s, err := d.ListenUDP(driver.UDPConfig{Addr: at(server, 5000)})
	require.NoError(t, err)
	c := n.Socket(at(client, 0))
	c.Send(s.LocalAddr(), []byte("a"))
	n.Advance(10 * ms)
	c.Send(s.LocalAddr(), []byte("b"))
	require.NoError(t, d.Wait(-1, r))
	require.Empty(t, r.take())
	n.Advance(20 * ms)
	require.NoError(t, d.Wait(0, r))
	require.Equal(t, []string{"30ms " + c.Addr().String() + " a", "30ms " + c.Addr().String() + " b", "end"}, r.take())
	n.Advance(time.Second)
	require.Empty(t, c.Received(), "sent without Flush")
	d.Flush()
	next, ok := n.Next()
	require.True(t, ok)
	require.Equal(t, 1060*ms, next)
	n.Advance(30 * ms)
	got := c.Received()
	require.Len(t, got, 2)
	require.Equal(t, Datagram{1060 * ms, s.LocalAddr(), []byte("a")}, got[0])
	_, ok = n.Next()
	require.False(t, ok)
	require.EqualValues(t, 2, d.Stats().PacketsIn)
	require.EqualValues(t, 2, d.Stats().PacketsOut)

	// Turned by the arrival, at its time.
	d.OnArrival = func() {
		require.NoError(t, d.Wait(0, r))
		d.Flush()
	}
	n.At(1100*ms, func() { c.Send(s.LocalAddr(), []byte("c")) })
	n.Advance(time.Second)
	require.Equal(t, []string{"1.12s " + c.Addr().String() + " c", "end"}, r.take())
	require.Equal(t, 1150*ms, c.Received()[0].At)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	require.Error(t, d.Wait(0, r))
}

// loop runs an echo server until stop, with a tick as timers have them.
func loop(d *Driver, stop chan struct{}) (done chan []time.Duration) {
	done = make(chan []time.Duration)
	go func() { // ended by stop
		defer close(done)
		r := &rec{d: d, echo: true}
		var ticks []time.Duration
		tick := 7 * ms
		for {
			select {
			case <-stop:
				d.Close()
				done <- ticks
				return
			default:
			}
			if now := d.Now(); now >= tick {
				ticks = append(ticks, now)
				tick += 7 * ms
			}
			d.Flush()
			if d.Wait(tick-d.Now(), r) != nil {
				return
			}
		}
	}()
	return done
}

func TestBlocking(t *testing.T) {
	run := func() (arrivals, ticks []time.Duration) {
		n := New(3)
		n.SetLink(netip.Addr{}, netip.Addr{}, Link{Delay: 5 * ms, Jitter: 3 * ms, Loss: 0.1})
		d := n.BlockingDriver(server)
		s, err := d.ListenUDP(driver.UDPConfig{Addr: any4})
		require.NoError(t, err)
		c := n.Socket(at(client, 9))
		to := at(server, s.LocalAddr().Port())
		stop := make(chan struct{})
		done := loop(d, stop)
		for i := range 100 {
			c.Send(to, []byte{byte(i)})
			n.Advance(2 * ms)
		}
		n.Advance(100 * ms)
		close(stop)
		d.Wake()
		ticks = <-done
		for _, g := range c.Received() {
			arrivals = append(arrivals, g.At)
		}
		return arrivals, ticks
	}
	arrivals, ticks := run()
	require.Greater(t, len(arrivals), 60)
	require.Less(t, len(arrivals), 95)
	require.Len(t, ticks, 42)
	for i, at := range ticks {
		require.Equal(t, time.Duration(i+1)*7*ms, at)
	}
	again, _ := run()
	require.Equal(t, arrivals, again)
}

// TestAdvanceWaitsForAll: a loop that waits already and is woken by another one has
// to wait again before time passes.
func TestAdvanceWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		woken, other := n.BlockingDriver(server), n.BlockingDriver(client)
		let, advanced := make(chan struct{}), make(chan struct{})
		go func() { // ends when it was woken and let go
			defer woken.Close()
			assert.NoError(t, woken.Wait(-1, &rec{d: woken}))
			<-let
		}()
		go func() { // ends as time passes
			defer other.Close()
			assert.NoError(t, other.Wait(ms, &rec{d: other}))
			time.Sleep(ms) // until Advance waits for it
			woken.Wake()
		}()
		go func() { // ends when both have
			defer close(advanced)
			n.Advance(10 * ms)
		}()
		time.Sleep(time.Second) // until nothing happens any more
		select {
		case <-advanced:
			t.Error("time passes while a loop works")
		default:
		}
		close(let)
		<-advanced
		require.Equal(t, 10*ms, n.Now())
	})
}

// TestDriversComeAndGo has hosts begin and end while time passes.
func TestDriversComeAndGo(t *testing.T) {
	n := New(1)
	done := make(chan struct{})
	go func() { // ends with the last host
		defer close(done)
		for range 100 {
			d := n.BlockingDriver(server)
			assert.NoError(t, d.Wait(ms, &rec{d: d}))
			assert.NoError(t, d.Close())
		}
	}()
	for over := false; !over; {
		n.Advance(ms)
		select {
		case <-done:
			over = true
		default:
		}
	}
}

func TestLink(t *testing.T) {
	const count = 10_000
	send := func(l Link) (got []Datagram, st LinkStats) {
		n := New(5)
		n.SetLink(client, server, l)
		a, b := n.Socket(at(client, 1)), n.Socket(at(server, 1))
		for i := range count {
			a.Send(b.Addr(), fmt.Appendf(nil, "%05d%s", i, strings.Repeat("x", 967))) // 1,000 with overhead
			n.Advance(ms)
		}
		n.Advance(10 * time.Second)
		return b.Received(), n.LinkStats(client, server)
	}
	inOrder := func(got []Datagram) bool {
		for i := 1; i < len(got); i++ {
			if string(got[i].Data) < string(got[i-1].Data) {
				return false
			}
		}
		return true
	}
	t.Run("perfect", func(t *testing.T) {
		got, st := send(Link{})
		require.Len(t, got, count)
		require.Equal(t, LinkStats{Packets: count, Bytes: count * 972}, st)
		require.True(t, inOrder(got))
	})
	t.Run("loss", func(t *testing.T) {
		got, st := send(Link{Loss: 0.2})
		require.InDelta(t, count*8/10, len(got), 200)
		require.Equal(t, count, len(got)+st.Lost)
	})
	t.Run("jitter", func(t *testing.T) {
		got, _ := send(Link{Delay: 10 * ms, Jitter: 5 * ms})
		require.Len(t, got, count)
		require.True(t, inOrder(got))
		for i, g := range got {
			d := g.At - time.Duration(i)*ms
			require.True(t, d >= 10*ms && d <= 15*ms, "%v", d)
		}
	})
	t.Run("reorder", func(t *testing.T) {
		got, _ := send(Link{Reorder: 0.01, ReorderBy: 20 * ms})
		require.Len(t, got, count)
		require.False(t, inOrder(got))
		late := 0
		for _, g := range got {
			if g.At > sentAt(t, g)+ms {
				late++
			}
		}
		require.InDelta(t, count/100, late, 30)
	})
	t.Run("duplicate", func(t *testing.T) {
		got, _ := send(Link{Duplicate: 0.5})
		require.InDelta(t, count*15/10, len(got), 200)
	})
	t.Run("rate", func(t *testing.T) {
		got, _ := send(Link{Rate: 8_000_000}) // 1 ms for each
		require.Len(t, got, count)
		require.Equal(t, ms+time.Microsecond, got[0].At)
		require.Equal(t, count*ms+time.Microsecond, got[count-1].At)
	})
	t.Run("queue", func(t *testing.T) {
		got, st := send(Link{Rate: 4_000_000, Queue: 50_000}) // 2 ms for each
		require.Equal(t, count, len(got)+st.Overflow)
		require.InDelta(t, count/2+50, len(got), 5)
		require.InDelta(t, float64(50*2*ms), float64(got[4000].At-sentAt(t, got[4000])), float64(4*ms))
	})
}

func sentAt(t *testing.T, g Datagram) time.Duration {
	var i int
	_, err := fmt.Sscanf(string(g.Data[:5]), "%d", &i)
	require.NoError(t, err)
	return time.Duration(i) * ms
}

func TestBind(t *testing.T) {
	n := New(1)
	v6 := netip.MustParseAddr("fd00::1")
	d := n.Driver(server, v6)
	listen := func(addr string, reuse, only6 bool) (driver.UDPSocket, error) {
		return d.ListenUDP(driver.UDPConfig{Addr: netip.MustParseAddrPort(addr), ReusePort: reuse, IPv6Only: only6})
	}
	_, err := listen("10.9.9.9:0", false, false)
	require.True(t, driver.IsAddrNotAvailable(err))
	a, err := listen("[::]:7", false, false)
	require.NoError(t, err)
	_, err = listen("10.0.0.1:7", false, false)
	require.ErrorIs(t, err, driver.ErrAddrInUse)
	_, err = listen("10.0.0.1:7", true, false)
	require.ErrorIs(t, err, driver.ErrAddrInUse)
	c, c6 := n.Socket(at(client, 0)), n.Socket(at(netip.MustParseAddr("fd00::2"), 0))
	r := &rec{d: d, echo: true}
	c.Send(at(server, 7), []byte("4"))
	c6.Send(at(v6, 7), []byte("6"))
	n.Advance(ms)
	require.NoError(t, d.Wait(0, r))
	d.Flush()
	n.Advance(ms)
	require.Equal(t, at(server, 7), c.Received()[0].From)
	require.Equal(t, at(v6, 7), c6.Received()[0].From)
	a.Close()
	a.Close()
	c.Send(at(server, 7), []byte("lost"))
	n.Advance(ms)
	only, err := listen("[::]:7", false, true)
	require.NoError(t, err)
	_, err = listen("10.0.0.1:7", true, false)
	require.NoError(t, err)
	_, err = listen("10.0.0.1:7", true, false)
	require.NoError(t, err)
	bad := only.Dest(c.Addr()) // IPv4 from IPv6 only
	only.Reserve(1)
	only.Commit(&bad, 1)
	require.EqualValues(t, 1, d.Stats().DropDest)
	c.Close()
	n.Socket(c.Addr()).Close()
	require.Panics(t, func() { n.Socket(at(server, 7)) })
}

func TestTCP(t *testing.T) {
	n := New(1)
	n.SetLink(netip.Addr{}, netip.Addr{}, Link{Delay: 10 * ms, Jitter: 10 * ms, Loss: 0.2})
	d := n.Driver(server)
	r := &rec{d: d, echo: true}
	d.OnArrival = func() {
		require.NoError(t, d.Wait(0, r))
		d.Flush()
	}
	l, err := d.ListenTCP(driver.TCPConfig{Addr: at(server, 0)})
	require.NoError(t, err)
	_, err = d.ListenTCP(driver.TCPConfig{Addr: l.LocalAddr()})
	require.ErrorIs(t, err, driver.ErrAddrInUse)
	c := n.Dial(client, l.LocalAddr())
	var want []string
	for i := range 50 {
		f := strings.Repeat("x", i) + fmt.Sprint(i)
		want = append(want, f)
		c.Send([]byte(f))
	}
	c.Write([]byte{0, 0, 0})
	c.Write([]byte{2, 'h'})
	c.Write([]byte{'i'})
	want = append(want, "hi")
	n.Advance(20 * time.Second)
	var got []string
	for _, f := range c.Frames() {
		got = append(got, string(f))
	}
	require.Equal(t, want, got)
	require.Len(t, r.opened, 1)
	s := r.opened[0]
	require.Equal(t, c.LocalAddr(), s.RemoteAddr())
	require.False(t, s.Send(nil))

	// A peer that is far away: what is under way is bounded.
	n.SetLink(netip.Addr{}, netip.Addr{}, Link{Delay: time.Second})
	ok := 0
	for range 1000 {
		if s.Send(make([]byte, 1000)) {
			ok++
		}
	}
	require.Equal(t, maxUnsent/1002, ok)
	l.Close() // the connection lives on
	c.Close()
	r.take()
	n.Advance(3 * time.Second)
	require.Contains(t, strings.Join(r.take(), "\n"), "closed")
	require.True(t, c.Closed())
	require.Len(t, c.Frames(), ok)

	refused := n.Dial(client, l.LocalAddr())
	refused.Send([]byte("x"))
	n.Advance(3 * time.Second)
	require.True(t, refused.Closed())
	require.NoError(t, d.Close())
}

func TestTCPTooLong(t *testing.T) {
	n := New(1)
	d := n.Driver(server)
	r := &rec{d: d}
	l, err := d.ListenTCP(driver.TCPConfig{Addr: at(server, 0)})
	require.NoError(t, err)
	c := n.Dial(client, l.LocalAddr())
	c.Write([]byte{0, 1, 'a', 0xff, 0xff, 'b'})
	n.Advance(ms)
	require.NoError(t, d.Wait(0, r))
	n.Advance(ms)
	require.True(t, c.Closed())
	require.Equal(t, []string{"1ms open 10.0.0.2", "1ms frame a", "1ms closed", "end"}, r.take())
}
