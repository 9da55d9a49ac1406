//go:build !race

package rtcp

const race = false
