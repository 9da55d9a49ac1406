//go:build race

package stream

const race = true
