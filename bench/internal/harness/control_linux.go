package harness

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
// Runs and handshakes may overlap with what follows; their answers come when
// they are done.

// A Config is what all peers have in common.
type Config struct {
	Peers    int           `json:"-"`
	Suite    string        `json:"suite"` // SRTP crypto suite
	Feedback bool          `json:"feedback"`
	Tick     time.Duration `json:"tickNs"` // the least time between two sends
}

// DefaultConfig is that of n peers as browsers are.
func DefaultConfig(n int) Config {
	return Config{Peers: n, Suite: string(mafalda.SRTPAES128GCM), Feedback: true, Tick: time.Millisecond}
}

// A command has exactly one field beside its id.
type command struct {
	ID      int             `json:"id"`
	Setup   *setupCommand   `json:"setup,omitempty"`
	Connect *connectCommand `json:"connect,omitempty"`
	Streams *streamsCommand `json:"streams,omitempty"`
	Run     *Run            `json:"run,omitempty"`
	// Stop ends a run.
	Stop bool `json:"stop,omitempty"`
	// Reference is where the reference loop listens.
	Reference *netip.AddrPort `json:"reference,omitempty"`
}

// An answer to a command.
type answer struct {
	ID          int                      `json:"id"`
	Error       string                   `json:"error,omitempty"`
	Fingerprint *mafalda.DTLSFingerprint `json:"fingerprint,omitempty"`
	Run         *Ran                     `json:"run,omitempty"`
}

// setupCommand is the first one. Its answer has the fingerprint.
type setupCommand struct {
	Config
	Peers int `json:"peers"`
}

// connectCommand makes peers connect, those from First on.
type connectCommand struct {
	First      int        `json:"first"`
	Transports []endpoint `json:"transports"`
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

// streamsCommand adds to what is sent and received.
type streamsCommand struct {
	Sources []sourceInfo `json:"sources,omitempty"`
	Sinks   []sinkInfo   `json:"sinks,omitempty"`
}

// A sourceInfo is a stream that a peer sends.
type sourceInfo struct {
	Peer   int        `json:"peer"`
	Stream streamInfo `json:"stream"`
	Layer  Layer      `json:"layer"`
	Audio  bool       `json:"audio,omitempty"`
}

// A sinkInfo is a stream that a peer receives.
type sinkInfo struct {
	Peer   int        `json:"peer"`
	Stream streamInfo `json:"stream"`
	Source int        `json:"source"` // what it is a copy of, by the order of their being added
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

// A Run makes the senders send for a while.
type Run struct {
	Duration time.Duration `json:"duration"`
	// Rate multiplies the rates of all senders; 0 is 1.
	Rate float64 `json:"rate,omitempty"`
	// Senders are the peers that send; nil: all.
	Senders []int `json:"senders,omitempty"`
	// Piped says that each packet goes through one pipe, which counts it as well.
	Piped bool `json:"-"`
	// Reference sends to the reference loop instead of the SFU.
	Reference bool `json:"reference,omitempty"`
	// Alive, with Reference, goes on sending one frame of so many to the SFU, with
	// feedback for it: streams that stop for a second change what is forwarded of
	// a simulcast. 0 sends none.
	Alive int `json:"alive,omitempty"`
	// Read looks at what comes back, and answers key frame requests.
	Read bool `json:"read,omitempty"`
	// Learn, with Read, decrypts and compares it, and learns how the SFU numbers
	// what it sends. Complete lets the run fail when one packet is lost.
	Learn    bool `json:"learn,omitempty"`
	Complete bool `json:"complete,omitempty"`
	// Latency measures how long packets took to the receivers that were there when
	// the run began.
	Latency bool `json:"latency,omitempty"`
	// Apart keeps the peers' process off the last core.
	Apart bool `json:"apart,omitempty"`
	// FrameDelay is how long after a request a sender sends a key frame.
	FrameDelay time.Duration `json:"frameDelay,omitempty"`
}

// Ran is what came of a Run.
type Ran struct {
	Media    int `json:"media"`    // packets sent
	Copies   int `json:"copies"`   // that receivers should get of them
	Feedback int `json:"feedback"` // packets sent
	// With Read or Latency.
	Received int     `json:"received"` // media packets
	Bytes    int     `json:"bytes"`    // of one on the wire, the largest seen
	Waiting  int     `json:"waiting"`  // receivers of which nothing was learned yet
	Latency  Latency `json:"latency"`
	// KeyFrameRequests are the requests that senders got, KeyFrames what they
	// sent on request. MostKeyFrames is the most that one sent within a second,
	// KeyFrameRate how many it sent per second from the first to the last.
	KeyFrameRequests int     `json:"keyFrameRequests"`
	KeyFrames        int     `json:"keyFrames"`
	MostKeyFrames    int     `json:"mostKeyFrames"`
	KeyFrameRate     float64 `json:"keyFrameRate"`
}

// A Latency is the time from the coming of a packet to the going of its copy at
// the device, by the kernel's clock, in milliseconds; over loopback it is from a
// sender's write to the read by the peers' process. First, Median and Last are
// those of the receivers of one packet, each the median over all packets.
type Latency struct {
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	First  float64 `json:"firstReceiver"`
	Median float64 `json:"medianReceiver"`
	Last   float64 `json:"lastReceiver"`
	// Timed is the share of the copies that were seen. Below 1 some were lost, or
	// the peers' process had no time to look.
	Timed float64 `json:"timed"`
}

// A remote is the peers' process as the server sees it.
type remote struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	id  int // of the latest command
}

// startPeers starts the peers' process; tun is its end of the device, or nil.
func startPeers(tun *os.File) (*remote, error) {
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
	return &remote{cmd: c, in: in, out: bufio.NewReaderSize(out, 1<<16)}, nil
}

// stop ends the peers' process.
func (p *remote) stop() {
	p.in.Close()
	p.cmd.Wait()
}

// do sends a command and waits for the answer. No other may be under way.
func (p *remote) do(c command) (answer, error) {
	if _, err := p.send(c); err != nil {
		return answer{}, err
	}
	return p.answer()
}

// send sends a command and returns its id.
func (p *remote) send(c command) (int, error) {
	b, err := p.encode(c)
	if err != nil {
		return 0, err
	}
	_, err = p.in.Write(b)
	return p.id, err
}

// encode gives a command its id.
func (p *remote) encode(c command) ([]byte, error) {
	p.id++
	c.ID = p.id
	return encode(c)
}

// answer returns the next answer to any command.
func (p *remote) answer() (answer, error) {
	line, err := p.line()
	if err != nil {
		return answer{}, err
	}
	return decodeAnswer(line)
}

// line returns the next answer, undecoded: it allocates nothing, so that it
// can be waited for while allocations are counted.
func (p *remote) line() ([]byte, error) {
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
		return a, fmt.Errorf("peers: %s", a.Error)
	}
	return a, nil
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}
