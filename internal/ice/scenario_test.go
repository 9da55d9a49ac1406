package ice

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what the agents do into testdata")

// counting is a source of randomness whose texts differ.
type counting struct{ n byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0
	}
	for i := 7; i < len(b); i += 8 {
		c.n++
		b[i] = c.n * 7
	}
	return len(b), nil
}

// path returns the tuple called name: a lower case name is UDP, another is TCP.
func path(name string) Tuple {
	c := name[0]
	t := Tuple{Socket: 1, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, c}), uint16(c)*100)}
	if c < 'a' {
		t = Tuple{Socket: 2, Conn: uint64(c), TCP: true, Remote: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), uint16(c)*100)}
	}
	return t
}

func pathName(t Tuple) string { return string(rune(t.Remote.Port() / 100)) }

// player runs the lines of one scenario on an agent.
type player struct {
	t   *testing.T
	now time.Duration
	a   *Agent
	old struct{ ufrag, pwd string }
	out []string
}

func (p *player) printf(format string, args ...any) {
	p.out = append(p.out, fmt.Sprintf("  "+format, args...))
}

func (p *player) run(line string) {
	words := strings.Fields(line)
	args := map[string]string{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		args[k] = v
	}
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	switch words[0] {
	case "config":
		d, err := time.ParseDuration(args["consent"])
		require.NoError(p.t, err)
		p.a = New(Config{ConsentTimeout: d, Rand: &counting{}})
	case "check":
		p.check(path(name), args)
	case "force":
		p.a.Force(p.now, path(name))
	case "close":
		p.a.RemoveTuple(p.now, path(name))
	case "restart":
		p.old.ufrag, p.old.pwd = p.a.Credentials()
		p.a.Restart(p.now)
	case "at":
		d, err := time.ParseDuration(name)
		require.NoError(p.t, err)
		p.now = d
		p.a.Tick(d)
	case "show":
		p.show()
	default:
		p.t.Fatalf("unknown command %q", line)
	}
	for _, e := range p.a.Events() {
		switch e.Kind {
		case StateChanged:
			p.printf("state %v", e.State)
		case UfragReleased:
			p.printf("released %s", p.who(e.Ufrag))
		default:
			p.printf("%v %s", e.Kind, pathName(e.Tuple))
		}
	}
}

func (p *player) who(ufrag string) string {
	switch current, _ := p.a.Credentials(); ufrag {
	case "":
		return "none"
	case current:
		return "current"
	case p.old.ufrag:
		return "previous"
	}
	return "older"
}

func (p *player) show() {
	selected := "none"
	if t, ok := p.a.Selected(); ok {
		selected = pathName(t)
		require.True(p.t, p.a.IsValid(t))
	}
	names := ""
	for _, t := range tuplesOf(p.a) {
		names += " " + pathName(t)
		require.True(p.t, p.a.IsValid(t))
	}
	deadline := "none"
	if at, ok := p.a.Deadline(); ok {
		deadline = at.String()
	}
	p.printf("is %v, selected %s, tuples%s, deadline %s, old %s", p.a.State(), selected, names, deadline, p.who(p.a.OldUfrag()))
}

func (p *player) check(from Tuple, args map[string]string) {
	ufrag, pwd := p.a.Credentials()
	if _, ok := args["old"]; ok {
		ufrag, pwd = p.old.ufrag, p.old.pwd
	}
	reply, ok := p.a.Handle(p.now, from, buildCheck(p.t, ufrag, pwd, args))
	require.Equal(p.t, ok, reply != nil)
	if !ok {
		p.printf("dropped")
		return
	}
	m := &stun.Message{}
	require.NoError(p.t, stun.Decode(reply, m))
	require.NoError(p.t, stun.Fingerprint.Check(m))
	var code stun.ErrorCodeAttribute
	if m.Type.Class == stun.ClassErrorResponse {
		require.NoError(p.t, code.GetFrom(m))
		require.False(p.t, m.Contains(stun.AttrMessageIntegrity))
		p.printf("reply %d", code.Code)
		return
	}
	require.Equal(p.t, stun.BindingSuccess, m.Type)
	require.NoError(p.t, stun.NewShortTermIntegrity(pwd).Check(m))
	var mapped stun.XORMappedAddress
	require.NoError(p.t, mapped.GetFrom(m))
	require.Equal(p.t, from.Remote.String(), mapped.String())
	p.printf("reply ok")
}

func raw(kind stun.AttrType, value ...byte) stun.Setter {
	return stun.RawAttribute{Type: kind, Length: uint16(len(value)), Value: value}
}

// buildCheck builds a binding request with pion/stun. Args change it: no-…
// leaves out an attribute, uc and nom=… nominate, ufrag=… and pwd=… replace the
// credentials.
func buildCheck(t testing.TB, ufrag, pwd string, args map[string]string) []byte {
	t.Helper()
	has := func(name string) bool { _, ok := args[name]; return ok }
	if has("ufrag") {
		ufrag = args["ufrag"]
	}
	if has("pwd") {
		pwd = args["pwd"]
	}
	kind := stun.BindingRequest
	switch args["type"] {
	case "indication":
		kind.Class = stun.ClassIndication
	case "success":
		kind.Class = stun.ClassSuccessResponse
	case "error":
		kind.Class = stun.ClassErrorResponse
	case "allocate":
		kind.Method = stun.MethodAllocate
	}
	setters := []stun.Setter{stun.TransactionID, kind}
	if !has("no-username") {
		setters = append(setters, stun.NewUsername(ufrag+":remote"))
	}
	if has("bare-username") {
		setters[len(setters)-1] = stun.NewUsername(ufrag)
	}
	if !has("no-priority") {
		setters = append(setters, raw(stun.AttrPriority, 1, 2, 3, 4))
	}
	if has("controlled") {
		n, err := strconv.ParseUint(args["controlled"], 10, 8)
		require.NoError(t, err)
		setters = append(setters, raw(stun.AttrICEControlled, 0, 0, 0, 0, 0, 0, 0, byte(n)))
	} else {
		setters = append(setters, raw(stun.AttrICEControlling, 1, 2, 3, 4, 5, 6, 7, 8))
	}
	if has("uc") {
		setters = append(setters, raw(stun.AttrUseCandidate))
	}
	for name, kind := range map[string]stun.AttrType{"nom": attrNomination, "legacynom": attrNominationLegacy} {
		if has(name) {
			n, err := strconv.ParseUint(args[name], 10, 8)
			require.NoError(t, err)
			setters = append(setters, raw(kind, 0, 0, 0, byte(n)))
		}
	}
	if has("unknown") {
		setters = append(setters, raw(0x7abc, 1, 2, 3))
	}
	if !has("no-integrity") {
		setters = append(setters, stun.NewShortTermIntegrity(pwd))
	}
	if !has("no-fingerprint") {
		setters = append(setters, stun.Fingerprint)
	}
	m, err := stun.Build(setters...)
	require.NoError(t, err)
	return m.Raw
}

// TestScenarios plays testdata/scenarios.txt: a command a line, followed by what
// it caused, indented. A line with # begins a scenario with an agent of its own.
func TestScenarios(t *testing.T) {
	t.Parallel()
	const file = "testdata/scenarios.txt"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var written strings.Builder
	for i, part := range strings.Split(string(text), "# ") {
		if i == 0 {
			written.WriteString(part)
			continue
		}
		part = strings.TrimSpace(part)
		name, _, _ := strings.Cut(part, "\n")
		t.Run(name, func(t *testing.T) {
			p := &player{t: t, a: New(Config{Rand: &counting{}})}
			for _, line := range strings.Split(part, "\n")[1:] {
				if line == "" || line[0] == ' ' {
					continue
				}
				p.out = append(p.out, line)
				p.run(line)
			}
			got := name + "\n" + strings.Join(p.out, "\n")
			written.WriteString("# " + got + "\n\n")
			if !*update {
				require.Equal(t, part, got)
			}
		})
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(strings.TrimRight(written.String(), "\n")+"\n"), 0o644))
	}
}
