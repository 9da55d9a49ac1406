package mafalda

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// A goldenDifference is something that we do unlike mediasoup, on purpose.
// Each has its line in docs/differences.md.
type goldenDifference struct {
	name string
	// rewrite returns mediasoup's result as ours has to be, if it is not nil.
	rewrite func(c *goldenCase, want any) any
	// refuses says that we answer c with ErrInvalidArgument, where mediasoup has
	// a result or finds the input unsupported.
	refuses func(c *goldenCase, undecodable bool) bool
	// accepts says that we answer c with err, or none, where mediasoup has a TypeError.
	accepts func(c *goldenCase, err error) bool
}

const dependencyDescriptor = string(RTPHeaderExtensionDependencyDescriptor)

var goldenDifferences = []goldenDifference{
	{
		name: "the dependency descriptor is sendrecv, not recvonly",
		rewrite: func(c *goldenCase, want any) any {
			if c.file != "router" && c.file != "supported" {
				return want
			}
			return mapObjects(want, func(_ string, o map[string]any) {
				if o["uri"] == dependencyDescriptor {
					o["direction"] = "sendrecv"
				}
			})
		},
	}, {
		name: "a pipe Consumer has the dependency descriptor if its Producer's Router offers it, so audio never",
		rewrite: func(c *goldenCase, want any) any {
			if c.file != "pipe" {
				return want
			}
			isDescriptor := func(e any) bool { return e.(map[string]any)["uri"] == dependencyDescriptor }
			offered := slices.DeleteFunc(slices.Clone(c.In[0].(map[string]any)["headerExtensions"].([]any)), func(e any) bool { return !isDescriptor(e) })
			return mapObjects(want, func(_ string, o map[string]any) {
				list, ok := o["headerExtensions"].([]any)
				if !ok {
					return
				}
				list = append(slices.DeleteFunc(list, isDescriptor), offered...)
				slices.SortStableFunc(list, func(a, b any) int {
					return cmp.Compare(a.(map[string]any)["id"].(float64), b.(map[string]any)["id"].(float64))
				})
				o["headerExtensions"] = list
			})
		},
	}, {
		name: "a pipe Consumer has RTX streams only if it has an RTX codec",
		rewrite: func(c *goldenCase, want any) any {
			if c.file != "pipe" || slices.ContainsFunc(codecsOf(want), func(codec map[string]any) bool { return isRTX(codec["mimeType"].(string)) }) {
				return want
			}
			return mapObjects(want, func(_ string, o map[string]any) { delete(o, "rtx") })
		},
	}, {
		name: "the JSON has no false dtx",
		rewrite: func(_ *goldenCase, want any) any {
			return mapObjects(want, func(_ string, o map[string]any) {
				if o["dtx"] == false {
					delete(o, "dtx")
				}
			})
		},
	}, {
		name: "H264 level 1b of a Router is lower than 1.1",
		rewrite: func(c *goldenCase, want any) any {
			if c.file != "h264" || want == nil {
				return want
			}
			router := c.In[0].(map[string]any)["profile-level-id"]
			level1b := []any{"42f00b", "42100b", "4d100b", "4d900b", "58f00b"}
			if !slices.Contains(level1b, router) {
				return want
			}
			producer := c.In[1].(map[string]any)["profile-level-id"]
			bothAllow := levelAsymmetryAllowed(c.In[0].(map[string]any)) && levelAsymmetryAllowed(c.In[1].(map[string]any))
			answer := map[any]any{"42f00b": "42f00b", "4d900b": "42f00b", "58f00b": "42f00b", "42100b": "42100b", "4d100b": "4d100b"}[router]
			switch {
			case bothAllow: // the Producer's level, as in mediasoup
				return want
			case producer == "42e00a" || producer == "42800a": // level 1
				answer = map[any]any{"42e00a": "42e00a", "42800a": "42000a"}[producer]
			}
			return mapObjects(want, func(_ string, o map[string]any) { o["profile-level-id"] = answer })
		},
	}, {
		name: "what is unknown, null, empty or zero is like absent",
		rewrite: func(c *goldenCase, want any) any {
			switch c.file {
			case "capabilities", "parameters", "sctp":
			default:
				return want
			}
			return mapObjects(want, func(name string, o map[string]any) {
				if name != "parameters" {
					delete(o, "x")
				}
				maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
				for _, key := range []string{"mid", "msid", "rid", "cname", "scalabilityMode"} {
					if o[key] == "" {
						delete(o, key)
					}
				}
				for _, key := range []string{"ssrc", "maxBitrate"} {
					if o[key] == 0.0 {
						delete(o, key)
					}
				}
				if o["channels"] == 0.0 {
					o["channels"] = 1.0
				}
			})
		},
		accepts: func(c *goldenCase, err error) bool {
			return contains(c.In, func(v any) bool { return v == nil }) && (err == nil || errors.Is(err, errors.ErrUnsupported))
		},
	}, {
		name: "an absent payload type of a capability is 0",
		rewrite: func(c *goldenCase, want any) any {
			if c.file != "capabilities" {
				return want
			}
			return mapObjects(want, func(_ string, o map[string]any) {
				if _, ok := o["preferredPayloadType"]; !ok && o["mimeType"] != nil {
					o["preferredPayloadType"] = 0.0
				}
			})
		},
	}, {
		name: "absent codecs of a receiver are no codecs",
		accepts: func(c *goldenCase, err error) bool {
			if c.file != "consumer" || !errors.Is(err, errors.ErrUnsupported) {
				return false
			}
			o, ok := c.In[1].(map[string]any)
			return ok && o["codecs"] == nil
		},
	}, {
		name:    "values of a type or size that the field cannot have are refused, even where mediasoup ignores them",
		refuses: func(_ *goldenCase, undecodable bool) bool { return undecodable },
	}, {
		name: "numbers that RTP or SCTP cannot have are refused",
		refuses: func(c *goldenCase, _ bool) bool {
			return contains(c.In, func(v any) bool {
				o, ok := v.(map[string]any)
				if !ok {
					return false
				}
				for key, bad := range map[string]func(n float64) bool{
					"payloadType":          func(n float64) bool { return n > 127 },
					"preferredPayloadType": func(n float64) bool { return n > 127 },
					"codecPayloadType":     func(n float64) bool { return n > 127 },
					"clockRate":            func(n float64) bool { return n == 0 },
					"preferredId":          func(n float64) bool { return n == 0 },
					"id":                   func(n float64) bool { return n == 0 },
					"maxBitrate":           func(n float64) bool { return n < 0 },
					"streamId":             func(n float64) bool { return n > 65534 },
				} {
					if n, ok := o[key].(float64); ok && bad(n) {
						return true
					}
				}
				rtx, ok := o["rtx"].(map[string]any)
				return ok && rtx["ssrc"] == 0.0
			})
		},
	},
}

// mapObjects returns a copy of v in which f has changed every object, which it
// gets with the name of the field that holds it.
func mapObjects(v any, f func(name string, o map[string]any)) any {
	var walk func(name string, v any) any
	walk = func(name string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			out := make(map[string]any, len(v))
			for key, value := range v {
				out[key] = walk(key, value)
			}
			f(name, out)
			return out
		case []any:
			out := make([]any, len(v))
			for i, value := range v {
				out[i] = walk(name, value)
			}
			return out
		}
		return v
	}
	return walk("", v)
}

// contains reports whether is is true for v or anything in it.
func contains(v any, is func(any) bool) bool {
	if is(v) {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for _, value := range v {
			if contains(value, is) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(value any) bool { return contains(value, is) })
	}
	return false
}

// codecsOf returns the codecs of RTP parameters.
func codecsOf(v any) []map[string]any {
	var out []map[string]any
	o, _ := v.(map[string]any)
	list, _ := o["codecs"].([]any)
	for _, codec := range list {
		out = append(out, codec.(map[string]any))
	}
	return out
}
