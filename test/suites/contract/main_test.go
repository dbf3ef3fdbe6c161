package contract

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/semver"

	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// suite is what all tests share: net/http reads the proxy from the environment
// once, so there is one proxy, one Hub behind it, and one kit.
var suite struct {
	kit     string // Path of the binary.
	version string // Semantic, with v; empty where kit does not tell.
	world   *world
}

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract:", err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (int, error) {
	if runtime.GOOS != "linux" {
		fmt.Println("contract: NOT RUN, since only on Linux do programs take an authority from SSL_CERT_FILE")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "contract-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Temporary.
	if suite.kit, err = findKit(dir); err != nil {
		return 0, err
	}
	// While the way to the module proxy is there: in the world that follows,
	// only the Hub can be reached.
	if _, err := models.Speech(context.Background()); err != nil {
		return 0, err
	}
	w, err := newWorld(dir)
	if err != nil {
		return 0, err
	}
	defer w.close()
	suite.world = w
	out, err := exec.Command(suite.kit, "version", "--config", filepath.Join(dir, "version")).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("cannot run %s version: %w: %s", suite.kit, err, out)
	}
	suite.version = parseVersion(string(out))
	fmt.Printf("contract: running against %s, which says: %s\n", suite.kit, strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), "; "))
	return m.Run(), nil
}

// findKit returns the kit that KIT names, or builds the stand-in.
func findKit(dir string) (string, error) {
	if kit := os.Getenv("KIT"); kit != "" {
		return filepath.Abs(kit)
	}
	return buildStandIn(context.Background(), filepath.Join(dir, "kit"), "")
}

// buildStandIn builds the stand-in, with a version stamped on it if one is
// given.
func buildStandIn(ctx context.Context, to, version string) (string, error) {
	args := []string{"build", "-o", to}
	if version != "" {
		args = append(args, "-ldflags", "-X main.version="+version)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "../../fakes/kit")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the stand-in: %w: %s", err, out)
	}
	return to, nil
}

func parseVersion(out string) string {
	m := regexp.MustCompile(`(?m)^Version: v?(\d+\.\d+\.\d+)`).FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return "v" + m[1]
}

// kitHas reports whether the kit has what came with a release. A kit that tells
// no version is taken for the newest.
func kitHas(release string) bool {
	return suite.version == "" || semver.Compare(suite.version, release) >= 0
}

// needKit skips a test that asks for what this kit is too old for.
func needKit(t *testing.T, release, what string) {
	t.Helper()
	if !kitHas(release) {
		t.Skipf("kit %s cannot be asked: %s came with %s", suite.version, what, release)
	}
}
