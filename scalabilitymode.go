package mafalda

import "regexp"

// A ScalabilityMode is the number of layers that an encoding has.
type ScalabilityMode struct {
	SpatialLayers  int `json:"spatialLayers"`
	TemporalLayers int `json:"temporalLayers"`
	// KSVC says that spatial layers depend on each other at key frames only.
	KSVC bool `json:"ksvc"`
}

var scalabilityModePattern = regexp.MustCompile(`^[LS]([1-9][0-9]?)T([1-9][0-9]?)(_KEY)?`)

// ParseScalabilityMode reads the layers from the beginning of a mode such as
// «L3T2_KEY» or «S2T3»; what follows is ignored. Anything else, the empty
// string too, is one layer of each kind (mediasoup's parseScalabilityMode).
func ParseScalabilityMode(mode string) ScalabilityMode {
	m := scalabilityModePattern.FindStringSubmatch(mode)
	if m == nil {
		return ScalabilityMode{SpatialLayers: 1, TemporalLayers: 1}
	}
	return ScalabilityMode{SpatialLayers: smallNumber(m[1]), TemporalLayers: smallNumber(m[2]), KSVC: m[3] != ""}
}

// smallNumber reads one or two decimal digits.
func smallNumber(digits string) int {
	n := 0
	for _, d := range []byte(digits) {
		n = n*10 + int(d-'0')
	}
	return n
}
