package attest

import (
	"bytes"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/license"
)

const (
	// bomSchema is the schema of CycloneDX 1.6.
	bomSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"

	// modelRef is the bom-ref of the model.
	modelRef = "model"

	// propertyPrefix begins the names of properties, for facts that CycloneDX has no
	// field for.
	propertyPrefix = "provider-kitops:"

	// hubURL is the Hub that a package URL of type huggingface means unless it names
	// another (https://github.com/package-url/purl-spec, types/huggingface-definition).
	hubURL = "https://huggingface.co"

	// datasetPath begins the path of a dataset's page on a Hub.
	datasetPath = "datasets/"
)

// hubID matches a model or a dataset as a Hub names it.
var hubID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,95}(/[a-zA-Z0-9][a-zA-Z0-9._-]{0,95})?$`)

// BOM returns the CycloneDX 1.6 bill of materials of a model. It holds facts about the
// content, its source and its repository alone, and neither the owner, the run nor the
// time, so that Artifacts of the same content share one. What the list says of a model
// card is the word of whoever wrote the card.
func BOM(l filelist.List, p Provenance) ([]byte, error) {
	b, err := describe(len(l.Files), func() ([]byte, error) { return encodeBOM(l, p.known()) })
	return b, errors.Wrap(err, "cannot encode the bill of materials")
}

func encodeBOM(l filelist.List, p Provenance) ([]byte, error) {
	files := fileComponents(l.Files)
	refs := make([]string, 0, len(files))
	for _, f := range files {
		refs = append(refs, f.BOMRef)
	}
	// EncodeVersion would copy all of a document that has been made for a later version.
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_6, bomSchema
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte("oci://"+p.Repository+"@"+p.Digest.String())).URN()
	bom.Metadata = &cdx.Metadata{
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: versionName}}},
		Component: modelComponent(l.Model, p),
	}
	bom.Components = &files
	bom.Dependencies = &[]cdx.Dependency{{Ref: modelRef, Dependencies: &refs}}
	bom.Compositions = &[]cdx.Composition{{
		Aggregate:  cdx.CompositionAggregateComplete,
		Assemblies: &[]cdx.BOMReference{modelRef},
	}}
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).Encode(bom)
	return b.Bytes(), err
}

// fileComponents returns the components of files.
func fileComponents(files []filelist.File) []cdx.Component {
	out := make([]cdx.Component, 0, len(files))
	for _, f := range files {
		c := cdx.Component{
			BOMRef: "file:" + f.Path, Type: cdx.ComponentTypeFile, Name: f.Path,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: f.SHA256}},
		}
		c.Properties = properties("format", f.Format, "size", strconv.FormatInt(f.Size, 10))
		out = append(out, c)
	}
	return out
}

// modelComponent returns the component of the model or dataset itself.
func modelComponent(m filelist.Model, p Provenance) *cdx.Component {
	from := parseSource(p.Source, p.Revision)
	c := &cdx.Component{
		BOMRef: modelRef, Type: cdx.ComponentTypeMachineLearningModel, Group: from.group, Name: from.name,
		Version: p.Revision, PackageURL: from.purl, Licenses: licenses(m, p.License),
		ExternalReferences: externalReferences(p),
		Pedigree:           pedigree(m, from),
	}
	if from.dataset {
		c.Type = cdx.ComponentTypeData
	} else {
		c.ModelCard = &cdx.MLModelCard{ModelParameters: modelParameters(m, from)}
	}
	if c.Name == "" {
		_, c.Name, _ = strings.Cut(p.Repository, "/")
	}
	parameters := ""
	if m.Parameters > 0 {
		parameters = strconv.FormatInt(m.Parameters, 10)
	}
	c.Properties = properties("library", m.Library, "parameters", parameters, "base-model-relation", m.BaseModelRelation, "hub-scan", m.Scan)
	return c
}

// modelParameters returns what the model card and config.json say of a model.
func modelParameters(m filelist.Model, from source) *cdx.MLModelParameters {
	out := &cdx.MLModelParameters{Task: m.Task, ArchitectureFamily: m.ModelType}
	if len(m.Architectures) > 0 {
		out.ModelArchitecture = m.Architectures[0]
	}
	datasets := make([]cdx.MLDatasetChoice, 0, len(m.Datasets))
	for _, name := range m.Datasets {
		d := &cdx.ComponentData{Type: cdx.ComponentDataTypeDataset, Name: name}
		if hubID.MatchString(name) {
			d.Contents = &cdx.ComponentDataContents{URL: from.hub + "/" + datasetPath + name}
		}
		datasets = append(datasets, cdx.MLDatasetChoice{ComponentData: d})
	}
	if len(datasets) > 0 {
		out.Datasets = &datasets
	}
	return out
}

// pedigree returns the base models and the commit, or nil without any.
func pedigree(m filelist.Model, from source) *cdx.Pedigree {
	out := &cdx.Pedigree{}
	ancestors := make([]cdx.Component, 0, len(m.BaseModels))
	for _, name := range m.BaseModels {
		c := cdx.Component{Type: cdx.ComponentTypeMachineLearningModel, Name: name}
		if hubID.MatchString(name) {
			base := hubSource(from.hub, name, "")
			c.Group, c.Name, c.PackageURL = base.group, base.name, base.purl
		}
		ancestors = append(ancestors, c)
	}
	if len(ancestors) > 0 {
		out.Ancestors = &ancestors
	}
	if from.commit != "" {
		out.Commits = &[]cdx.Commit{{UID: from.commit, URL: from.url + "/commit/" + from.commit}}
	}
	if out.Ancestors == nil && out.Commits == nil {
		return nil
	}
	return out
}

// externalReferences returns where the model comes from and where it is.
func externalReferences(p Provenance) *[]cdx.ExternalReference {
	out := []cdx.ExternalReference{{
		Type: cdx.ERTypeDistribution, URL: ociScheme + p.Repository + "@" + p.Digest.String(),
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: p.Digest.Encoded()}},
	}}
	if isWebURL(p.Source) {
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeVCS, URL: p.Source})
	} else if p.Source != "" {
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeSourceDistribution, URL: ociScheme + p.Source})
	}
	return &out
}

// licenses returns the licences that the model card names, else those of the
// expression, or nil for none.
func licenses(m filelist.Model, expression string) *cdx.Licenses {
	var out cdx.Licenses
	add := func(id, name, link string) {
		l := &cdx.License{ID: id, Acknowledgement: cdx.LicenseAcknowledgementDeclared}
		if !license.IsIdentifier(id) {
			l.ID, l.Name = "", name
		}
		if isWebURL(link) {
			l.URL = link
		}
		out = append(out, cdx.LicenseChoice{License: l})
	}
	for _, word := range m.Licenses {
		// A licence of its own has its name and its text elsewhere in the card.
		if strings.EqualFold(word, "other") && m.LicenseName != "" {
			add("", m.LicenseName, m.LicenseLink)
		} else if word != "" {
			add(license.FromHub(word), word, "")
		}
	}
	if len(m.Licenses) == 0 {
		for _, one := range license.Split(expression) {
			add(one, one, "")
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}

// A source is where a model comes from, as far as package URLs know it.
type source struct {
	group, name, purl string
	hub, url, commit  string
	dataset           bool
}

// parseSource returns what a source is called: the page of a model or dataset on a Hub,
// or a repository in a registry.
func parseSource(text, revision string) source {
	if !isWebURL(text) {
		return ociSource(text, revision)
	}
	u, err := url.Parse(text)
	if err != nil {
		return source{hub: hubURL}
	}
	// A Hub may be below a path of its host.
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	above, id := path[:max(len(path)-2, 0)], strings.Join(path[max(len(path)-2, 0):], "/")
	name, dataset := strings.CutPrefix(id, datasetPath)
	if n := len(above); n > 0 && above[n-1]+"/" == datasetPath {
		above, dataset = above[:n-1], true
	}
	if !hubID.MatchString(name) {
		return source{hub: hubURL}
	}
	hub := strings.TrimSuffix(u.Scheme+"://"+u.Host+"/"+strings.Join(above, "/"), "/")
	out := hubSource(hub, name, revision)
	out.url = text
	if dataset {
		out.dataset, out.purl = true, ""
	}
	return out
}

// hubSource returns a model on a Hub.
func hubSource(hub, id, commit string) source {
	out := source{hub: hub, url: hub + "/" + id, commit: commit, name: id, purl: "pkg:huggingface/" + id}
	if group, name, is := strings.Cut(id, "/"); is {
		out.group, out.name = group, name
	}
	if commit != "" {
		out.purl += "@" + commit
	}
	if hub != hubURL {
		out.purl += "?repository_url=" + hub
	}
	return out
}

// ociSource returns an artifact in a registry
// (https://github.com/package-url/purl-spec, types/oci-definition).
func ociSource(repository, revision string) source {
	out := source{hub: hubURL}
	if !repositoryPattern.MatchString(repository) {
		return out
	}
	out.name = repository[strings.LastIndex(repository, "/")+1:]
	if revision != "" {
		out.purl = "pkg:oci/" + out.name + "@" + url.QueryEscape(revision) + "?repository_url=" + repository
	}
	return out
}

func isWebURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// properties returns the properties of names and values that have a value, or nil
// without any.
func properties(pairs ...string) *[]cdx.Property {
	var out []cdx.Property
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, cdx.Property{Name: propertyPrefix + pairs[i], Value: pairs[i+1]})
		}
	}
	if out == nil {
		return nil
	}
	return &out
}
