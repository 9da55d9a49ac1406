package mafalda

import (
	"fmt"
	"strconv"
)

// h264Profile is a family of H.264 profiles whose streams are interchangeable.
type h264Profile uint8

const (
	h264ConstrainedBaseline h264Profile = iota
	h264Baseline
	h264Main
	h264ConstrainedHigh
	h264High
	h264PredictiveHigh444
)

// h264Level orders the levels: level_idc times two, with 1b, which lies between
// 1 and 1.1, as an odd number.
type h264Level uint8

const h264Level1b h264Level = 10*2 + 1

// h264ProfileLevel is what a profile-level-id says (RFC 6184 §8.1).
type h264ProfileLevel struct {
	profile h264Profile
	level   h264Level
}

// h264Default is what a missing profile-level-id means: constrained baseline,
// level 3.1, as browsers have it.
var h264Default = h264ProfileLevel{h264ConstrainedBaseline, 31 * 2}

// h264Patterns maps the first two bytes of a profile-level-id, profile_idc and
// profile-iop under a mask, to a profile (RFC 6184 §8.1, table 5).
var h264Patterns = []struct {
	idc, mask, iop uint8
	profile        h264Profile
}{
	{0x42, 0b0100_1111, 0b0100_0000, h264ConstrainedBaseline},
	{0x4d, 0b1000_1111, 0b1000_0000, h264ConstrainedBaseline},
	{0x58, 0b1100_1111, 0b1100_0000, h264ConstrainedBaseline},
	{0x42, 0b0100_1111, 0b0000_0000, h264Baseline},
	{0x58, 0b1100_1111, 0b1000_0000, h264Baseline},
	{0x4d, 0b1010_1111, 0b0000_0000, h264Main},
	{0x64, 0b1111_1111, 0b0000_0000, h264High},
	{0x64, 0b1111_1111, 0b0000_1100, h264ConstrainedHigh},
	{0xf4, 0b1111_1111, 0b0000_0000, h264PredictiveHigh444},
}

// h264Prefixes is the canonical beginning of a profile-level-id; level 1b of the
// first three has one of its own, with constraint_set3_flag.
var h264Prefixes = map[h264Profile]struct{ usual, level1b string }{
	h264ConstrainedBaseline: {"42e0", "42f00b"},
	h264Baseline:            {"4200", "42100b"},
	h264Main:                {"4d00", "4d100b"},
	h264ConstrainedHigh:     {"640c", ""},
	h264High:                {"6400", ""},
	h264PredictiveHigh444:   {"f400", ""},
}

// parseH264ProfileLevel reads six hexadecimal digits.
func parseH264ProfileLevel(s string) (h264ProfileLevel, bool) {
	v, err := strconv.ParseUint(s, 16, 24)
	if err != nil || len(s) != 6 {
		return h264ProfileLevel{}, false
	}
	idc, iop, levelIDC := uint8(v>>16), uint8(v>>8), uint8(v)
	level := h264Level(levelIDC) * 2
	switch levelIDC {
	case 11:
		if iop&0x10 != 0 { // constraint_set3_flag
			level = h264Level1b
		}
	case 10, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52:
	default:
		return h264ProfileLevel{}, false
	}
	for _, p := range h264Patterns {
		if p.idc == idc && iop&p.mask == p.iop {
			return h264ProfileLevel{p.profile, level}, true
		}
	}
	return h264ProfileLevel{}, false
}

func (p h264ProfileLevel) String() string {
	if p.level == h264Level1b {
		return h264Prefixes[p.profile].level1b
	}
	return h264Prefixes[p.profile].usual + fmt.Sprintf("%02x", uint8(p.level/2))
}

// h264Answer negotiates the profile-level-id of two sets of format parameters.
// It reports false when they don't fit. The answer is empty if neither has one.
//
// Its level is that of local when both allow asymmetric levels, else the lower one.
func h264Answer(local, remote map[string]any) (answer string, ok bool) {
	a, hasA, okA := h264ProfileLevelOf(local)
	b, hasB, okB := h264ProfileLevelOf(remote)
	if !okA || !okB || a.profile != b.profile {
		return "", false
	}
	if !hasA && !hasB {
		return "", true
	}
	if !levelAsymmetryAllowed(local) || !levelAsymmetryAllowed(remote) {
		// Unlike in mediasoup, 1b is compared right: with it as the level of the
		// Router, mediasoup answers the higher one.
		a.level = min(a.level, b.level)
	}
	return a.String(), true
}

// h264ProfileLevelOf reads the profile-level-id, of which an empty one and 0
// count as none.
func h264ProfileLevelOf(parameters map[string]any) (p h264ProfileLevel, has, ok bool) {
	v := parameterOrZero(parameters["profile-level-id"])
	if v == 0 {
		return h264Default, false, true
	}
	if s, isText := v.(string); isText {
		p, ok = parseH264ProfileLevel(s)
	}
	return p, true, ok
}

func levelAsymmetryAllowed(parameters map[string]any) bool {
	v, _ := normalizeParameter(parameters["level-asymmetry-allowed"])
	return v == 1 || v == "1"
}
