package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// annotationUploads holds the uploads in progress of a checkpoint, as JSON.
const annotationUploads = "io.crossplane.m.kitops.uploads"

const (
	// maxUploads is how many uploads in progress are read from a checkpoint, and
	// maxUploadsBytes how many bytes of them.
	maxUploads      = 64
	maxUploadsBytes = 1 << 20
)

// An uploadRecord is an upload in progress in a checkpoint. It saves work and proves
// nothing, since anyone who may push can have written it.
type uploadRecord struct {
	// Key of what is uploaded.
	Key string `json:"key"`

	// Location of the session, without a host.
	Location string `json:"location"`

	// Read is the number of bytes that State covers, which is the state of their
	// SHA-256. Both are empty for a blob whose digest was known before.
	Read  int64  `json:"read,omitempty"`
	State []byte `json:"state,omitempty"`
}

// An uploadState returns the number of bytes of an upload that were read, and the
// state of their SHA-256.
type uploadState func() (read int64, state []byte)

// A trackedUpload is an upload in progress of this run.
type trackedUpload struct {
	location string
	state    uploadState // Nil for a blob whose digest was known before.
	said     int64       // The bytes that were read when the checkpoint was pushed last.
}

// readUploads returns the uploads in progress of an earlier run, by their keys.
func readUploads(annotation string) map[string]uploadRecord {
	var all []uploadRecord
	if len(annotation) > maxUploadsBytes || json.Unmarshal([]byte(annotation), &all) != nil {
		return nil
	}
	out := map[string]uploadRecord{}
	for _, r := range all[:min(len(all), maxUploads)] {
		out[r.Key] = r
	}
	return out
}

// resume returns the record of an earlier run's upload, once; zero for none.
func (u *checkpoint) resume(key string) uploadRecord {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.earlier[key]
	delete(u.earlier, key)
	return r
}

// resumable returns the options by which an upload resumes an earlier one, and is
// recorded for a later one.
func (u *checkpoint) resumable(key string, from uploadRecord, state uploadState) []registry.UploadOption {
	if key == "" || u.tag == "" {
		return nil
	}
	return []registry.UploadOption{registry.Resumable(from.Location, func(location string) {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.uploads, key)
		if location != "" {
			u.uploads[key] = &trackedUpload{location: location, state: state}
		}
		u.changed = true
	})}
}

// records returns the uploads in progress: of this run, and of an earlier one that
// this run has not resumed yet. The caller must hold the lock.
func (u *checkpoint) records() []uploadRecord {
	out := slices.Collect(maps.Values(u.earlier))
	for key, t := range u.uploads {
		r := uploadRecord{Key: key, Location: t.location}
		if t.state != nil {
			r.Read, r.State = t.state()
		}
		t.said = r.Read
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b uploadRecord) int { return cmp.Compare(a.Key, b.Key) })
	return out[:min(len(out), maxUploads)]
}

// watch pushes the checkpoint at intervals while uploads are in progress, until the
// context ends: a Pod may be killed at any moment.
func (u *checkpoint) watch(ctx context.Context) {
	if u.tag == "" {
		return
	}
	t := time.NewTicker(u.every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			u.refresh(ctx)
		}
	}
}

// refresh pushes the checkpoint if it has changed and would help a later run.
func (u *checkpoint) refresh(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.uploads {
		if t.state != nil {
			read, _ := t.state()
			u.changed = u.changed || read-t.said >= checkpointBytes || read > t.said && time.Since(u.pushed) >= checkpointLatest
		}
	}
	if u.changed && u.helps() {
		u.say(ctx)
	}
}
