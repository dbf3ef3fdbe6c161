package artifact

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/buckets"
	tests3 "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// A followedBucket is a bucket of S3 with a folder of files.
type followedBucket struct {
	*tests3.Server

	t        *testing.T
	endpoint string
	keys     map[string]string
}

// startBucket starts a server with a bucket, and has the namespace have a Secret for it.
func (w *world) startBucket() *followedBucket {
	w.t.Helper()
	b := &followedBucket{Server: tests3.New("models"), t: w.t, keys: map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}}
	b.Let(awssdk.Credentials{AccessKeyID: b.keys["AWS_ACCESS_KEY_ID"], SecretAccessKey: b.keys["AWS_SECRET_ACCESS_KEY"]})
	b.Put("team/a/model.safetensors", []byte("weights"))
	b.Put("team/a/README.md", []byte("# A model"))
	b.Put("team/b/other.bin", []byte("other"))
	b.endpoint = b.Start(w.t.Context())
	w.create(credentialsSecret(w.namespace, "models-s3", b.keys))
	return b
}

// artifact returns an Artifact, not created yet, that follows the weights in the folder.
func (b *followedBucket) artifact(w *world, name string) *modelv1alpha1.Artifact {
	a := w.artifact(name)
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{
		S3: &modelv1alpha1.S3Source{
			Bucket: b.Bucket, Prefix: "team/a", Region: tests3.Region, Endpoint: modelv1alpha1.SourceEndpoint(b.endpoint),
			CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "models-s3"},
		},
		Files:          &modelv1alpha1.FileFilter{Exclude: []string{"*.md"}},
		RevisionPolicy: modelv1alpha1.RevisionFollow, FollowInterval: &metav1.Duration{Duration: time.Hour},
	}
	return a
}

// revision returns the revision that a run would report.
func (b *followedBucket) revision() string {
	b.t.Helper()
	s := pipeline.Source{
		S3:          &pipeline.S3Source{Bucket: b.Bucket, Prefix: "team/a", Region: tests3.Region, Endpoint: b.endpoint},
		Files:       file.Filter{Exclude: []string{"*.md"}},
		Credentials: map[string][]byte{},
	}
	for key, value := range b.keys {
		s.Credentials[key] = []byte(value)
	}
	folder, err := buckets.New(s, retry.Policy{}, download.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer folder.Close()
	contents, err := source.FromFolder(s, folder, func(string, ...any) {}).Resolve(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return contents.Revision
}

// waitAsked waits until the bucket was listed for an Artifact, and returns how many requests
// that took.
func (b *followedBucket) waitAsked(w *world, a *modelv1alpha1.Artifact) int {
	w.t.Helper()
	before := len(b.Requests())
	w.look(a)
	w.eventually("the list", func() string {
		if all := b.Requests()[before:]; !slices.ContainsFunc(all, func(r string) bool { return strings.Contains(r, "list-type=2") }) {
			return fmt.Sprintf("requests: %q", all)
		}
		return ""
	})
	w.look(a) // What the list says is known by now.
	return len(b.Requests()) - before
}

// TestFollowedBucket has a folder of a bucket change.
func TestFollowedBucket(t *testing.T) {
	w := startControllers(t)
	b := w.startBucket()
	a := b.artifact(w, "bucket")
	w.create(a)
	before := w.succeedAt(a, 1, "one", b.revision())
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	stop := w.staysReady(a)
	if args := artifact.BuildJob(a, "", nil).Spec.Template.Spec.Containers[0].Args; slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(s, "--revision=") }) {
		t.Errorf("A run of what is followed should read what is there, got %q", args)
	}

	if got := b.waitAsked(w, a); got != 2 {
		t.Errorf("A look should take two requests, whether there are versions and the list itself: got %d", got)
	}
	w.stays(a, "The list is the same.")
	b.Put("team/b/other.bin", []byte("changed"))
	b.Put("team/a/NOTES.md", []byte("new"))
	asked := len(b.Requests())
	w.stays(a, "What changed is not packaged.")
	w.look(a)
	w.stays(a, "What changed is not packaged.")
	if got := len(b.Requests()) - asked; got > 2 {
		t.Errorf("Looks that follow at once should share an answer, got %d requests", got)
	}

	b.Put("team/a/adapter.safetensors", []byte("adapter"))
	w.lookUntilRun(a)
	if got := a.Status.AtProvider.Digest; got != before {
		t.Errorf("digest while it is rebuilt: want %s, got %s", before, got)
	}
	w.waitUpToDate(a, corev1.ConditionFalse, reasonRebuilding)
	if m := a.GetCondition(modelv1alpha1.TypeUpToDate).Message; !strings.Contains(m, b.endpoint+"/models/team/a are revision sha256:") {
		t.Errorf("The condition should name the folder and its revision, got %q", m)
	}
	after := w.succeedAt(a, 2, "two", b.revision())
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	w.look(a)
	w.stays(a, "It has what the folder has now.")
	w.job(a, 2)
	stop()
	w.waitTag("models/bucket", "v1", after)
}

// TestFollowedBucketFails has a bucket not be listed any more: the artifact stays, and the
// condition says why.
func TestFollowedBucketFails(t *testing.T) {
	w := startControllers(t)
	b := w.startBucket()
	a := b.artifact(w, "unlisted")
	w.create(a)
	w.succeedAt(a, 1, "one", b.revision())
	w.waitReady(a, corev1.ConditionTrue, "Available")
	stop := w.staysReady(a)

	b.Fail(1000, func(*http.Request) bool { return true }, tests3.Refuse(http.StatusForbidden, "AccessDenied"))
	w.eventually("trouble", func() string {
		w.look(a) // Again, where the bucket was asked just before.
		if c := a.GetCondition(modelv1alpha1.TypeUpToDate); c.Status != corev1.ConditionFalse || c.Reason != "Unauthorized" || !strings.Contains(c.Message, "s3:ListBucket") {
			return fmt.Sprintf("%s %s %q", c.Status, c.Reason, c.Message)
		}
		return ""
	})
	if m := a.GetCondition(xpv2.TypeReady).Message; !strings.Contains(m, "whether its source has moved is not known") {
		t.Errorf("Ready should say so, too, got %q", m)
	}
	w.stays(a, "It is not known to have moved.")

	w.remove(credentialsSecret(w.namespace, "models-s3", nil))
	w.eventually("missing Secret", func() string {
		w.look(a)
		if c := a.GetCondition(modelv1alpha1.TypeUpToDate); c.Reason != "ConfigMissing" || !strings.Contains(c.Message, "models-s3") {
			return fmt.Sprintf("%s %s %q", c.Status, c.Reason, c.Message)
		}
		return ""
	})
	if c := a.GetCondition(xpv2.TypeSynced); c.Status != corev1.ConditionTrue {
		t.Errorf("Synced should stay True, got %q", c.Message)
	}
	w.stays(a, "Nobody can look.")
	stop()
}

// TestFollowedTag has a tag of another repository move.
func TestFollowedTag(t *testing.T) {
	w := startControllers(t)
	first := w.push("base/model", "latest", "one")
	a := w.artifact("tag")
	a.Spec.ForProvider.Source = &modelv1alpha1.Source{
		OCI:            &modelv1alpha1.OCISource{Reference: w.host + "/base/model:latest", PlainHTTP: true},
		RevisionPolicy: modelv1alpha1.RevisionFollow, FollowInterval: &metav1.Duration{Duration: time.Hour},
	}
	w.create(a)
	w.succeedAt(a, 1, "one", first)
	w.waitReady(a, corev1.ConditionTrue, "Available")
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	stop := w.staysReady(a)
	w.requests.take()
	w.look(a)
	w.stays(a, "The tag is where it was.")
	asked := 0
	for _, r := range w.requests.take() {
		if strings.HasSuffix(r, "/v2/base/model/manifests/latest") {
			asked++
		}
	}
	if asked > 1 {
		t.Errorf("The tag should be asked for once, got %d times", asked)
	}

	second := w.push("base/model", "latest", "two")
	w.lookUntilRun(a)
	w.waitUpToDate(a, corev1.ConditionFalse, reasonRebuilding)
	after := w.succeedAt(a, 2, "two", second)
	w.waitUpToDate(a, corev1.ConditionTrue, reasonCurrent)
	w.look(a)
	w.stays(a, "It has what the tag is on now.")
	w.job(a, 2)
	stop()
	w.waitTag("models/tag", "v1", after)
}
