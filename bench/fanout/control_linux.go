package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/mafalda-sfu/mafalda"
)

// The server tells the peers' process what to do: one line of JSON on its
// standard input is a command, one line on its standard output the answer.

// A command has exactly one field that is not nil.
type command struct {
	Connect *connectCommand `json:"connect,omitempty"`
	Streams *streamsCommand `json:"streams,omitempty"`
	Run     *runCommand     `json:"run,omitempty"`
	// Reference is where the reference loop listens.
	Reference *netip.AddrPort `json:"reference,omitempty"`
}

// An answer to a command. The first one comes unasked and has the fingerprint.
type answer struct {
	Error       string                   `json:"error,omitempty"`
	Fingerprint *mafalda.DTLSFingerprint `json:"fingerprint,omitempty"`
	Run         *runAnswer               `json:"run,omitempty"`
}

// connectCommand makes the peers connect, the sender first.
type connectCommand struct {
	Transport []endpoint `json:"transports"`
}

// An endpoint is what a peer has to know of its transport.
type endpoint struct {
	Addr netip.AddrPort `json:"addr"`
	// Of a WebRTCTransport.
	ICE *mafalda.ICEParameters `json:"ice,omitempty"`
	// Of a PlainTransport: master keys with salts, as the peer sees it.
	SendKey    []byte `json:"sendKey,omitempty"`
	ReceiveKey []byte `json:"receiveKey,omitempty"`
}

// streamsCommand tells what is sent and received.
type streamsCommand struct {
	Producer  streamInfo   `json:"producer"`
	Consumers []streamInfo `json:"consumers"` // those that exist by now
}

type streamInfo struct {
	SSRC        uint32 `json:"ssrc"`
	PayloadType uint8  `json:"payloadType"`
	MID         string `json:"mid"`
	// Ids of header extensions, 0 for none.
	MIDExtension         uint8 `json:"midExtension"`
	AbsSendTimeExtension uint8 `json:"absSendTimeExtension"`
	WideExtension        uint8 `json:"wideExtension"`
}

// runCommand makes the sender send for a while.
type runCommand struct {
	Duration time.Duration `json:"duration"`
	// PPS is the rate to send at; 0 is that of the options.
	PPS       int  `json:"pps,omitempty"`
	Reference bool `json:"reference"` // to the reference loop, else to the SFU
	Read      bool `json:"read"`      // what comes back
	Verify    bool `json:"verify"`    // decrypt and compare what comes back
}

type runAnswer struct {
	Media    int `json:"media"`    // packets sent
	Feedback int `json:"feedback"` // packets sent
	// With Read.
	Received int     `json:"received"` // media packets
	Bytes    int     `json:"bytes"`    // of one on the wire, the largest seen
	Latency  latency `json:"latency"`
}

// latency is the time from the sender's write of a packet to the read of its
// copy by the peers' process, in milliseconds. First, Median and Last are those
// of the receivers of one packet, each the median over all packets.
type latency struct {
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	First  float64 `json:"firstReceiver"`
	Median float64 `json:"medianReceiver"`
	Last   float64 `json:"lastReceiver"`
}

// remotePeers is the peers' process as the server sees it.
type remotePeers struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	// Fingerprint is that of the certificate of all peers.
	fingerprint mafalda.DTLSFingerprint
}

// startPeers starts the peers' process; tun is its end of the device, or nil.
func startPeers(tun *os.File) (*remotePeers, error) {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), roleVariable+"="+rolePeers)
	c.Stderr = os.Stderr
	if tun != nil {
		c.ExtraFiles = []*os.File{tun}
	}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &remotePeers{cmd: c, in: in, out: bufio.NewReaderSize(out, 1<<16)}
	a, err := p.answer()
	if err != nil {
		p.stop()
		return nil, err
	}
	if a.Fingerprint == nil {
		p.stop()
		return nil, fmt.Errorf("the peers did not say their fingerprint")
	}
	p.fingerprint = *a.Fingerprint
	return p, nil
}

// stop ends the peers' process.
func (p *remotePeers) stop() {
	p.in.Close()
	p.cmd.Wait()
}

func (p *remotePeers) do(c command) (answer, error) {
	b, err := encode(c)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.in.Write(b); err != nil {
		return answer{}, err
	}
	return p.answer()
}

func (p *remotePeers) answer() (answer, error) {
	line, err := p.line()
	if err != nil {
		return answer{}, err
	}
	return decodeAnswer(line)
}

// line returns the next answer, undecoded: it allocates nothing, so that it
// can be waited for while allocations are counted.
func (p *remotePeers) line() ([]byte, error) {
	line, err := p.out.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("the peers' process ended: %w", err)
	}
	return line, nil
}

func decodeAnswer(line []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, err
	}
	if a.Error != "" {
		return answer{}, fmt.Errorf("peers: %s", a.Error)
	}
	return a, nil
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}
