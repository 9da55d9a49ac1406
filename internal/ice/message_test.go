package ice

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/pion/stun/v3"
	"github.com/stretchr/testify/require"
)

// rfc5769 is the sample request of RFC 5769 §2.1. Its user name is
// "evtj:h6vY", its password "VOkJxbRl1RmTxUk/WvJxBt".
const rfc5769 = "\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae" +
	"\x80\x22\x00\x10STUN test client" +
	"\x00\x24\x00\x04\x6e\x00\x01\xff" +
	"\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36" +
	"\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20" +
	"\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2" +
	"\x80\x28\x00\x04\xe5\x7a\x3b\xcf"

func TestRFC5769(t *testing.T) {
	t.Parallel()
	a := New(Config{})
	a.current = credentials{"evtj", "VOkJxbRl1RmTxUk/WvJxBt", stun.NewShortTermIntegrity("VOkJxbRl1RmTxUk/WvJxBt")}
	ufrag, ok := LocalUfragBytes([]byte(rfc5769))
	require.True(t, ok)
	require.Equal(t, "evtj", string(ufrag))
	// The user name and the integrity are good; the role is in conflict.
	_, ok = a.Handle(0, path("a"), []byte(rfc5769))
	require.True(t, ok)
	require.Equal(t, Counters{RoleConflicts: 1}, a.Counters())
	for i := range rfc5769 {
		b := []byte(rfc5769)
		b[i] ^= 4
		a.Handle(0, path("a"), b)
		require.Zero(t, a.Counters().Accepted)
	}
	require.EqualValues(t, 1, a.Counters().RoleConflicts)
}

func TestIsSTUN(t *testing.T) {
	t.Parallel()
	b := []byte(rfc5769)
	require.True(t, IsSTUN(b))
	require.True(t, IsSTUN(b[:20]))
	require.False(t, IsSTUN(b[:19]))
	require.False(t, IsSTUN(nil))
	for i := range 256 {
		b[0] = byte(i)
		require.Equal(t, i < 3, IsSTUN(b), "first byte %d", i)
	}
	b[0] = 0
	b[7]++
	require.False(t, IsSTUN(b))
}

// attribute is one attribute as it is on the wire.
func attribute(kind int, value string) string {
	b := binary.BigEndian.AppendUint16(nil, uint16(kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return string(b)
}

func message(kind int, attributes ...string) []byte {
	body := strings.Join(attributes, "")
	b := binary.BigEndian.AppendUint16(nil, uint16(kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, "\x21\x12\xa4\x42transaction_"...)
	return append(b, body...)
}

// withFingerprint appends a FINGERPRINT, computed from RFC 8489 §14.7.
func withFingerprint(b []byte) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20+8))
	sum := crc32.ChecksumIEEE(b) ^ 0x5354554e
	return binary.BigEndian.AppendUint32(append(b, 0x80, 0x28, 0, 4), sum)
}

func TestLocalUfrag(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		b    []byte
		want string
		ok   bool
	}{
		{"colon", message(1, attribute(6, "abc:def")), "abc", true},
		{"two colons", message(1, attribute(6, "abc:def:ghi")), "abc", true},
		{"no colon", message(1, attribute(6, "abc")), "abc", true},
		{"empty", message(1, attribute(6, "")), "", true},
		{"only colon", message(1, attribute(6, ":")), "", true},
		{"second", message(1, attribute(0x24, "1234"), attribute(0x8022, "x"), attribute(6, "abc:d")), "abc", true},
		{"first of two", message(1, attribute(6, "a:b"), attribute(6, "c:d")), "a", true},
		{"none", message(1, attribute(0x24, "1234")), "", false},
		{"no attribute", message(1), "", false},
		{"overrun", message(1, "\x00\x06\x00\x09abc:def "), "", false},
		{"overrun before", message(1, "\x80\x22\x00\xff1234", attribute(6, "a:b")), "", false},
		{"no padding at the end", message(1, "\x00\x06\x00\x05abc:d"), "abc", true},
		{"half header", message(1, "\x00\x06"), "", false},
		{"not STUN", message(0x300, attribute(6, "a:b")), "", false},
	} {
		got, ok := LocalUfragBytes(c.b)
		require.Equal(t, c.ok, ok, c.name)
		require.Equal(t, c.want, string(got), c.name)
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	const (
		user = 6
		prio = 0x24
		mi   = 8
	)
	good := func(attributes ...string) []byte { return message(1, attributes...) }
	length := func(b []byte, delta int) []byte {
		binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+uint16(delta))
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"no attributes", good(), true},
		{"header only, length 4", length(good(), 4), false},
		{"length too small", length(good(attribute(prio, "1234")), -4), false},
		{"length too large", length(good(attribute(prio, "1234")), 4), false},
		{"not a multiple of 4", good("\x80\x22\x00\x01x"), false},
		{"attribute overruns", good("\x80\x22\x00\x05abcd"), false},
		{"unknown attribute", good(attribute(0x7fff, "12345")), true},
		{"unknown attribute twice", good(attribute(0x7fff, "1"), attribute(0x7fff, "1")), true},
		{"username", good(attribute(user, strings.Repeat("x", 513))), true},
		{"username too long", good(attribute(user, strings.Repeat("x", 514))), false},
		{"username twice", good(attribute(user, "a"), attribute(user, "a")), false},
		{"priority of 3", good(attribute(prio, "123")), false},
		{"priority of 8", good(attribute(prio, "12345678")), false},
		{"priority twice", good(attribute(prio, "1234"), attribute(prio, "1234")), false},
		{"controlled of 4", good(attribute(0x8029, "1234")), false},
		{"controlled twice", good(attribute(0x8029, "12345678"), attribute(0x8029, "12345678")), false},
		{"controlling of 9", good(attribute(0x802a, "123456789")), false},
		{"controlling twice", good(attribute(0x802a, "12345678"), attribute(0x802a, "12345678")), false},
		{"use-candidate with value", good(attribute(0x25, "1234")), false},
		{"use-candidate twice", good(attribute(0x25, ""), attribute(0x25, "")), false},
		{"nomination of 2", good(attribute(0x30, "12")), false},
		{"nomination twice", good(attribute(0x30, "1234"), attribute(0x30, "1234")), false},
		{"legacy nomination of 5", good(attribute(0xc001, "12345")), false},
		{"both nominations", good(attribute(0x30, "1234"), attribute(0xc001, "1234")), true},
		{"software", good(attribute(0x8022, strings.Repeat("x", 763))), true},
		{"software too long", good(attribute(0x8022, strings.Repeat("x", 764))), false},
		{"software twice", good(attribute(0x8022, "a"), attribute(0x8022, "b")), false},
		{"mapped address of 8", good(attribute(0x20, strings.Repeat("x", 8))), true},
		{"mapped address of 20", good(attribute(0x20, strings.Repeat("x", 20))), true},
		{"mapped address of 12", good(attribute(0x20, strings.Repeat("x", 12))), false},
		{"error code of 3", good(attribute(9, "123")), false},
		{"integrity of 16", good(attribute(mi, strings.Repeat("x", 16))), false},
		{"integrity of 24", good(attribute(mi, strings.Repeat("x", 24))), false},
		{"integrity", good(attribute(mi, strings.Repeat("x", 20))), true},
		{"attribute after integrity", good(attribute(mi, strings.Repeat("x", 20)), attribute(prio, "1234")), false},
		{"unknown after integrity", good(attribute(mi, strings.Repeat("x", 20)), attribute(0x7fff, "1234")), false},
		{"integrity twice", good(attribute(mi, strings.Repeat("x", 20)), attribute(mi, strings.Repeat("x", 20))), false},
		{"fingerprint", withFingerprint(good(attribute(prio, "1234"))), true},
		{"fingerprint after integrity", withFingerprint(good(attribute(mi, strings.Repeat("x", 20)))), true},
		{"wrong fingerprint", good(attribute(0x8028, "1234")), false},
		{"fingerprint of 8", good(attribute(0x8028, "12345678")), false},
		{"fingerprint twice", withFingerprint(withFingerprint(good())), false},
		{"attribute after fingerprint", append(length(withFingerprint(good()), 4), "\x7f\xff\x00\x00"...), false},
	} {
		a := New(Config{})
		reply, ok := a.Handle(0, path("a"), c.b)
		require.Equal(t, c.ok, ok, c.name)
		require.Equal(t, c.ok, reply != nil, c.name)
		want := Counters{Malformed: 1}
		if c.ok {
			want = Counters{BadRequests: 1}
		}
		require.Equal(t, want, a.Counters(), c.name)
		require.Empty(t, a.Events(), c.name)
	}
}

// TestReplies reads what an agent answers with pion/stun and, for the error
// response, byte by byte.
func TestReplies(t *testing.T) {
	t.Parallel()
	a := New(Config{})
	reply, ok := a.Handle(0, path("a"), message(1))
	require.True(t, ok)
	require.Equal(t, withFingerprint(message(0x111, attribute(9, "\x00\x00\x04\x00Bad Request"))), reply)
	reply, ok = a.Handle(0, path("a"), message(3))
	require.True(t, ok)
	require.Equal(t, withFingerprint(message(0x113, attribute(9, "\x00\x00\x04\x00Bad Request"))), reply, "method of the request")

	ufrag, pwd := a.Credentials()
	for _, name := range []string{"a", "B"} {
		from := path(name)
		check := buildCheck(t, ufrag, pwd, nil)
		reply, ok = a.Handle(0, from, check)
		require.True(t, ok)
		m := &stun.Message{}
		require.NoError(t, stun.Decode(reply, m))
		require.Equal(t, stun.BindingSuccess, m.Type)
		require.Equal(t, check[8:20], m.TransactionID[:])
		require.Len(t, m.Attributes, 3)
		require.Equal(t, stun.AttrXORMappedAddress, m.Attributes[0].Type)
		require.Equal(t, stun.AttrMessageIntegrity, m.Attributes[1].Type)
		require.Equal(t, stun.AttrFingerprint, m.Attributes[2].Type)
		var mapped stun.XORMappedAddress
		require.NoError(t, mapped.GetFrom(m))
		require.Equal(t, from.Remote.String(), mapped.String())
		require.NoError(t, stun.NewShortTermIntegrity(pwd).Check(m))
		require.NoError(t, stun.Fingerprint.Check(m))
	}
}

func TestLargeMessage(t *testing.T) {
	t.Parallel()
	a := New(Config{})
	b := message(1, attribute(0x7fff, strings.Repeat("x", 60_000)), strings.Repeat("\x7f\xff\x00\x00", maxAttributes-1))
	_, ok := a.Handle(0, path("a"), b)
	require.True(t, ok)
	require.LessOrEqual(t, cap(a.in.Raw), maxKeptBytes)
	require.LessOrEqual(t, cap(a.in.Attributes), maxKeptAttributes)
}

func FuzzLocalUfrag(f *testing.F) {
	f.Add([]byte(rfc5769))
	f.Add(message(1, attribute(0x24, "1234"), attribute(6, "abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		ufrag, ok := LocalUfragBytes(b)
		require.Equal(t, IsSTUN(b), stun.IsMessage(b) && b[0] < 3)
		// What pion/stun accepts has the user name that it finds.
		m := &stun.Message{}
		if !IsSTUN(b) || stun.Decode(b, m) != nil || int(binary.BigEndian.Uint16(b[2:])) != len(b)-20 {
			return
		}
		username, err := m.Get(stun.AttrUsername)
		require.Equal(t, err == nil, ok)
		if ok {
			want, _, _ := strings.Cut(string(username), ":")
			require.Equal(t, want, string(ufrag))
		}
	})
}
