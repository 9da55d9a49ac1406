package codec

// The payload descriptor of VP9 (RFC 9628 §4.2). What comes behind TL0PICIDX,
// references and the scalability structure, is not read.
//
//	   |I|P|L|F|B|E|V|Z|   required
//	I: |M| PictureID   |   15 bits when M
//	   |   PictureID   |
//	L: | TID |U| SID |D|
//	   |   TL0PICIDX   |   when L and not F
const (
	vp9I = 0x80
	vp9P = 0x40
	vp9L = 0x20
	vp9F = 0x10
	vp9B = 0x08
	vp9E = 0x04

	vp9U = 0x10
	vp9D = 0x01
)

func parseVP9(b []byte, info *Info) bool {
	if len(b) == 0 {
		return false
	}
	first := b[0]
	info.InterPicture = first&vp9P != 0
	info.StartOfFrame = first&vp9B != 0
	info.EndOfFrame = first&vp9E != 0
	n := 1
	if first&vp9I != 0 {
		if n = pictureID(b, n, info); n == 0 {
			return false
		}
	}
	if first&vp9L != 0 {
		if n >= len(b) {
			return false
		}
		info.HasLayers = true
		info.TemporalLayer = b[n] >> 5
		info.SwitchingUp = b[n]&vp9U != 0
		info.SpatialLayer = b[n] >> 1 & 0x07
		info.InterLayer = b[n]&vp9D != 0
		n++
		if first&vp9F == 0 {
			if n >= len(b) {
				return false
			}
			info.HasTL0PICIDX, info.TL0PICIDX, info.TL0PICIDXAt = true, b[n], uint8(n)
		}
	}
	info.KeyFrame = !info.InterPicture && info.StartOfFrame && info.SpatialLayer == 0
	return true
}
