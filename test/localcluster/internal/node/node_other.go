//go:build !linux

package node

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

// Up fails: it needs Linux.
func Up(context.Context, Options) (*cluster.Cluster, error) {
	return nil, errors.New("the local cluster needs Linux")
}

// Down does nothing: no cluster can be up.
func Down(context.Context, string) error { return nil }
