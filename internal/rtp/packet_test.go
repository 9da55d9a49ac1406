package rtp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unhex reads hex with blanks.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

const fixed = "e6 0001 00000004 00000005 " // after the first byte: marker, payload type 102

func TestIs(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"nil", nil, false},
		{"eleven bytes", append([]byte{0x80}, make([]byte, 10)...), false},
		{"twelve bytes", append([]byte{0x80}, make([]byte, 11)...), true},
		{"version 1", append([]byte{0x7f}, make([]byte, 11)...), false},
		{"version 3", append([]byte{0xc0}, make([]byte, 11)...), false},
		{"last first byte", append([]byte{0xbf}, make([]byte, 11)...), true},
	} {
		assert.Equal(t, c.want, Is(c.b), "%s", c.name)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
		header   int // length
		padding  int
		payload  string
	}{
		{"no payload", "80" + fixed, true, 12, 0, ""},
		{"payload", "80" + fixed + "1122", true, 12, 0, "1122"},
		{"csrc", "82" + fixed + "0000000a 0000000b 11", true, 20, 0, "11"},
		{"csrc passes the end", "82" + fixed + "0000000a 0000", false, 0, 0, ""},
		{"padding", "a0" + fixed + "1122 000003", true, 12, 3, "1122"},
		{"only padding", "a0" + fixed + "000003", true, 12, 3, ""},
		{"padding of 0", "a0" + fixed + "1100", false, 0, 0, ""},
		{"padding larger than what follows the header", "a0" + fixed + "000004", false, 0, 0, ""},
		{"padding without a byte", "a0" + fixed, false, 0, 0, ""},
		{"extension, padding is the block", "b0" + fixed + "bede0001 10000002", false, 0, 0, ""},
		{"one-byte form", "90" + fixed + "bede0001 10ff0000 55", true, 20, 0, "55"},
		{"two-byte form", "90" + fixed + "10000001 0101ff00 55", true, 20, 0, "55"},
		{"two-byte form, application bits", "90" + fixed + "100f0001 0101ff00", true, 20, 0, ""},
		{"empty block", "90" + fixed + "bede0000 55", true, 16, 0, "55"},
		{"opaque block", "90" + fixed + "abcd0001 ffffffff 55", true, 20, 0, "55"},
		{"block head passes the end", "90" + fixed + "bede00", false, 0, 0, ""},
		{"block passes the end", "90" + fixed + "bede0002 10ff0000", false, 0, 0, ""},
		{"one-byte value passes the block", "90" + fixed + "bede0001 13ffffff ffff", false, 0, 0, ""},
		{"two-byte value passes the block", "90" + fixed + "10000001 0103ffff ffff", false, 0, 0, ""},
		{"one-byte value ends with the block", "90" + fixed + "bede0001 12ffffff", true, 20, 0, ""},
		{"two-byte value ends with the block", "90" + fixed + "10000001 0102ffff", true, 20, 0, ""},
		{"half an element at the end", "90" + fixed + "10000001 0101ff02", true, 20, 0, ""},
		{"id 15 hides a bad element", "90" + fixed + "bede0001 f01fffff", true, 20, 0, ""},
		{"all at once", "b1" + fixed + "0000000a bede0001 10ff0000 1122 02ff 0002", true, 24, 2, "112202ff"},
		{"rtp of version 1", "40" + fixed, false, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := Parse(unhex(t, c.in))
			require.Equal(t, c.ok, ok)
			if !ok {
				return
			}
			assert.True(t, p.Marker())
			assert.EqualValues(t, 102, p.PayloadType())
			assert.EqualValues(t, 1, p.SequenceNumber())
			assert.EqualValues(t, 4, p.Timestamp())
			assert.EqualValues(t, 5, p.SSRC())
			assert.Equal(t, c.header, p.HeaderLen())
			assert.Equal(t, c.padding, p.PaddingLen())
			assert.Equal(t, c.payload, hex.EncodeToString(p.Payload()))
			assert.Len(t, p.CSRCs(), 4*int(p[0]&15))
		})
	}
}

func TestSet(t *testing.T) {
	p, ok := Parse(unhex(t, "b1"+fixed+"0000000a bede0001 10ff0000 1122 0002"))
	require.True(t, ok)
	rest := bytes.Clone(p[12:])
	p.SetMarker(false)
	p.SetPayloadType(0xff)
	p.SetSequenceNumber(65535)
	p.SetTimestamp(1<<32 - 2)
	p.SetSSRC(1<<32 - 3)
	want := Header{PayloadType: 127, SequenceNumber: 65535, Timestamp: 1<<32 - 2, SSRC: 1<<32 - 3}
	assert.Empty(t, cmp.Diff(want, p.Header()))
	p.SetMarker(true)
	assert.True(t, p.Marker())
	assert.EqualValues(t, 127, p.PayloadType())
	p.SetPayloadType(0)
	assert.True(t, p.Marker())
	assert.Equal(t, []byte(rest), []byte(p[12:]))
	assert.EqualValues(t, 0xb1, p[0])
}

func TestExtension(t *testing.T) {
	const (
		one = "bede 0004 10aa 00 31bbcc 00 10dd 44 0102030405 00"
		two = "1003 0005 01 01aa 00 20 02bbcc 01 01dd 44 00 0f 01ee ff 01 77 00"
	)
	for _, c := range []struct {
		name, block string
		profile     uint16
		want        map[uint8]string
		absent      []uint8
	}{
		{"one-byte form, padding between, the last duplicate wins", one, ProfileOneByte,
			map[uint8]string{1: "dd", 3: "bbcc", 4: "0102030405"}, []uint8{0, 2, 5, 15, 200}},
		{"two-byte form", two, ProfileTwoByte + 3,
			map[uint8]string{1: "dd", 0x20: "bbcc", 0x44: "", 15: "ee", 255: "77"}, []uint8{0, 2, 254}},
		{"id 15 ends the one-byte form", "bede 0001 10aa f0 20", ProfileOneByte,
			map[uint8]string{1: "aa"}, []uint8{2, 15}},
		{"opaque", "abcd 0001 10aa10aa", 0xabcd, nil, []uint8{1, 0x10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, "90"+fixed+c.block)
			p, ok := Parse(append(b, 0x99))
			require.True(t, ok)
			assert.Equal(t, c.profile, p.ExtensionProfile())
			for id, want := range c.want {
				v := p.Extension(id)
				require.NotNil(t, v, "id %d", id)
				assert.Equal(t, want, hex.EncodeToString(v), "id %d", id)
				assert.Equal(t, len(v), cap(v), "id %d: appending must not reach the next element", id)
			}
			for _, id := range c.absent {
				assert.Nil(t, p.Extension(id), "id %d", id)
			}
			// A value is a view.
			if v := p.Extension(1); len(v) > 0 {
				v[0] = 0x5f
				assert.EqualValues(t, 0x5f, p.Extension(1)[0])
			}
			assert.Equal(t, "99", hex.EncodeToString(p.Payload()))
		})
	}
	p, ok := Parse(unhex(t, "80"+fixed))
	require.True(t, ok)
	assert.Nil(t, p.Extension(1))
	assert.Zero(t, p.ExtensionProfile())
}

func TestReadExtensions(t *testing.T) {
	var ids ExtensionIDs
	ids.Set(IDMID, 4)
	ids.Set(IDTransportWideCC, 9)
	ids.Set(IDAudioLevel, 200)
	ids.Set(IDRID, 7)
	ids.Set(IDRID, 8) // replaces 7
	ids.Set(0, 1)
	ids.Set(13, 1)
	assert.EqualValues(t, 8, ids.Wire(IDRID))
	assert.Zero(t, ids.Wire(IDPacketID))
	assert.Zero(t, ids.Wire(77))

	p, ok := Parse(AppendHeader(nil, Header{}, []Element{
		{4, []byte("mid")}, {9, []byte{1, 2}}, {7, []byte("old")}, {8, []byte("rid")}, {1, []byte{5}}, {9, []byte{3, 4}},
	}))
	require.True(t, ok)
	var x Extensions
	p.ReadExtensions(&ids, &x)
	assert.Equal(t, "mid", string(x.Value(p, IDMID)))
	assert.Equal(t, "rid", string(x.Value(p, IDRID)))
	assert.Equal(t, []byte{3, 4}, x.Value(p, IDTransportWideCC))
	assert.Nil(t, x.Value(p, IDAudioLevel))
	assert.Nil(t, x.Value(p, 0))
	assert.Nil(t, x.Value(p, 255))

	p, ok = Parse(AppendHeader(nil, Header{}, []Element{{200, nil}, {4, []byte("m")}}))
	require.True(t, ok)
	p.ReadExtensions(&ids, &x)
	assert.NotNil(t, x.Value(p, IDAudioLevel))
	assert.Empty(t, x.Value(p, IDAudioLevel))
	assert.Equal(t, "m", string(x.Value(p, IDMID)))
	assert.Nil(t, x.Value(p, IDTransportWideCC), "of the packet before")

	ids.Set(IDMID, 0)
	p.ReadExtensions(&ids, &x)
	assert.Nil(t, x.Value(p, IDMID))
}

// The packet is the first that was sent to mediasoup's worker in the recording
// 01-vp8-forward, cut.
func TestRecorded(t *testing.T) {
	in, ok := Parse(unhex(t, "90e003e800015f90000008aebede000520003200000a4200100262abcdef71020390760090e08064"))
	require.True(t, ok)
	assert.Equal(t, Header{true, 96, 1000, 90000, 0x8ae}, in.Header())
	assert.Equal(t, 36, in.HeaderLen())
	for id, want := range map[uint8]string{2: "00", 3: "00000a", 4: "001002", 6: "abcdef", 7: "0203", 9: "76"} {
		assert.Equal(t, want, hex.EncodeToString(in.Extension(id)), "id %d", id)
	}
	assert.Equal(t, "90e08064", hex.EncodeToString(in.Payload()))
}

func TestAppendHeader(t *testing.T) {
	h := Header{Marker: true, PayloadType: 102, SequenceNumber: 1, Timestamp: 4, SSRC: 5}
	long := bytes.Repeat([]byte{7}, 17)
	for _, c := range []struct {
		name     string
		elements []Element
		want     string
	}{
		{"none", nil, "80" + fixed},
		{"one-byte form", []Element{{1, []byte{0xaa}}, {14, []byte{1, 2, 3}}}, "90" + fixed + "bede0002 10aae201 02030000"},
		{"no padding", []Element{{1, []byte{1, 2, 3}}}, "90" + fixed + "bede0001 12010203"},
		{"sixteen bytes", []Element{{1, long[:16]}}, "90" + fixed + "bede0005 1f" + strings.Repeat("07", 16) + "000000"},
		{"id 15", []Element{{15, []byte{0xaa}}}, "90" + fixed + "10000001 0f01aa00"},
		{"length 0", []Element{{1, nil}, {2, []byte{0xbb}}}, "90" + fixed + "10000002 01000201 bb000000"},
		{"seventeen bytes", []Element{{1, long}}, "90" + fixed + "10000005 0111" + strings.Repeat("07", 17) + "00"},
		{"what can't be written", []Element{{0, []byte{1}}, {1, make([]byte, 256)}}, "80" + fixed},
		{"beside what can't", []Element{{0, []byte{1}}, {1, []byte{0xaa}}}, "90" + fixed + "bede0001 10aa0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			prefix := []byte("abc")
			got := AppendHeader(bytes.Clone(prefix), h, c.elements)
			require.Equal(t, prefix, got[:3])
			assert.Equal(t, hex.EncodeToString(unhex(t, c.want)), hex.EncodeToString(got[3:]))
			p, ok := Parse(got[3:])
			require.True(t, ok)
			assert.Equal(t, h, p.Header())
			assert.Equal(t, len(p), p.HeaderLen())
		})
	}
}

func TestAppendPadding(t *testing.T) {
	b := append(AppendHeader([]byte{9}, Header{}, nil), 1, 2)
	p, ok := Parse(AppendPadding(b, 1, 4)[1:])
	require.True(t, ok)
	assert.Equal(t, 4, p.PaddingLen())
	assert.Equal(t, []byte{1, 2}, p.Payload())
	assert.Equal(t, b, AppendPadding(b, 1, 0))
}

func TestAllocations(t *testing.T) {
	if race {
		t.Skip("counts allocations")
	}
	elements := []Element{{1, []byte("12345678")}, {4, []byte{1, 2, 3}}, {5, []byte{1, 2}}}
	buf := make([]byte, 0, 1500)
	out := make([]byte, 0, 1500)
	payload := make([]byte, 1000)
	var ids ExtensionIDs
	ids.Set(IDMID, 1)
	var x Extensions
	var sum int
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		b := append(AppendHeader(buf, Header{SSRC: 7}, elements), payload...)
		p, ok := Parse(b)
		if !ok {
			return
		}
		p.ReadExtensions(&ids, &x)
		sum += len(x.Value(p, IDMID)) + len(p.Extension(5)) + len(p.Payload())
		r, ok := DecodeRTX(AppendRTX(out, p, 8, 97, 1), 7, 0)
		if ok {
			sum += len(r)
		}
	}))
	assert.NotZero(t, sum)
}

func BenchmarkParse(b *testing.B) {
	p := append(AppendHeader(nil, Header{}, []Element{{1, []byte("a")}, {4, []byte{1, 2, 3}}, {5, []byte{1, 2}}}), make([]byte, 1100)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Parse(p); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkReadExtensions(b *testing.B) {
	p := Packet(append(AppendHeader(nil, Header{}, []Element{{1, []byte("a")}, {4, []byte{1, 2, 3}}, {5, []byte{1, 2}}}), make([]byte, 1100)...))
	var ids ExtensionIDs
	ids.Set(IDMID, 1)
	ids.Set(IDAbsSendTime, 4)
	ids.Set(IDTransportWideCC, 5)
	var x Extensions
	b.ReportAllocs()
	for b.Loop() {
		p.ReadExtensions(&ids, &x)
	}
}
