package harness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // error
	}{
		{nil, ""},
		{[]string{"-n", "2", "-d", "1s", "-f", "0.5"}, ""},
		{[]string{"-n", "4", "-d", "1m", "-f", "1"}, ""},
		{[]string{"-n", "1"}, "-n is 1, want 2 to 4"},
		{[]string{"-n", "5", "-f", "2"}, "-n is 5, want 2 to 4"},
		{[]string{"-d", "999ms"}, "-d is 999ms, want 1s to 1m0s"},
		{[]string{"-f", "1.01"}, "-f is 1.01, want 0.5 to 1"},
		{[]string{"-f", "NaN"}, "-f is NaN, want 0.5 to 1"},
		{[]string{"-n", "3"}, "-n is 3, which is odd"},
		{[]string{"more"}, `unknown argument "more"`},
	} {
		f := NewFlags("test")
		var n int
		var d time.Duration
		var x float64
		f.EvenVar(&n, "n", 2, 2, 4, "a number")
		f.DurationVar(&d, "d", time.Second, time.Second, time.Minute, "a time")
		f.Float64Var(&x, "f", 1, 0.5, 1, "a share")
		assert.Equal(t, "a number, even, 2 to 4", f.Lookup("n").Usage)
		if err := f.Parse(c.args); c.want == "" {
			assert.NoError(t, err, c.args)
		} else {
			assert.EqualError(t, err, c.want)
		}
	}
}
