package programs

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// modulePath is the module whose source tree holds the programs' modules.
const modulePath = "github.com/crossplane-contrib/provider-kitops"

// buildModule builds one module into the cache, if it is not there yet, and
// returns its directory.
func buildModule(ctx context.Context, log io.Writer, cache, modules string, name Name) (string, error) {
	r, source, final, err := locate(ctx, cache, modules, name)
	if err != nil {
		return "", err
	}
	if exists(final) {
		return final, nil
	}
	unlock, err := lock(ctx, log, filepath.Join(cache, "."+string(name)+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(final) {
		return final, nil
	}
	start := time.Now()
	fmt.Fprintf(log, "building %s (once; a cold build takes minutes)\n", name)
	if err := compile(ctx, source, final, r); err != nil {
		return "", err
	}
	fmt.Fprintf(log, "built %s in %s\n", name, time.Since(start).Round(time.Second))
	return final, nil
}

// locate returns how a module is built, where its source is, and which directory of the
// cache holds what was built of it.
func locate(ctx context.Context, cache, modules string, name Name) (r recipe, source, final string, err error) {
	r, ok := recipes()[name]
	if !ok {
		return recipe{}, "", "", errors.Errorf("there is no such module: %q", name)
	}
	source = filepath.Join(modules, string(name))
	key, err := contentKey(ctx, source, r)
	return r, source, filepath.Join(cache, string(name)+"-"+key), err
}

// compile builds beside final and renames, so that final is whole or not there.
func compile(ctx context.Context, source, final string, r recipe) error {
	tmp, err := os.MkdirTemp(filepath.Dir(final), ".building-")
	if err != nil {
		return errors.Wrap(err, "cannot make a directory to build in")
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	output := tmp + string(filepath.Separator)
	if r.binary != "" {
		output = filepath.Join(tmp, r.binary)
	}
	if _, err := goTool(ctx, source, append(append([]string{"build"}, flags(r)...), "-o", output, r.target)...); err != nil {
		return err
	}
	if err := copyData(ctx, source, tmp, r.data); err != nil {
		return err
	}
	for _, l := range links(r) {
		if err := os.Symlink(r.binary, filepath.Join(tmp, l)); err != nil {
			return errors.Wrap(err, "cannot link a program's name")
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return errors.Wrap(err, "cannot open the build to all users")
	}
	return errors.Wrap(os.Rename(tmp, final), "cannot put the build in its place")
}

// copyData copies a folder of one of the modules that source requires to the
// build: the cluster does not see the module cache.
func copyData(ctx context.Context, source, build string, d data) error {
	if d.module == "" {
		return nil
	}
	dir, err := goTool(ctx, source, "list", "-m", "-f", "{{.Dir}}", d.module)
	if err != nil {
		return errors.Wrapf(err, "cannot find module %s", d.module)
	}
	from := os.DirFS(filepath.Join(strings.TrimSpace(dir), filepath.FromSlash(d.dir)))
	return errors.Wrapf(os.CopyFS(filepath.Join(build, d.name), from), "cannot copy %s of module %s", d.dir, d.module)
}

// flags are the flags of go build.
func flags(r recipe) []string {
	out := []string{"-trimpath", "-buildvcs=false", "-ldflags", r.ldflags}
	if r.tags != "" {
		out = append(out, "-tags", r.tags)
	}
	return out
}

// links are the names that a recipe's binary is linked to on this platform.
func links(r recipe) []string {
	if runtime.GOOS == "linux" {
		return append(append([]string{}, r.links...), r.linux...)
	}
	return r.links
}

// SourceTree returns the root of the source tree that the working directory is
// in.
func SourceTree(ctx context.Context) (string, error) {
	out, err := goTool(ctx, ".", "list", "-m", "-f", "{{.Dir}}", modulePath)
	return strings.TrimSpace(out), errors.Wrap(err, "cannot find the source tree: run this inside it")
}

// goTool runs the go command in dir and returns what it prints. The user's
// flags and workspace do not apply: a build depends on what its key covers.
func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", errors.Wrapf(err, "cannot run go %s: %s", args[0], tail(stderr.String(), 4096))
	}
	return stdout.String(), nil
}

// tail is the end of s, of at most n bytes.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
