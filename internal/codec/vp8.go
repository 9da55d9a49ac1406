package codec

import "encoding/binary"

// The payload descriptor of VP8 (RFC 7741 §4.2), then the first byte of the
// payload header, whose bit P is 0 in a key frame.
//
//	   |X|R|N|S|R| PID |   required
//	X: |I|L|T|K|  RSV  |
//	I: |M| PictureID   |   15 bits when M
//	   |   PictureID   |
//	L: |   TL0PICIDX   |
//	T: |TID|Y| KEYIDX  |   when T or K
//	   |Size0|H| VER |P|
const (
	vp8X = 0x80
	vp8N = 0x20
	vp8S = 0x10
	vp8P = 0x07 // partition index

	vp8I = 0x80
	vp8L = 0x40
	vp8T = 0x20
	vp8K = 0x10

	vp8Y     = 0x20
	vp8Inter = 0x01 // payload header

	longID = 0x80 // M, of VP9 as well
)

func parseVP8(b []byte, info *Info) bool {
	if len(b) == 0 {
		return false
	}
	first := b[0]
	info.Discardable = first&vp8N != 0
	info.StartOfFrame = first&(vp8S|vp8P) == vp8S
	n := 1
	if first&vp8X != 0 {
		if len(b) == 1 {
			return false
		}
		more := b[1]
		n = 2
		if more&vp8I != 0 {
			if n = pictureID(b, n, info); n == 0 {
				return false
			}
		}
		if more&vp8L != 0 {
			if n == len(b) {
				return false
			}
			info.HasTL0PICIDX, info.TL0PICIDX, info.TL0PICIDXAt = true, b[n], uint8(n)
			n++
		}
		if more&(vp8T|vp8K) != 0 {
			if n == len(b) {
				return false
			}
			if more&vp8T != 0 {
				info.HasLayers = true
				info.TemporalLayer = b[n] >> 6
				info.SwitchingUp = b[n]&vp8Y != 0
			}
			n++
		}
	}
	if n >= len(b) {
		return false // no payload
	}
	info.KeyFrame = info.StartOfFrame && b[n]&vp8Inter == 0
	return true
}

// pictureID reads the picture id at b[n:] and returns where it ends, 0 if beyond
// b.
func pictureID(b []byte, n int, info *Info) int {
	if n >= len(b) {
		return 0
	}
	info.HasPictureID, info.PictureIDAt = true, uint8(n)
	if b[n]&longID == 0 {
		info.PictureIDBits, info.PictureID = 7, uint16(b[n])
		return n + 1
	}
	if n+1 >= len(b) {
		return 0
	}
	info.PictureIDBits, info.PictureID = 15, binary.BigEndian.Uint16(b[n:])&0x7fff
	return n + 2
}

// WidenVP8 makes a picture id of 7 bits one of 15, so that any id can be written
// over it later. The last byte of b is room to grow into; before it stand the
// payload, which must not be empty, and the padding of the packet, if any.
// WidenVP8 returns by how many bytes the payload grew, 0 or 1.
func WidenVP8(b []byte) int {
	var info Info
	if len(b) == 0 || !parseVP8(b[:len(b)-1], &info) || info.PictureIDBits != 7 {
		return 0
	}
	at := int(info.PictureIDAt)
	copy(b[at+1:], b[at:])
	b[at] = longID
	return 1
}

// RewriteVP8 writes the 15-bit picture id and TL0PICIDX over those of payload, in
// which info was found, where it has them. A picture id of 7 bits stays as it is.
func (info *Info) RewriteVP8(payload []byte, pictureID uint16, tl0picidx uint8) {
	if at := int(info.PictureIDAt); at != 0 && info.PictureIDBits == 15 && at+2 <= len(payload) {
		binary.BigEndian.PutUint16(payload[at:], longID<<8|pictureID&0x7fff)
	}
	if at := int(info.TL0PICIDXAt); at != 0 && at < len(payload) {
		payload[at] = tl0picidx
	}
}
