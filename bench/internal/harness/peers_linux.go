package harness

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"

	"github.com/mafalda-sfu/mafalda"
)

// peers is what the peers' process has.
type peers struct {
	cfg   Config
	suite suite
	link  link
	cert  tls.Certificate
	all   []*peer

	load *load

	mu      sync.Mutex // guards what follows, and standard output
	readers int        // of the link
	stop    *atomic.Bool
	stopped chan error

	one       sync.Mutex                     // held by who reads the link
	reading   atomic.Pointer[reading]        // what looks at media, nil if nothing does
	reference atomic.Pointer[netip.AddrPort] // where the reference loop listens
}

// runPeers is the peers' process: it does what the server tells it, and ends
// with it.
func runPeers() error {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return err
	}
	p := &peers{cert: cert}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		if c.Run != nil || c.Connect != nil {
			if c.Run != nil && p.load != nil {
				p.load.stop.Store(false)
			}
			go p.reply(&c) // ends when its time is over
			continue
		}
		p.reply(&c)
	}
}

// reply does what a command says, and answers it.
func (p *peers) reply(c *command) {
	a, err := p.do(c)
	a.ID = c.ID
	if err != nil {
		a.Error = err.Error()
	}
	b, err := encode(a)
	p.mu.Lock()
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	p.mu.Unlock()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func (p *peers) do(c *command) (answer, error) {
	switch {
	case c.Setup != nil:
		return answer{Fingerprint: fingerprint(p.cert)}, p.setup(c.Setup)
	case p.load == nil:
		return answer{}, errors.New("no setup yet")
	case c.Connect != nil:
		return answer{}, p.connect(c.Connect)
	case c.Streams != nil:
		return answer{}, p.load.add(c.Streams)
	case c.Stop:
		p.load.stop.Store(true)
		return answer{}, nil
	case c.Reference != nil:
		p.reference.Store(c.Reference)
		return answer{}, nil
	case c.Run != nil:
		if !c.Run.Apart {
			r, err := p.load.run(c.Run)
			return answer{Run: &r}, err
		}
		undo, err := bind(otherCores)
		if err != nil {
			return answer{}, err
		}
		r, err := p.load.run(c.Run)
		return answer{Run: &r}, errors.Join(err, undo())
	}
	return answer{}, errors.New("an empty command")
}

func fingerprint(c tls.Certificate) *mafalda.DTLSFingerprint {
	sum := sha256.Sum256(c.Certificate[0])
	hex := make([]string, len(sum))
	for i, b := range sum {
		hex[i] = fmt.Sprintf("%02X", b)
	}
	return &mafalda.DTLSFingerprint{Algorithm: mafalda.FingerprintSHA256, Value: strings.Join(hex, ":")}
}

func (p *peers) setup(c *setupCommand) (err error) {
	p.cfg = c.Config
	p.suite = suites[c.Suite]
	if os.Getenv(sinkVariable) == SinkTUN {
		p.link, err = newTUNLink(3)
	} else {
		p.link, err = newLoopLink(c.Peers)
	}
	if err != nil {
		return err
	}
	for i := range c.Peers {
		p.all = append(p.all, newPeer(i, p.link))
	}
	p.load = newLoad(p)
	return nil
}

// acquire lets the link be read until release is called as often. What waited
// before there was a reader is thrown away.
func (p *peers) acquire() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers > 0 {
		p.readers++
		return nil
	}
	p.one.Lock() // the reader before may not have seen yet that it is to end
	if err := p.link.drain(); err != nil {
		p.one.Unlock()
		return err
	}
	p.readers = 1
	stop, stopped := new(atomic.Bool), make(chan error, 1)
	p.stop, p.stopped = stop, stopped
	go func() { // ends with stop
		defer p.one.Unlock()
		stopped <- p.link.read(stop, p.take)
	}()
	return nil
}

func (p *peers) release() error {
	p.mu.Lock()
	if p.readers--; p.readers > 0 {
		p.mu.Unlock()
		return nil
	}
	p.stop.Store(true)
	stopped := p.stopped
	p.mu.Unlock()
	return <-stopped
}

// take handles what came for peer i.
func (p *peers) take(i int, b []byte) {
	if i < 0 || i >= len(p.all) || len(b) == 0 {
		return
	}
	if b[0]>>6 != 2 {
		p.all[i].receive(b)
	} else if r := p.reading.Load(); r != nil && !r.watched {
		r.take(p.all[i], b, p.load.now(), 0)
	}
}

// handshakesAtOnce is enough to keep both processes busy.
const handshakesAtOnce = 16

func (p *peers) connect(c *connectCommand) error {
	if c.First < 0 || c.First+len(c.Transports) > len(p.all) {
		return fmt.Errorf("peers %d to %d of %d", c.First, c.First+len(c.Transports), len(p.all))
	}
	if err := p.acquire(); err != nil {
		return err
	}
	limit := 20*time.Second + time.Duration(len(c.Transports))*10*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	turn := make(chan struct{}, handshakesAtOnce)
	done := make(chan error, len(c.Transports))
	for i, e := range c.Transports {
		peer := p.all[c.First+i]
		peer.at = e
		go func() { // ends with ctx at the latest
			turn <- struct{}{}
			defer func() { <-turn }()
			done <- peer.connect(ctx, p.suite, p.cert)
		}()
	}
	var failed error
	for range c.Transports {
		if err := <-done; err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	return errors.Join(failed, p.release())
}
