package follow

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/buckets"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/azureblob"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/gcs"
	tests3 "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// account is one that may read the buckets of tests.
var account = awssdk.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret"}

// A bucketWorld is a world with a bucket of S3.
type bucketWorld struct {
	*followWorld

	s3       *tests3.Server
	endpoint string
}

// newBucketWorld returns a world whose bucket has a folder of n files. Anybody may read it:
// a server refuses what is signed at the time of a bubble.
func newBucketWorld(t *testing.T, n int) *bucketWorld {
	t.Helper()
	w := &bucketWorld{followWorld: newFollowWorld(t), s3: tests3.New("models")}
	for i := range n {
		w.s3.Put(fmt.Sprintf("team/a/part-%05d.bin", i), []byte{byte(i)})
	}
	w.endpoint = w.serve(w.s3)
	return w
}

// source returns the folder.
func (w *bucketWorld) source() *pipeline.Source {
	return &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Prefix: "team/a", Region: tests3.Region, Endpoint: w.endpoint}}
}

// signed has a source have credentials in memory.
func signed(s *pipeline.Source) {
	s.Credentials = map[string][]byte{"AWS_ACCESS_KEY_ID": []byte(account.AccessKeyID + "\n"), "AWS_SECRET_ACCESS_KEY": []byte(account.SecretAccessKey)}
}

// follows asks for the folder each hour.
func (w *bucketWorld) follows(change ...func(*pipeline.Source)) Question {
	s := w.source()
	for _, fn := range change {
		fn(s)
	}
	return Question{Bucket: s, Interval: time.Hour, Now: true}
}

// revision returns the revision that a run would find.
func (w *bucketWorld) revision(s *pipeline.Source) string {
	w.t.Helper()
	folder, err := buckets.New(*s, retry.Policy{}, download.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer folder.Close()
	was := len(w.s3.Requests())
	got, err := source.FromFolder(*s, folder, func(string, ...any) {}).Resolve(context.WithoutCancel(w.t.Context()))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(w.s3.Requests()) == was {
		w.t.Fatal("the bucket was not asked")
	}
	return got.Revision
}

// TestBucket follows a folder of a bucket.
func TestBucket(t *testing.T) {
	w := newBucketWorld(t, 3)
	first := w.revision(w.source())
	before := len(w.s3.Requests())
	w.run(func(*testing.T) {
		w.ask("a", w.follows(), first, "")
		if got := len(w.s3.Requests()) - before; got != 2 {
			w.t.Errorf("A short list should take two requests, whether there are versions and the list itself: got %d", got)
		}
		w.pass(time.Hour)
		w.ask("a", w.follows(), first, "")
		w.news()

		w.s3.Put("team/b/other.bin", nil)
		w.pass(time.Hour)
		w.ask("a", w.follows(), first, "")
		filtered := func(s *pipeline.Source) { s.Files = file.Filter{Exclude: []string{"*.md"}} }
		w.ask("filtered", w.follows(filtered), first, "")

		w.s3.Put("team/a/notes.md", []byte("hello"))
		now := w.revision(w.source())
		w.pass(time.Hour)
		w.ask("a", w.follows(), first, now)
		w.ask("filtered", w.follows(filtered), first, "")
		w.news("a")

		w.s3.Put("team/a/part-00001.bin", []byte("changed"))
		w.pass(time.Hour)
		if got := w.reconcile("filtered", w.follows(filtered), first); got == "" || got == first {
			w.t.Errorf("A changed object should be a move, got %q", got)
		}
	})
}

// TestBucketTrouble has a bucket not be listed.
func TestBucketTrouble(t *testing.T) {
	cases := map[string]struct {
		reason  string
		private bool
		change  func(*pipeline.Source)
		want    outcome.Reason
		says    string
	}{
		"NoKeys":  {reason: "Without keys, a bucket that is not public should say what it needs.", private: true, want: outcome.Unauthorized, says: "credentialsSecretRef"},
		"WrongID": {reason: "An unknown key should be named.", private: true, change: func(s *pipeline.Source) { signed(s); s.Credentials["AWS_ACCESS_KEY_ID"] = []byte("x") }, want: outcome.Unauthorized, says: "AWS_ACCESS_KEY_ID"},
		"HalfKey": {reason: "A Secret that lacks a key should name it.", change: func(s *pipeline.Source) { signed(s); delete(s.Credentials, "AWS_SECRET_ACCESS_KEY") }, want: outcome.ConfigInvalid, says: "AWS_SECRET_ACCESS_KEY"},
		"Bucket":  {reason: "A bucket that is not there should be named.", change: func(s *pipeline.Source) { s.S3.Bucket = "gone" }, want: outcome.NotFound, says: "gone"},
		"Empty":   {reason: "A folder without files should be named.", change: func(s *pipeline.Source) { s.S3.Prefix = "team/none" }, want: outcome.NotFound, says: "team/none"},
		"Filter":  {reason: "Patterns that select nothing should be named.", change: func(s *pipeline.Source) { s.Files.Include = []string{"*.gguf"} }, want: outcome.NotFound, says: "include"},
		"Name":    {reason: "What is no name of a bucket should be said without a request.", change: func(s *pipeline.Source) { s.S3.Bucket = "a/b" }, want: outcome.Unsupported, says: "bucket"},
		"CA":      {reason: "Authorities that are none should be said without a request.", change: func(s *pipeline.Source) { s.CA = []byte("x") }, want: outcome.ConfigInvalid, says: "certSecretRef"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newBucketWorld(t, 1)
			if tc.private {
				w.s3.Let(account)
			}
			w.run(func(*testing.T) {
				q := w.follows()
				if tc.change != nil {
					tc.change(q.Bucket)
				}
				w.ask("a", q, "sha256:0", "")
				got := w.Trouble("a")
				if got == nil || got.Reason != tc.want || !strings.Contains(got.Message, tc.says) {
					w.t.Errorf("\n%s\nTrouble(...): want %s that says %q, got %v", tc.reason, tc.want, tc.says, got)
				}
				if got != nil && strings.Contains(got.Message, account.SecretAccessKey) {
					w.t.Errorf("\n%s\nA message should have no secret: %s", tc.reason, got)
				}
				w.expect("a", time.Hour, "What needs a person should not be asked again before the interval.")
			})
		})
	}
}

// TestBucketKeys has Artifacts share what is the same, and nothing else.
func TestBucketKeys(t *testing.T) {
	w := newBucketWorld(t, 1)
	f := New(connection.NewHosts())
	key := func(change ...func(*pipeline.Source)) questionKey { return f.key(w.follows(change...)) }
	base := key()
	if key() != base {
		t.Error("Artifacts that follow one folder with one account should share the question.")
	}
	cases := map[string]struct {
		reason  string
		change  func(*pipeline.Source)
		sameHub bool
	}{
		"Prefix":   {reason: "Another folder should have its own answer.", change: func(s *pipeline.Source) { s.S3.Prefix = "team/b" }, sameHub: true},
		"Bucket":   {reason: "So should another bucket.", change: func(s *pipeline.Source) { s.S3.Bucket = "other" }, sameHub: true},
		"Files":    {reason: "So should other files.", change: func(s *pipeline.Source) { s.Files.Include = []string{"*.json"} }, sameHub: true},
		"Account":  {reason: "An account may see something else.", change: signed},
		"Rotated":  {reason: "So may its next key.", change: func(s *pipeline.Source) { signed(s); s.Credentials["AWS_SECRET_ACCESS_KEY"] = []byte("x") }},
		"CA":       {reason: "Whom to trust decides on whether there is an answer.", change: func(s *pipeline.Source) { s.CA = []byte("x") }},
		"Endpoint": {reason: "Another server should be another question.", change: func(s *pipeline.Source) { s.S3.Endpoint = "https://s3.example.com" }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := key(tc.change)
			if got == base || (got.hub == base.hub) != tc.sameHub {
				t.Errorf("\n%s\nkey(...): got the same question: %t, of the same account: %t", tc.reason, got == base, got.hub == base.hub)
			}
		})
	}
	if other := key(signed); other.hub.budget != base.hub.budget {
		t.Error("Another account should be asked for within the budget of the host.")
	}
}

// TestBucketBudget has a list take more requests than a budget has at once.
func TestBucketBudget(t *testing.T) {
	const pages = 60
	w := newBucketWorld(t, 5*pages)
	w.s3.Page = 5
	first := w.revision(w.source())
	before := len(w.s3.Requests())
	asked := func() int { return len(w.s3.Requests()) - before }
	w.run(func(*testing.T) {
		began := w.now()
		q := w.follows()
		q.Now = false
		within := func() {
			w.t.Helper()
			most := budgetBurst + int(w.now().Sub(began)*budgetQuestions/budgetWindow)
			if got := asked(); got > most {
				w.t.Fatalf("No request should be made that the budget does not have: %d of %d after %s", got, most, w.now().Sub(began))
			}
		}
		for known := false; !known; known = w.Answered("a") {
			w.ask("a", q, first, "")
			w.pass(6 * time.Second)
			within()
			if w.now().Sub(began) > 3*time.Hour {
				w.t.Fatalf("The list should be read in the end, got %d requests", asked())
			}
		}
		if got := w.trouble("a"); got != "" {
			w.t.Errorf("A budget that is used up should be no trouble, got %q", got)
		}
		w.expect("a", time.Hour, "A list that takes few minutes of the budget should be asked for at its interval.")

		was := asked()
		w.pass(time.Hour)
		for range 40 {
			w.ask("a", q, first, "")
			w.pass(30 * time.Second)
			within()
		}
		if got := asked() - was; got != pages+1 {
			t.Errorf("Once its cost is known, a list should be read once: want %d requests, got %d", pages+1, got)
		}
		w.news()

		q.Interval = time.Minute
		w.ask("a", q, first, "")
		if next, ok := w.Next("a"); ok && next < 10*time.Minute {
			w.t.Errorf("A list that takes many requests should be asked for less often than its interval says: next in %s", next)
		}
	})
}

// TestBucketIsTooLarge has a server list without an end.
func TestBucketIsTooLarge(t *testing.T) {
	w := newFollowWorld(t)
	var asked atomic.Int64
	url := w.serve(http.HandlerFunc(func(rsp http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if r.URL.Query().Has("versioning") {
			_, _ = rsp.Write([]byte(`<VersioningConfiguration/>`))
			return
		}
		_, _ = fmt.Fprintf(rsp, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken><Contents><Key>a%d</Key><Size>1</Size><ETag>"e"</ETag></Contents></ListBucketResult>`, n, n)
	}))
	w.run(func(*testing.T) {
		q := Question{Bucket: &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: url}}, Interval: time.Hour}
		for range 120 {
			w.reconcile("a", q, "sha256:0")
			w.pass(time.Minute)
		}
		got := w.Trouble("a")
		if got == nil || got.Reason != outcome.Unsupported || !strings.Contains(got.Message, "prefix") {
			w.t.Errorf("A list without an end should name what to do, got %v", got)
		}
		if n := asked.Load(); n > 3*maxRequests {
			w.t.Errorf("A list without an end should be given up, got %d requests in two hours", n)
		}
	})
}

// TestBucketCredentials lists buckets of each cloud, by credentials in memory or without any.
func TestBucketCredentials(t *testing.T) {
	azure := azureblob.New()
	azure.Put("team/a/model.bin", []byte("model"))
	server := httptest.NewServer(azure)
	t.Cleanup(server.Close)
	private := newBucketWorld(t, 1)
	private.s3.Let(account)
	withKeys := private.source()
	signed(withKeys)
	google := gcs.NewBucket(t, true)
	google.Put("team/a/model.bin", []byte("model"))
	public := httptest.NewServer(google)
	t.Cleanup(public.Close)
	cases := map[string]*pipeline.Source{
		"S3":  withKeys,
		"GCS": {GCS: &pipeline.GCSSource{Bucket: google.Name, Prefix: "team/a", Endpoint: public.URL}},
		"Azure": {
			AzureBlob: &pipeline.AzureBlobSource{Account: azureblob.Account, Container: azureblob.Container, Prefix: "team/a", Endpoint: server.URL},
			Credentials: map[string][]byte{
				"AZURE_STORAGE_ACCESS_KEY": []byte(azureblob.Key), "host": []byte(strings.TrimPrefix(server.URL, "http://")),
			},
		},
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			f := New(connection.NewHosts())
			f.Anywhere = true
			start(t, f)
			w := &followWorld{t: t}
			w.eventually("the bucket", func() bool {
				moved := f.Moved(artifact("a"), Question{Bucket: s, Interval: time.Hour, Now: true}, "sha256:0")
				if err := f.Trouble("a"); err != nil {
					t.Fatal(err)
				}
				return strings.HasPrefix(moved, "sha256:")
			})
		})
	}
}

// TestBucketIsConfined has tenants name servers that only the provider reaches.
func TestBucketIsConfined(t *testing.T) {
	own := newFollowWorld(t)
	var asked atomic.Int64
	loopback := own.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	cases := map[string]struct {
		reason  string
		asks    string
		private bool
	}{
		"Loopback":         {reason: "The provider's own Pod should not be asked.", asks: loopback + "/admin/api"},
		"AllowedLoopback":  {reason: "Nor if an administrator lists the bucket.", asks: loopback, private: true},
		"LinkLocal":        {reason: "Nor should its node.", asks: "http://169.254.1.1"},
		"AllowedLinkLocal": {reason: "Nor if an administrator lists the bucket.", asks: "http://169.254.1.1", private: true},
		"Private":          {reason: "No server in the cluster should be asked.", asks: "http://10.0.0.1:9000"},
		"Unique":           {reason: "Nor by its IPv6 address.", asks: "http://[fd00::1]:9000"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := &followWorld{t: t}
			w.run(func(*testing.T) {
				w.Anywhere = false
				q := Question{Bucket: &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: tc.asks}, Private: tc.private}, Interval: time.Hour, Now: true}
				w.ask("a", q, "sha256:0", "")
				if got := w.Trouble("a"); got == nil || got.Reason != outcome.Untrusted || !strings.Contains(got.Message, "sourceIdentity.allow") {
					w.t.Errorf("\n%s\nTrouble(...): want Untrusted with the cure, got %v", tc.reason, got)
				}
			})
		})
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("No request should be made, got %d", got)
	}
}

// TestBucketGuard has tenants name, and servers lead to, what only the provider reaches.
func TestBucketGuard(t *testing.T) {
	cases := map[string]struct {
		reason string
		leads  string // Where the server leads to; empty to ask there.
		asks   string
	}{
		"Metadata":   {reason: "No metadata service should be asked.", asks: "http://169.254.169.254"},
		"Pods":       {reason: "Nor that of another cloud.", asks: "http://169.254.170.23"},
		"IPv6":       {reason: "Nor by its other address.", asks: "http://[fd00:ec2::254]"},
		"ToMetadata": {reason: "No server should lead to it.", leads: "http://169.254.169.254/"},
		"ToPrivate":  {reason: "No server should lead into another network.", leads: "http://10.0.0.1/"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newFollowWorld(t)
			at := tc.asks
			if tc.leads != "" {
				at = w.serve(http.RedirectHandler(tc.leads, http.StatusTemporaryRedirect))
			}
			w.run(func(*testing.T) {
				q := Question{Bucket: &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: at}}, Interval: time.Hour, Now: true}
				w.ask("a", q, "sha256:0", "")
				if got := w.Trouble("a"); got == nil || got.Reason != outcome.Untrusted {
					w.t.Errorf("\n%s\nTrouble(...): want Untrusted, got %v", tc.reason, got)
				}
			})
		})
	}
}
