package acceptance

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// classes are the errors of which every error matches exactly one.
var classes = []error{
	mafalda.ErrInvalidArgument, mafalda.ErrInvalidState, mafalda.ErrNotFound, mafalda.ErrUnavailable,
	errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
}

// requireError checks that err is of the class and of no other one.
func requireError(t testing.TB, err, class error) {
	t.Helper()
	requireErrorIn(t, "", err, class)
}

// requireErrorIn does it for a row of a table.
func requireErrorIn(t testing.TB, row string, err, class error) {
	t.Helper()
	require.Error(t, err, row)
	require.ErrorIs(t, err, class, row)
	n := 0
	for _, c := range classes {
		if errors.Is(err, c) {
			n++
		}
	}
	require.Equalf(t, 1, n, "%s: %v matches %d classes", row, err, n)
	e, ok := errors.AsType[*mafalda.Error](err)
	require.Truef(t, ok, "%s: %v is no *mafalda.Error", row, err)
	require.NotEmpty(t, e.Op, row)
	require.NotEmpty(t, e.Object, row)
	require.Error(t, e.Err, row)
}
