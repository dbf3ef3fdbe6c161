package programs

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/internal/flock"
)

// lock takes the lock file at path, waiting while another process holds it,
// and returns what lets it go.
func lock(ctx context.Context, log io.Writer, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, errors.Wrap(err, "cannot open a lock file")
	}
	if err := flock.Lock(ctx, f, func() { fmt.Fprintln(log, "waiting for another process that builds the same") }); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
