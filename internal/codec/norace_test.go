//go:build !race

package codec

const race = false
