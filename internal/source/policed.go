package source

import (
	"bytes"
	"context"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// headsAtOnce is how many files are read in parallel for their first bytes.
const headsAtOnce = 8

// A Policed source gives nothing that the policies of a run refuse. Its errors have
// reason PolicyViolation then.
type Policed struct {
	Source

	policies policy.Set
	logf     func(format string, args ...any)
	verdict  string

	mu      sync.Mutex
	rest    map[string]file.File // The files whose first bytes were not checked yet.
	formats map[string]string    // What first bytes tell that names do not.
}

// Police returns a source that the policies of a run are checked on: its name and
// licence when it is resolved, the listing before a file is read, and the first bytes
// of each file as they pass.
func Police(s Source, policies policy.Set, logf func(format string, args ...any)) *Policed {
	return &Policed{Source: s, policies: policies, logf: logf}
}

// Resolve implements Source.
func (p *Policed) Resolve(ctx context.Context) (Contents, error) {
	c, err := p.Source.Resolve(ctx)
	if err != nil || len(p.policies) == 0 {
		return c, err
	}
	for _, name := range c.Names {
		if err := p.policies.CheckModel(name, c.Claimed); err != nil {
			return Contents{}, err
		}
	}
	return c, p.policies.CheckLicense(c.License, c.Declared)
}

// List implements Source.
func (p *Policed) List(ctx context.Context, m *pipeline.Meter) ([]file.File, error) {
	files, err := p.Source.List(ctx, m)
	if err != nil || len(p.policies) == 0 {
		return files, err
	}
	listed := make([]policy.File, 0, len(files))
	for _, f := range files {
		listed = append(listed, asPolicyFile(f))
	}
	if err := p.policies.CheckNames(listed); err != nil {
		return nil, err
	}
	if err := p.checkScan(ctx, listed); err != nil {
		return nil, err
	}
	if p.policies.HasFileRules() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rest = make(map[string]file.File, len(files))
		for _, f := range files {
			if f.Size > 0 {
				p.rest[f.Path] = f
			}
		}
	}
	return files, nil
}

// checkScan asks the source for its security scan, if a policy does.
func (p *Policed) checkScan(ctx context.Context, files []policy.File) error {
	if !p.policies.AsksForScan() {
		return nil
	}
	scan, err := p.Scan(ctx)
	if err != nil {
		return err
	}
	var unsafe []string
	p.verdict, unsafe = scan.Verdict(files)
	p.logf("the Hub's security scan says: %s", p.verdict)
	for _, f := range unsafe[:min(len(unsafe), maxNamedUnsafe)] {
		p.logf("the Hub's security scan did not find safe: %s", f)
	}
	return p.policies.CheckScan(scan, files)
}

// maxNamedUnsafe bounds how many files that are not safe the log names.
const maxNamedUnsafe = 20

// Verdict returns what the Hub's security scan said of the files; "" if no policy asks
// for it.
func (p *Policed) Verdict() string { return p.verdict }

// Open implements Source. The first bytes of a file are checked before more of them
// are given.
func (p *Policed) Open(ctx context.Context, f file.File, offset int64) (io.ReadCloser, error) {
	rc, err := p.Source.Open(ctx, f, offset)
	if err != nil || offset != 0 || f.Size == 0 {
		return rc, err
	}
	return &headChecker{ReadCloser: rc, check: func(head []byte) error { return p.CheckHead(f, head) }, size: f.Size}, nil
}

// CheckHead checks the first bytes of a file: up to policy.HeadBytes, or all if it has
// no more. It records the format that they tell.
func (p *Policed) CheckHead(f file.File, head []byte) error {
	p.recordFormat(f, head)
	if !p.policies.HasFileRules() || f.Size == 0 {
		return nil
	}
	if err := p.policies.CheckContent(asPolicyFile(f), head); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rest, f.Path)
	return nil
}

// Finish checks the first bytes of the files that were not read from their start,
// since the registry had them or an earlier run has sent them. It must be called
// before anything is staged.
func (p *Policed) Finish(ctx context.Context) error {
	p.mu.Lock()
	rest := make([]file.File, 0, len(p.rest))
	for _, f := range p.rest {
		rest = append(rest, f)
	}
	p.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(headsAtOnce)
	for _, f := range rest {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.readHead(ctx, f)
		})
	}
	return group.Wait()
}

// readHead reads and checks the first bytes of a file.
func (p *Policed) readHead(ctx context.Context, f file.File) error {
	n := min(f.Size, policy.HeadBytes)
	rc, err := p.Head(ctx, f, n)
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	head := make([]byte, n)
	if _, err := io.ReadFull(rc, head); err != nil {
		return errors.Wrapf(err, "cannot read the first bytes of %s", f.Path)
	}
	return p.CheckHead(f, head)
}

// A HeadBuffer keeps the first bytes that are written, as CheckHead takes them.
type HeadBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (h *HeadBuffer) Write(p []byte) (int, error) {
	_, _ = h.Buffer.Write(p[:min(len(p), policy.HeadBytes-h.Len())])
	return len(p), nil
}

func asPolicyFile(f file.File) policy.File { return policy.File{Path: f.Path, Size: f.Size} }

// A headChecker checks the first bytes that are read.
type headChecker struct {
	io.ReadCloser

	check func(head []byte) error
	size  int64

	head bytes.Buffer
	done bool
}

// Read implements io.Reader.
func (h *headChecker) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if h.done || n == 0 {
		return n, err
	}
	_, _ = h.head.Write(p[:min(n, policy.HeadBytes-h.head.Len())])
	if int64(h.head.Len()) < min(h.size, policy.HeadBytes) {
		return n, err
	}
	h.done = true
	if refused := h.check(h.head.Bytes()); refused != nil {
		// The source would say the same again.
		return 0, retry.Permanent(refused)
	}
	return n, err
}
