//go:build race

package bwe

const race = true
