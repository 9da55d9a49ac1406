package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCurrent holds the committed tables against the schema.
func TestCurrent(t *testing.T) {
	if _, err := exec.LookPath("flatc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no flatc")
	}
	want, err := generate("../../fbs/channel.fbs")
	require.NoError(t, err)
	got, err := os.ReadFile("../tables.go")
	require.NoError(t, err)
	if string(got) != string(want) {
		t.Error("tables.go is not what channel.fbs says: run go generate in internal/channel/verify")
	}
}

func TestNotASchema(t *testing.T) {
	_, err := readSchema([]byte("something else"))
	require.Error(t, err)
}
