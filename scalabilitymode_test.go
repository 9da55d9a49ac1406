package mafalda_test

import (
	"fmt"

	"github.com/mafalda-sfu/mafalda"
)

func ExampleParseScalabilityMode() {
	for _, mode := range []string{"L3T2_KEY", "S2T3", "no mode"} {
		fmt.Printf("%+v\n", mafalda.ParseScalabilityMode(mode))
	}
	// Output:
	// {SpatialLayers:3 TemporalLayers:2 KSVC:true}
	// {SpatialLayers:2 TemporalLayers:3 KSVC:false}
	// {SpatialLayers:1 TemporalLayers:1 KSVC:false}
}
