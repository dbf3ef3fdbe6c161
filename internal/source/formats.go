package source

import (
	"context"
	"io"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/policy"
)

// maxHeads bounds how many files that the run did not read are read for their format.
const maxHeads = 100

// recordFormat records the format that a file's first bytes tell, unless its name tells
// the same.
func (p *Policed) recordFormat(f file.File, head []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.formats, f.Path)
	p.setFormat(f, policy.FormatOf(asPolicyFile(f), head))
}

// RecordFormat records the format of a file as an earlier run has told it by the first bytes,
// unless this run has read them, or the name tells the same.
func (p *Policed) RecordFormat(f file.File, format string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.formats[f.Path]; !known {
		p.setFormat(f, format)
	}
}

// setFormat keeps a format that the file's name does not tell. p.mu must be held.
func (p *Policed) setFormat(f file.File, format string) {
	if named, told := policy.FormatByName(f.Path); told && named == format {
		return
	}
	if p.formats == nil {
		p.formats = map[string]string{}
	}
	p.formats[f.Path] = format
}

// Formats returns the formats of files, in their order: those that their first bytes
// tell, if the run has read them, else those that their names do. Of files whose names
// tell none, a few are read for that. A format that cannot be told is empty.
func (p *Policed) Formats(ctx context.Context, files []file.File) []string {
	out, heads := make([]string, len(files)), 0
	for i, f := range files {
		named, told := policy.FormatByName(f.Path)
		read := p.recordedFormat(f)
		if read == "" && !told && f.Size > 0 && heads < maxHeads && ctx.Err() == nil {
			heads++
			read = p.readFormat(ctx, f)
		}
		switch {
		case read != "":
			out[i] = read
		case told:
			out[i] = named
		}
	}
	return out
}

func (p *Policed) recordedFormat(f file.File) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.formats[f.Path]
}

// readFormat returns the format that a file's first bytes tell; "" if they cannot be
// read.
func (p *Policed) readFormat(ctx context.Context, f file.File) string {
	n := min(f.Size, policy.HeadBytes)
	rc, err := p.Head(ctx, f, n)
	if err != nil {
		return ""
	}
	defer func() { _ = rc.Close() }()
	head := make([]byte, n)
	if _, err := io.ReadFull(rc, head); err != nil {
		return ""
	}
	return policy.FormatOf(asPolicyFile(f), head)
}
