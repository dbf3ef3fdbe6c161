package api

import (
	"strconv"
	"strings"
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// The least that the specs of Artifacts from folders say.
const (
	fromS3     = "\nforProvider:\n  source: {s3: {bucket: models}}\n  target: {repository: models/qwen3}\n"
	fromGCS    = "\nforProvider:\n  source: {gcs: {bucket: models}}\n  target: {repository: models/qwen3}\n"
	fromAzure  = "\nforProvider:\n  source: {azureBlob: {account: examplemodels, container: models}}\n  target: {repository: models/qwen3}\n"
	fromVolume = "\nforProvider:\n  source: {persistentVolumeClaim: {claimName: training-output}}\n  target: {repository: models/qwen3}\n"
	fromHTTP   = "\nforProvider:\n  source: {http: {items: []}}\n  target: {repository: models/qwen3}\n"
)

// A folderField is the full name of a field, and the cases of its values.
type folderField struct {
	name string
	want []string
}

func (f folderField) good(reason, value string) rule {
	return rule{reason: reason, args: fields{f.name: value}}
}

func (f folderField) bad(reason, value string) rule {
	return rule{reason: reason, args: fields{f.name: value}, want: f.want}
}

// prefixRules are the cases of a folder in a bucket or a volume.
func prefixRules(f folderField) map[string]rule {
	return map[string]rule{
		"PrefixDeep":     f.good("A folder may be deep.", "models/qwen3/v1"),
		"PrefixSpaces":   f.good("Names may have spaces and letters of other languages.", "my models/Größe/模型"),
		"PrefixDots":     f.good("Dots may be in a name.", "models/v1.2..3/.cache"),
		"PrefixLongest":  f.good("The limit is within the API server's budget.", strings.Repeat("é", 900)),
		"PrefixStart":    f.bad("A folder is relative.", "/models"),
		"PrefixEnd":      f.bad("One folder has one name.", "models/"),
		"PrefixParent":   f.bad("A folder is inside.", "models/../x"),
		"PrefixHere":     f.bad("One folder has one name.", "models/."),
		"PrefixEmpty":    {reason: "A folder that is written is not empty.", args: fields{f.name: ""}, want: []string{f.name}},
		"PrefixEmptyTwo": f.bad("No name is empty.", "models//x"),
		"PrefixControl":  f.bad("A name is one line.", "models\nx"),
		"PrefixBack":     f.bad("A backslash is a separator elsewhere.", `models\x`),
	}
}

// endpointRules are the cases of a server's address.
func endpointRules(path string) map[string]rule {
	f := folderField{name: path, want: []string{path, "write https://s3.example.com, without a user, a password, ? and #"}}
	meta := folderField{name: path, want: []string{path, "must not be the metadata service of a cloud"}}
	once := folderField{name: path, want: []string{path, "endpoint must name a server in one way: leave out the port 443"}}
	return map[string]rule{
		"Endpoint":         f.good("A server may be any.", "https://s3.example.com"),
		"EndpointPath":     f.good("A server may have a path.", "https://s3.hf.co/namespace"),
		"EndpointPort":     f.good("A server may have a port.", "http://minio.models.svc:9000/"),
		"EndpointUser":     f.bad("Credentials are in a Secret.", "https://user:secret@s3.example.com"),
		"EndpointQuery":    f.bad("Credentials are in a Secret.", "https://s3.example.com/?sig=x"),
		"EndpointFragment": f.bad("An address has no fragment.", "https://s3.example.com#x"),
		"EndpointScheme":   f.bad("A server is asked by HTTP.", "s3://models"),
		"EndpointBare":     f.bad("The scheme is not guessed.", "s3.example.com"),
		"EndpointClimbs":   f.bad("A path is not climbed.", "https://s3.example.com/../x"),
		"EndpointDefault":  once.bad("A server has one name.", "https://s3.example.com:443"),
		"EndpointPlain":    once.bad("A server has one name.", "http://s3.example.com:80/x"),
		"EndpointZeros":    once.bad("A server has one name.", "https://s3.example.com:09000"),
		"EndpointOther":    f.good("The port of http is not that of https.", "https://s3.example.com:80"),
		"Metadata":         meta.bad("No tenant gets a node's credentials.", "http://169.254.169.254"),
		"MetadataName":     meta.bad("No tenant gets a node's credentials.", "http://Metadata.Google.Internal/x"),
	}
}

// secretRules are the cases of a source's Secrets.
func secretRules(source string) map[string]rule {
	out := map[string]rule{}
	for _, name := range []string{"credentialsSecretRef", "certSecretRef"} {
		path := source + "." + name
		out[name] = rule{reason: "Secrets are named.", args: fields{path: map[string]any{"name": "models"}}}
		out[name+"Empty"] = rule{reason: "No Secret has an empty name.", args: fields{path: map[string]any{"name": ""}}, want: []string{path, "write name"}}
		out[name+"Elsewhere"] = rule{reason: "Secrets are in the Artifact's namespace.", args: fields{path: map[string]any{"name": "a", "namespace": "b"}}, want: []string{"unknown field"}}
	}
	return out
}

// both returns the cases of all maps.
func both(all ...map[string]rule) map[string]rule {
	out := map[string]rule{}
	for _, rules := range all {
		for name, r := range rules {
			out[name] = r
		}
	}
	return out
}

func TestArtifactS3Source(t *testing.T) {
	const s3 = "forProvider.source.s3"
	bucket := folderField{name: s3 + ".bucket", want: []string{s3, "write models, without s3:// and without a prefix"}}
	prefix := folderField{name: s3 + ".prefix", want: []string{s3 + ".prefix", "write models/qwen3, without / at its start or end"}}
	elsewhere := func(reason, name string) rule {
		return rule{reason: reason, args: fields{bucket.name: name, s3 + ".endpoint": "https://s3.hf.co/namespace"}}
	}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromS3, both(prefixRules(prefix), endpointRules(s3+".endpoint"), secretRules(s3), map[string]rule{
		"Follow":      {reason: "What is in a bucket may be followed.", args: fields{"forProvider.source.revisionPolicy": "Follow", "forProvider.source.followInterval": "15m"}},
		"Least":       {reason: "A bucket is enough."},
		"All":         {reason: "A bucket may need all of it.", args: fields{s3 + ".region": "eu-central-1", s3 + ".pathStyle": true, s3 + ".requesterPays": true, s3 + ".credentialsSecretRef": map[string]any{"name": "a"}}},
		"Dots":        bucket.good("A name may have dots.", "models.example.com"),
		"Upper":       bucket.bad("Amazon has no upper case.", "Models"),
		"Underscore":  bucket.bad("Amazon has no underscores.", "my_models"),
		"UpperOther":  elsewhere("Other servers have upper case.", "Models_2"),
		"Short":       {reason: "A name has three letters.", args: fields{bucket.name: "ab"}, want: []string{bucket.name}},
		"Long":        bucket.bad("Amazon has a limit.", strings.Repeat("a", 64)),
		"Address":     bucket.bad("A name is no address.", "192.168.0.1"),
		"Alias":       bucket.bad("An alias is no bucket.", "models-s3alias"),
		"Scheme":      bucket.bad("A bucket is no link.", "s3://models"),
		"WithPrefix":  bucket.bad("A prefix has a field of its own.", "models/qwen3"),
		"Region":      {reason: "A region is a name.", args: fields{s3 + ".region": "https://x"}, want: []string{s3 + ".region", "write eu-central-1"}},
		"Kit":         {reason: "Kit reads no bucket.", args: fields{"forProvider.pipeline": "Kit"}, want: []string{"pipeline Kit reads only source.huggingFace and source.persistentVolumeClaim", "write pipeline: Stream"}},
		"Stream":      {reason: "Stream reads buckets.", args: fields{"forProvider.pipeline": "Stream"}},
		"Two":         {reason: "There is one source.", args: fields{"forProvider.source.gcs": map[string]any{"bucket": "models"}}, want: saySource},
		"Files":       {reason: "Some files may be enough.", args: fields{"forProvider.source.files": map[string]any{"include": []any{"*.json"}}}},
		"License":     {reason: "A licence may be declared.", args: fields{"forProvider.source.license": "MIT OR (Apache-2.0 AND LicenseRef-own)"}},
		"LicenseWord": {reason: "A licence is an expression.", args: fields{"forProvider.source.license": "see <LICENSE>"}, want: []string{"forProvider.source.license", "write Apache-2.0"}},
	}))
}

func TestArtifactLicense(t *testing.T) {
	want := []string{"forProvider.source", "remove license beside huggingFace and oci"}
	args := fields{"forProvider.source.license": "MIT"}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{"Hub": {reason: "The Hub tells the licence.", args: args, want: want}})
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, streamed, map[string]rule{"OCI": {reason: "The artifact tells the licence.", args: args, want: want}})
}

func TestArtifactGCSSource(t *testing.T) {
	const gcs = "forProvider.source.gcs"
	bucket := folderField{name: gcs + ".bucket", want: []string{gcs + ".bucket", "write models, without gs:// and without a prefix"}}
	prefix := folderField{name: gcs + ".prefix", want: []string{gcs + ".prefix", "write models/qwen3, without / at its start or end"}}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromGCS, both(prefixRules(prefix), endpointRules(gcs+".endpoint"), secretRules(gcs), map[string]rule{
		"Follow":     {reason: "What is in a bucket may be followed.", args: fields{"forProvider.source.revisionPolicy": "Follow", "forProvider.source.followInterval": "15m"}},
		"Least":      {reason: "A bucket is enough."},
		"Project":    {reason: "Requests may be billed to a project.", args: fields{gcs + ".userProject": "example-models", gcs + ".credentialsSecretRef": map[string]any{"name": "a"}}},
		"BadProject": {reason: "A project has an ID.", args: fields{gcs + ".userProject": "Example Models", gcs + ".credentialsSecretRef": map[string]any{"name": "a"}}, want: []string{gcs + ".userProject", "write example-models"}},
		"Domain":     bucket.good("A domain may be a name, which is longer then.", "models_1."+strings.Repeat("a", 60)+".example.com"),
		"Upper":      bucket.bad("There is no upper case.", "Models"),
		"Long":       bucket.bad("A part has a limit.", strings.Repeat("a", 64)),
		"Google":     bucket.bad("The name is reserved.", "google-models"),
		"Dots":       bucket.bad("No part is empty.", "models..x"),
		"Scheme":     bucket.bad("A bucket is no link.", "gs://models"),
		"Plain": {reason: "Credentials need TLS.", args: fields{gcs + ".endpoint": "http://gcs.example.com", gcs + ".credentialsSecretRef": map[string]any{"name": "a"}},
			want: []string{gcs, "write an endpoint with https://"}},
		"Kit": {reason: "Kit reads no bucket.", args: fields{"forProvider.pipeline": "Kit"}, want: []string{"write pipeline: Stream"}},
	}))
}

func TestArtifactAzureBlobSource(t *testing.T) {
	const azure = "forProvider.source.azureBlob"
	account := folderField{name: azure + ".account", want: []string{azure + ".account", "write examplemodels, without https:// and without a host"}}
	container := folderField{name: azure + ".container", want: []string{azure + ".container", "write models, without a prefix"}}
	prefix := folderField{name: azure + ".prefix", want: []string{azure + ".prefix", "write models/qwen3, without / at its start or end"}}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromAzure, both(prefixRules(prefix), endpointRules(azure+".endpoint"), secretRules(azure), map[string]rule{
		"Follow":       {reason: "What is in a bucket may be followed.", args: fields{"forProvider.source.revisionPolicy": "Follow", "forProvider.source.followInterval": "15m"}},
		"Least":        {reason: "An account and a container are enough."},
		"Root":         container.good("The root container has a name of its own.", "$root"),
		"Dashes":       container.bad("No two dashes are together.", "my--models"),
		"Upper":        container.bad("There is no upper case.", "Models"),
		"Short":        container.bad("A name has three letters.", "ab"),
		"WithPrefix":   container.bad("A prefix has a field of its own.", "models/qwen3"),
		"AccountURL":   {reason: "An account is a name.", args: fields{account.name: "https://x.blob.core.windows.net"}, want: []string{account.name}},
		"AccountUpper": account.bad("There is no upper case.", "Models"),
		"AccountDash":  account.bad("There are no dashes.", "example-models"),
		"Plain": {reason: "Credentials need TLS.", args: fields{azure + ".endpoint": "http://azure.example.com", azure + ".credentialsSecretRef": map[string]any{"name": "a"}},
			want: []string{azure, "write an endpoint with https://"}},
		"Kit": {reason: "Kit reads no bucket.", args: fields{"forProvider.pipeline": "Kit"}, want: []string{"write pipeline: Stream"}},
	}))
}

func TestArtifactVolumeSource(t *testing.T) {
	const volume = "forProvider.source.persistentVolumeClaim"
	claim := folderField{name: volume + ".claimName", want: []string{volume + ".claimName", "write training-output"}}
	path := folderField{name: volume + ".path", want: []string{volume + ".path", "write checkpoints/last, without / at its start or end"}}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromVolume, both(prefixRules(path), map[string]rule{
		"Least":   {reason: "A claim is enough."},
		"Upper":   claim.bad("A claim has the name of an object.", "Training"),
		"Path":    claim.bad("A path has a field of its own.", "training/last"),
		"Kit":     {reason: "Kit packs a folder.", args: fields{"forProvider.pipeline": "Kit"}},
		"KitSome": {reason: "Kit packs some files.", args: fields{"forProvider.pipeline": "Kit", "forProvider.source.files": map[string]any{"include": []any{"*"}}}},
		"Follow":  {reason: "A volume is not watched.", args: fields{"forProvider.source.revisionPolicy": "Follow"}, want: []string{"write revisionPolicy: Pinned"}},
	}))
}

func TestArtifactHTTPSource(t *testing.T) {
	const http, items = "forProvider.source.http", "forProvider.source.http.items"
	item := func(url, path, sha256 string) map[string]any {
		return map[string]any{"url": url, "path": path, "sha256": sha256}
	}
	sum := strings.Repeat("0", 64)
	one := func(url, path, sha256 string) fields { return fields{items: []any{item(url, path, sha256)}} }
	sayURL := []string{"url", "write https://models.example.com/qwen3/model.safetensors, without a user, a password, ? and #"}
	sayPath := []string{"path", "write model.safetensors or tokenizer/vocab.json"}
	const file = "https://models.example.com/qwen3/model.gguf"
	bad := func(reason, url string) rule { return rule{reason: reason, args: one(url, "a", sum), want: sayURL} }
	disguised := func(reason, url string) rule {
		return rule{reason: reason, args: one(url, "a", sum), want: []string{"url must name a file in one way"}}
	}
	renamed := func(reason, url string) rule {
		return rule{reason: reason, args: one(url, "a", sum), want: []string{"url must name a server in one way: leave out the port 443"}}
	}
	badPath := func(reason, path string) rule {
		return rule{reason: reason, args: one(file, path, sum), want: sayPath}
	}
	many := func(n int) fields {
		all := make([]any, n)
		for i := range all {
			all[i] = item("https://models.example.com/"+strings.Repeat("a", 1000), strconv.Itoa(i), sum)
		}
		return fields{items: all}
	}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, fromHTTP, map[string]rule{
		"Follow":      {reason: "Files with a digest do not move.", args: fields{"forProvider.source.revisionPolicy": "Follow"}, want: []string{"write revisionPolicy: Pinned"}},
		"One":         {reason: "A file has an address, a name and a digest.", args: one(file, "model.gguf", sum)},
		"Most":        {reason: "The limit is within the API server's budget.", args: many(256)},
		"TooMany":     {reason: "A list has a limit.", args: many(257), want: []string{items, "Too many"}},
		"None":        {reason: "There is a file.", want: []string{items, "should have at least 1 items"}},
		"Escaped":     {reason: "An address may be escaped.", args: one("https://models.example.com/a%20b/c", "a b/c", sum)},
		"Plain":       {reason: "A digest verifies what is read without TLS.", args: one("http://models.example.com:8080/a", "a", sum)},
		"Query":       bad("A signed address has a credential.", file+"?sig=x"),
		"User":        bad("Credentials are in a Secret.", "https://user:secret@models.example.com/a"),
		"Fragment":    bad("An address has no fragment.", file+"#x"),
		"Folder":      bad("A folder is no file.", "https://models.example.com/qwen3/"),
		"Host":        bad("A host is no file.", "https://models.example.com"),
		"Scheme":      bad("A file is read by HTTP.", "file:///etc/passwd"),
		"Climbs":      bad("A path is not climbed.", "https://models.example.com/../x"),
		"Dots":        disguised("A name is written as policies read it.", "https://models.example.com/a/%2e%2E/b"),
		"Slash":       disguised("A name is written as policies read it.", "https://models.example.com/a%2Fb"),
		"Letter":      disguised("A name is written as policies read it.", "https://models.example.com/%73ecret/b"),
		"Parameter":   disguised("Some servers cut off what follows ;.", "https://models.example.com/a/..;/b"),
		"HalfEscape":  disguised("An escape has two digits.", "https://models.example.com/a%2"),
		"NoEscape":    disguised("An escape has two digits.", "https://models.example.com/a%zz"),
		"EscapedMost": {reason: "What must be escaped may be.", args: one("https://models.example.com/a%20b%C3%BC%25.bin", "a", sum)},
		"DefaultPort": renamed("A server has one name.", "https://models.example.com:443/a"),
		"PlainPort":   renamed("A server has one name.", "http://models.example.com:80/a"),
		"Zeros":       renamed("A server has one name.", "https://models.example.com:08443/a"),
		"Metadata":    {reason: "No tenant gets a node's credentials.", args: one("http://169.254.169.254/latest", "a", sum), want: []string{"url must not be of the metadata service"}},
		"PathStart":   badPath("A path is relative.", "/a"),
		"PathParent":  badPath("A path is inside.", "../a"),
		"PathEnd":     badPath("A path is of a file.", "a/"),
		"Digest":      {reason: "A digest is hex.", args: one(file, "a", "sha256:"+sum[7:]), want: []string{"sha256", "write what sha256sum prints"}},
		"NoDigest":    {reason: "A file is verified.", args: fields{items: []any{map[string]any{"url": file, "path": "a"}}}, want: []string{"sha256", "Required value"}},
		"TwoNames":    {reason: "A path is of one file.", args: fields{items: []any{item(file, "a", sum), item(file, "a", sum)}}, want: []string{items, "Duplicate value"}},
		"TwoHosts":    {reason: "Credentials and names are of one server.", args: fields{items: []any{item(file, "a", sum), item("https://other.example.com/b", "b", sum)}}, want: []string{http, "write URLs with the same scheme, host and port"}},
		"Credentials": {reason: "Credentials are sent with TLS.", args: fields{items: []any{item(file, "a", sum)}, http + ".credentialsSecretRef": map[string]any{"name": "a"}}},
		"NoTLS":       {reason: "Credentials are sent with TLS.", args: fields{items: []any{item("http://models.example.com/a", "a", sum)}, http + ".credentialsSecretRef": map[string]any{"name": "a"}}, want: []string{"write URLs with https://"}},
	})
}
