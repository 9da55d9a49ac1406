package main

import (
	"encoding/json"
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
		"labels":       {`["producer1","producer2","producer1"]`, `["producer4","producer3","producer4"]`, nil},
		"a label":      {`["producer1","producer1"]`, `["producer1","producer2"]`, []string{"[1]"}},
		"one label":    {`["producer1","producer2"]`, `["producer1","producer1"]`, []string{"[1]"}},
		"other object": {`"producer1"`, `"consumer1"`, []string{""}},
		"placeholder":  {`["<ssrc1>","<ssrc1+1>"]`, `["<ssrc3>","<ssrc3+1>"]`, nil},
		"offset":       {`["<ssrc1>","<ssrc1+1>"]`, `["<ssrc3>","<ssrc3+2>"]`, []string{"[1]"}},
		"no label":     {`"video/VP8"`, `"video/VP9"`, []string{""}},
		"call missing": {
			`{"log":[{"call":"a1.b"},{"call":"a1.c"},{"call":"a1.d","result":1}]}`, `{"log":[{"call":"a1.b"},{"call":"a1.d","result":2}]}`,
			[]string{".log[1] missing", ".log[2]{a1.d}.result"},
		},
		"event extra":        {`{"events":[{"event":"a"},{"event":"b"}]}`, `{"events":[{"event":"a"},{"event":"c"},{"event":"b"}]}`, []string{".events[1] extra"}},
		"order of them":      {`[{"event":"a"},{"event":"b"}]`, `[{"event":"b"},{"event":"a"}]`, []string{"[0] missing", "[2] extra"}},
		"order of objects":   {`{"events":[{"event":"a","on":"x"},{"event":"a","on":"y"}]}`, `{"events":[{"event":"a","on":"y"},{"event":"a","on":"x"}]}`, nil},
		"order of an object": {`{"events":[{"event":"a","on":"x"},{"event":"b","on":"x"}]}`, `{"events":[{"event":"b","on":"x"},{"event":"a","on":"x"}]}`, []string{".events[0] missing", ".events[2] extra"}},
		"order in a call":    {`{"events":[{"event":"a","on":"x","sync":true},{"event":"a","on":"y","sync":true}]}`, `{"events":[{"event":"a","on":"y","sync":true},{"event":"a","on":"x","sync":true}]}`, []string{".events[0] missing", ".events[2] extra"}},
		"new ones":           {`{"events":[{"event":"a","on":"x"},{"event":"new","on":"x","beforeResult":true}]}`, `{"events":[{"event":"new","on":"x","beforeResult":true},{"event":"a","on":"x"}]}`, nil},
		"nacks": {
			`{"log":[{"call":"a","events":[{"event":"trace","payload":[{"type":"nack"}]}]}]}`,
			`{"log":[{"call":"a"},{"later":true,"events":[{"event":"trace","payload":[{"type":"nack"}]},{"event":"trace","payload":[{"type":"nack"}]}]}]}`, nil,
		},
		"no nacks":      {`{"events":[{"event":"trace","payload":[{"type":"nack"}]}]}`, `{}`, []string{"traces of NACKs"}},
		"other traces":  {`{"events":[{"event":"trace","payload":[{"type":"pli"}]}]}`, `{}`, []string{".events"}},
		"later events":  {`{"log":[{"call":"a"},{"call":"b"}]}`, `{"log":[{"call":"a"},{"later":true,"events":[{"event":"x"}]},{"call":"b"}]}`, []string{".log[1] extra"}},
		"dominates":     {`{"events":[{"event":"a"}]}`, `{"events":[{"event":"a"},{"event":"dominantspeaker"}]}`, nil},
		"only that":     {`{"call":"a"}`, `{"call":"a","events":[{"event":"dominantspeaker"}]}`, nil},
		"grows":         {`{"nackCount":1}`, `{"nackCount":2}`, nil},
		"does not grow": {`{"nackCount":1}`, `{"nackCount":0}`, []string{".nackCount"}},
		"another call":  {`{"log":[{"call":"a"}]}`, `{"log":[{"call":"b"}]}`, []string{".log[0].call"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var a, b any
			require.NoError(t, json.Unmarshal([]byte(tt.want), &a))
			require.NoError(t, json.Unmarshal([]byte(tt.got), &b))
			var c comparison
			c.compareTicking(a, b)
			var places []string
			for _, d := range c.found {
				places = append(places, d.place)
			}
			assert.Equal(t, tt.places, places)
		})
	}
}

func TestReport(t *testing.T) {
	known, err := parseKnown("# comment\ncontrol | 01-.* | \\.x: 1$ | a quirk\nmedia | 02 | . | noise\n")
	require.NoError(t, err)
	results := func(d ...difference) []result { return []result{{scenario: "01-a", found: d}} }
	var b strings.Builder
	assert.Zero(t, report(&b, "control", results(difference{"01-a", ".x", "1"}), known, true, false))
	assert.Empty(t, b.String())
	assert.Equal(t, 1, report(&b, "control", results(difference{"01-a", ".y", "1"}), known, true, false))
	assert.Equal(t, 1, report(&b, "control", results(difference{"01-a", ".x", "2"}), known, true, false))
	assert.Equal(t, 1, report(&b, "media", nil, known, true, false), "it is gone")
	assert.Zero(t, report(&b, "media", nil, known, false, false), "nothing says that it is")
	maybe, err := parseKnown("media? | 02 | . | chance")
	require.NoError(t, err)
	assert.Zero(t, report(&b, "media", nil, maybe, true, false))
	for _, bad := range []string{"control | a | b", "data | a | b | c", "control | ( | b | c", "control | a | ( | c"} {
		_, err := parseKnown(bad)
		assert.Error(t, err, bad)
	}
	_, err = parseKnown(knownText)
	require.NoError(t, err)
}

// Only what was held up and differs in an unknown way is recorded again.
func TestHeldUp(t *testing.T) {
	known, err := parseKnown("media | .* | ^x: | known")
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, heldUp([]result{
		{"a", []difference{{"a", "y", "1"}}, tardy},
		{"b", []difference{{"b", "x", "1"}, {"b", "y", "1"}}, tardy + 1},
		{"c", []difference{{"c", "x", "1"}}, 1000},
		{"d", nil, 1000},
	}, known))
}
