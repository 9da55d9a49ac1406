package mafalda

import (
	"context"

	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// PacketsHeld returns how many packets a Worker of this process has in memory.
func PacketsHeld(ctx context.Context, w Worker) (n int, err error) {
	_, err = engine.Run(ctx, w.(*worker).back.(engineBackend).Worker, func(m *engine.Machine) error {
		n = m.PacketsHeld()
		return nil
	})
	return n, err
}
