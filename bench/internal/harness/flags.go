package harness

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"time"
)

// Flags are the flags of a benchmark, and what their values may be.
type Flags struct {
	*flag.FlagSet
	checks []func() error
}

// NewFlags returns no flags of the program of that name.
func NewFlags(name string) *Flags {
	return &Flags{FlagSet: flag.NewFlagSet(name, flag.ExitOnError)}
}

// IntVar defines a flag that is least to most.
func (f *Flags) IntVar(p *int, name string, value, least, most int, usage string) {
	f.FlagSet.IntVar(p, name, value, fmt.Sprintf("%s, %d to %d", usage, least, most))
	between(f, p, name, least, most)
}

// EvenVar defines a flag that is least to most, and even.
func (f *Flags) EvenVar(p *int, name string, value, least, most int, usage string) {
	f.IntVar(p, name, value, least, most, usage+", even")
	f.Check(func() error {
		if *p%2 != 0 {
			return fmt.Errorf("-%s is %d, which is odd", name, *p)
		}
		return nil
	})
}

// BurstVar defines the flag of how many packets are sent back to back.
func (f *Flags) BurstVar(p *int) {
	f.IntVar(p, "burst", 4, 1, 64, "packets that are sent back to back")
}

// DurationVar defines a flag that is least to most.
func (f *Flags) DurationVar(p *time.Duration, name string, value, least, most time.Duration, usage string) {
	f.FlagSet.DurationVar(p, name, value, fmt.Sprintf("%s, %v to %v", usage, least, most))
	between(f, p, name, least, most)
}

// Float64Var defines a flag that is least to most.
func (f *Flags) Float64Var(p *float64, name string, value, least, most float64, usage string) {
	f.FlagSet.Float64Var(p, name, value, fmt.Sprintf("%s, %v to %v", usage, least, most))
	between(f, p, name, least, most)
}

func between[T cmp.Ordered](f *Flags, p *T, name string, least, most T) {
	f.Check(func() error {
		if *p >= least && *p <= most { // no NaN is
			return nil
		}
		return fmt.Errorf("-%s is %v, want %v to %v", name, *p, least, most)
	})
}

// Check adds a check of what was parsed.
func (f *Flags) Check(check func() error) { f.checks = append(f.checks, check) }

// Parse parses arguments and checks them, in the order in which the flags were
// defined.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	for _, check := range f.checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// MustParse parses the arguments of this process, and ends it if they are wrong.
func (f *Flags) MustParse() {
	if err := f.Parse(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, f.Name()+":", err)
		os.Exit(1)
	}
}
