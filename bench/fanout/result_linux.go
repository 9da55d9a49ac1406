package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

// result is what the last line says.
type result struct {
	harness.Figures
	// BytesPerConsumer is what one more Consumer takes of heap and stacks,
	// BytesPerTransport a connected Transport, with its share of the socket's.
	BytesPerConsumer  int64           `json:"bytesPerConsumer"`
	BytesPerTransport int64           `json:"bytesPerTransport"`
	LatencyMs         harness.Latency `json:"latencyMs"`
	// LastOfTurn is the last receiver's latency, as a multiple of what the packets
	// of one burst to all receivers cost.
	LastOfTurn float64 `json:"lastOfTurn"`
	// Explained is there with -explain.
	Explained *harness.Explanation `json:"explained,omitempty"`

	Ran ran `json:"ran"`
}

// ran tells what was measured, and on what.
type ran struct {
	options
	harness.Machine
}

// Limits of the gate.
const (
	maxAllocs    = 0.001 // per packet
	leastOfRatio = 0.7   // of the baseline
)

// check compares with the baseline, if there is one to compare with.
func (o *options) check(r *result) error {
	if err := r.Check(); err != nil {
		return err
	}
	if o.baseline == "" || r.Sink != harness.SinkTUN {
		return nil
	}
	b, err := os.ReadFile(o.baseline)
	if err != nil {
		return err
	}
	var base result
	if err := json.Unmarshal(b, &base); err != nil {
		return fmt.Errorf("%s: %w", o.baseline, err)
	}
	if r.Ratio < leastOfRatio*base.Ratio {
		return fmt.Errorf("ratio %.2f is less than 70 %% of the baseline %.2f", r.Ratio, base.Ratio)
	}
	if r.AllocsPerPacket >= maxAllocs {
		return fmt.Errorf("%.4f allocations per packet, want less than %v", r.AllocsPerPacket, maxAllocs)
	}
	return nil
}
