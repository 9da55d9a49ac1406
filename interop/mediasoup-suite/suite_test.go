package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProblem(t *testing.T) {
	whole := []testFile{{Name: "test-a.js", Tests: []testCase{{Status: "passed"}}}}
	tests := map[string]struct {
		r    result
		all  bool
		want string
	}{
		"all passed":        {result{202, 202, 0, whole}, true, ""},
		"one failed":        {result{202, 201, 1, whole}, true, "1 failed"},
		"one skipped":       {result{203, 202, 0, whole}, true, "1 skipped"},
		"one missing":       {result{201, 201, 0, whole}, true, "201 of 202 ran"},
		"a part":            {result{202, 5, 0, whole}, false, ""},
		"a part, one wrong": {result{202, 5, 1, whole}, false, "1 failed"},
		"nothing":           {result{202, 0, 0, whole}, false, "no test ran"},
		"a file not loaded": {result{202, 202, 0, []testFile{{Name: "x/test-b.js"}}}, true, "test-b.js did not load"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, tt.r.problem(tt.all)) })
	}
}

func TestPrint(t *testing.T) {
	r := new(result)
	require.NoError(t, json.Unmarshal([]byte(`{"numTotalTests":3,"numPassedTests":1,"numFailedTests":1,"testResults":[
		{"name":"d/test-b.js","startTime":1000,"endTime":2500,"assertionResults":[
			{"fullName":"works","status":"passed"},
			{"fullName":"breaks","status":"failed","failureMessages":["Error: x\n    at f"]},
			{"fullName":"waits","status":"pending"}]},
		{"name":"d/test-a.js","message":"SyntaxError"}]}`), r))
	var b strings.Builder
	r.print(&b, false)
	assert.Equal(t, `test-a.js                          0 passed   0 failed   0 skipped    0.0 s
        SyntaxError
test-b.js                          1 passed   1 failed   1 skipped    1.5 s
    breaks
        Error: x
1 passed, 1 failed, 1 skipped
`, b.String())
}

func TestDTLSFiles(t *testing.T) {
	require.NoError(t, writeDTLSFiles(t.TempDir()))
	require.ErrorContains(t, unedited(t.TempDir()), "0 test files")
}
