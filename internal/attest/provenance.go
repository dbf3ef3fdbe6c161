package attest

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

const (
	// page documents what provenance says, and who says it.
	page = "https://github.com/crossplane-contrib/provider-kitops/blob/main/docs/reference/import-v1.md"

	// BuildType identifies the schema of the parameters. A parameter may be added to
	// it; another meaning of one needs another build type.
	BuildType = page
)

// BuilderID returns the ID of the builder: the provider in the cluster of this ID.
// It determines which SLSA level a statement has, so runs that no tenant can change
// would need another builder than those in the namespaces of tenants.
func BuilderID(cluster string) string { return page + "?cluster=" + cluster }

// An Owner is an Artifact in a cluster.
type Owner struct {
	// Cluster is the ID of the Artifact's cluster. It is a word of at most 64 letters,
	// digits and . _ -, like ID.
	Cluster string `json:"cluster"`

	// ID that the Artifact got when it was created, and keeps where it is restored.
	ID string `json:"id,omitempty"`

	// Namespace and Name of the Artifact.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// A Dependency is something that a run read.
type Dependency struct {
	// Name that tells several dependencies apart; may be empty.
	Name string

	// URI of the dependency, without credentials.
	URI string

	// Digest of the dependency, by algorithm
	// (https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md).
	Digest map[string]string
}

// HubDependency returns the repository of a model or a dataset on a Hub as it was at a
// commit.
func HubDependency(source, commit string) Dependency {
	return Dependency{URI: "git+" + source + "@" + commit, Digest: map[string]string{"gitCommit": commit}}
}

// OCIDependency returns the artifact with this digest in host/repository.
func OCIDependency(repository string, d digest.Digest) Dependency {
	return Dependency{URI: "oci://" + repository + "@" + d.String(), Digest: map[string]string{d.Algorithm().String(): d.Encoded()}}
}

// FolderDependency returns the folder with this URL whose listing has this digest.
func FolderDependency(url string, listing digest.Digest) Dependency {
	return Dependency{URI: url, Digest: map[string]string{"listing": listing.Encoded()}}
}

// A Provenance says who made an artifact, in which run and from what.
type Provenance struct {
	// Repository is the host/repository for which the statement is made: a signature
	// covers only the digest, and the artifact may be copied elsewhere with it.
	Repository string

	// Digest of the artifact's manifest.
	Digest digest.Digest

	// Owner of the artifact.
	Owner Owner

	// Run, RunHash and RunID (the UID of the Job) identify the run. What was adopted
	// without a run has none.
	Run     int64
	RunHash string
	RunID   string

	// Started and Finished are the times of the run, and never those of signing: the
	// statement about a run must be the same whenever it is made. They are kept in
	// whole seconds.
	Started, Finished time.Time

	// Source is where people find the model, Revision its commit or, of an artifact in
	// a registry, the digest, and License as the source names it.
	Source, Revision, License string

	// Files is how many files the artifact holds, and FileList the digest of their list.
	Files    int64
	FileList digest.Digest

	// Parameters are what the spec asked for. Statement returns an error for one that
	// is not in the schema of BuildType, so that no reference to a credential gets in.
	Parameters map[string]any

	// Dependencies are what the run read.
	Dependencies []Dependency

	// Images are the run's container images, by what they are used for.
	Images map[string]string

	// BuilderID defaults to the function of this name for the owner's cluster.
	BuilderID string

	// Version of the provider.
	Version string

	// Scan is the verdict of the Hub's security scan; empty if there is none.
	Scan string
}

// The SLSA provenance v1 predicate (https://slsa.dev/spec/v1.1/provenance).
type (
	predicate struct {
		BuildDefinition buildDefinition `json:"buildDefinition"`
		RunDetails      runDetails      `json:"runDetails"`
	}

	buildDefinition struct {
		BuildType            string             `json:"buildType"`
		ExternalParameters   any                `json:"externalParameters"`
		InternalParameters   internalParameters `json:"internalParameters"`
		ResolvedDependencies []resource         `json:"resolvedDependencies,omitempty"`
	}

	// internalParameters are what the provider decided or found, and did not get from
	// the spec.
	internalParameters struct {
		Owner    Owner  `json:"owner"`
		Run      int64  `json:"run,omitempty"`
		RunHash  string `json:"runHash,omitempty"`
		Source   string `json:"source,omitempty"`
		Revision string `json:"revision,omitempty"`
		License  string `json:"license,omitempty"`
		Files    int64  `json:"files,omitempty"`
		Scan     string `json:"scan,omitempty"`
	}

	runDetails struct {
		Builder    builder    `json:"builder"`
		Metadata   metadata   `json:"metadata"`
		Byproducts []resource `json:"byproducts,omitempty"`
	}

	builder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version,omitempty"`
	}

	metadata struct {
		InvocationID string `json:"invocationId,omitempty"`
		StartedOn    string `json:"startedOn,omitempty"`
		FinishedOn   string `json:"finishedOn,omitempty"`
	}
)

// Names in the predicate.
const (
	versionName  = "provider-kitops"
	fileListName = "file-list"
	imagePrefix  = "image/"
)

// What fields may be. They get into conditions and events.
var (
	repositoryPattern = regexp.MustCompile(`^[a-zA-Z0-9.\[\]:-]{1,255}(/[a-z0-9._-]+)+$`)
	idPattern         = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	namePattern       = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	hashPattern       = regexp.MustCompile(`^[0-9a-f]{16}$`)
	revisionPattern   = regexp.MustCompile(`^([0-9a-f]{40}|sha256:[0-9a-f]{64})$`)
	scanPattern       = regexp.MustCompile(`^[a-zA-Z]{1,32}$`)
	algorithmPattern  = regexp.MustCompile(`^[a-zA-Z0-9_]{1,32}$`)
	hexPattern        = regexp.MustCompile(`^[0-9a-f]{1,128}$`)
)

const (
	// maxRepositoryBytes bounds host/repository.
	maxRepositoryBytes = 512

	// maxTextBytes bounds a source and a license.
	maxTextBytes = 256

	// maxURIBytes bounds URIs, which may hold a source or a repository.
	maxURIBytes = 1024

	// maxDependencies bounds dependencies, and images.
	maxDependencies = 64
)

// Statement returns the in-toto statement with the provenance. It returns the same
// bytes for the same provenance. A text that is not one printable line is left out; an
// error is returned if the statement would not bind the artifact, its repository and its
// owner, or if a parameter is not in the schema.
func (p Provenance) Statement() ([]byte, error) {
	p = p.known()
	if err := p.validate(); err != nil {
		return nil, errors.Wrap(err, "cannot state the provenance")
	}
	parameters, unknown := filter(schema, p.Parameters, "")
	if len(unknown) > 0 {
		return nil, errors.Errorf("cannot state the provenance: parameter %q is not in the schema of %s", unknown[0], BuildType)
	}
	return encodeStatement(p.Repository, p.Digest.Encoded(), ProvenanceType, predicate{
		BuildDefinition: buildDefinition{
			BuildType:          BuildType,
			ExternalParameters: parameters,
			InternalParameters: internalParameters{
				Owner: p.Owner, Run: p.Run, RunHash: p.RunHash, Source: p.Source, Revision: p.Revision,
				License: p.License, Files: p.Files, Scan: p.Scan,
			},
			ResolvedDependencies: append(dependencies(p.Dependencies), images(p.Images)...),
		},
		RunDetails: runDetails{
			Builder:    builder{ID: p.BuilderID, Version: version(p.Version)},
			Metadata:   metadata{InvocationID: p.RunID, StartedOn: timestamp(p.Started), FinishedOn: timestamp(p.Finished)},
			Byproducts: byproducts(p.FileList),
		},
	})
}

// validate returns an error unless p binds an artifact, a repository and an owner.
func (p Provenance) validate() error {
	switch {
	case len(p.Repository) > maxRepositoryBytes || !repositoryPattern.MatchString(p.Repository):
		return errors.New("the subject is no host/repository")
	case p.Digest.Validate() != nil || p.Digest.Algorithm() != digest.SHA256:
		return errors.New("the artifact has no SHA-256 digest")
	case p.RunHash != "" && !hashPattern.MatchString(p.RunHash):
		return errors.New("the run hash has not 16 hexadecimal digits")
	case p.FileList != "" && (p.FileList.Validate() != nil || p.FileList.Algorithm() != digest.SHA256):
		return errors.New("the file list has no SHA-256 digest")
	case len(p.Dependencies) > maxDependencies || len(p.Images) > maxDependencies:
		return errors.Errorf("there are more than %d dependencies", maxDependencies)
	}
	return p.Owner.validate()
}

// validate returns an error unless o names an Artifact in a cluster.
func (o Owner) validate() error {
	switch {
	case !idPattern.MatchString(o.Cluster):
		return errors.New("the owner's cluster is not an ID of at most 64 letters, digits and . _ -")
	case o.ID != "" && !idPattern.MatchString(o.ID):
		return errors.New("the owner's ID is not one of at most 64 letters, digits and . _ -")
	case !namePattern.MatchString(o.Namespace) || !namePattern.MatchString(o.Name):
		return errors.New("the owner has no name and namespace of Kubernetes")
	}
	return nil
}

// known returns p without what it cannot be, and with times in whole seconds.
func (p Provenance) known() Provenance {
	p.Run, p.Files = max(p.Run, 0), max(p.Files, 0)
	p.RunID = matching(idPattern, p.RunID)
	p.Started, p.Finished = seconds(p.Started), seconds(p.Finished)
	p.Source, p.License = location(p.Source, maxTextBytes), printable(p.License, maxTextBytes)
	p.Revision = matching(revisionPattern, p.Revision)
	p.BuilderID = printable(p.BuilderID, maxURIBytes)
	if p.BuilderID == "" {
		p.BuilderID = BuilderID(p.Owner.Cluster)
	}
	p.Version = printable(p.Version, maxTextBytes)
	p.Scan = matching(scanPattern, p.Scan)
	p.Dependencies = slices.DeleteFunc(slices.Clone(p.Dependencies), func(d Dependency) bool { return !d.isKnown() })
	p.Images = maps.Clone(p.Images)
	maps.DeleteFunc(p.Images, func(name, image string) bool {
		return !namePattern.MatchString(name) || printable(image, maxURIBytes) == ""
	})
	return p
}

// isKnown reports whether d can be a dependency.
func (d Dependency) isKnown() bool {
	if location(d.URI, maxURIBytes) == "" || d.Name != printable(d.Name, maxTextBytes) || strings.HasPrefix(d.Name, imagePrefix) {
		return false
	}
	for algorithm, value := range d.Digest {
		if !algorithmPattern.MatchString(algorithm) || !hexPattern.MatchString(value) {
			return false
		}
	}
	return len(d.Digest) <= 8
}

// ReadProvenance reads a statement that Statement made. Whose signature it has, the
// caller must have verified. It returns an error for a statement of another type, and
// for one that does not bind an artifact, a repository and an owner; what else cannot be
// such is left out.
func ReadProvenance(b []byte) (Provenance, error) {
	s, err := decodeStatement(b)
	if err != nil {
		return Provenance{}, err
	}
	if s.PredicateType != ProvenanceType {
		return Provenance{}, errors.New("the statement is no provenance: its predicateType must be " + ProvenanceType)
	}
	pr, err := decodePredicate(s.Predicate)
	if err != nil {
		return Provenance{}, err
	}
	if pr.BuildDefinition.BuildType != BuildType {
		return Provenance{}, errors.New("the provenance is of another builder: its buildType must be " + BuildType)
	}
	p := pr.provenance()
	p.Repository, p.Digest = s.Subject[0].Name, subjectDigest(s)
	p = p.known()
	if err := p.validate(); err != nil {
		return Provenance{}, errors.Wrap(err, "cannot use the provenance")
	}
	return p, nil
}

// provenance returns what a predicate says.
func (pr predicate) provenance() Provenance {
	b, r := pr.BuildDefinition, pr.RunDetails
	in := b.InternalParameters
	p := Provenance{
		Owner: in.Owner, Run: in.Run, RunHash: in.RunHash, RunID: r.Metadata.InvocationID,
		Started: parseTime(r.Metadata.StartedOn), Finished: parseTime(r.Metadata.FinishedOn),
		Source: in.Source, Revision: in.Revision, License: in.License, Files: in.Files, Scan: in.Scan,
		BuilderID: r.Builder.ID, Version: r.Builder.Version[versionName],
	}
	known, _ := filter(schema, b.ExternalParameters, "")
	if parameters, _ := asMap(known); len(parameters) > 0 {
		p.Parameters = parameters
	}
	for _, d := range b.ResolvedDependencies {
		if name, is := strings.CutPrefix(d.Name, imagePrefix); is {
			if p.Images == nil {
				p.Images = map[string]string{}
			}
			p.Images[name] = strings.TrimPrefix(d.URI, ociScheme)
			continue
		}
		p.Dependencies = append(p.Dependencies, Dependency{Name: d.Name, URI: d.URI, Digest: d.Digest})
	}
	for _, d := range r.Byproducts {
		if d.Name == fileListName {
			p.FileList = digest.NewDigestFromEncoded(digest.SHA256, d.Digest["sha256"])
		}
	}
	return p
}

// timestamp returns a time as RFC 3339 in UTC, or nothing for none.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// parseTime returns the time of a timestamp, or none.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// seconds returns a time in whole seconds in UTC, or none for one that RFC 3339 cannot
// express.
func seconds(t time.Time) time.Time {
	if t = t.UTC().Truncate(time.Second); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func matching(pattern *regexp.Regexp, s string) string {
	if !pattern.MatchString(s) {
		return ""
	}
	return s
}

// printable returns a text of one line of at most so many bytes, or nothing.
func printable(s string, most int) string {
	if len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return s
}

// location returns the address of something, or nothing if it holds an account.
func location(s string, most int) string {
	if hasAccount(s) {
		return ""
	}
	return printable(s, most)
}

// hasAccount reports whether a text is a URL with a user or a password, or a URL that
// cannot be parsed.
func hasAccount(s string) bool {
	if !strings.Contains(s, "://") {
		return false
	}
	u, err := url.Parse(s)
	return err != nil || u.User != nil
}
