//go:build linux && !portable

package driver

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	slabSize    = 320 << 10 // 64 runs of four packets
	maxMessages = 256
	maxSegments = 64    // older kernels refuse more
	maxSegment  = 1_452 // more does not fit an Ethernet frame over IPv6
	retries     = 4     // of a full send buffer, per flush and socket
)

// A message is one datagram or a run of them, contiguous in the slab.
type message struct {
	off, n uint32
	next   int32 // of the same socket; -1: none
	seg    uint16
	segs   uint8
	open   bool // may grow: all segments have the same size
	split  bool // to be sent datagram by datagram
}

// A part is what one mmsghdr sends: a message, or one datagram of it.
type part struct {
	msg    int32
	off, n uint32 // off from the message's begin
	segs   uint8
}

// A sender is the output memory of a driver. Messages of all sockets lie in
// one slab in the order of their commit, and are chained per socket; so a
// thousand sockets need no more memory than one.
type sender struct {
	d     *epoll
	stats *Stats

	slab  []byte
	at    int    // the slab is used up to here
	room  int    // length of the reservation; -1: none
	waste []byte // reservation that is too long to be sent

	msgs  [maxMessages]message
	names [maxMessages]sockaddr
	n     int
	last  *udpSocket   // of msgs[n-1]
	socks []*udpSocket // have messages

	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	ctls  []byte
	parts [batchSize]part
}

var cmsgSegment = unix.CmsgSpace(2)

func newSender() *sender {
	t := &sender{slab: make([]byte, slabSize), ctls: make([]byte, batchSize*cmsgSegment), room: -1}
	for i := range t.hdrs {
		h := &t.hdrs[i].hdr
		h.Iov = &t.iovs[i]
		h.SetIovlen(1)
		c := (*unix.Cmsghdr)(unsafe.Pointer(&t.ctls[i*cmsgSegment]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		h.Control = &t.ctls[i*cmsgSegment]
	}
	return t
}

// Reserve implements [UDPSocket].
func (s *udpSocket) Reserve(n int) []byte {
	t := s.d.tx
	if n > maxUDP4 {
		t.room = -1
		t.waste = make([]byte, n)
		return t.waste
	}
	t.waste = nil
	n = max(n, 0)
	if t.n == maxMessages || t.at+n > len(t.slab) {
		t.flush()
	}
	if t.n == 0 {
		t.at = 0
	}
	t.room = n
	return t.slab[t.at : t.at+n : t.at+n]
}

// Commit implements [UDPSocket].
func (s *udpSocket) Commit(d *Dest, n int) {
	t := s.d.tx
	room := t.room
	t.room = -1
	switch {
	case n <= 0:
		t.waste = nil
		return
	case room < 0 && t.waste != nil:
		t.waste = nil
		t.stats.DropTooLong++
		return
	case room < 0:
		return // no reservation
	case d.name.n != s.nameLen || s.closed:
		t.stats.DropDest++
		return
	}
	n = min(n, room)
	if t.last == s {
		m := &t.msgs[t.n-1]
		if m.open && n <= int(m.seg) && s.gso && int(m.n)+n <= maxUDP4 && t.names[t.n-1] == d.name {
			m.n += uint32(n)
			m.segs++
			m.open = n == int(m.seg) && m.segs < maxSegments
			t.at += n
			return
		}
	}
	if s.queued == batchSize {
		t.flush()
	}
	i := int32(t.n)
	t.msgs[i] = message{off: uint32(t.at), n: uint32(n), next: -1, seg: uint16(n), segs: 1, open: n <= maxSegment}
	t.names[i] = d.name
	t.n++
	t.at += n
	t.last = s
	if s.head < 0 {
		s.head = i
		t.socks = append(t.socks, s)
	} else {
		t.msgs[s.tail].next = i
	}
	s.tail = i
	s.queued++
}

// flush sends all messages of all sockets.
func (t *sender) flush() {
	for i, s := range t.socks {
		t.socks[i] = nil
		t.send(s)
		s.head, s.queued = -1, 0
	}
	t.socks = t.socks[:0]
	t.n = 0
	t.last = nil
}

// send sends the messages of one socket. The kernel stops before a message
// that it can't send and says why only when asked to begin with that.
func (t *sender) send(s *udpSocket) {
	next := part{msg: s.head}
	tries := 0
	suspect := int32(-1) // message whose run was refused
	for next.msg >= 0 {
		k, rest := t.fill(s, next)
		r, e := t.call(s, k)
		t.stats.SendCalls++
		if e == 0 && r > 0 {
			t.account(r)
			if suspect == t.parts[0].msg && s.gso {
				// The datagram alone went out: it was the run that was refused.
				s.gso = false
				t.stats.GSORefused++
			}
			suspect = -1
			next = rest
			if r < k {
				next = t.parts[r]
			}
			continue
		}
		p := t.parts[0]
		next = p
		switch e {
		case unix.EINTR:
			continue
		case 0, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			if tries++; tries <= retries {
				continue
			}
			t.drop(next)
			return
		case unix.ECONNREFUSED: // about an earlier datagram
			if tries++; tries <= retries {
				continue
			}
		case unix.EMSGSIZE:
			if p.segs == 1 && s.probe {
				s.setProbe(false)
				s.probe = false
				continue
			}
		}
		m := &t.msgs[p.msg]
		if p.segs > 1 {
			m.split = true
			if e == unix.EINVAL || e == unix.EIO || e == unix.EOPNOTSUPP {
				suspect = p.msg
			}
			continue
		}
		// This datagram will not go, nor those of its run: same size, same way.
		left := 1
		if p.n < m.n {
			left = int((m.n - p.off + uint32(m.seg) - 1) / uint32(m.seg))
		}
		t.stats.DropSendError += uint64(left)
		suspect = -1
		next = part{msg: m.next}
	}
}

// call sends the first k parts, and returns how many went. A single datagram
// needs no header, which the kernel would have to read and check first.
func (t *sender) call(s *udpSocket, k int) (int, syscall.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	if k == 1 && t.parts[0].segs == 1 {
		h := &t.hdrs[0].hdr
		_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(h.Iov.Base)), uintptr(h.Iov.Len),
			flags, uintptr(unsafe.Pointer(h.Name)), uintptr(h.Namelen))
		if e != 0 {
			return 0, e
		}
		return 1, 0
	}
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&t.hdrs[0])), uintptr(k), flags, 0, 0)
	return int(n), e
}

// fill prepares up to 64 headers from the part on, of which msg and off count,
// and returns how many and what follows them.
func (t *sender) fill(s *udpSocket, p part) (int, part) {
	k := 0
	for ; k < batchSize && p.msg >= 0; k++ {
		m := &t.msgs[p.msg]
		p.n, p.segs = m.n-p.off, m.segs
		if p.off > 0 || m.segs > 1 && (m.split || !s.gso) {
			p.n, p.segs = min(p.n, uint32(m.seg)), 1
		}
		h := &t.hdrs[k].hdr
		h.Name = &t.names[p.msg].b[0]
		h.Namelen = t.names[p.msg].n
		t.iovs[k].Base = &t.slab[m.off+p.off]
		t.iovs[k].SetLen(int(p.n))
		if p.segs > 1 {
			h.SetControllen(cmsgSegment)
			binary.NativeEndian.PutUint16(t.ctls[k*cmsgSegment+unix.CmsgLen(0):], m.seg)
		} else {
			h.SetControllen(0)
		}
		t.parts[k] = p
		p.off += p.n
		if p.off >= m.n {
			p = part{msg: m.next}
		}
	}
	return k, p
}

// account counts the first k parts as sent.
func (t *sender) account(k int) {
	st := t.stats
	st.SendBatch[bucket(k)]++
	st.Messages += uint64(k)
	for i := range k {
		p := &t.parts[i]
		st.PacketsOut += uint64(p.segs)
		st.BytesOut += uint64(p.n)
		if p.segs > 1 {
			st.GSOMessages++
			st.GSOSegments += uint64(p.segs)
		}
	}
}

// drop counts everything from p on as lost for want of room in the kernel.
func (t *sender) drop(p part) {
	for i, off := p.msg, p.off; i >= 0; i, off = t.msgs[i].next, 0 {
		m := &t.msgs[i]
		t.stats.DropNoBuffer += uint64((m.n - off + uint32(m.seg) - 1) / uint32(m.seg))
	}
}
