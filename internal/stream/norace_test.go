//go:build !race

package stream

const race = false
