package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// contentKey names a build by all that decides its outcome: the module's
// files, the compiler, the platform and the flags.
func contentKey(ctx context.Context, source string, r recipe) (string, error) {
	toolchain, err := goTool(ctx, source, "env", "GOVERSION", "GOOS", "GOARCH", "GOEXPERIMENT")
	if err != nil {
		return "", err
	}
	files, err := sources(source)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q\n", toolchain, flags(r), r.target, links(r))
	if r.data != (data{}) {
		fmt.Fprintf(h, "%q\n", r.data)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(source, f))
		if err != nil {
			return "", errors.Wrap(err, "cannot read a module's source")
		}
		fmt.Fprintf(h, "%q %d\n", f, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// sources are the files of a module that decide its build, sorted.
func sources(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Wrap(err, "cannot list a module's sources")
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go") {
			files = append(files, name)
		}
	}
	sort.Strings(files)
	return files, nil
}

// link makes a directory of links to every program of the builds, under a key
// of their names, and returns it.
func link(cache string, builds []string) (string, error) {
	h := sha256.New()
	for _, b := range builds {
		_, _ = io.WriteString(h, filepath.Base(b)+"\n") // A hash does not fail.
	}
	final := filepath.Join(cache, "set-"+hex.EncodeToString(h.Sum(nil))[:16])
	if exists(final) {
		return final, nil
	}
	tmp, err := os.MkdirTemp(cache, ".linking-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for _, b := range builds {
		if err := linkAll(tmp, b); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, final); err != nil && !exists(final) {
		return "", err
	}
	return final, nil
}

// linkAll links every program of one build into dir, relative to it, so that
// the cache can be mounted elsewhere.
func linkAll(dir, build string) error {
	entries, err := os.ReadDir(build)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join("..", filepath.Base(build), e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
