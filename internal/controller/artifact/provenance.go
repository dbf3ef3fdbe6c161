package artifact

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// recordOfRun returns the record of the run that staged an artifact. It is the same
// whenever the commit is made.
func recordOfRun(a *modelv1alpha1.Artifact, staged modelv1alpha1.StagedArtifact) provenance.Record {
	r := recordOf(a)
	r.RunHash, r.Run, r.Files = staged.RunHash, staged.Run, staged.Files
	r.Revision, r.License, r.Scan = staged.Revision, staged.License, staged.Scan
	r.FileList = digest.Digest(staged.FileList)
	r.Source, r.Parameters = sourceURL(a, staged.SourceURL), parametersOf(a, staged.SourceURL)
	return r
}

// parametersOf returns what the spec asks for that decides the content, as the build
// type of the provenance documents it, with the Hub whose page was recorded.
func parametersOf(a *modelv1alpha1.Artifact, recorded string) map[string]any {
	p, source := a.Spec.ForProvider, map[string]any{}
	if s := artifact.OCISource(a); s != nil {
		oci := map[string]any{"reference": s.Reference}
		if s.Referrers != "" {
			oci["referrers"] = string(s.Referrers)
		}
		source["oci"] = oci
	} else if hf := p.Source.HuggingFace; hf != nil {
		hub := map[string]any{}
		for name, value := range map[string]string{
			"model": hf.Model, "dataset": hf.Dataset, "revision": hf.Revision, "endpoint": hubOf(a, recorded),
		} {
			if value != "" {
				hub[name] = value
			}
		}
		source["huggingFace"] = hub
	} else if f := artifact.FolderOf(a); f != nil {
		source = f.SourceParameters()
		if p.Source.License != "" {
			source["license"] = p.Source.License
		}
	}
	if f := p.Source.Files; f != nil {
		source["files"] = filesOf(*f)
	}
	out := map[string]any{
		"source": source, "repository": artifact.Repository(a),
		"format": string(cmp.Or(p.Format, modelv1alpha1.PackFormatModelPack)), "pipeline": string(a.Status.AtProvider.Pipeline),
	}
	// What the manifest has may be more than what a statement may repeat.
	annotations := maps.Clone(artifact.Annotations(a))
	maps.DeleteFunc(annotations, func(_, value string) bool { return !attest.IsParameter(value) })
	if len(annotations) > 0 {
		out["annotations"] = annotations
	}
	return out
}

// filesOf returns the patterns of a filter. A list with one that a statement must not
// repeat, such as a URL with an account, is left out as a whole: the rest would be
// another filter.
func filesOf(f modelv1alpha1.FileFilter) map[string]any {
	out := map[string]any{}
	for name, patterns := range map[string][]string{"include": f.Include, "exclude": f.Exclude} {
		if len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool { return !attest.IsParameter(p) }) {
			out[name] = patterns
		}
	}
	return out
}

// hubURL returns the page of the Artifact's model or dataset on the Hub with this
// address; empty if there is no Hub.
func hubURL(a *modelv1alpha1.Artifact, hub string) string {
	if page := artifact.HubPage(a); page != "" && hub != "" {
		return hub + page
	}
	return ""
}

// hubOf returns the address of the Hub of a page of the Artifact's model or dataset;
// empty if the page is not one.
func hubOf(a *modelv1alpha1.Artifact, page string) string {
	if hub, is := strings.CutSuffix(page, artifact.HubPage(a)); is {
		return hub
	}
	return ""
}

// sourceURL returns where people find what an Artifact is made from: the page of a
// model on the Hub that was recorded when it was read, the repository that it is read
// from, or the name of a folder. Nothing is made up of what the ProviderConfig says by
// now, since another Hub may have been read: it is empty if none was recorded.
func sourceURL(a *modelv1alpha1.Artifact, recorded string) string {
	if s := artifact.OCISource(a); s != nil {
		ref, err := registry.ParseReference(s.Reference)
		if err != nil {
			return ""
		}
		return ref.Registry + "/" + ref.Repository
	}
	if f := artifact.FolderOf(a); f != nil {
		return f.Name
	}
	return hubURL(a, hubOf(a, recorded))
}

// recordOf returns what the status knows of the artifact that was pushed last. It
// names no owner.
func recordOf(a *modelv1alpha1.Artifact) provenance.Record {
	s := a.Status.AtProvider
	r := provenance.Record{RunHash: s.RunHash, Run: s.Run, Files: s.Files}
	recorded := ""
	if s.Source != nil {
		r.Revision, r.License, recorded = s.Source.Revision, s.Source.License, s.Source.URL
	}
	r.Source, r.Parameters = sourceURL(a, recorded), parametersOf(a, recorded)
	if s.StartTime != nil && s.CompletionTime != nil {
		r.Started, r.Finished = s.StartTime.Time, s.CompletionTime.Time
	}
	return r
}
