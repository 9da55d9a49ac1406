// Package harness is what the benchmarks share: processes in a network of their
// own, peers that connect, send and receive, and the pairs of slices in which
// the SFU and a bare loop take turns.
//
// There are three processes:
//
//	launcher ── waits
//	server   ── the SFU, and the reference loop; in a network namespace of its own
//	peers    ── all senders and receivers: ICE, DTLS, SRTP, feedback
//
// The only way out of the namespace is a TUN device, which the peers' process
// holds. During the handshakes and while latency is measured it reads the
// device; otherwise nobody does, and the kernel drops there what the server
// sent: the server pays for sending, and nothing for receiving on behalf of
// others. Where the privilege for that lacks, everything goes over loopback
// ("sink":"loopback"), the server pays for both ends, and its figures can't be
// compared with those of a TUN.
//
// The packets of a burst enter the namespace in one write and the kernel takes
// them apart, so that they arrive together, as behind a network card.
//
// One-second slices alternate: in one the senders send to the SFU, in the next
// to the reference loop, at the same pace and in bursts of the same size; the
// receivers send the same feedback to whoever's turn it is. The ratio is the
// median of the pairs, so that a busy machine disturbs both sides.
//
// The SFU is charged with all that the process used meanwhile, what the Go
// runtime does beside its loop included; the reference with what its own thread
// used, as a loop in C would be. The reference decrypts and seals with
// pion/srtp, in place and without copying the payload first, has the same
// socket options, and reads its input with one call for each packet.
package harness
