package kit

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// maxNamed is how many files a message names at most.
const maxNamed = 3

// dropsFiles explains why a file may be missing, and the cure.
const dropsFiles = "kit passes over files of folders with more than 1000 entries: set spec.forProvider.pipeline to Stream if this stays"

// A check compares files with the source's list of them.
type check struct {
	missing map[string]file.File
	seen    map[string]bool
	wrong   []string

	// head checks the first bytes of a file.
	head func(f file.File, head []byte) error

	// sums are the SHA-256 of the files whose content was verified, in hex.
	sums map[string]string
}

func newCheck(files []file.File) *check {
	c := &check{
		missing: make(map[string]file.File, len(files)), seen: map[string]bool{},
		head: func(file.File, []byte) error { return nil }, sums: map[string]string{},
	}
	for _, f := range files {
		c.missing[f.Path] = f
	}
	return c
}

// visit checks the name and the size of one file, and its hash if there is content.
func (c *check) visit(name string, size int64, content io.Reader) error {
	want, ok := c.missing[name]
	switch {
	case c.seen[name]:
		// Unpacking the artifact would give one or the other.
		c.wrong = append(c.wrong, name+" (twice)")
		return nil
	case !ok:
		c.wrong = append(c.wrong, name+" (not at the source)")
		return nil
	}
	delete(c.missing, name)
	c.seen[name] = true
	if size != want.Size {
		c.wrong = append(c.wrong, fmt.Sprintf("%s (%d bytes, not %d)", name, size, want.Size))
		return nil
	}
	if content == nil {
		return nil
	}
	v, head := want.NewVerifier(), &source.HeadBuffer{}
	if _, err := io.Copy(io.MultiWriter(v, head), content); err != nil {
		return errors.Wrapf(err, "cannot read %s from what kit stored", name)
	}
	if v.Verify() == nil {
		c.sums[name] = v.SHA256()
		return c.head(want, head.Bytes())
	}
	c.wrong = append(c.wrong, name+" (another hash)")
	return nil
}

// verdict returns an outcome.Error unless exactly the files of the source were
// visited, as they are there.
func (c *check) verdict() error {
	bad := slices.Clone(c.wrong)
	for name := range c.missing {
		bad = append(bad, name+" (missing)")
	}
	if len(bad) == 0 {
		return nil
	}
	slices.Sort(bad)
	named := strings.Join(bad[:min(maxNamed, len(bad))], ", ")
	if more := len(bad) - maxNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return outcome.Errorf(outcome.Mismatch,
		"what kit packed is not what the source has: %s; nothing was pushed; %s", named, dropsFiles)
}

// checkPresence checks names and sizes of what kit stored, without reading it all.
func (r *task) checkPresence(ctx context.Context, a *artifact) error {
	c := newCheck(r.files)
	if err := a.walk(ctx, func(name string, size int64, _ io.Reader) error { return c.visit(name, size, nil) }); err != nil {
		return err
	}
	return c.verdict()
}

// checkContent verifies every byte of what kit stored.
func (r *task) checkContent(ctx context.Context, a *artifact) error {
	c := newCheck(r.files)
	c.head = r.source.CheckHead
	r.run.Meter.Step(stepCheck, pipeline.TotalSize(r.files))
	err := a.walk(ctx, func(name string, size int64, content io.Reader) error {
		return c.visit(name, size, r.counted(content))
	})
	if err != nil {
		return err
	}
	r.sums = c.sums
	return c.verdict()
}

// inUnpacked returns the path of an unpacked file.
func (r *task) inUnpacked(f file.File) string {
	return filepath.Join(r.workspace.unpacked, filepath.FromSlash(f.Path))
}
