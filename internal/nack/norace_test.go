//go:build !race

package nack

const race = false
