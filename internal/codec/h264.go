package codec

import "encoding/binary"

// NAL unit types of H264 (RFC 6184 §5.2).
const (
	nalType  = 0x1f
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
	nalFUB   = 29

	fuStart = 0x80
)

// parseH264 looks for a sequence parameter set: alone, in an aggregation packet,
// or at the start of a fragmented one. An IDR slice alone is no key frame: who
// begins with it may lack the parameter sets (as in mediasoup).
func parseH264(b []byte, info *Info) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] & nalType {
	case nalSPS:
		info.KeyFrame = true
	case nalSTAPA:
		//	| STAP-A | size (16) | NAL unit | size (16) | NAL unit | …
		for b = b[1:]; len(b) >= 3; {
			size := int(binary.BigEndian.Uint16(b))
			if size == 0 || size > len(b)-2 {
				break
			}
			if b[2]&nalType == nalSPS {
				info.KeyFrame = true
				break
			}
			b = b[2+size:]
		}
	case nalFUA, nalFUB:
		//	| FU | S E R type (5) | fragment
		if len(b) < 2 {
			return false
		}
		info.KeyFrame = b[1]&fuStart != 0 && b[1]&nalType == nalSPS
	}
	return true
}
