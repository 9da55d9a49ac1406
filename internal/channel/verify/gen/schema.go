package main

import (
	"errors"
	"fmt"
	"slices"

	flatbuffers "github.com/google/flatbuffers/go"
)

// A schema is what the verifier needs of a reflected schema (reflection.fbs of
// FlatBuffers).
type schema struct {
	objects []object
	enums   []enum
	root    int // index of an object
}

type object struct {
	name   string
	fields []field // by slot
}

type field struct {
	name     string
	typ      fieldType
	required bool
	optional bool // a scalar that may be absent
}

type fieldType struct {
	base    baseType
	element baseType // of a vector
	index   int      // of the object or enum; -1: neither
}

type enum struct {
	name    string
	union   bool
	members []int // objects, by tag from 1 on
}

// A baseType is BaseType of reflection.fbs.
type baseType byte

const (
	baseUType  baseType = 1
	baseUByte  baseType = 4
	baseDouble baseType = 12
	baseString baseType = 13
	baseVector baseType = 14
	baseObj    baseType = 15
	baseUnion  baseType = 16
)

var scalarSizes = [...]int{baseUType: 1, 2: 1, 3: 1, baseUByte: 1, 5: 2, 6: 2, 7: 4, 8: 4, 9: 8, 10: 8, 11: 4, baseDouble: 8}

func (b baseType) scalar() bool { return b >= baseUType && b <= baseDouble }
func (b baseType) size() int    { return scalarSizes[b] }

// unionIndex returns the place of an enum among the unions.
func (s *schema) unionIndex(enum int) int {
	n := 0
	for _, e := range s.enums[:enum] {
		if e.union {
			n++
		}
	}
	return n
}

// goSize returns how many bytes flatc's Go struct of the table takes on a
// 64-bit machine, without what it points to.
func (o object) goSize() int {
	size, align := 0, 1
	for _, f := range o.fields {
		n, a := f.goSize()
		if n == 0 {
			continue
		}
		size = (size+a-1)/a*a + n
		align = max(align, a)
	}
	return (size + align - 1) / align * align
}

func (f field) goSize() (size, align int) {
	const word = 8
	switch b := f.typ.base; {
	case b == baseUType: // is in the struct of the union
		return 0, 1
	case b.scalar() && !f.optional:
		return b.size(), b.size()
	case b == baseString:
		return 2 * word, word
	case b == baseVector:
		return 3 * word, word
	default: // a pointer
		return word, word
	}
}

// readSchema decodes what flatc --binary --schema writes. It trusts its input.
func readSchema(b []byte) (*schema, error) {
	if len(b) < 8 || string(b[4:8]) != "BFBS" {
		return nil, errors.New("not a reflected schema")
	}
	root := flatbuffers.Table{Bytes: b, Pos: flatbuffers.GetUOffsetT(b)}
	s := &schema{root: -1}
	for _, t := range tablesAt(root, 0) {
		o, err := readObject(t)
		if err != nil {
			return nil, err
		}
		s.objects = append(s.objects, o)
	}
	for _, t := range tablesAt(root, 1) {
		e := enum{name: stringAt(t, 0), union: t.GetBoolSlot(vtable(2), false)}
		for i, v := range tablesAt(t, 1) {
			if !e.union || i == 0 { // 0 is NONE
				continue
			}
			if tag := v.GetInt64Slot(vtable(1), 0); tag != int64(i) {
				return nil, fmt.Errorf("%s: member %d has tag %d", e.name, i, tag)
			}
			e.members = append(e.members, readType(tableAt(v, 3)).index)
		}
		s.enums = append(s.enums, e)
	}
	rootName := stringAt(tableAt(root, 4), 0)
	s.root = slices.IndexFunc(s.objects, func(o object) bool { return o.name == rootName })
	if s.root < 0 {
		return nil, errors.New("no root table")
	}
	return s, nil
}

func readObject(t flatbuffers.Table) (object, error) {
	o := object{name: stringAt(t, 0)}
	if t.GetBoolSlot(vtable(2), false) {
		return o, fmt.Errorf("%s is a struct", o.name)
	}
	list := tablesAt(t, 1)
	o.fields = make([]field, len(list))
	for _, ft := range list {
		f := field{
			name:     stringAt(ft, 0),
			typ:      readType(tableAt(ft, 1)),
			required: ft.GetBoolSlot(vtable(7), false),
			optional: ft.GetBoolSlot(vtable(11), false),
		}
		id := int(ft.GetUint16Slot(vtable(2), 0))
		if id >= len(list) {
			return o, fmt.Errorf("%s.%s: slot %d of %d", o.name, f.name, id, len(list))
		}
		if !f.typ.base.scalar() {
			f.optional = false // flatc says so of all that are not required
		}
		o.fields[id] = f
	}
	return o, nil
}

func readType(t flatbuffers.Table) fieldType {
	return fieldType{
		base:    baseType(t.GetByteSlot(vtable(0), 0)),
		element: baseType(t.GetByteSlot(vtable(1), 0)),
		index:   int(t.GetInt32Slot(vtable(2), -1)),
	}
}

// vtable returns where the vtable has a slot.
func vtable(slot int) flatbuffers.VOffsetT { return flatbuffers.VOffsetT(4 + 2*slot) }

func stringAt(t flatbuffers.Table, slot int) string {
	return t.String(t.Pos + flatbuffers.UOffsetT(t.Offset(vtable(slot))))
}

func tableAt(t flatbuffers.Table, slot int) flatbuffers.Table {
	return flatbuffers.Table{
		Bytes: t.Bytes,
		Pos:   t.Indirect(t.Pos + flatbuffers.UOffsetT(t.Offset(vtable(slot)))),
	}
}

func tablesAt(t flatbuffers.Table, slot int) []flatbuffers.Table {
	off := flatbuffers.UOffsetT(t.Offset(vtable(slot)))
	start, list := t.Vector(off), make([]flatbuffers.Table, t.VectorLen(off))
	for i := range list {
		list[i] = flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(start + flatbuffers.UOffsetT(4*i))}
	}
	return list
}
