package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStages(t *testing.T) {
	const here = "github.com/mafalda-sfu/mafalda/internal/"
	p := &profile{
		names: []string{
			"runtime.futex", "crypto/aes.seal", here + "srtp.(*Sender).ProtectRTP", here + "engine.(*outbound).emit",
			here + "engine.(*Machine).fanOut", here + "driver.(*udpSocket).ready",
			here + "engine.(*bandwidth).receiveFeedback", here + "engine.(*transport).receiveRTCP",
		},
		functions: map[uint64]uint64{1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7},
		locations: map[uint64][]uint64{1: {1}, 2: {2, 3}, 3: {4}, 4: {5}, 5: {6}, 6: {7}, 7: {8}},
		samples: []sample{
			{[]uint64{1}, 1},          // beside the loop
			{[]uint64{2, 3, 4, 5}, 2}, // sealing, inlined
			{[]uint64{3, 4, 5}, 3},
			{[]uint64{1, 4, 5}, 4},
			{[]uint64{1, 5}, 5},
			{[]uint64{1, 6, 7, 5}, 6}, // what a report causes
		},
	}
	assert.Equal(t, map[string]int64{
		stageRuntime: 1, stageSeal: 2, stageRewrite: 3, stageRoute: 4, stageReceive: 5, stageFeedback: 6,
	}, p.stages())
	for _, s := range stageOf {
		assert.Contains(t, StageNames(), s.stage)
	}
}
