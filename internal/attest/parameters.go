package attest

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
)

// ociScheme begins the URI of an image or artifact in a registry.
const ociScheme = "oci://"

// schema holds the parameters that provenance may state: what a spec asks for that
// decides the content, and nothing that names a credential. docs/reference/import-v1.md
// documents it. A nil stands for a text, a list of texts or a boolean, and the key * for
// any key.
var schema = map[string]any{
	"source": map[string]any{
		"huggingFace": map[string]any{
			"model": nil, "dataset": nil, "revision": nil, "endpoint": nil,
		},
		"oci":                   map[string]any{"reference": nil, "referrers": nil},
		"s3":                    map[string]any{"bucket": nil, "prefix": nil, "endpoint": nil, "region": nil},
		"gcs":                   map[string]any{"bucket": nil, "prefix": nil, "endpoint": nil},
		"azureBlob":             map[string]any{"account": nil, "container": nil, "prefix": nil, "endpoint": nil},
		"persistentVolumeClaim": map[string]any{"claimName": nil, "path": nil},
		"http":                  map[string]any{"url": nil},
		"files":                 map[string]any{"include": nil, "exclude": nil},
		"license":               nil,
	},
	"format": nil, "pipeline": nil, "repository": nil,
	"annotations": map[string]any{"*": nil},
}

const (
	// maxParameterBytes bounds one text of a parameter.
	maxParameterBytes = 4 << 10

	// maxParameterItems bounds lists and maps of texts.
	maxParameterItems = 512
)

// filter returns what of a value is in the schema, nil for nothing, and the paths of the
// rest in a fixed order.
func filter(schema, value any, path string) (any, []string) {
	fields, isMap := schema.(map[string]any)
	if !isMap {
		return leaf(value, path)
	}
	members, ok := asMap(value)
	if !ok || len(members) > maxParameterItems {
		return nil, []string{path}
	}
	known, unknown := map[string]any{}, []string(nil)
	for _, key := range slices.Sorted(maps.Keys(members)) {
		below, is := fields[key]
		if !is {
			below, is = fields["*"]
		}
		at := strings.TrimPrefix(path+"."+key, ".")
		if !is || printable(key, maxTextBytes) == "" {
			unknown = append(unknown, at)
			continue
		}
		v, more := filter(below, members[key], at)
		if unknown = append(unknown, more...); v != nil {
			known[key] = v
		}
	}
	return known, unknown
}

// leaf returns a text, a list of texts or a boolean.
func leaf(value any, path string) (any, []string) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case string:
		if isText(v) {
			return v, nil
		}
	case []string:
		if isTexts(v) {
			return v, nil
		}
	case []any:
		texts := make([]string, 0, len(v))
		for _, one := range v {
			if text, is := one.(string); is {
				texts = append(texts, text)
			}
		}
		if len(texts) == len(v) && isTexts(texts) {
			return texts, nil
		}
	}
	return nil, []string{path}
}

// asMap returns a value as a map of parameters.
func asMap(value any) (map[string]any, bool) {
	switch v := value.(type) {
	case map[string]any:
		return v, true
	case map[string]string:
		out := make(map[string]any, len(v))
		for key, text := range v {
			out[key] = text
		}
		return out, true
	}
	return nil, false
}

// IsParameter reports whether a text may be one of a provenance's parameters: it is not
// too long, and no URL with an account, or one that cannot be told to have none.
func IsParameter(s string) bool { return isText(s) }

func isText(s string) bool {
	return len(s) <= maxParameterBytes && utf8.ValidString(s) && !hasAccount(s)
}

func isTexts(all []string) bool {
	return len(all) <= maxParameterItems && !slices.ContainsFunc(all, func(s string) bool { return !isText(s) })
}

// decodePredicate decodes a predicate, of which later versions of the provider may know
// more fields.
func decodePredicate(b []byte) (predicate, error) {
	var p predicate
	if err := decode.JSON(b, &p); err != nil {
		return predicate{}, errors.Wrap(foreign(err), "cannot read the provenance")
	}
	return p, nil
}

// dependencies returns the resource descriptors of dependencies.
func dependencies(all []Dependency) []resource {
	out := make([]resource, 0, len(all))
	for _, d := range all {
		out = append(out, resource{Name: d.Name, URI: d.URI, Digest: d.Digest})
	}
	return out
}

// images returns the resource descriptors of images, sorted by name.
func images(all map[string]string) []resource {
	out := make([]resource, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, resource{Name: imagePrefix + name, URI: ociScheme + all[name], Digest: pinned(all[name])})
	}
	return out
}

// pinned returns the digest that an image's reference ends with, or nil.
func pinned(image string) map[string]string {
	at := len(image) - len("@sha256:") - digest.SHA256.Size()*2
	if at < 0 || image[at] != '@' {
		return nil
	}
	d := digest.Digest(image[at+1:])
	if d.Validate() != nil {
		return nil
	}
	return map[string]string{d.Algorithm().String(): d.Encoded()}
}

func version(v string) map[string]string {
	if v == "" {
		return nil
	}
	return map[string]string{versionName: v}
}

func byproducts(fileList digest.Digest) []resource {
	if fileList == "" {
		return nil
	}
	return []resource{{Name: fileListName, MediaType: filelist.MediaType, Digest: map[string]string{"sha256": fileList.Encoded()}}}
}
