package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The parts that a process of a benchmark can have, and how it learns its own.
const (
	roleVariable = "MAFALDA_BENCH_ROLE"
	roleServer   = "server"
	rolePeers    = "peers"
	sinkVariable = "MAFALDA_BENCH_SINK"

	// SinkTUN and SinkLoopback are what a [Host] may have for a network.
	SinkTUN      = "tun"
	SinkLoopback = "loopback"
)

// exitNoSink is how a server ends that has no privilege for a TUN.
const exitNoSink = 77

// A Program is one benchmark.
type Program struct {
	Name string
	// Limit is how long a process of it may take.
	Limit time.Duration
	// Workers is how many Workers it runs at a time; 0 is 1.
	Workers int
	// Segments lets the TUN take runs of datagrams whole, as a network card does
	// that takes them apart.
	Segments bool
	// OneCore binds the server to one core and the peers to the others.
	OneCore bool
	// Prepare, if it is set, comes first, in the process that starts the others.
	// They inherit its environment.
	Prepare func() error
	// Serve is the server's part; its context ends after Limit.
	Serve func(context.Context, *Host) error
}

// Main runs the part of p that this process has, and ends the process if it
// fails. Every process of a benchmark has the same arguments.
func Main(p Program) {
	if err := p.run(); err != nil {
		if status, ok := errors.AsType[*exec.ExitError](err); ok && status.Exited() { // it has said why
			os.Exit(status.ExitCode())
		}
		fmt.Fprintln(os.Stderr, p.Name+":", err)
		if errors.Is(err, ErrUnavailable) {
			os.Exit(ExitUnavailable)
		}
		os.Exit(1)
	}
}

func (p *Program) run() error {
	role := os.Getenv(roleVariable)
	if role != "" {
		go endWithParent()
		go p.endInTime()
		if os.Getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(runtime.NumCPU() + max(p.Workers, 1) + 4)
		}
	}
	switch role {
	case rolePeers:
		if p.OneCore {
			if _, err := bind(otherCores); err != nil {
				return err
			}
		}
		return runPeers()
	case roleServer:
		return p.serve(os.Getenv(sinkVariable))
	}
	if p.Prepare != nil {
		if err := p.Prepare(); err != nil {
			return err
		}
	}
	err := launch(SinkTUN)
	status, ok := errors.AsType[*exec.ExitError](err)
	if ok && status.ExitCode() == exitNoSink || errors.Is(err, syscall.EPERM) {
		fmt.Fprintln(os.Stderr, p.Name+": no privilege for a namespace with a TUN, so it is loopback")
		err = launch(SinkLoopback)
	}
	return err
}

// launch runs the server and waits for it.
func launch(sink string) error {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), roleVariable+"="+roleServer, sinkVariable+"="+sink)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if sink == SinkTUN {
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
func (p *Program) endInTime() {
	time.Sleep(p.Limit)
	fmt.Fprintf(os.Stderr, "%s: the %s took more than %v\n", p.Name, os.Getenv(roleVariable), p.Limit)
	os.Exit(2)
}

// A share of the machine is what a process may run on where the server has one
// core: the last, since the first has the machine's own work to do, too.
type share bool

const (
	lastCore   share = true  // for the server
	otherCores share = false // for the peers
)

// bind lets this process run on its share of the cores that it may use now, until
// undo. What it starts meanwhile inherits that. Of one core both have all.
func bind(s share) (undo func() error, err error) {
	var have, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &have); err != nil {
		return nil, err
	}
	n := have.Count()
	for i, core := 0, 0; i < len(have)*64; i++ {
		if have.IsSet(i) {
			if core++; share(core == n) == s {
				want.Set(i)
			}
		}
	}
	undo = func() error { return runOn(&have) }
	if want.Count() == 0 {
		return undo, nil // one core is all there is
	}
	return undo, runOn(&want)
}

func runOn(cores *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		var id int
		if _, err := fmt.Sscan(t.Name(), &id); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, cores); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
