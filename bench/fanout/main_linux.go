// Fanout measures what it costs to forward one stream to many: CPU time of the
// server's process for each packet sent, beside a loop that only seals packets
// and sends each with a call of its own.
//
//	go run ./bench/fanout -consumers 300 -transport webrtc
//
// Its last line is one JSON object, a [result].
//
// # Method
//
// There are three processes:
//
//	launcher ── waits
//	server   ── the SFU, and the reference loop; in a network namespace of its own
//	peers    ── one sender and all receivers: ICE, DTLS, SRTP, feedback
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
// One-second slices alternate: in one the sender sends to the SFU, in the next
// to the reference loop, at the same pace and in bursts of the same size; the
// receivers send the same feedback to whoever's turn it is. The ratio is the
// median of the pairs, so that a busy machine disturbs both sides.
//
// The SFU is charged with all that the process used meanwhile, what the Go
// runtime does beside its loop included; the reference with what its own thread
// used, as a loop in C would be. The reference seals with the same code
// (pion/srtp), in place and without copying the payload first, has the same
// socket options, and reads its input with one call for each packet.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// The parts that a process of this program can have, and how it learns its own.
const (
	roleVariable = "MAFALDA_FANOUT_ROLE"
	roleServer   = "server"
	rolePeers    = "peers"
	sinkVariable = "MAFALDA_FANOUT_SINK"
	sinkTUN      = "tun"
	sinkLoopback = "loopback"
)

// exitNoSink is how a server ends that has no privilege for a TUN.
const exitNoSink = 77

func main() {
	if err := run(); err != nil {
		var status *exec.ExitError
		if errors.As(err, &status) { // it has said why
			os.Exit(status.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	role := os.Getenv(roleVariable)
	if role != "" {
		go endWithParent()
		go endInTime(o.limit())
		if os.Getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(runtime.NumCPU() + 1 + 4) // one Worker
		}
	}
	switch role {
	case rolePeers:
		return runPeers(o)
	case roleServer:
		return runServer(o, os.Getenv(sinkVariable))
	}
	err = launch(sinkTUN)
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == exitNoSink || errors.Is(err, syscall.EPERM) {
		fmt.Fprintln(os.Stderr, "fanout: no privilege for a namespace with a TUN, so it is loopback")
		err = launch(sinkLoopback)
	}
	return err
}

// launch runs the server and waits for it.
func launch(sink string) error {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), roleVariable+"="+roleServer, sinkVariable+"="+sink)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if sink == sinkTUN {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Geteuid() != 0 {
			c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	}
	alive, err := c.StdinPipe() // its end is ours
	if err != nil {
		return err
	}
	defer alive.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	if err := c.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }() // ends with the server
	select {
	case err := <-done:
		return err
	case <-stop:
		alive.Close()
		return <-done
	}
}

// endWithParent ends the process when the launcher, or the server, has ended.
func endWithParent() {
	if os.Getenv(roleVariable) == rolePeers {
		return // it reads its commands from there and sees the end
	}
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// endInTime ends the process should it hang.
func endInTime(limit time.Duration) {
	time.Sleep(limit)
	fmt.Fprintf(os.Stderr, "fanout: the %s took more than %v\n", os.Getenv(roleVariable), limit)
	os.Exit(2)
}
