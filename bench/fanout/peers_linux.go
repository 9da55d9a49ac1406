package main

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
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"

	"github.com/mafalda-sfu/mafalda"
)

// peers is what the peers' process has.
type peers struct {
	o         *options
	link      link
	cert      tls.Certificate
	all       []*peer // all[0] sends
	reference netip.AddrPort

	load *load
}

// runPeers is the peers' process: it does what the server tells it, and ends
// with it.
func runPeers(o *options) error {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return err
	}
	p := &peers{o: o, cert: cert}
	if os.Getenv(sinkVariable) == sinkTUN {
		p.link, err = newTUNLink(3)
	} else {
		p.link, err = newLoopLink(1 + o.Consumers)
	}
	if err != nil {
		return err
	}
	for i := range 1 + o.Consumers {
		p.all = append(p.all, newPeer(i, p.link))
	}
	if err := reply(answer{Fingerprint: fingerprint(cert)}); err != nil {
		return err
	}
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
		a, err := p.do(&c)
		if err != nil {
			a.Error = err.Error()
		}
		if err := reply(a); err != nil {
			return err
		}
	}
}

func reply(a answer) error {
	b, err := encode(a)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

func fingerprint(c tls.Certificate) *mafalda.DTLSFingerprint {
	sum := sha256.Sum256(c.Certificate[0])
	hex := make([]string, len(sum))
	for i, b := range sum {
		hex[i] = fmt.Sprintf("%02X", b)
	}
	return &mafalda.DTLSFingerprint{Algorithm: mafalda.FingerprintSHA256, Value: strings.Join(hex, ":")}
}

func (p *peers) do(c *command) (answer, error) {
	switch {
	case c.Connect != nil:
		return answer{}, p.connect(c.Connect)
	case c.Streams != nil:
		return answer{}, p.streams(c.Streams)
	case c.Reference != nil:
		p.reference = *c.Reference
		return answer{}, nil
	case c.Run != nil && p.load == nil:
		return answer{}, errors.New("no streams yet")
	case c.Run != nil:
		r, err := p.load.run(c.Run)
		return answer{Run: &r}, err
	}
	return answer{}, errors.New("an empty command")
}

func (p *peers) connect(c *connectCommand) error {
	if len(c.Transport) != len(p.all) {
		return fmt.Errorf("%d transports, want %d", len(c.Transport), len(p.all))
	}
	for i, e := range c.Transport {
		p.all[i].at = e
	}
	limit := 20*time.Second + time.Duration(len(p.all))*10*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return connectAll(ctx, p.link, p.all, suites[p.o.Suite], p.cert)
}

func (p *peers) streams(c *streamsCommand) error {
	if len(c.Consumers) > p.o.Consumers {
		return fmt.Errorf("%d consumers, want at most %d", len(c.Consumers), p.o.Consumers)
	}
	if p.load == nil {
		p.load = newLoad(p, c.Producer)
	}
	p.load.receivers = p.all[1 : 1+len(c.Consumers)]
	for i, info := range c.Consumers {
		r := p.load.receivers[i]
		if r.info != info {
			r.info, r.learned = info, false
		}
	}
	return nil
}
