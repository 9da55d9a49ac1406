package harness

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A profile is what a CPU profile of runtime/pprof tells: how often which stack
// was seen.
type profile struct {
	samples   []sample
	locations map[uint64][]uint64 // functions by id, what was inlined first
	functions map[uint64]uint64   // name by id
	names     []string
}

// A sample is a stack, its leaf first.
type sample struct {
	locations []uint64
	count     int64
}

// parseProfile reads the format of runtime/pprof, profile.proto in gzip. Only
// the fields that are needed here are looked at.
func parseProfile(b []byte) (*profile, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if b, err = io.ReadAll(z); err != nil {
		return nil, err
	}
	p := &profile{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
	const sampleField, locationField, functionField, stringField = 2, 4, 5, 6
	err = fields(b, func(field uint64, _ uint64, v []byte) error {
		switch field {
		case sampleField:
			return p.readSample(v)
		case locationField:
			return p.readLocation(v)
		case functionField:
			var id, name uint64
			err := fields(v, func(field, n uint64, _ []byte) error {
				switch field {
				case 1:
					id = n
				case 2:
					name = n
				}
				return nil
			})
			p.functions[id] = name
			return err
		case stringField:
			p.names = append(p.names, string(v))
		}
		return nil
	})
	return p, err
}

func (p *profile) readSample(b []byte) error {
	var s sample
	var values []uint64
	err := fields(b, func(field, n uint64, v []byte) (err error) {
		switch field {
		case 1:
			s.locations, err = appendVarints(s.locations, n, v)
		case 2:
			values, err = appendVarints(values, n, v)
		}
		return err
	})
	if err == nil && len(values) == 0 {
		err = errors.New("a sample without a count")
	}
	if err == nil {
		s.count = int64(values[0])
		p.samples = append(p.samples, s)
	}
	return err
}

func (p *profile) readLocation(b []byte) error {
	var id uint64
	var list []uint64
	err := fields(b, func(field, n uint64, v []byte) error {
		switch field {
		case 1:
			id = n
		case 4: // a line
			return fields(v, func(field, n uint64, _ []byte) error {
				if field == 1 {
					list = append(list, n)
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = list
	return err
}

// stack calls f with the names of the functions of a sample, the leaf first,
// until f returns false.
func (p *profile) stack(s *sample, f func(name string) bool) {
	for _, l := range s.locations {
		for _, id := range p.locations[l] {
			if name := p.functions[id]; name < uint64(len(p.names)) && !f(p.names[name]) {
				return
			}
		}
	}
}

// fields calls f with each field of a protocol buffer: n is the value of a
// number, v that of what has a length.
func fields(b []byte, f func(field, n uint64, v []byte) error) error {
	for len(b) > 0 {
		key, k := binary.Uvarint(b)
		if k <= 0 {
			return errors.New("a broken protocol buffer")
		}
		b = b[k:]
		var n uint64
		var v []byte
		switch key & 7 {
		case 0:
			if n, k = binary.Uvarint(b); k <= 0 {
				return errors.New("a broken number in a protocol buffer")
			}
			b = b[k:]
		case 2:
			n, k = binary.Uvarint(b)
			if k <= 0 || n > uint64(len(b)-k) {
				return errors.New("a broken length in a protocol buffer")
			}
			v, b = b[k:k+int(n)], b[k+int(n):]
		default:
			return fmt.Errorf("wire type %d in a protocol buffer", key&7)
		}
		if err := f(key>>3, n, v); err != nil {
			return err
		}
	}
	return nil
}

// appendVarints appends a repeated number, packed into v or alone in n.
func appendVarints(list []uint64, n uint64, v []byte) ([]uint64, error) {
	if v == nil {
		return append(list, n), nil
	}
	for len(v) > 0 {
		n, k := binary.Uvarint(v)
		if k <= 0 {
			return list, errors.New("a broken list in a protocol buffer")
		}
		list, v = append(list, n), v[k:]
	}
	return list, nil
}
