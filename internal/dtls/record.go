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

	// maxDatagram is what pion/dtls reads at a time.
	maxDatagram = 8192
)

// admit appends to dst the records of a datagram that may reach pion/dtls, and
// returns what is there then. A record of a wrong length ends the datagram.
//
// Left out is what ends an established pion connection although it comes in
// clear, from anybody who can forge a source address: ChangeCipherSpec with
// a bad body, application data in epoch 0, unknown content types. Once
// connected, nothing in clear is let through but ChangeCipherSpec: a client
// that missed our last flight repeats its encrypted Finished, and that suffices
// for an answer.
func admit(dst, datagram []byte, connected bool) []byte {
	for len(datagram) > headerLen {
		end := headerLen + int(binary.BigEndian.Uint16(datagram[offLength:]))
		if end == headerLen || end > len(datagram) {
			break
		}
		if admitRecord(datagram[:end], connected) {
			dst = append(dst, datagram[:end]...)
		}
		datagram = datagram[end:]
	}
	return dst
}

func admitRecord(record []byte, connected bool) bool {
	if record[offVersion] != versionMajor {
		return false
	}
	plain := record[offEpoch]|record[offEpoch+1] == 0
	switch record[0] {
	case typeChangeCipherSpec:
		return plain && len(record) == headerLen+1 && record[headerLen] == 1
	case typeHandshake, typeAlert:
		return !plain || !connected
	case typeApplicationData:
		return !plain
	}
	return false
}
