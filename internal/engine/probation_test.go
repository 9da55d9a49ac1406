package engine

import (
	"encoding/binary"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

// isProbation tells padding that only measures from media, encrypted or not.
func isProbation(b []byte) bool {
	return len(b) >= headerFixed && !rtcp.Is(b) && binary.BigEndian.Uint32(b[8:]) == probationSSRC
}
