//go:build !race

package seqmap

const race = false
