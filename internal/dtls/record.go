package dtls

import "encoding/binary"

// The header of a DTLS 1.2 record (RFC 6347 §4.1):
//
//	type | version | epoch | sequence number | length | body
//	 1   |    2    |   2   |        6        |    2   |
const (
	offVersion = 1
	offEpoch   = 3
	offLength  = 11
	headerLen  = 13

	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplicationData  = 23

	// versionMajor is the first byte of the version in every DTLS.
	versionMajor = 0xfe

	// maxDatagram is what pion/dtls reads at a time, and thus all that we take.
	maxDatagram = 8192
)

// cut returns the first record of a datagram and what follows it. Its length
// must be right, and its body not empty.
func cut(datagram []byte) (record, rest []byte, ok bool) {
	if len(datagram) <= headerLen {
		return nil, nil, false
	}
	end := headerLen + int(binary.BigEndian.Uint16(datagram[offLength:]))
	if end == headerLen || end > len(datagram) {
		return nil, nil, false
	}
	return datagram[:end:end], datagram[end:], true
}

// admit returns a copy of those records of a datagram that are welcome. A record
// of a wrong length ends the datagram.
func admit(datagram []byte, welcome func(record []byte) bool) []byte {
	var b []byte
	for {
		record, rest, ok := cut(datagram)
		if !ok {
			return b
		}
		if welcome(record) {
			b = append(b, record...) // its capacity fits, for what waits is bounded by length
		}
		datagram = rest
	}
}

// shaking reports whether a record is one for pion/dtls. Left out is what would
// end its connection although it comes in clear, from anybody who can forge a
// source address, as do ChangeCipherSpec with a bad body and unknown content
// types; and what is early.
func shaking(record []byte) bool {
	if record[offVersion] != versionMajor {
		return false
	}
	switch record[0] {
	case typeChangeCipherSpec:
		return !sealed(record) && len(record) == headerLen+1 && record[headerLen] == 1
	case typeHandshake:
		return true
	case typeAlert:
		return !sealed(record)
	}
	return false
}

// early reports whether a record is kept for the session that follows a
// handshake: the peer may be done, and may even have closed, before we are.
func early(record []byte) bool { return established(record) && record[0] != typeHandshake }

// established reports whether a record may be one of a session. None in clear is.
func established(record []byte) bool {
	if record[offVersion] != versionMajor || !sealed(record) {
		return false
	}
	return record[0] == typeHandshake || record[0] == typeAlert || record[0] == typeApplicationData
}

// sealed reports whether a record says that it is encrypted.
func sealed(record []byte) bool { return record[offEpoch]|record[offEpoch+1] != 0 }
