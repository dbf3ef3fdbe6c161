package stream

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// A servedSource serves a run's files, as one of sources does.
type servedSource struct {
	// setFault harms the answers of the source's server; nil if it has none.
	setFault func(f testhub.Fault)

	// lists and sends match the requests for the listing, and for bytes of files. Lists is
	// nil if there is no listing.
	lists, sends testhub.Match

	// change gives each file other bytes of the same size; nil if what a run reads
	// cannot change. Where the source keeps versions, it has the listed ones still.
	change   func()
	versions bool
}

// sources are all kinds of sources. Each has the run of a world, whose Hub has the files
// already, read these files.
var sources = map[string]func(t *testing.T, w *streamWorld, files map[string]string) servedSource{
	"Hub": func(_ *testing.T, w *streamWorld, _ map[string]string) servedSource {
		return servedSource{setFault: w.hub.SetFault, lists: testhub.On("/tree/"), sends: func(r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/resolve/") || strings.Contains(r.URL.Path, "/cdn/")
		}}
	},
	"Registry":    fromRegistry,
	"HTTP":        fromHTTP,
	"GCS":         fromGCS,
	"AzureBlob":   fromAzureBlob,
	"Volume":      fromVolume,
	"S3":          fromS3,
	"S3Versioned": fromS3Versioned,
	"Folder": func(_ *testing.T, w *streamWorld, files map[string]string) servedSource {
		d := w.from(files)
		return servedSource{change: func() {
			for name, content := range otherBytes(files) {
				d.Change(name, content)
			}
		}}
	},
}

// otherBytes returns other content of the same size for each file.
func otherBytes(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		b := []byte(content)
		for i := range b {
			b[i] ^= 0xff
		}
		out[name] = b
	}
	return out
}

// TestMatrix makes an artifact of each format from each source, in registries that need a
// blob's digest before its bytes and in others, and checks that the same files have the
// same layers, wherever they come from.
func TestMatrix(t *testing.T) {
	files := streamFiles()
	files["same-size.bin"], files["other.bin"] = strings.Repeat("a", 3<<20), strings.Repeat("b", 3<<20)
	for _, format := range allFormats {
		want := layersOf(t, "Hub", format, nil, files)
		for _, name := range slices.Sorted(maps.Keys(sources)) {
			for to, registry := range map[string]http.Handler{"": nil, "/DigestFirst": whole(refusing(inMemory()))} {
				t.Run(format+"/"+name+to, func(t *testing.T) {
					if diff := cmp.Diff(want, layersOf(t, name, format, registry, files)); diff != "" {
						t.Errorf("layers: -Hub, +%s:\n%s", name, diff)
					}
				})
			}
		}
	}
}

// layersOf returns the layers of an artifact of files from a source, in a registry; nil
// for any.
func layersOf(t *testing.T, name, format string, registry http.Handler, files map[string]string) []digest.Digest {
	t.Helper()
	w := newStreamWorld(t, files, registry)
	sources[name](t, w, files)
	w.run.Format = format
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	a := w.fetched(t, stagingTag)
	if diff := cmp.Diff(wanted(format, files), a.Files); diff != "" {
		t.Errorf("files: -%s, +registry:\n%s", name, diff)
	}
	if list := w.listOf(t, result.FileList); len(list.Files) != len(files) {
		t.Errorf("want a list of %d files, got %d", len(files), len(list.Files))
	}
	var layers []digest.Digest
	for _, l := range a.Manifest.Layers {
		layers = append(layers, l.Digest)
	}
	return layers
}

// TestMatrixFaults harms what each source sends, and checks that nothing is published but
// the files.
func TestMatrixFaults(t *testing.T) {
	t.Parallel()
	const always = 1 << 20
	type faults func(s servedSource) testhub.Fault
	cases := map[string]struct {
		reason string
		fault  faults
		wait   time.Duration // How long the run may take; 0 for a minute.
		want   bool          // Whether the run succeeds.
		either bool          // Whether it may do so or not.
		lists  bool          // Whether the fault is one of the listing.
	}{
		"Drop":            {reason: "Reading should resume after a connection that broke.", fault: func(s servedSource) testhub.Fault { return testhub.Times(3, s.sends, testhub.Truncate(1000)) }, want: true},
		"Unavailable":     {reason: "A server that fails for a moment should be asked again.", fault: func(s servedSource) testhub.Fault { return testhub.Times(2, s.sends, testhub.Status(503, nil)) }, want: true},
		"Stall":           {reason: "A server that sends no more should not end a file early.", fault: func(s servedSource) testhub.Fault { return testhub.Times(always, s.sends, testhub.Stall(1000)) }, wait: 3 * time.Second},
		"Expired":         {reason: "A server that refuses from some point on should end the run.", fault: func(s servedSource) testhub.Fault { return after(6, s.sends, testhub.Status(403, nil)) }},
		"TruncatedOnce":   {reason: "A listing that breaks once should be whole or end the run.", fault: func(s servedSource) testhub.Fault { return testhub.Times(1, s.lists, testhub.Truncate(50)) }, lists: true, either: true},
		"Truncated":       {reason: "A listing that always breaks should end the run.", fault: func(s servedSource) testhub.Fault { return testhub.Times(always, s.lists, testhub.Truncate(50)) }, lists: true, wait: 5 * time.Second},
		"ListUnavailable": {reason: "A listing that fails for a moment should be asked again.", fault: func(s servedSource) testhub.Fault { return testhub.Times(1, s.lists, testhub.Status(503, nil)) }, lists: true, want: true},
	}
	for name, serve := range sources {
		for fault, tc := range cases {
			t.Run(name+"/"+fault, func(t *testing.T) {
				t.Parallel()
				files := streamFiles()
				w := newStreamWorld(t, files, nil)
				s := serve(t, w, files)
				if s.setFault == nil || tc.lists && s.lists == nil {
					t.Skip("the source has no server, or no listing")
				}
				s.setFault(tc.fault(s))
				wait := tc.wait
				if wait == 0 {
					wait = time.Minute
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				_, err := w.stream.Run(ctx, w.run)
				if !tc.either && (err == nil) != tc.want {
					t.Errorf("\n%s\nRun(...): want success: %t, got %v\n%s", tc.reason, tc.want, err, w.log)
				}
				w.holds(t, err == nil, files)
			})
		}
	}
}

// TestMatrixChanged changes all files while a large one is read, and checks that nothing
// is published of which a part is of one version and a part of another.
func TestMatrixChanged(t *testing.T) {
	t.Parallel()
	for name, serve := range sources {
		for _, format := range allFormats {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				files := largeFiles(1, 32<<20)
				var s servedSource
				var once sync.Once
				w := newStreamWorld(t, files, changing(func() { once.Do(s.change) }))
				if s = serve(t, w, files); s.change == nil {
					t.Skip("what a run reads cannot change at the source")
				}
				w.run.Format = format
				_, err := w.stream.Run(t.Context(), w.run)
				// A source may have sent the whole of the listed version in one answer.
				if err != nil && (s.versions || outcome.ReasonOf(err) != outcome.Changed) {
					t.Errorf("Run(...): want the listed versions, or if the source keeps none, reason Changed, got %v\n%s", err, w.log)
				}
				w.holds(t, err == nil, files)
			})
		}
	}
}

// holds checks that an artifact of the files is staged, or nothing.
func (w *streamWorld) holds(t *testing.T, staged bool, files map[string]string) {
	t.Helper()
	_, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag)
	if (err == nil) != staged {
		t.Fatalf("want something to be staged: %t, got %v", staged, err)
	}
	if !staged {
		return
	}
	if diff := cmp.Diff(wanted(w.run.Format, files), w.fetched(t, stagingTag).Files); diff != "" {
		t.Errorf("files: -source, +registry:\n%s", diff)
	}
}

// after applies a fault to all matching requests but the first n.
func after(n int64, match testhub.Match, f testhub.Fault) testhub.Fault {
	var seen atomic.Int64
	return testhub.Times(1<<20, func(r *http.Request) bool { return match(r) && seen.Add(1) > n }, f)
}

// changing returns a registry that calls change when it has got the first bytes of a large
// blob, before it takes the rest.
func changing(change func()) http.Handler {
	next := whole(inMemory())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			r.Body = &changingBody{ReadCloser: r.Body, change: change}
		}
		next.ServeHTTP(w, r)
	})
}

// A changingBody calls change after its first mebibyte.
type changingBody struct {
	io.ReadCloser

	read   int64
	change func()
}

// Read implements io.Reader.
func (b *changingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read += int64(n); b.read >= 1<<20 && b.change != nil {
		b.change()
		b.change = nil
	}
	return n, err
}
