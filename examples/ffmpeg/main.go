// Command ffmpeg brings ffmpeg into a room of examples/room by plain RTP: one
// process publishes a test pattern and a tone, which the pages see as somebody
// called ffmpeg. With -record another one writes to a file what the first other
// participant publishes, or the pattern if nobody else is there.
//
//	go run ./examples/room
//	go run ./examples/ffmpeg -room http://127.0.0.1:3000/lobby -record out.webm -seconds 10
//
// It has to run on the machine of the room. As long as its WebSocket is open the
// room keeps PlainTransports for it; over it the two agree on ports and codecs.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mafalda-sfu/mafalda"
	"golang.org/x/net/websocket"
)

func main() {
	address := flag.String("room", "http://127.0.0.1:3000/lobby", "`address` of the room's page")
	file := flag.String("record", "", "`file` to write a participant to: .webm, or .mkv if it sends H264")
	seconds := flag.Float64("seconds", 24*60*60, "how long, unless Ctrl-C ends it")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("ffmpeg: unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *file, time.Duration(*seconds*float64(time.Second))); err != nil {
		log.Fatal("ffmpeg: ", err)
	}
}

// A message is what this program knows of the room's.
type message struct {
	Type    string   `json:"type"`
	Name    string   `json:"name,omitempty"`    // join
	Plain   bool     `json:"plain,omitempty"`   // join
	ID      string   `json:"id,omitempty"`      // joined: who we are
	Streams []stream `json:"streams,omitempty"` // joined: what to send; receiving: what we get
	Peers   []peer   `json:"peers,omitempty"`   // peers: who is there
	Peer    string   `json:"peer,omitempty"`    // receive: whose media
	Ports   []uint16 `json:"ports,omitempty"`   // receive: where to
	Error   string   `json:"error,omitempty"`   // error
}

type stream struct {
	Kind           mafalda.MediaKind
	Codec          mafalda.RTPCodecParameters
	SSRC           uint32
	Port, RTCPPort uint16
}

type peer struct {
	ID, Name string
	Paused   map[string]bool // what it publishes, by label
}

// A guest is our stay in the room. It ends with its context.
type guest struct {
	ctx    context.Context
	leave  context.CancelCauseFunc
	socket *websocket.Conn
	ffmpeg []func() // each ends a process
}

// run is in the room for so long, or until ctx ends.
func run(ctx context.Context, address, file string, length time.Duration) error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return errors.New("there is no ffmpeg on this machine: install it (apt install ffmpeg, brew install ffmpeg) and try again")
	}
	socket, err := join(ctx, address)
	if err != nil {
		return err
	}
	defer socket.Close() // upon which the room closes what it made for us
	g := &guest{socket: socket}
	g.ctx, g.leave = context.WithCancelCause(ctx)
	defer g.leave(nil)
	context.AfterFunc(g.ctx, func() { socket.SetReadDeadline(time.Now()) })
	joined, err := g.await("joined")
	if err != nil {
		return err
	}
	defer func() {
		for _, end := range slices.Backward(g.ffmpeg) { // the recorder heeds nobody unless something arrives
			end()
		}
	}()
	fmt.Println("The pattern goes to", address)
	err = g.start("", publisher(joined.Streams))
	if err == nil && file != "" {
		err = g.record(joined.ID, file)
	}
	if err != nil {
		g.leave(err)
	}
	go func() { // ends with our stay
		_, err := g.await("error")
		g.leave(err)
	}()
	time.AfterFunc(length, func() { g.leave(nil) })
	<-g.ctx.Done()
	if err := context.Cause(g.ctx); ctx.Err() == nil && err != context.Canceled {
		return err
	}
	return nil // the time is over, or Ctrl-C
}

// join opens the room's WebSocket, as a page would.
func join(ctx context.Context, address string) (*websocket.Conn, error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(u.Scheme, "http") || len(u.Path) < 2 {
		return nil, fmt.Errorf("-room %q is no address like http://127.0.0.1:3000/lobby", address)
	}
	config, err := websocket.NewConfig(strings.Replace(u.JoinPath("socket").String(), "http", "ws", 1), u.Scheme+"://"+u.Host)
	if err != nil {
		return nil, err
	}
	config.TlsConfig = &tls.Config{InsecureSkipVerify: true} // the room, on this machine, signs for itself
	socket, err := config.DialContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; is examples/room running?", err)
	}
	return socket, websocket.JSON.Send(socket, message{Type: "join", Name: "ffmpeg", Plain: true})
}

// await returns the next message of a type.
func (g *guest) await(kind string) (message, error) {
	for {
		var m message
		if err := websocket.JSON.Receive(g.socket, &m); err != nil {
			return m, fmt.Errorf("the room is gone: %w", err)
		}
		switch m.Type {
		case "error":
			return m, fmt.Errorf("the room says: %s", m.Error)
		case kind:
			return m, nil
		}
	}
}

// start starts an ffmpeg process. When it ends by itself we leave.
func (g *guest) start(stdin string, args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, args...)...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 3 * time.Second // then it is killed
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	var process sync.WaitGroup
	process.Go(func() { g.leave(fmt.Errorf("a process ended by itself, with error %v", cmd.Wait())) })
	g.ffmpeg = append(g.ffmpeg, func() { cancel(); process.Wait() })
	return nil
}

// publisher returns the arguments of the ffmpeg that sends. It does not hear
// requests for key frames, so there is one in every second.
func publisher(streams []stream) []string {
	args := strings.Fields("-re -f lavfi -i testsrc2=size=640x360:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=48000")
	for _, s := range streams {
		codec := "-map 1 -c:a libopus -b:a 48k -ac 2"
		if s.Kind == mafalda.MediaKindVideo {
			codec = "-map 0 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M -g 25 -pix_fmt yuv420p"
		}
		args = append(append(args, strings.Fields(codec)...), "-payload_type", fmt.Sprint(s.Codec.PayloadType), "-ssrc", fmt.Sprint(s.SSRC),
			"-f", "rtp", fmt.Sprintf("rtp://127.0.0.1:%d?rtcpport=%d&pkt_size=1200", s.Port, s.RTCPPort))
	}
	return args
}

// record writes what another peer publishes to a file, as it is, or what we do.
func (g *guest) record(self, file string) error {
	present, err := g.await("peers")
	if err != nil {
		return err
	}
	who := peer{ID: self, Name: "the pattern"}
	for _, p := range slices.Backward(present.Peers) {
		if paused, has := p.Paused["camera"]; has && !paused && p.ID != self {
			who = p
		}
	}
	if err := websocket.JSON.Send(g.socket, message{Type: "receive", Peer: who.ID, Ports: freePorts(2)}); err != nil {
		return err
	}
	receiving, err := g.await("receiving")
	if err != nil {
		return err
	}
	sdp := "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=room\nc=IN IP4 127.0.0.1\nt=0 0\n"
	for _, s := range receiving.Streams {
		_, codec, _ := strings.Cut(s.Codec.MIMEType, "/")
		sdp += fmt.Sprintf("m=%s %d RTP/AVP %[3]d\na=rtpmap:%[3]d %s/%d/%d\n", s.Kind, s.Port, s.Codec.PayloadType, codec, s.Codec.ClockRate, max(1, s.Codec.Channels))
	}
	input := "-protocol_whitelist pipe,udp,rtp -localaddr 127.0.0.1 -sdp_flags rtcp_to_source -f sdp -i pipe:0"
	if err := g.start(sdp, append(strings.Fields(input), "-c", "copy", "-flush_packets", "1", "-y", file)); err != nil {
		return err
	}
	for _, s := range receiving.Streams { // what comes earlier would be lost
		for !isOpen(s.RTCPPort) && g.ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	fmt.Printf("Recording %q to %s\n", who.Name, file)
	return websocket.JSON.Send(g.socket, message{Type: "listening"})
}

// freePorts returns n even UDP ports, each of them free as is the next.
func freePorts(n int) (ports []uint16) {
	for port := uint16(20000 + rand.N(10000)*2); len(ports) < n; port += 2 {
		if !isOpen(port) && !isOpen(port+1) {
			ports = append(ports, port)
		}
	}
	return ports
}

// isOpen reports whether somebody has the UDP port: for one that is closed the
// system answers.
func isOpen(port uint16) bool {
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return true
	}
	defer c.Close()
	c.Write(nil)
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}
