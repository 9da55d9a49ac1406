package acceptance

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

var stunCases = []testCase{
	{
		name:        "STUN/Success",
		explanation: "a Binding request is answered with the source address, signed with our password (RFC 8489 §9.1.3, RFC 8445 §7.3.1.3)",
		run:         testSTUNSuccess,
	},
	{
		name:        "STUN/Errors",
		explanation: "requests that lack something are answered 400, foreign credentials 401, a controlled peer 487",
		run:         testSTUNErrors,
	},
	{
		name:        "STUN/Nomination",
		explanation: "the NOMINATION attribute, under its number and the old one, selects a tuple when its value grows",
		upstream:    []string{"3.20.10", "3.18.1"},
		run:         testSTUNNomination,
	},
	{
		name:        "STUN/ManyTuples",
		explanation: "checks from many addresses are answered, and the selected one stays selected",
		upstream:    []string{"3.18.1"},
		run:         testSTUNManyTuples,
	},
}

// The attribute NOMINATION (draft-thatcher-ice-renomination), under the number
// that it has and the one that it had.
const (
	attrNomination    = stun.AttrType(0x0030)
	attrOldNomination = stun.AttrType(0xc001)
)

// An attribute is one with any value.
type attribute struct {
	typ   stun.AttrType
	value []byte
}

func (a attribute) AddTo(m *stun.Message) error {
	m.Add(a.typ, a.value)
	return nil
}

var (
	attrPriority    = attribute{stun.AttrPriority, []byte{1, 2, 3, 4}}
	attrControlling = attribute{stun.AttrICEControlling, []byte{1, 2, 3, 4, 5, 6, 7, 8}}
	attrControlled  = attribute{stun.AttrICEControlled, []byte{1, 2, 3, 4, 5, 6, 7, 8}}
)

func nomination(typ stun.AttrType, v uint32) attribute {
	return attribute{typ, binary.BigEndian.AppendUint32(nil, v)}
}

// A checker sends STUN requests from a socket of its own.
type checker struct {
	c    *net.UDPConn
	to   mafalda.ICECandidate
	user mafalda.ICEParameters
}

func newChecker(t testing.TB, tr mafalda.WebRTCTransport) *checker {
	t.Helper()
	return &checker{c: openUDP(t, loopback), to: tr.ICECandidates()[0], user: tr.ICEParameters()}
}

// signed makes a complete request with some more attributes.
func (c *checker) signed(more ...stun.Setter) []stun.Setter {
	s := []stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.user.UsernameFragment + ":peer"), attrPriority,
	}
	return append(append(s, more...), stun.NewShortTermIntegrity(c.user.Password), stun.Fingerprint)
}

// ask sends a request and returns the response.
func (c *checker) ask(t testing.TB, setters ...stun.Setter) *stun.Message {
	t.Helper()
	request, err := stun.Build(setters...)
	require.NoError(t, err)
	_, err = c.c.WriteToUDPAddrPort(request.Raw, addrWithPort(c.to.Port))
	require.NoError(t, err)
	require.NoError(t, c.c.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 1500)
	for {
		n, err := c.c.Read(b)
		require.NoError(t, err, "no response")
		m := &stun.Message{Raw: b[:n]}
		if !stun.IsMessage(b[:n]) || m.Decode() != nil || m.TransactionID != request.TransactionID {
			continue // DTLS
		}
		return m
	}
}

func testSTUNSuccess(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	c := newChecker(t, tr)
	m := c.ask(t, c.signed(attrControlling)...)
	require.Equal(t, stun.BindingSuccess, m.Type)
	var a stun.XORMappedAddress
	require.NoError(t, a.GetFrom(m))
	require.Equal(t, int(addrOf(c.c).Port()), a.Port)
	require.True(t, a.IP.Equal(net.IPv4(127, 0, 0, 1)))
	require.NoError(t, stun.NewShortTermIntegrity(c.user.Password).Check(m))
	require.NoError(t, stun.Fingerprint.Check(m))
}

func testSTUNErrors(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	c := newChecker(t, tr)
	user := stun.NewUsername(c.user.UsernameFragment + ":peer")
	key := stun.NewShortTermIntegrity(c.user.Password)
	for name, v := range map[string]struct {
		request []stun.Setter
		code    stun.ErrorCode
	}{
		"no fingerprint": {[]stun.Setter{user, attrPriority, attrControlling, key}, 400},
		"no priority":    {[]stun.Setter{user, attrControlling, key, stun.Fingerprint}, 400},
		"no username":    {[]stun.Setter{attrPriority, attrControlling, key, stun.Fingerprint}, 400},
		"no integrity":   {[]stun.Setter{user, attrPriority, attrControlling, stun.Fingerprint}, 400},
		"other user":     {[]stun.Setter{stun.NewUsername("you:peer"), attrPriority, attrControlling, key, stun.Fingerprint}, 401},
		"other password": {[]stun.Setter{user, attrPriority, attrControlling, stun.NewShortTermIntegrity("guess"), stun.Fingerprint}, 401},
		"controlled":     {[]stun.Setter{user, attrPriority, attrControlled, key, stun.Fingerprint}, 487},
	} {
		m := c.ask(t, append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, v.request...)...)
		require.Equal(t, stun.BindingError, m.Type, name)
		var code stun.ErrorCodeAttribute
		require.NoError(t, code.GetFrom(m), name)
		require.Equal(t, v.code, code.Code, name)
		require.Equal(t, mafalda.ICEStateNew, tr.ICEState(), name)
	}
	require.Equal(t, stun.BindingSuccess, c.ask(t, c.signed(attrControlling)...).Type)
}

func testSTUNNomination(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	one, two := newChecker(t, tr), newChecker(t, tr)
	selected := func() uint16 {
		t.Helper()
		d := dumpTransport(t, tr) // the answer of the loop, after what came before
		require.NotNil(t, d.ICESelectedTuple)
		return d.ICESelectedTuple.RemotePort
	}
	require.Equal(t, stun.BindingSuccess, one.ask(t, one.signed(attrControlling)...).Type)
	require.Equal(t, mafalda.ICEStateConnected, dumpTransport(t, tr).ICEState)
	for i, v := range []struct {
		c    *checker
		typ  stun.AttrType
		n    uint32
		want *checker
	}{
		{one, attrNomination, 1, one}, {two, attrNomination, 2, two}, {one, attrNomination, 1, two},
		{one, attrOldNomination, 3, one}, {two, attrOldNomination, 3, one}, {two, attrNomination, 4, two},
	} {
		require.Equal(t, stun.BindingSuccess, v.c.ask(t, v.c.signed(attrControlling, nomination(v.typ, v.n))...).Type)
		require.Equal(t, addrOf(v.want.c).Port(), selected(), "step %d", i)
		require.Equal(t, mafalda.ICEStateCompleted, dumpTransport(t, tr).ICEState)
	}
}

func testSTUNManyTuples(t *testing.T, s *suite) {
	tr := s.room(t).webRTC(t, overUDP())
	first := newChecker(t, tr)
	useCandidate := attribute{typ: stun.AttrUseCandidate}
	require.Equal(t, stun.BindingSuccess, first.ask(t, first.signed(attrControlling, useCandidate)...).Type)
	for range 20 {
		c := newChecker(t, tr)
		require.Equal(t, stun.BindingSuccess, c.ask(t, c.signed(attrControlling)...).Type)
	}
	require.Equal(t, addrOf(first.c).Port(), dumpTransport(t, tr).ICESelectedTuple.RemotePort)
	require.Equal(t, mafalda.ICEStateCompleted, dumpTransport(t, tr).ICEState)
}
