package source

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A listed is a folder that has a name and a list of files, and nothing else.
type listed struct {
	Folder

	files iter.Seq[file.File]
}

func (listed) Name() string { return "s3://models/team" }

func (l listed) Each(_ context.Context, take func(file.File) error) error {
	for f := range l.files {
		if err := take(f); err != nil {
			return err
		}
	}
	return nil
}

// listOf returns files with these paths.
func listOf(paths ...string) []file.File {
	var out []file.File
	for i, p := range paths {
		out = append(out, file.File{Path: p, Size: int64(i), Version: "etag:" + p})
	}
	return out
}

// TestSelectionIsBounded has patterns take longer than they may.
func TestSelectionIsBounded(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	cases := map[string]struct {
		reason   string
		ctx      context.Context
		patience time.Duration
		want     outcome.Reason
		is       error
	}{
		"InTime":    {reason: "Files that are selected in time should count.", ctx: context.Background(), patience: time.Hour},
		"TooLong":   {reason: "Patterns that take too long should be said to need a person.", ctx: context.Background(), patience: time.Nanosecond, want: outcome.Unsupported},
		"NoneLeft":  {reason: "So should those of all batches together.", ctx: context.Background(), patience: -time.Second, want: outcome.Unsupported},
		"Cancelled": {reason: "The end of the program should be no fault of the patterns.", ctx: ended, patience: time.Hour, is: context.Canceled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &folder{Folder: listed{}}
			r := &revision{
				folder: f, selection: file.Filter{Include: []string{"*a*b"}}.Selection(), patience: tc.patience, order: newOrder(f.Name()),
				batch: listOf("ab", "c"),
			}
			err := r.flush(tc.ctx)
			switch {
			case tc.want != "":
				if outcome.ReasonOf(err) != tc.want {
					t.Errorf("\n%s\nflush(...): want %s, got %v", tc.reason, tc.want, err)
				}
			case tc.is != nil:
				if !errors.Is(err, tc.is) {
					t.Errorf("\n%s\nflush(...): want %v, got %v", tc.reason, tc.is, err)
				}
			case err != nil || r.selected != 1 || r.listed != 2 || r.patience >= tc.patience:
				t.Errorf("\n%s\nflush(...): got %d of %d files, %s left, %v", tc.reason, r.selected, r.listed, r.patience, err)
			}
		})
	}
}

// TestRevision compares what is computed while a folder is listed with what a run computes of
// all files.
func TestRevision(t *testing.T) {
	many := make([]string, 0, 3000)
	for i := range 3000 {
		many = append(many, fmt.Sprintf("%d/part-%04d.bin", i%7, i))
	}
	shuffled := slices.Clone(many)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	ordered := slices.Sorted(slices.Values(many))
	cases := map[string]struct {
		reason string
		paths  []string
		files  file.Filter
		want   outcome.Reason
		says   string
	}{
		"Ordered":     {reason: "A list in the order of its paths should have the revision of a run.", paths: ordered},
		"Unordered":   {reason: "So should one in any other order.", paths: shuffled},
		"Folders":     {reason: "A server may list folder by folder.", paths: []string{"a/b", "a!", "b"}},
		"Selected":    {reason: "Only selected files should count.", paths: ordered, files: file.Filter{Exclude: []string{"3/"}}},
		"Beside":      {reason: "A name that begins like another one is no folder.", paths: []string{"a", "a-b", "ab", "ab.c/d"}},
		"Twice":       {reason: "A path that is listed twice should be refused.", paths: []string{"a", "b", "b"}, want: outcome.Unsupported, says: `file "b" twice`},
		"TwiceLater":  {reason: "So should one between others.", paths: []string{"b", "c", "a", "b"}, want: outcome.Unsupported, says: `file "b" twice`},
		"FileFolder":  {reason: "A file that is another one's folder should be refused, whatever is between them.", paths: []string{"a", "a!", "a!b", "a/b"}, want: outcome.Unsupported, says: `"a" both as a file and as a folder`},
		"FolderFile":  {reason: "So should one that comes after it.", paths: []string{"a/b", "a"}, want: outcome.Unsupported, says: `"a" both as a file and as a folder`},
		"Nothing":     {reason: "A folder without files should be refused.", want: outcome.NotFound, says: "has no files"},
		"NoneMatches": {reason: "So should one whose files are all left out.", paths: ordered, files: file.Filter{Include: []string{"*.gguf"}}, want: outcome.NotFound, says: "none of the 3000 files"},
		"Unsafe":      {reason: "A path that is none should be refused.", paths: []string{"a", "../b"}, want: outcome.Unsupported, says: "not safe"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := listOf(tc.paths...)
			got, err := Revision(t.Context(), pipeline.Source{Files: tc.files}, listed{files: slices.Values(all)})
			if tc.want != "" {
				if outcome.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("\n%s\nRevision(...): want %s with %q, got %q and %v", tc.reason, tc.want, tc.says, got, err)
				}
				return
			}
			if want := RevisionOf(tc.files.Apply(all)); err != nil || got != want {
				t.Errorf("\n%s\nRevision(...): want %s, got %s and %v", tc.reason, want, got, err)
			}
		})
	}
}

// filesOf yields as many files as there may be, with paths of a length.
func filesOf(n, length int, ordered bool) iter.Seq[file.File] {
	return func(yield func(file.File) bool) {
		for i := range n {
			at := i
			if !ordered {
				at = n - i
			}
			// A path of its own for each, as a decoder returns them.
			path := fmt.Sprintf("%08d/%s", at, strings.Repeat("x", length-9))
			if !yield(file.File{Path: path, Size: 1, Version: fmt.Sprintf("etag:%032x", at)}) {
				return
			}
		}
	}
}

// TestRevisionMemory has as many of the largest folders listed at once as the provider lists,
// and measures what is live then.
func TestRevisionMemory(t *testing.T) {
	const (
		atOnce = 3
		most   = 50 << 20
	)
	cases := map[string]struct {
		reason  string
		files   int
		length  int
		ordered bool
	}{
		"Ordered":   {reason: "Nothing should be kept of a long list in order.", files: MaxFiles, length: 80, ordered: true},
		"LongPaths": {reason: "Nor of one with the longest paths.", files: MaxFiles, length: 250, ordered: true},
		"Unordered": {reason: "What is kept of a list without an order should be bounded.", files: 50_000, length: 80},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var all, done sync.WaitGroup
			all.Add(atOnce)
			measured := make(chan struct{})
			before := live()
			for range atOnce {
				done.Go(func() {
					files := func(yield func(file.File) bool) {
						filesOf(tc.files, tc.length, tc.ordered)(yield)
						all.Done()
						<-measured
					}
					if _, err := Revision(t.Context(), pipeline.Source{}, listed{files: files}); err != nil {
						t.Errorf("\n%s\nRevision(...): %v", tc.reason, err)
					}
				})
			}
			all.Wait()
			if used := live() - before; used > most {
				t.Errorf("\n%s\n%d lists take %d MiB, want %d at most", tc.reason, atOnce, used>>20, most>>20)
			} else {
				t.Logf("%d lists take %d MiB", atOnce, used>>20)
			}
			close(measured)
			done.Wait()
		})
	}

	t.Run("TooManyUnordered", func(t *testing.T) {
		_, err := Revision(t.Context(), pipeline.Source{}, listed{files: filesOf(MaxFiles, 80, false)})
		if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "in the order of their names") {
			t.Errorf("A long list without an order should be refused, with a cure: got %v", err)
		}
	})
	t.Run("TooMany", func(t *testing.T) {
		_, err := Revision(t.Context(), pipeline.Source{}, listed{files: filesOf(MaxFiles+1, 80, true)})
		if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "more than 100000 files") {
			t.Errorf("More files than a run takes should be refused: got %v", err)
		}
	})
}

// live returns the bytes of the heap that are in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
