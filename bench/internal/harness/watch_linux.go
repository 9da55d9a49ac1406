package harness

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A watcher sees the beginning of every packet that passes the device of a
// tunLink, and when it did by the kernel's clock. What comes into the namespace is
// stamped before the SFU's socket has it, what leaves as the device gets it: who
// waits for a CPU then does not count. It costs the server some hundred
// nanoseconds for each packet (packet(7), PACKET_RX_RING).
type watcher struct {
	fd   int
	ring []byte
	next int // slot
}

const (
	// watchSlots is how many packets wait while the watcher sleeps. A slot has what
	// the kernel says of a packet, and then of the packet as much as fits.
	watchSlots    = 1 << 16
	watchSlot     = 256
	watchBlock    = 1 << 20
	watchPause    = 2 * time.Millisecond
	watchProtocol = unix.ETH_P_ALL
)

// A passage is a packet that passed.
type passage struct {
	at    time.Time
	out   bool   // from the server
	n     int    // datagrams: more than one are a run that the kernel takes apart later
	begin []byte // of the first
}

func newWatcher() (*watcher, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watching the TUN: %w", err)
	}
	w := &watcher{fd: fd}
	if err := w.open(); err != nil {
		w.close()
		return nil, fmt.Errorf("watching the TUN: %w", err)
	}
	return w, nil
}

func (w *watcher) open() error {
	device, err := net.InterfaceByName(tunName)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return err
	}
	request := unix.TpacketReq{
		Block_size: watchBlock, Block_nr: watchSlots * watchSlot / watchBlock, Frame_size: watchSlot, Frame_nr: watchSlots,
	}
	if err := unix.SetsockoptTpacketReq(w.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return err
	}
	if w.ring, err = unix.Mmap(w.fd, 0, watchSlots*watchSlot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	protocol := binary.NativeEndian.Uint16([]byte{watchProtocol >> 8, watchProtocol & 0xff})
	return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: device.Index})
}

func (w *watcher) close() {
	if w.ring != nil {
		unix.Munmap(w.ring)
	}
	unix.Close(w.fd)
}

// passed reads a slot.
func passed(h *unix.Tpacket2Hdr, slot []byte) passage {
	a := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&slot[unsafe.Sizeof(*h)]))
	mac, payload := int(h.Mac), int(h.Len)-ipHeader-udpHeader
	size := datagramSize(slot[mac-virtioHeader:], payload)
	return passage{
		at:    time.Unix(int64(h.Sec), int64(h.Nsec)),
		out:   a.Pkttype == unix.PACKET_OUTGOING,
		n:     (payload + size - 1) / size,
		begin: slot[mac:min(mac+int(h.Snaplen), watchSlot)],
	}
}

// read hands over what passed until stop is set. It looks from time to time: a
// reader that the kernel has to wake would be at the server's cost.
func (w *watcher) read(stop *atomic.Bool, f func(passage)) {
	for {
		last := stop.Load()
		for {
			slot := w.ring[w.next*watchSlot:][:watchSlot]
			h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
			if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
				break
			}
			f(passed(h, slot))
			atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
			w.next = (w.next + 1) % watchSlots
		}
		if last {
			return
		}
		time.Sleep(watchPause)
	}
}
