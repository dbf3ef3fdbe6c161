package programs

import (
	"context"
	"encoding/json"
	"os"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Module returns the directory of a module's source in Go's module cache, which the go
// command downloads if it is not there. The sum is the one that go.sum would have: any
// other content is an error. It is for files of a module of which nothing is compiled.
func Module(ctx context.Context, path, version, sum string) (string, error) {
	// Outside of any module, so that none depends on it.
	dir, err := os.MkdirTemp("", "module-")
	if err != nil {
		return "", errors.Wrap(err, "cannot make a directory to download in")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out, err := goTool(ctx, dir, "mod", "download", "-json", path+"@"+version)
	if err != nil {
		return "", err
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		return "", errors.Wrapf(err, "cannot read where module %s is", path)
	}
	if m.Sum != sum {
		return "", errors.Errorf("module %s@%s has the sum %s, want %s", path, version, m.Sum, sum)
	}
	return m.Dir, nil
}
