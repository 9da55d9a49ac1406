//go:build !race

package rtp

const race = false
