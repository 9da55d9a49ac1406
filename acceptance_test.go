package mafalda_test

import (
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/acceptance"
)

func TestAcceptance(t *testing.T) {
	acceptance.Run(t, acceptance.Target{
		New: func(t testing.TB) mafalda.SFU {
			sfu := mafalda.New()
			t.Cleanup(func() { sfu.Close() })
			return sfu
		},
	})
}

// The same with Workers that are processes.
func TestAcceptanceProcess(t *testing.T) {
	acceptance.Run(t, acceptance.Target{
		New: func(t testing.TB) mafalda.SFU {
			sfu := mafalda.NewProcessSFU()
			t.Cleanup(func() { sfu.Close() })
			return sfu
		},
		KeepsMessages: true, // up to 64 MiB: responses come over the same connection
	})
}
