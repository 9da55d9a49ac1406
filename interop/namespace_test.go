package interop

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var namespaces atomic.Uint32 // made by this process

// A namespace is a network of its own for a program, behind one link.
type namespace struct {
	name        string
	here, there netip.Addr // the two ends of the link
}

// newNamespace makes a network namespace, which the end of the test removes.
// It needs root.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "root, to make a network namespace,")
	}
	n := namespaces.Add(1)
	id := fmt.Sprintf("%d-%d", os.Getpid()%100000, n)
	net := netip.AddrFrom4([4]byte{10, 213, byte(os.Getpid()), byte(4 * n)})
	ns := &namespace{name: "mafalda-" + id, here: net.Next(), there: net.Next().Next()}
	link, peer := "mh"+id, "mt"+id
	ip := func(args ...string) {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %v: %s", args, out)
	}
	ip("netns", "add", ns.name)
	t.Cleanup(func() { ip("netns", "del", ns.name) })
	ip("link", "add", link, "type", "veth", "peer", "name", peer, "netns", ns.name)
	ip("addr", "add", ns.here.String()+"/30", "dev", link)
	ip("link", "set", link, "up")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", ns.there.String() + "/30", "dev", peer},
		{"link", "set", peer, "up"},
		{"route", "add", "default", "via", ns.here.String()},
	} {
		ip(append([]string{"-n", ns.name}, args...)...)
	}
	return ns
}
