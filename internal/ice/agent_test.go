package ice

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"
)

// tuplesOf returns the known tuples of a, the newest first.
func tuplesOf(a *Agent) []Tuple { return a.tuples[:a.count] }

func TestCredentials(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	used := map[rune]bool{}
	for _, cfg := range []Config{{}, {Rand: iotest.ErrReader(errors.New("no randomness"))}} {
		for range 50 {
			ufrag, pwd := New(cfg).Credentials()
			for _, s := range []string{ufrag, pwd} {
				require.Len(t, s, 32)
				require.Empty(t, strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz"))
				require.False(t, seen[s])
				seen[s] = true
				for _, c := range s {
					used[c] = true
				}
			}
		}
	}
	require.Len(t, used, 36)
	a, b := New(Config{Rand: &counting{}}), New(Config{Rand: &counting{}})
	require.Equal(t, a.current, b.current)
}

// TestTuple checks that what differs in one respect only is another tuple.
func TestTuple(t *testing.T) {
	t.Parallel()
	base := path("a")
	a := New(Config{})
	ufrag, pwd := a.Credentials()
	_, ok := a.Handle(0, base, buildCheck(t, ufrag, pwd, nil))
	require.True(t, ok)
	require.True(t, a.IsValid(base))
	for name, change := range map[string]func(*Tuple){
		"socket":     func(x *Tuple) { x.Socket++ },
		"connection": func(x *Tuple) { x.Conn++ },
		"protocol":   func(x *Tuple) { x.TCP = !x.TCP },
		"port":       func(x *Tuple) { x.Remote = path("b").Remote },
		"family":     func(x *Tuple) { x.Remote = path("A").Remote },
	} {
		other := base
		change(&other)
		require.False(t, a.IsValid(other), name)
	}
	same := base
	require.True(t, a.IsValid(same))
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	// Priorities of recordings of the real worker.
	require.EqualValues(t, 1076302079, Priority(LocalPreference(0, false)))
	require.EqualValues(t, 1076276479, Priority(LocalPreference(1, false)))
	require.EqualValues(t, 1076250879, Priority(LocalPreference(2, false)))
	require.EqualValues(t, 1076558079, Priority(LocalPreference(0, true)))
	require.EqualValues(t, 1076532479, Priority(LocalPreference(1, true)))
	require.Zero(t, LocalPreference(101, false))

	require.Equal(t, []Candidate{
		{"udpcandidate", 1076302079, "10.0.0.1", 5, false},
	}, AppendCandidates(nil, Listen{Address: "10.0.0.1", Port: 5, ExposeInternal: true}, 10000))
	require.Equal(t, []Candidate{
		{"tcpcandidate", 1076276479, "example.com", 5, true},
	}, AppendCandidates(nil, Listen{Address: "10.0.0.1", Port: 5, TCP: true, Announced: "example.com"}, 9900))
	require.Equal(t, []Candidate{
		{"udpcandidate", 1076250879, "example.com", 5, false},
		{"udpcandidate", 1076249879, "10.0.0.1", 5, false},
	}, AppendCandidates(nil, Listen{Address: "10.0.0.1", Port: 5, Announced: "example.com", ExposeInternal: true}, 9800))
}

func TestNames(t *testing.T) {
	t.Parallel()
	var names []string
	for s := range State(5) {
		names = append(names, s.String())
	}
	for k := range EventKind(7) {
		names = append(names, k.String())
	}
	require.Equal(t, "new connected completed disconnected unknown unknown added removed selected state released unknown", strings.Join(names, " "))
}

// walk does what script says and checks after each step that the agent keeps its
// rules and that its events tell the same story.
func walk(t testing.TB, script []byte) {
	a := New(Config{ConsentTimeout: 30 * time.Second, Rand: &counting{}})
	var now time.Duration
	var messages uint64
	stored := map[Tuple]bool{}
	ufrags := map[string]bool{}
	var selected Tuple
	state := Waiting
	remember := func() {
		ufrag, _ := a.Credentials()
		ufrags[ufrag] = true
	}
	remember()
	names := "abcdefghijkABCDEF"
	for ; len(script) >= 3; script = script[3:] {
		tuple := path(names[int(script[1])%len(names):][:1])
		arg := script[2]
		switch script[0] % 8 {
		case 0, 1, 2, 3:
			args := map[string]string{}
			if arg&1 != 0 {
				args["uc"] = ""
			}
			if arg&2 != 0 {
				args["nom"] = strconv.Itoa(int(arg >> 4))
			}
			c := a.current
			if arg&4 != 0 && a.old.ufrag != "" {
				c = a.old
			}
			if arg&8 != 0 && script[0]&8 != 0 {
				args["pwd"] = "wrong"
			}
			b := buildCheck(t, c.ufrag, c.pwd, args)
			if script[0]&64 != 0 && script[0]&128 != 0 {
				b[int(arg)%len(b)] ^= script[0]
			}
			messages++
			reply, ok := a.Handle(now, tuple, b)
			require.Equal(t, ok, reply != nil)
		case 4:
			a.Force(now, tuple)
		case 5:
			a.RemoveTuple(now, tuple)
		case 6:
			a.Restart(now)
			remember()
		case 7:
			now += time.Duration(arg) * 100 * time.Millisecond
			a.Tick(now)
		}
		for _, e := range a.Events() {
			switch e.Kind {
			case TupleAdded:
				require.False(t, stored[e.Tuple])
				stored[e.Tuple] = true
			case TupleRemoved:
				require.True(t, stored[e.Tuple])
				delete(stored, e.Tuple)
			case SelectedTuple:
				require.NotEqual(t, selected, e.Tuple)
				require.True(t, stored[e.Tuple])
				selected = e.Tuple
			case StateChanged:
				require.NotEqual(t, state, e.State)
				if state = e.State; state == Disconnected {
					selected = Tuple{}
				}
			case UfragReleased:
				require.True(t, ufrags[e.Ufrag])
				delete(ufrags, e.Ufrag)
			}
		}
		require.Empty(t, a.Events())
		require.LessOrEqual(t, len(tuplesOf(a)), MaxTuples)
		require.Len(t, stored, len(tuplesOf(a)))
		for _, x := range tuplesOf(a) {
			require.True(t, stored[x])
		}
		got, ok := a.Selected()
		require.Equal(t, selected, got)
		require.Equal(t, selected != Tuple{}, ok)
		require.Equal(t, state, a.State())
		live := state == Connected || state == Completed
		require.Equal(t, live, ok)
		if ok {
			require.True(t, stored[selected])
		}
		deadline, on := a.Deadline()
		require.Equal(t, live, on)
		if on {
			require.LessOrEqual(t, deadline, now+30*time.Second)
			require.Greater(t, deadline, now)
		}
		require.LessOrEqual(t, len(ufrags), 2)
		require.Equal(t, len(ufrags) == 2, a.OldUfrag() != "")
		c := a.Counters()
		require.Equal(t, messages, c.Accepted+c.BadRequests+c.Ignored+c.Malformed+c.RoleConflicts+c.Unauthorized)
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		script := make([]byte, 3*200)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		walk(t, script)
	}
}

func FuzzAgent(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 1, 5, 1, 0, 6, 0, 0, 0, 2, 4, 7, 0, 255})
	f.Add([]byte{0, 12, 0x42, 4, 13, 0, 5, 12, 0, 0, 12, 0x22})
	f.Fuzz(func(t *testing.T, script []byte) {
		walk(t, script[:min(len(script), 3*60)])
	})
}

func TestManyAttributes(t *testing.T) {
	t.Parallel()
	a := New(Config{Rand: &counting{}})
	ufrag, _ := a.Credentials()
	for _, n := range []int{maxAttributes, maxAttributes + 1, 16_000} {
		b := message(1, attribute(6, ufrag+":x")+strings.Repeat(attribute(0x7fff, ""), n-1))
		before := a.Counters()
		a.Handle(0, path("a"), b)
		after := a.Counters()
		require.Equal(t, n > maxAttributes, after.Malformed > before.Malformed, "%d attributes", n)
	}
}

// FuzzHandle feeds bytes to an agent, as they are and, so that they get further,
// as attributes of a request that is signed afterwards.
func FuzzHandle(f *testing.F) {
	f.Add([]byte(rfc5769), byte(0))
	f.Add([]byte(attribute(0x24, "1234")+attribute(0x25, "")), byte(0xff))
	f.Add([]byte(attribute(0x24, "1234")+attribute(0x30, "\x00\x00\x00\x01")), byte(0xfe))
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		a := New(Config{Rand: &counting{}})
		ufrag, pwd := a.Credentials()
		if how&1 != 0 && len(b) < 60000 {
			m := &stun.Message{Type: stun.BindingRequest}
			m.WriteHeader()
			require.NoError(t, stun.NewUsername(ufrag+":x").AddTo(m))
			m.Raw = append(m.Raw, b...)
			m.Length += uint32(len(b))
			m.WriteLength()
			if how&2 != 0 {
				require.NoError(t, stun.NewShortTermIntegrity(pwd).AddTo(m))
			}
			if how&4 != 0 {
				require.NoError(t, stun.Fingerprint.AddTo(m))
			}
			b = m.Raw
		}
		before := string(b)
		reply, ok := a.Handle(0, path("a"), b)
		require.Equal(t, before, string(b))
		require.Equal(t, ok, reply != nil)
		c := a.Counters()
		require.EqualValues(t, 1, c.Accepted+c.BadRequests+c.Ignored+c.Malformed+c.RoleConflicts+c.Unauthorized)
		require.Equal(t, c.Accepted == 1, len(tuplesOf(a)) == 1)
		if !ok {
			return
		}
		m := &stun.Message{}
		require.NoError(t, stun.Decode(reply, m))
		require.Equal(t, before[8:20], string(m.TransactionID[:]))
		require.NoError(t, stun.Fingerprint.Check(m))
	})
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := New(Config{ConsentTimeout: 30 * time.Second})
	ufrag, pwd := a.Credentials()
	check := buildCheck(t, ufrag, pwd, map[string]string{"uc": ""})
	wrong := buildCheck(t, ufrag, "wrong", nil)
	from, other := path("a"), path("b")
	run := func(name string, f func()) {
		t.Helper()
		require.Zero(t, testing.AllocsPerRun(200, f), name)
	}
	run("check", func() { a.Handle(0, from, check) })
	run("wrong password", func() { a.Handle(0, from, wrong) })
	run("another tuple", func() {
		a.Handle(0, other, check)
		a.RemoveTuple(0, other)
		a.Events()
	})
	run("media", func() { _ = a.IsValid(from); a.Force(0, from) })
	run("ufrag", func() { LocalUfragBytes(check) })
	malformed := message(1, "\x80\x22\x00\x05abcd")
	run("malformed", func() { a.Handle(0, from, malformed) })
}

func BenchmarkHandle(b *testing.B) {
	a := New(Config{ConsentTimeout: 30 * time.Second})
	ufrag, pwd := a.Credentials()
	check := buildCheck(b, ufrag, pwd, map[string]string{"uc": ""})
	from := path("a")
	b.ReportAllocs()
	for b.Loop() {
		a.Handle(0, from, check)
	}
}

// BenchmarkMedia is what each media packet costs.
func BenchmarkMedia(b *testing.B) {
	a := New(Config{})
	ufrag, pwd := a.Credentials()
	for _, name := range []string{"a", "b", "c", "d"} {
		a.Handle(0, path(name), buildCheck(b, ufrag, pwd, nil))
	}
	from := path("a")
	b.ReportAllocs()
	for b.Loop() {
		if a.IsValid(from) {
			a.Force(0, from)
		}
	}
}
