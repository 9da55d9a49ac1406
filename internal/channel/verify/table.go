package verify

// A kind says what a field holds.
type kind uint8

const (
	kindScalar  kind = iota // in the table itself
	kindString              // everything else is reached through an offset
	kindTable               // to: index in tables
	kindUnion               // to: index in unions; its tag is the slot before
	kindScalars             // a vector of scalars of the given size
	kindStrings             // a vector of strings
	kindTables              // a vector of tables; to: index in tables
)

// A table describes one table of the schema.
type table struct {
	name   string
	size   uint16  // bytes of flatc's Go struct for it
	fields []field // by slot
}

// A field describes one slot. Its zero value is a slot that is not used.
type field struct {
	name     string
	kind     kind
	size     uint8  // of a scalar, or of each in a vector
	to       uint16 // what a table, union or vector leads to
	required bool
	optional bool // a scalar that may be absent, hence a pointer in Go
	shared   bool // a vector that Go code reads where it is
}
