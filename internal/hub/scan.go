package hub

import (
	"context"
	"encoding/json"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxIssues bounds the files with issues of a scan.
const maxIssues = 10_000

// A Scan is the Hub's security scan of a model's commit
// (https://huggingface.co/docs/hub/security-malware).
type Scan struct {
	// Known reports whether the Hub told of a scan. Mirrors do not.
	Known bool

	// Done reports whether all scans have ended.
	Done bool

	// Issues are the files that were not found safe.
	Issues []ScanIssue
}

// A ScanIssue is a file that a scan did not find safe.
type ScanIssue struct {
	// Path of the file inside the model.
	Path string `json:"path"`

	// Level as the Hub has it, for example unsafe.
	Level string `json:"level"`
}

// Scan returns the security scan of a model's commit, in one request. A Hub that does
// not know of scans is not an error.
func (c *Client) Scan(ctx context.Context, model, commit string) (Scan, error) {
	if err := c.kind.check(model); err != nil {
		return Scan{}, err
	}
	s := c.subject(model, commit)
	var info struct {
		Status *struct {
			Done   bool            `json:"scansDone"`
			Issues json.RawMessage `json:"filesWithIssues"`
		} `json:"securityRepoStatus"`
	}
	err := c.json(ctx, c.api(model, "revision", commit)+"?securityStatus=true", s, &info)
	switch {
	case errors.Is(err, errNoRoute), errors.Is(err, errNoHub):
		// A mirror may not know the parameter.
		return Scan{}, nil
	case err != nil:
		return Scan{}, err
	case info.Status == nil:
		return Scan{}, nil
	}
	out := Scan{Known: true, Done: info.Status.Done}
	if len(info.Status.Issues) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(info.Status.Issues, &out.Issues); err != nil {
		// Issues that cannot be read must not count as none.
		return Scan{}, nil //nolint:nilerr // It is not known.
	}
	if len(out.Issues) > maxIssues {
		return Scan{}, outcome.Errorf(outcome.Unsupported, "the Hub's security scan of %s names %d files, more than this program reads", s, len(out.Issues))
	}
	return out, nil
}
