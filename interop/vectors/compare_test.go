package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCompare(t *testing.T) {
	tests := map[string]struct {
		want, got string
		places    []string
	}{
		"same":         {`{"a":[1,"x",null]}`, `{"a":[1,"x",null]}`, nil},
		"order":        {`{"a":1,"b":2}`, `{"b":2,"a":1}`, nil},
		"value":        {`{"a":{"b":1}}`, `{"a":{"b":2}}`, []string{".a.b"}},
		"missing":      {`{"a":1,"b":2}`, `{"a":1}`, []string{".b"}},
		"extra":        {`{"a":1}`, `{"a":1,"b":2}`, []string{".b"}},
		"length":       {`[1,2]`, `[1]`, []string{""}},
		"kind":         {`[1]`, `{"a":1}`, []string{""}},
		"clock":        {`{"t":"<ms>"}`, `{"t":233}`, nil},
		"no clock":     {`{"t":"<ms>"}`, `{"t":"x"}`, []string{".t"}},
		"text":         {`{"error":{"name":"TypeError","class":"TypeError","message":"a"}}`, `{"error":{"name":"TypeError","class":"TypeError","message":"b"}}`, nil},
		"class":        {`{"error":{"name":"TypeError","class":"TypeError","message":"a"}}`, `{"error":{"name":"Error","class":"TypeError","message":"a"}}`, []string{".error.name"}},
		"entry":        {`{"log":[{"call":"p.dump","result":1}]}`, `{"log":[{"call":"p.dump","result":2}]}`, []string{".log[0]{p.dump}.result"}},
		"another call": {`{"log":[{"call":"a"}]}`, `{"log":[{"call":"b"}]}`, []string{".log[0].call"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var a, b any
			require.NoError(t, json.Unmarshal([]byte(tt.want), &a))
			require.NoError(t, json.Unmarshal([]byte(tt.got), &b))
			var c comparison
			c.compare("", a, b)
			var places []string
			for _, d := range c.found {
				places = append(places, d.place)
			}
			assert.Equal(t, tt.places, places)
		})
	}
}

func TestMediaDifferences(t *testing.T) {
	all := regexp.MustCompile("")
	found, n, err := mediaDifferences("03-a.json\n  rtp d1/C1: counts 3 vs 4\n  stats x: missing\n04-b.json missing\n78 equal, 2 different\n", all)
	require.NoError(t, err)
	assert.Equal(t, 80, n)
	assert.Equal(t, []difference{{"03-a", "rtp d1/C1", "counts 3 vs 4"}, {"03-a", "stats x", "missing"}, {"04-b", "", "missing"}}, found)
	_, _, err = mediaDifferences("TypeError", all)
	require.Error(t, err)
}

func TestReport(t *testing.T) {
	known, err := parseKnown("# comment\ncontrol | 01-.* | \\.x$ | a quirk\nmedia | 02 | . | noise\n")
	require.NoError(t, err)
	var b strings.Builder
	assert.Zero(t, report(&b, "control", []difference{{"01-a", ".x", "1"}}, known, true, false))
	assert.Empty(t, b.String())
	assert.Equal(t, 1, report(&b, "control", []difference{{"01-a", ".y", "1"}}, known, true, false))
	assert.Equal(t, 1, report(&b, "media", nil, known, true, false), "it is gone")
	assert.Zero(t, report(&b, "media", nil, known, false, false), "nothing says that it is")
	for _, bad := range []string{"control | a | b", "data | a | b | c", "control | ( | b | c", "control | a | ( | c"} {
		_, err := parseKnown(bad)
		assert.Error(t, err, bad)
	}
	_, err = parseKnown(knownText)
	require.NoError(t, err)
}
