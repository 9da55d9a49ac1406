//go:build !race

package twcc

const race = false
