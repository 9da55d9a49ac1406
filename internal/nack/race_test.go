//go:build race

package nack

const race = true
