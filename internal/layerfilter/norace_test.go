//go:build !race

package layerfilter

const race = false
