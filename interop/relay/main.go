// Command relay is a bad network by hand: it forwards UDP to a target and
// loses, delays, reorders and throttles what passes. Give clients its address
// instead of the target's:
//
//	go run ./interop/relay -listen 127.0.0.1:5000 -target 127.0.0.1:4000 -loss 0.05 -delay 50ms
//
// The options hold each way; with -up or -down they hold only that way. Once a
// second it prints what passed and what was lost.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/mafalda-sfu/mafalda/interop/impair"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "`address` that clients send to")
	target := flag.String("target", "", "`address` to forward to; required")
	var c impair.Config
	flag.Float64Var(&c.Loss, "loss", 0, "share of packets that are lost, 0 to 1")
	flag.DurationVar(&c.Delay, "delay", 0, "time added to each packet")
	flag.DurationVar(&c.Jitter, "jitter", 0, "at most this is added to the delay, at random")
	flag.BoolVar(&c.Reorder, "reorder", false, "let jitter change the order")
	flag.IntVar(&c.Rate, "rate", 0, "`bit/s` that pass; 0 is no limit")
	flag.IntVar(&c.Queue, "queue", 0, "`bytes` that may wait for the rate; 0 is 200 ms of it")
	flag.Uint64Var(&c.Seed, "seed", 1, "of the random numbers")
	up := flag.Bool("up", false, "impair the way to the target only")
	down := flag.Bool("down", false, "impair the way to the clients only")
	flag.Parse()

	o := impair.Options{Up: c, Down: c}
	o.Down.Seed++
	if *up != *down {
		if *up {
			o.Down = impair.Config{}
		} else {
			o.Up = impair.Config{}
		}
	}
	var err error
	if o.Listen, err = netip.ParseAddrPort(*listen); err != nil {
		return err
	}
	if o.Target, err = netip.ParseAddrPort(*target); err != nil {
		return fmt.Errorf("-target: %w", err)
	}
	var passed, lost [2]atomic.Int64
	o.Observe = func(d impair.Direction, _ []byte, l bool) {
		if l {
			lost[d].Add(1)
		} else {
			passed[d].Add(1)
		}
	}
	r, err := impair.NewRelay(o)
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Printf("relay: %v to %v\n", r.Addr(), o.Target)

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for before := int64(-1); ; {
		select {
		case <-interrupted:
			return nil
		case <-tick.C:
		}
		if now := passed[0].Load() + passed[1].Load() + lost[0].Load() + lost[1].Load(); now != before {
			before = now
			fmt.Printf("relay: %d clients, up %d passed %d lost, down %d passed %d lost\n", r.Clients(),
				passed[impair.Up].Load(), lost[impair.Up].Load(), passed[impair.Down].Load(), lost[impair.Down].Load())
		}
	}
}
