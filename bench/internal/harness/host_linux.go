package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/mafalda-sfu/mafalda"
)

// A Host is the server's side of a benchmark: an SFU, and the peers' process.
type Host struct {
	// SFU is closed after [Program.Serve] returned.
	SFU  mafalda.SFU
	Sink string

	addr        netip.Addr
	network     [4]byte // of the peers
	peers       *remote
	fingerprint mafalda.DTLSFingerprint
	cfg         Config
}

// serve is the server's process.
func (p *Program) serve(sink string) error {
	h := &Host{Sink: sink, addr: loopServer, network: loopPeers}
	var tun *os.File
	if sink == SinkTUN {
		var err error
		if tun, err = openTUN(p.Segments); err != nil {
			fmt.Fprintln(os.Stderr, p.Name+":", err)
			os.Exit(exitNoSink)
		}
		h.addr, h.network = tunServer, tunPeers
	}
	peers, err := startPeers(tun)
	if tun != nil {
		tun.Close()
	}
	if err != nil {
		return err
	}
	defer peers.stop()
	if p.OneCore {
		if _, err := bind(lastCore); err != nil {
			return err
		}
	}
	h.peers = peers
	h.SFU = mafalda.New()
	ctx, cancel := context.WithTimeout(context.Background(), p.Limit)
	defer cancel()
	return errors.Join(p.Serve(ctx, h), h.SFU.Close())
}

// Configure makes the peers. It comes first, and once.
func (h *Host) Configure(c Config) error {
	if err := knownSuite(c.Suite); err != nil {
		return err
	}
	a, err := h.peers.do(command{Setup: &setupCommand{Config: c, Peers: c.Peers}})
	if err != nil {
		return err
	}
	if a.Fingerprint == nil {
		return errors.New("the peers did not say their fingerprint")
	}
	h.cfg, h.fingerprint = c, *a.Fingerprint
	return nil
}

// Run makes the peers send for a while, and waits.
func (h *Host) Run(r Run) (Ran, error) {
	a, err := h.peers.do(command{Run: &r})
	if a.Run == nil {
		return Ran{}, err
	}
	return *a.Run, err
}

// socketBuffer is the size that sockets ask for, in bytes.
const socketBuffer = 4 << 20

func (h *Host) listen() []mafalda.ListenInfo {
	return []mafalda.ListenInfo{{
		Protocol: mafalda.ProtocolUDP, IP: h.addr, SendBufferSize: socketBuffer, RecvBufferSize: socketBuffer,
	}}
}
