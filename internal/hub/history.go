package hub

import (
	"context"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

const (
	// historyCommits is how far back the commits of a revision are looked at.
	historyCommits = "50"

	// historyAge is how long ago a revision may have moved on from a commit that it stood
	// for lately: longer than a run and its retries take.
	historyAge = 7 * 24 * time.Hour
)

// WasAt reports whether a revision of a model stands for a commit, or did lately: whoever
// names a commit can have this client read that of the revision's own history only, not an
// older one, or that of a pull request. A Hub that does not tell the history, as a mirror
// may, reports none.
func (c *Client) WasAt(ctx context.Context, model, revision, commit string) (bool, error) {
	if revision == "" {
		revision = "main"
	}
	if !commitPattern.MatchString(commit) || commitPattern.MatchString(revision) {
		return commit == revision, nil
	}
	var commits []struct {
		ID   string    `json:"id"`
		Date time.Time `json:"date"`
	}
	if err := c.json(ctx, c.api(model, "commits", revision)+"?limit="+historyCommits, c.subject(model, revision), &commits); err != nil {
		return false, errors.Wrapf(err, "cannot list the commits of %s", c.subject(model, revision))
	}
	for i, one := range commits {
		if one.ID == commit {
			return i == 0 || time.Since(commits[i-1].Date) < historyAge, nil
		}
	}
	return false, nil
}
