//go:build !race

package rtx

const race = false
