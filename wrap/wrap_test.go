package wrap_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/acceptance"
	"github.com/mafalda-sfu/mafalda/wrap"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The cases of acceptance wait more than they work.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func TestAcceptance(t *testing.T) {
	acceptance.Run(t, acceptance.Target{
		New: func(t testing.TB) mafalda.SFU {
			sfu := wrap.New(mafalda.New())
			t.Cleanup(func() { require.NoError(t, sfu.Close()) })
			return sfu
		},
	})
}
