package rtcp

import "time"

// ntpEpoch is 1970 in seconds since 1900.
const ntpEpoch = 2_208_988_800

// NTP returns the time, given as what has passed since 1970, as seconds since
// 1900 in 32.32 fixed point (RFC 3550 §4). It wraps in 2036, as NTP does.
func NTP(unix time.Duration) uint64 {
	seconds, rest := unix/time.Second, unix%time.Second
	if rest < 0 {
		seconds, rest = seconds-1, rest+time.Second
	}
	return uint64(seconds+ntpEpoch)<<32 | uint64(rest)<<32/uint64(time.Second)
}

// CompactNTP returns the middle 32 bits: seconds in 16.16 fixed point, as LSR,
// DLSR and their kin have them.
func CompactNTP(ntp uint64) uint32 { return uint32(ntp >> 16) }
