// Package lint checks the house rules that the compiler does not know: which
// way imports point, that packages explain themselves, and that no file speaks
// of the machine it was written on. It has tests only.
package lint

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/mafalda-sfu/mafalda"
	root   = "../.."
	api    = 5 // the layer of the public API
)

// layers says which way imports point: a package imports lower layers only,
// or its own layer where sameLayer says so.
var layers = map[string]int{
	"internal/seqnum":    0,
	"internal/packetbuf": 0,
	"internal/prefetch":  0,
	"internal/timer":     0,

	"internal/aesgcm":     1,
	"internal/pcapng":     1,
	"internal/rtp":        1,
	"internal/rtcp":       1,
	"internal/codec":      1,
	"internal/rate":       1,
	"internal/subchannel": 1,

	"internal/ice":         2,
	"internal/srtp":        2,
	"internal/nack":        2,
	"internal/rtx":         2,
	"internal/seqmap":      2,
	"internal/keyframe":    2,
	"internal/score":       2,
	"internal/stream":      2,
	"internal/layers":      2,
	"internal/twcc":        2,
	"internal/layerfilter": 2,
	"internal/probe":       2,
	"internal/bwe":         2,
	"internal/capture":     2,
	"internal/audiolevel":  2,
	"internal/speaker":     2,

	"internal/tcp":     3,
	"internal/port":    3,
	"internal/ring":    3,
	"internal/driver":  3,
	"internal/simnet":  3,
	"internal/dtls":    3,
	"internal/sctp":    3,
	"internal/rtptest": 3,

	"internal/channel/fbs":    3,
	"internal/channel/verify": 3,

	"internal/engine": 4,

	"internal/channel": 5,

	".": api,

	"sdpbridge":  6,
	"acceptance": 6,
	"wrap":       6,

	"internal/peer":      6,
	"vertical/placement": 6,
	"vertical/registry":  6,

	"vertical": 7,

	"cmd/mafalda-worker": 9,

	"examples/room":          9,
	"examples/ffmpeg":        9,
	"bench/fanout":           9,
	"bench/vertical":         9,
	"bench/all":              9,
	"bench/grid":             9,
	"bench/rooms":            9,
	"bench/memory":           9,
	"bench/livekit":          9,
	"bench/peers":            9,
	"bench/scale":            9,
	"bench/join":             9,
	"bench/keyframes":        9,
	"bench/internal/harness": 8,
	"interop":                9,
	"interop/impair":         9,
	"interop/relay":          9,

	"interop/mediasoup-suite": 9,
	"interop/npm":             9,
	"interop/seam":            9,
	"interop/vectors":         9,

	"internal/channel/verify/gen": 9,

	"internal/lint": 10,
}

// sameLayer lists the imports within one layer.
var sameLayer = map[[2]string]bool{
	{".", "internal/channel"}:                           true,
	{"acceptance", "internal/peer"}:                     true,
	{"interop/mediasoup-suite", "interop/npm"}:          true,
	{"interop/vectors", "interop/npm"}:                  true,
	{"interop/seam", "interop/npm"}:                     true,
	{"interop/relay", "interop/impair"}:                 true,
	{"internal/stream", "internal/nack"}:                true,
	{"internal/stream", "internal/score"}:               true,
	{"internal/stream", "internal/rtx"}:                 true,
	{"internal/driver", "internal/tcp"}:                 true,
	{"internal/channel/verify", "internal/channel/fbs"}: true,
	{"internal/port", "internal/driver"}:                true,
	{"internal/simnet", "internal/driver"}:              true,
	{"internal/simnet", "internal/tcp"}:                 true,
	{"internal/layerfilter", "internal/seqmap"}:         true,
	{"internal/bwe", "internal/probe"}:                  true,
}

// A pkg is one package of the module, tests left out.
type pkg struct {
	doc     bool
	imports map[string]bool // of this module only, as directories
}

// load parses the sources itself, those of all systems and build tags: the test
// cache sees the files that a test opens, not what a child process reads.
func load(t *testing.T) map[string]*pkg {
	t.Helper()
	pkgs := map[string]*pkg{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if file == root {
				return nil
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
				return filepath.SkipDir // another module
			}
			if d.Name() == "testdata" || d.Name() == "node_modules" || d.Name()[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(rel)
		p := pkgs[dir]
		if p == nil {
			p = &pkg{imports: map[string]bool{}}
			pkgs[dir] = p
		}
		p.doc = p.doc || f.Doc != nil
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imp == module || strings.HasPrefix(imp, module+"/") {
				p.imports[path.Clean("./"+strings.TrimPrefix(imp, module))] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) == 0 {
		t.Fatal("found no package")
	}
	return pkgs
}

func TestPackageDoc(t *testing.T) {
	for dir, p := range load(t) {
		if !p.doc {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

func TestImportDirection(t *testing.T) {
	for dir, p := range load(t) {
		layer, ok := layers[dir]
		if !ok {
			t.Errorf("%s: give it a layer in lint_test.go", dir)
			continue
		}
		for imp := range p.imports {
			if layers[imp] >= layer && !sameLayer[[2]string{dir, imp}] {
				t.Errorf("%s (layer %d) imports %s (layer %d)", dir, layer, imp, layers[imp])
			}
			if layer > api && strings.HasPrefix(imp, "internal/") && layers[imp] < api {
				t.Errorf("%s imports %s: above the API, build on the API", dir, imp)
			}
		}
	}
}

// machinePath matches a path of somebody's machine.
var machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_.~-])/(work|home|root|Users|farm|tmp)/[A-Za-z0-9_.]`)

// text are the extensions of the files that are read for machine paths.
var text = map[string]bool{
	".go": true, ".md": true, ".mod": true, ".mjs": true, ".js": true, ".json": true,
	".html": true, ".sh": true, ".txt": true, ".yml": true, "": true,
}

func TestNoMachinePaths(t *testing.T) {
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == ".git" || n == "node_modules" || n == "out" || n == "fuzz" {
				return filepath.SkipDir
			}
			return nil
		}
		if !text[filepath.Ext(file)] || strings.HasSuffix(file, "lint_test.go") || !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<24)
		for n := 1; lines.Scan(); n++ {
			if machinePath.Match(lines.Bytes()) {
				t.Errorf("%s:%d: names a path of one machine", file, n)
			}
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	testsOf  = regexp.MustCompile("`([a-z./]+)`: ([^;|`]*)")
	testName = regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]*`)
	caseName = regexp.MustCompile(`\b[A-Z][A-Za-z]*/[A-Z][A-Za-z]*`)
)

// TestUpstreamTests fails when docs/upstream-tests.md names a test of ours, or a
// case of package acceptance, that does not exist.
func TestUpstreamTests(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/upstream-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range testsOf.FindAllStringSubmatch(string(doc), -1) {
		files, err := filepath.Glob(filepath.Join(root, m[1], "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var source strings.Builder
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(b)
		}
		want := []string{}
		if m[1] == "acceptance" {
			for _, name := range caseName.FindAllString(m[2], -1) {
				want = append(want, `"`+name+`"`)
			}
		} else {
			for _, name := range testName.FindAllString(m[2], -1) {
				want = append(want, "func "+name+"(")
			}
		}
		if len(want) == 0 {
			t.Errorf("no test of %s in %q", m[1], m[0])
		}
		for _, w := range want {
			if seen++; !strings.Contains(source.String(), w) {
				t.Errorf("%s has no %s", m[1], w)
			}
		}
	}
	if seen < 100 {
		t.Errorf("found %d tests only", seen)
	}
}
