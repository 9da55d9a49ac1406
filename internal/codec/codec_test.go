package codec

import (
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

// A payloadCase is a payload in hex and what is found in it; nil if it is
// refused.
type payloadCase struct {
	name, in string
	want     *Info
}

func checkPayloads(t *testing.T, k Kind, cases []payloadCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Info{KeyFrame: true, TemporalLayer: 9}
			ok := Parse(k, unhex(t, c.in), nil, &got)
			require.Equal(t, c.want != nil, ok)
			if c.want == nil {
				c.want = &Info{}
			}
			assert.Empty(t, cmp.Diff(*c.want, got))
		})
	}
}

func TestKindOf(t *testing.T) {
	for mimeType, want := range map[string]Kind{
		"audio/opus": Opus, "audio/OPUS": Opus, "audio/multiopus": Opus, "video/VP8": VP8, "VIDEO/vp9": VP9,
		"video/h264": H264, "video/AV1": AV1, "audio/PCMU": Other, "video/rtx": Other, "": Other, "audio/VP8": Other,
	} {
		assert.Equal(t, want, KindOf(mimeType), mimeType)
	}
	assert.Equal(t, "VP8", VP8.String())
	assert.Equal(t, "other", Kind(99).String())
	for k := Other; k <= AV1; k++ {
		assert.Equal(t, k == VP8 || k == VP9 || k == H264, k.CanBeKeyFrame(), k)
	}
}

// Those that the recording 11-dtx-ignore leaves out are of discontinuous
// transmission.
func TestOpus(t *testing.T) {
	checkPayloads(t, Opus, []payloadCase{
		{"empty", "", nil},
		{"one frame", "785a5a5a", &Info{}},
		{"code 0, length 1", "78", &Info{DTX: true}},
		{"code 1, length 1", "79", &Info{DTX: true}},
		{"code 2, length 2", "7a55", &Info{DTX: true}},
		{"code 2, length 1", "7a", nil},
		{"code 3, length 1", "7b", nil},
		{"code 0, length 2", "7855", &Info{}},
		{"code 1, length 2", "7955", &Info{}},
		{"code 3, length 2", "7b55", &Info{}},
		{"code 2, length 3", "7a5555", &Info{}},
		{"silence of Chromium", "f8fffe", &Info{}},
	})
}

func TestVP8(t *testing.T) {
	checkPayloads(t, VP8, []payloadCase{
		{"empty", "", nil},
		{"descriptor alone", "10", nil},
		{"key frame without extension", "10 100200", &Info{KeyFrame: true, StartOfFrame: true}},
		{"delta frame without extension", "10 110200", &Info{StartOfFrame: true}},
		{"not the start", "00 100200", &Info{}},
		{"another partition", "11 100200", &Info{}},
		{"discardable", "30 110200", &Info{StartOfFrame: true, Discardable: true}},
		{"15-bit picture id", "90e080640a201002", &Info{
			KeyFrame: true, StartOfFrame: true, HasPictureID: true, PictureIDBits: 15, PictureID: 100, PictureIDAt: 2,
			HasTL0PICIDX: true, TL0PICIDX: 10, TL0PICIDXAt: 4, HasLayers: true, SwitchingUp: true,
		}},
		{"7-bit picture id", "90e06b11201102", &Info{
			StartOfFrame: true, HasPictureID: true, PictureIDBits: 7, PictureID: 107, PictureIDAt: 2,
			HasTL0PICIDX: true, TL0PICIDX: 17, TL0PICIDXAt: 3, HasLayers: true, SwitchingUp: true,
		}},
		{"second packet of a frame", "80e0807218201102", &Info{
			HasPictureID: true, PictureIDBits: 15, PictureID: 114, PictureIDAt: 2,
			HasTL0PICIDX: true, TL0PICIDX: 24, TL0PICIDXAt: 4, HasLayers: true, SwitchingUp: true,
		}},
		{"picture id alone", "9080 ffff 11", &Info{
			StartOfFrame: true, HasPictureID: true, PictureIDBits: 15, PictureID: 0x7fff, PictureIDAt: 2,
		}},
		{"TL0PICIDX alone", "9040 ff 11", &Info{StartOfFrame: true, HasTL0PICIDX: true, TL0PICIDX: 255, TL0PICIDXAt: 2}},
		{"temporal layer 3", "9020 c0 11", &Info{StartOfFrame: true, HasLayers: true, TemporalLayer: 3}},
		{"key index alone", "9010 e5 11", &Info{StartOfFrame: true}},
		{"no extension byte", "90", nil},
		{"no picture id", "9080", nil},
		{"half a picture id", "908080", nil},
		{"no TL0PICIDX", "90c08064", nil},
		{"no TID", "90e080640a", nil},
		{"no payload", "90e080640a20", nil},
	})
}

func TestWidenVP8(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"7 bits, as recorded", "90e06b1120110200", "90e0806b1120110200"},
		{"127", "9080 7f 11", "9080 807f 11"},
		{"padding moves along", "9080 01 11 000003", "9080 8001 11 000003"},
		{"15 bits", "90e080640a201002", "90e080640a201002"},
		{"no picture id", "10110200", "10110200"},
		{"TL0PICIDX alone", "9040 ff 11", "9040 ff 11"},
		{"truncated", "9080", "9080"},
	} {
		b := append(unhex(t, c.in), 0xee)
		n := WidenVP8(b)
		want := unhex(t, c.want)
		assert.Equal(t, len(want)-len(b)+1, n, c.name)
		assert.Equal(t, want, b[:len(b)-1+n], c.name)
		assert.Zero(t, WidenVP8(append(b[:len(b)-1+n:len(b)-1+n], 0)), "%s: a second time", c.name)
	}
	assert.Zero(t, WidenVP8(nil))
}

func TestRewriteVP8(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"both", "90e080640a201002", "90e0fffe07201002"},
		{"7 bits stay", "90e06b11201102", "90e06b07201102"},
		{"picture id alone", "9080ffff11", "9080fffe11"},
		{"none", "10110200", "10110200"},
	} {
		b := unhex(t, c.in)
		var info Info
		require.True(t, Parse(VP8, b, nil, &info), c.name)
		info.RewriteVP8(b, 0xfffe, 7)
		assert.Equal(t, unhex(t, c.want), b, c.name)
		info.RewriteVP8(b[:2], 1, 1) // another payload than it was found in
	}
}

func TestVP9(t *testing.T) {
	checkPayloads(t, VP9, []payloadCase{
		{"empty", "", nil},
		{"required byte alone", "0c", &Info{KeyFrame: true, StartOfFrame: true, EndOfFrame: true}},
		{"key frame, layers", "acffbd10fb5a", &Info{
			KeyFrame: true, StartOfFrame: true, EndOfFrame: true, HasPictureID: true, PictureIDBits: 15, PictureID: 0x7fbd,
			PictureIDAt: 1, HasLayers: true, SwitchingUp: true, HasTL0PICIDX: true, TL0PICIDX: 0xfb, TL0PICIDXAt: 4,
		}},
		{"spatial layer 1 of a key frame", "acffbd13fb5a", &Info{
			StartOfFrame: true, EndOfFrame: true, HasPictureID: true, PictureIDBits: 15, PictureID: 0x7fbd,
			PictureIDAt: 1, HasLayers: true, SpatialLayer: 1, SwitchingUp: true, InterLayer: true,
			HasTL0PICIDX: true, TL0PICIDX: 0xfb, TL0PICIDXAt: 4,
		}},
		{"delta frame", "ecffbe50fb5a", &Info{
			InterPicture: true, StartOfFrame: true, EndOfFrame: true, HasPictureID: true, PictureIDBits: 15, PictureID: 0x7fbe,
			PictureIDAt: 1, HasLayers: true, TemporalLayer: 2, SwitchingUp: true, HasTL0PICIDX: true, TL0PICIDX: 0xfb, TL0PICIDXAt: 4,
		}},
		{"not the start", "a4050000", &Info{
			EndOfFrame: true, HasPictureID: true, PictureIDBits: 7, PictureID: 5, PictureIDAt: 1, HasLayers: true, HasTL0PICIDX: true, TL0PICIDXAt: 3,
		}},
		{"flexible mode has no TL0PICIDX", "b805e2", &Info{
			StartOfFrame: true, HasPictureID: true, PictureIDBits: 7, PictureID: 5, PictureIDAt: 1, HasLayers: true,
			TemporalLayer: 7, SpatialLayer: 1,
		}},
		{"no picture id", "80", nil},
		{"half a picture id", "8080", nil},
		{"no layers", "a005", nil},
		{"no TL0PICIDX", "a00500", nil},
	})
}

func TestH264(t *testing.T) {
	key, other := &Info{KeyFrame: true}, &Info{}
	checkPayloads(t, H264, []payloadCase{
		{"empty", "", nil},
		{"slice", "615a5a", other},
		{"IDR slice", "655a5a", other},
		{"SPS", "675a5a", key},
		{"PPS", "685a5a", other},
		{"STAP-A with SPS", "780004674200aa000268ce5a5a5a", key},
		{"STAP-A, SPS second", "780002 68ce 0004 674200aa", key},
		{"STAP-A without SPS", "780002 68ce 0001 65", other},
		{"STAP-A alone", "78", other},
		{"STAP-A, half a size", "7800", other},
		{"STAP-A, size of 0", "780000 0001 67", other},
		{"STAP-A, size beyond the end", "780003 6742", other},
		{"FU-A start of SPS", "7c87", key},
		{"FU-A middle of SPS", "7c07", other},
		{"FU-A end of SPS", "7c47", other},
		{"FU-A start of IDR", "7c855a5a", other},
		{"FU-B start of SPS", "7d870000", key},
		{"FU-A alone", "7c", nil},
	})
}

func TestOther(t *testing.T) {
	var info Info
	assert.False(t, Parse(Other, []byte{1, 2, 3}, []byte{0xc0, 0, 0}, &info))
	assert.False(t, Parse(Kind(77), []byte{1, 2, 3}, nil, &info))
	assert.Zero(t, info)
}

func TestAllocations(t *testing.T) {
	if race {
		t.Skip("counts allocations")
	}
	var info Info
	var s Structure
	vp8, vp9 := unhex(t, "90e080640a201002"), unhex(t, "acffbd10fb5a")
	h264, opus, dd := unhex(t, "780004674200aa000268ce"), []byte{0x78}, unhex(t, structureL2T2)
	keys := 0
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for _, c := range [...]struct {
			k     Kind
			b, dd []byte
		}{{VP8, vp8, nil}, {VP9, vp9, nil}, {H264, h264, nil}, {H264, h264, dd}, {AV1, nil, dd}, {Opus, opus, nil}} {
			if Parse(c.k, c.b, c.dd, &info); info.KeyFrame {
				keys++
			}
		}
		ParseDependency(dd, &s, &info)
		WidenVP8(vp8)
	}))
	assert.NotZero(t, keys)
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ kind, in, dd string }{
		{"VP8", "90e080640a201002", ""}, {"VP9", "acffbd10fb5a", ""}, {"H264", "7c855a5a", ""}, {"opus", "785a5a5a", ""},
		{"AV1", "", "c10002"}, {"AV1", "", structureL2T2},
	} {
		k := KindOf("video/" + c.kind)
		if c.kind == "opus" {
			k = Opus
		}
		payload, dd := unhex(b, c.in), unhex(b, c.dd)
		b.Run(c.kind, func(b *testing.B) {
			b.ReportAllocs()
			var info Info
			for b.Loop() {
				Parse(k, payload, dd, &info)
			}
		})
	}
}
