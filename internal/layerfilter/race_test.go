//go:build race

package layerfilter

const race = true
