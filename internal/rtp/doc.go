// Package rtp reads and writes RTP packets in place (RFC 3550, header extensions
// of RFC 8285, retransmission of RFC 4588).
//
// A [Packet] is a view of bytes, made by [Parse], which checks every bound once.
// Nothing here allocates unless a destination lacks room.
package rtp
