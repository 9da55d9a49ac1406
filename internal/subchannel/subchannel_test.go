package subchannel

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSet(t *testing.T) {
	given := []uint16{0, 1, 1, 1, 2, 65535, 0, 1, 100}
	s := NewSet(given)
	assert.Equal(t, Set{0, 1, 2, 100, 65535}, s)
	assert.Equal(t, []uint16{0, 1, 1, 1, 2, 65535, 0, 1, 100}, given, "the caller's list is its own")
	assert.True(t, s.Has(100))
	assert.False(t, s.Has(99))
	more := s.With(50)
	assert.Equal(t, Set{0, 1, 2, 50, 100, 65535}, more)
	assert.Equal(t, Set{0, 1, 2, 100, 65535}, s, "a set is never modified in place")
	assert.Equal(t, more, more.With(50))
	assert.Equal(t, Set{0, 2, 50, 100, 65535}, more.Without(1))
	assert.Equal(t, more, more.Without(3))
	assert.Empty(t, NewSet(nil))
	assert.False(t, Set(nil).Has(0))
	assert.Equal(t, Set{7}, Set(nil).With(7))
}

// TestReach has the rule in every branch; the first rows are those of
// mediasoup's test of a DirectTransport.
func TestReach(t *testing.T) {
	one, two := NewSet([]uint16{1, 11, 666}), NewSet([]uint16{2, 22, 666})
	for _, test := range []struct {
		labels Labels
		set    Set
		piped  bool
		want   bool
	}{
		{Labels{}, one, false, true},
		{Labels{Subchannels: []uint16{1, 2}}, one, false, true},
		{Labels{Subchannels: []uint16{1, 2}}, two, false, true},
		{Labels{Subchannels: []uint16{11, 22, 33}, Required: new(uint16(666))}, two, false, true},
		{Labels{Subchannels: []uint16{3}, Required: new(uint16(666))}, one, false, false},
		{Labels{Subchannels: []uint16{666}, Required: new(uint16(3))}, one, false, false},
		{Labels{Subchannels: []uint16{1}}, two, false, false},
		{Labels{Subchannels: []uint16{11}, Required: new(uint16(1))}, one, false, true},
		{Labels{Subchannels: []uint16{666}, Required: new(uint16(11))}, two, false, false},
		{Labels{Required: new(uint16(666))}, one, false, true},
		{Labels{Ignored: new(uint16(666))}, one, false, false},
		{Labels{Ignored: new(uint16(9))}, one, false, true},
		{Labels{Subchannels: []uint16{1}, Ignored: new(uint16(9))}, one, false, true},
		{Labels{Subchannels: []uint16{1}, Ignored: new(uint16(11))}, one, false, false},

		{Labels{}, nil, false, true},
		{Labels{Ignored: new(uint16(1))}, nil, false, true},
		{Labels{Required: new(uint16(1))}, nil, false, false},
		{Labels{Subchannels: []uint16{1}}, nil, false, false},

		{Labels{Subchannels: []uint16{1}, Required: new(uint16(2)), Ignored: new(uint16(3))}, nil, true, true},
		{Labels{Subchannels: []uint16{1}}, one, true, true},
		{Labels{Subchannels: []uint16{1}, Ignored: new(uint16(11))}, one, true, true},
		{Labels{Subchannels: []uint16{2}}, one, true, false},
		{Labels{Required: new(uint16(2))}, one, true, false},
	} {
		assert.Equal(t, test.want, test.labels.Reach(test.set, test.piped), "%+v", test)
	}
}

func TestThrough(t *testing.T) {
	l := Labels{Subchannels: []uint16{3, 1, 2}, Required: new(uint16(1)), Ignored: new(uint16(9))}
	assert.Empty(t, cmp.Diff(l, l.Through(nil)))
	got := l.Through(NewSet([]uint16{1, 3, 4}))
	assert.Empty(t, cmp.Diff(Labels{Subchannels: []uint16{3, 1}, Required: new(uint16(1)), Ignored: new(uint16(9))}, got))
	assert.Equal(t, []uint16{3, 1, 2}, l.Subchannels)
}

func TestCodec(t *testing.T) {
	for _, test := range []struct {
		labels Labels
		want   string // hexadecimal, without the message
	}{
		{Labels{}, ""},
		{Labels{Subchannels: []uint16{1, 0x0203}}, "a5f09cb3d6e1f28c 0002 0001 0203"},
		{Labels{Required: new(uint16(7))}, "a5f09cb3d6e1f28e 0000 0007"},
		{Labels{Ignored: new(uint16(8))}, "a5f09cb3d6e1f28d 0000 0008"},
		{
			Labels{Subchannels: []uint16{65535}, Required: new(uint16(7)), Ignored: new(uint16(8))},
			"a5f09cb3d6e1f28f 0001 ffff 0007 0008",
		},
	} {
		var want []byte
		for _, c := range test.want {
			if c != ' ' {
				want = append(want, byte(c))
			}
		}
		head, err := hex.DecodeString(string(want))
		require.NoError(t, err)
		b := test.labels.Append([]byte("before"), []byte("message"))
		require.Equal(t, "before"+string(head)+"message", string(b))
		l, message := Parse(b[len("before"):])
		assert.Equal(t, "message", string(message))
		assert.Empty(t, cmp.Diff(test.labels, l))
	}
}

func TestParseVerbatim(t *testing.T) {
	whole := (&Labels{Subchannels: []uint16{1, 2}, Required: new(uint16(3)), Ignored: new(uint16(4))}).Append(nil, nil)
	for n := range whole {
		l, message := Parse(whole[:n])
		assert.Equal(t, whole[:n], message, "%d bytes of a header are a message", n)
		assert.True(t, l.None())
	}
	other := append([]byte(nil), whole...)
	other[0]++
	l, message := Parse(other)
	assert.Equal(t, other, message)
	assert.True(t, l.None())
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("a message"))
	f.Add((&Labels{Subchannels: []uint16{1, 2}}).Append(nil, []byte("x")))
	f.Add((&Labels{Subchannels: []uint16{1}, Required: new(uint16(3)), Ignored: new(uint16(4))}).Append(nil, []byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, message := Parse(b)
		if len(message) > len(b) {
			t.Fatal("the message grew")
		}
		if l.None() {
			// A header that says nothing is never written; it may be read.
			if len(message) != len(b) && len(message) != len(b)-offList {
				t.Fatalf("%d of %d bytes left", len(message), len(b))
			}
			return
		}
		if got := l.Append(nil, message); string(got) != string(b) {
			t.Fatalf("%x became %x", b, got)
		}
		l.Reach(NewSet(l.Subchannels), false)
	})
}
