package fbs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGenerated holds the committed code against the schema.
func TestGenerated(t *testing.T) {
	version, err := exec.Command("flatc", "--version").Output()
	if err != nil || !strings.Contains(string(version), "2.0.8") {
		if os.Getenv("CI") != "" {
			t.Fatalf("no flatc 2.0.8: %v, %q", err, version)
		}
		t.Skip("no flatc 2.0.8")
	}
	file := filepath.Join(t.TempDir(), "channel.go")
	out, err := exec.Command("go", "run", "gen.go", "-o", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	got, err := os.ReadFile("channel.go")
	require.NoError(t, err)
	if string(got) != string(want) {
		t.Error("channel.go is not what channel.fbs says: run go generate")
	}
}

// What is absent stays absent, what is empty stays empty.
func TestAbsent(t *testing.T) {
	b := flatbuffers.NewBuilder(0)
	b.FinishSizePrefixed((&TransportProduceDataRequestT{DataProducerId: ""}).Pack(b))
	r := GetSizePrefixedRootAsTransportProduceDataRequest(b.FinishedBytes(), 0)
	assert.NotNil(t, r.DataProducerId(), "required")
	assert.Nil(t, r.Label())
	assert.Nil(t, r.SctpStreamParameters(nil))

	b.Reset()
	b.FinishSizePrefixed((&TransportProduceDataRequestT{Label: "x"}).Pack(b))
	r = GetSizePrefixedRootAsTransportProduceDataRequest(b.FinishedBytes(), 0)
	assert.Equal(t, "x", string(r.Label()))

	b.Reset()
	b.FinishSizePrefixed((&WorkerUpdateSettingsRequestT{LogTags: []string{}}).Pack(b))
	u := GetSizePrefixedRootAsWorkerUpdateSettingsRequest(b.FinishedBytes(), 0)
	assert.Zero(t, u.LogTagsLength())
	table := u.Table()
	assert.NotZero(t, table.Offset(6), "present")
	assert.Nil(t, u.LogLevel())
}
