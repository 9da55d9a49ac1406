package acceptance_test

import (
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/acceptance"
)

// An sfu is an implementation of somebody's own: here one that hands
// everything to another SFU.
type sfu struct{ mafalda.SFU }

// A package with an implementation of its own has a test like this one. What
// the implementation can't do yet is named with the reason.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestAcceptance(t *testing.T)
		acceptance.Run(t, acceptance.Target{
			New: func(t testing.TB) mafalda.SFU {
				s := sfu{mafalda.New()}
				t.Cleanup(func() { s.Close() })
				return s
			},
			Skip: map[string]string{
				"Worker/Logger": "its Workers are in another process and log there",
			},
		})
	}
	// Output:
}
