package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

const (
	namespace = "provider-kitops-demo"

	// patience is how long an Artifact may take to be ready.
	patience = 30 * time.Minute
)

// A show is one demo on a platform.
type show struct {
	*platform.Platform

	model string

	// want are the SHA-256 of the model's files by their path; nil where they
	// are not known here.
	want map[string]string

	start time.Time
}

// publishSpeech puts the speech model on the Hub that serves a folder and
// returns what its artifact must hold.
func (s *show) publishSpeech(ctx context.Context, hubDir string) (map[string]string, error) {
	files, err := models.WriteSpeech(ctx, hubDir, s.model)
	if err != nil {
		return nil, err
	}
	return models.Packed(files), nil
}

// run makes an Artifact by each pipeline, shows how they get ready and pulls
// both back.
func (s *show) run(ctx context.Context) error {
	s.start = time.Now()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	fmt.Printf("Pipeline Kit runs %s.\n\n", s.KitIs)
	artifacts := []*modelv1alpha1.Artifact{
		s.artifact("by-stream", modelv1alpha1.PipelineStream),
		s.artifact("by-kit", modelv1alpha1.PipelineKit),
	}
	for _, a := range artifacts {
		if err := s.Client.Create(ctx, a); err != nil {
			return errors.Wrapf(err, "cannot create Artifact %s", a.GetName())
		}
	}
	if err := s.watch(ctx, artifacts); err != nil {
		return err
	}
	for _, a := range artifacts {
		if err := s.check(ctx, a); err != nil {
			return errors.Wrapf(err, "Artifact %s", a.GetName())
		}
	}
	return nil
}

// prepare makes the namespace, which enforces the restricted Pod security
// standard, and the ClusterProviderConfig.
func (s *show) prepare(ctx context.Context) error {
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   namespace,
			Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}},
		&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Spec: s.Config},
	} {
		if err := client.IgnoreAlreadyExists(s.Client.Create(ctx, o)); err != nil {
			return errors.Wrapf(err, "cannot create %T", o)
		}
	}
	return nil
}

func (s *show) artifact(name string, pipeline modelv1alpha1.PipelineType) *modelv1alpha1.Artifact {
	return &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{
				ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: namespace},
			},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: s.model}},
				Target:   &modelv1alpha1.Target{Repository: "demo/" + name, Tag: "v1"},
				Pipeline: pipeline,
			},
		},
	}
}

// watch prints a line whenever an Artifact changes, until all are ready.
func (s *show) watch(ctx context.Context, artifacts []*modelv1alpha1.Artifact) error {
	const layout = "%-8s %-10s %-6s %-10s %-14s %s\n"
	fmt.Printf(layout, "AFTER", "ARTIFACT", "READY", "PHASE", "REASON", "MESSAGE")
	shown := map[string]string{}
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		ready := 0
		for _, a := range artifacts {
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(a), a); err != nil {
				return false, err
			}
			c := a.GetCondition(xpv2.TypeReady)
			line := fmt.Sprintf(layout, "", a.GetName(), c.Status, a.Status.AtProvider.Phase, c.Reason, c.Message)
			if c.Reason != "" && shown[a.GetName()] != line {
				shown[a.GetName()] = line
				fmt.Printf("%-8s%s", time.Since(s.start).Round(100*time.Millisecond), line[8:])
			}
			if c.Status == corev1.ConditionTrue {
				ready++
			}
			if a.Status.AtProvider.Phase == modelv1alpha1.PhaseFailed {
				return false, errors.Errorf("Artifact %s failed: %s: %s", a.GetName(), c.Reason, c.Message)
			}
		}
		return ready == len(artifacts), nil
	})
	fmt.Println()
	return errors.Wrap(err, "the Artifacts are not ready")
}

// check pulls the artifact back, compares each file with the original and
// prints what is there.
func (s *show) check(ctx context.Context, a *modelv1alpha1.Artifact) error {
	repository, err := s.Repository(s.RegistryHost, a.Spec.ForProvider.Target.Repository, auth.EmptyCredential)
	if err != nil {
		return err
	}
	status := a.Status.AtProvider
	pulled, err := pull.Pull(ctx, repository, status.Digest)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n  reference  %s\n  digest     %s\n  commit     %s, licence %s\n", a.GetName(), status.Reference, status.Digest, status.Source.Revision, status.Source.License)

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	names := make([]string, 0, len(pulled.Files))
	for name := range pulled.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		verdict := "sha256 as pulled"
		if s.want != nil {
			verdict = "sha256 as on the Hub"
			if s.want[name] != pulled.Files[name] {
				return errors.Errorf("file %s has sha256 %s, and %s on the Hub", name, pulled.Files[name], s.want[name])
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", name, pulled.Files[name], verdict)
	}
	if s.want != nil && len(s.want) != len(pulled.Files) {
		return errors.Errorf("%d files were pulled, and the Hub has %d", len(pulled.Files), len(s.want))
	}
	fmt.Fprintln(w)
	return w.Flush()
}
