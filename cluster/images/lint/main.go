// Command lint reads the package of a provider from a registry and checks it as
// Crossplane does before it installs it. It prints the kinds and names of what
// is in it. The registry is one on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser/examples"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser/yaml"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/apimachinery/pkg/api/meta"
)

// timeout bounds the whole.
const timeout = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	err := errors.New("usage: lint REFERENCE")
	if len(os.Args) == 2 {
		err = lint(ctx, os.Args[1])
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(1)
	}
}

// lint checks the package that a reference names.
func lint(ctx context.Context, reference string) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	image, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("cannot get the package: %w", err)
	}
	pkg, err := parse(ctx, image)
	if err != nil {
		return err
	}
	for _, l := range []parser.Linter{xpkg.NewProviderLinter(), xpkg.NewProviderValidator()} {
		if err := l.Lint(pkg); err != nil {
			return fmt.Errorf("the package is not sound: %w", err)
		}
	}
	for _, o := range append(pkg.GetMeta(), pkg.GetObjects()...) {
		m, err := meta.Accessor(o)
		if err != nil {
			return err
		}
		fmt.Println(o.GetObjectKind().GroupVersionKind().Kind, m.GetName())
	}
	return lintExamples(ctx, image)
}

// parse returns the package's objects.
func parse(ctx context.Context, image v1.Image) (*parser.Package, error) {
	stream, err := xpkg.ExtractPackageYAML(image)
	if err != nil {
		return nil, fmt.Errorf("cannot find the package's objects: %w", err)
	}
	p, err := yaml.New()
	if err != nil {
		return nil, err
	}
	pkg, err := p.Parse(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the package's objects: %w", err)
	}
	return pkg, nil
}

// lintExamples checks that the examples are objects.
func lintExamples(ctx context.Context, image v1.Image) error {
	files := mutate.Extract(image)
	defer files.Close()
	content, err := find(files, xpkg.XpkgExamplesFile)
	if err != nil {
		return fmt.Errorf("cannot find the examples: %w", err)
	}
	if _, err := examples.New().Parse(ctx, content); err != nil {
		return fmt.Errorf("cannot parse the examples: %w", err)
	}
	return nil
}
