package api

import (
	"strconv"
	"strings"
	"testing"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
)

// What the API server says to each mistake: the part that tells what to write.
var (
	sayModel      = []string{"forProvider.source.huggingFace.model", "write organisation/name, for example Qwen/Qwen3-0.6B"}
	sayRevision   = []string{"forProvider.source.huggingFace.revision", "write main, v1.0, refs/pr/1 or 40 hex digits"}
	sayRegistry   = []string{"target.registry", "write registry.example.com, localhost:5000 or [2001:db8::5]:5000, without https:// and without a path"}
	sayRepository = []string{"target.repository", "lower-case", "write models/qwen3, without a registry and without a tag"}
	sayTag        = []string{"target.tag", "write v1 or latest"}
	saySource     = []string{"exactly one source", "write huggingFace with model: organisation/name, or oci with reference: registry/repository@digest, or one of s3, gcs"}
	sayKind       = []string{"exactly one of model and dataset", "write model: organisation/name, or dataset: organisation/name"}
	sayDataset    = []string{"forProvider.source.huggingFace.dataset", "write organisation/name, for example openai/gsm8k"}
	sayReference  = []string{"forProvider.source.oci.reference", "write registry.example.com/models/qwen3@sha256:... or registry.example.com/models/qwen3:v1, without https://"}
	sayNeeded     = []string{"write source.huggingFace.model and target.repository, or managementPolicies: [Observe]"}
	saySize       = []string{"storage", "write a quantity such as 50Gi"}
)

func TestArtifactModel(t *testing.T) {
	const model = "forProvider.source.huggingFace.model"
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{model: value}, want: sayModel}
	}
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{model: value}} }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Organisation":     good("A model of an organisation is the common case.", "Qwen/Qwen3-0.6B"),
		"Bare":             good("Old models have no organisation.", "gpt2"),
		"Underscore":       good("Names may hold all that the Hub allows.", "a_b/c_d.e-f1"),
		"LongOrganisation": good("The Hub bounds organisation and name each.", strings.Repeat("o", 40)+"/"+strings.Repeat("n", 90)),
		"URL":              bad("A link copied from the browser is no name.", "https://huggingface.co/Qwen/Qwen3-0.6B"),
		"WithRevision":     bad("A revision has a field of its own.", "Qwen/Qwen3-0.6B@main"),
		"Parent":           bad("A URL would climb.", "Qwen/.."),
		"ParentInside":     bad("A URL would climb.", "a/../b"),
		"ThreeParts":       bad("The Hub knows two parts.", "a/b/c"),
		"EmptyPart":        bad("A part may not be empty.", "a//b"),
		"LeadingSlash":     bad("A URL would lose its host.", "/a/b"),
		"TrailingSlash":    bad("A part may not be empty.", "a/"),
		"Query":            bad("A URL would see a query.", "a/b?c"),
		"Fragment":         bad("A URL would see a fragment.", "a/b#c"),
		"Escape":           bad("A URL would decode it.", "a%2Fb/c"),
		"Space":            bad("No name has a space.", "a/b c"),
		"LineBreak":        bad("A name is one line.", "a/b\n"),
		"Option":           bad("A command would see an option.", "-a/b"),
		"HiddenName":       bad("A part starts with a letter or a digit.", "a/.git"),
		"Empty":            bad("There is a model.", ""),
		"Dataset":          bad("The Hub serves data sets below datasets/.", "datasets/squad"),
		"Spaces":           bad("The Hub serves spaces below spaces/.", "spaces/demo"),
		"API":              bad("The Hub serves its API below api/.", "api/models"),
		"Missing": {
			reason: "There is a model.",
			args:   fields{model: nil},
			want:   sayKind,
		},
		"TooLong": {
			reason: "A name has a limit.",
			args:   fields{model: strings.Repeat("a", 200)},
			want:   []string{model, "Too long"},
		},
	})
}

func TestArtifactRevision(t *testing.T) {
	const revision = "forProvider.source.huggingFace.revision"
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{revision: value}, want: sayRevision}
	}
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{revision: value}} }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Branch":        good("A branch is a revision.", "main"),
		"Tag":           good("A tag is a revision.", "v1.0"),
		"PullRequest":   good("A pull request is a revision.", "refs/pr/1"),
		"Commit":        good("A commit is a revision.", strings.Repeat("0a", 20)),
		"Parent":        bad("A URL would climb.", "a/../b"),
		"ParentOnly":    bad("A URL would climb.", ".."),
		"Here":          bad("A URL would drop the part.", "a/./b"),
		"EmptyPart":     bad("A URL would drop the part.", "a//b"),
		"LeadingSlash":  bad("A part may not be empty.", "/main"),
		"TrailingSlash": bad("A part may not be empty.", "main/"),
		"Query":         bad("A URL would see a query.", "main?x"),
		"Fragment":      bad("A URL would see a fragment.", "main#x"),
		"Escape":        bad("A URL would decode it.", "a%2Fb"),
		"Space":         bad("No revision has a space.", "a b"),
		"LineBreak":     bad("A revision is one line.", "main\n"),
		"Option":        bad("A command would see an option.", "--main"),
		"Empty":         bad("A revision that is written is not empty.", ""),
		"TooLong": {
			reason: "A revision has a limit.",
			args:   fields{revision: strings.Repeat("a", 256)},
			want:   []string{revision, "Too long"},
		},
	})
}

func TestArtifactRegistry(t *testing.T) {
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, hostRules("forProvider.target.registry"))
}

// hostRules are the cases of a field that holds a registry's host.
func hostRules(path string) map[string]rule {
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{path: value}, want: sayRegistry[1:]}
	}
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{path: value}} }
	address := func(reason, value string) rule {
		return rule{reason: reason, args: fields{path: value}, want: []string{path, "IPv6 in its shortest form", "write [2001:db8::5]:5000"}}
	}
	return map[string]rule{
		"Dot":       good("A host with a dot is a registry.", "registry.example.com"),
		"Port":      good("A host with a port is a registry.", "localhost:5000"),
		"Address":   good("An address is a host.", "10.0.0.5:5000"),
		"IPv6":      good("An IPv6 address is in brackets.", "[2001:db8::5]:5000"),
		"IPv6Plain": good("The port may be the default.", "[::1]"),
		"IPv6Bare":  bad("A colon would be that of the port.", "2001:db8::5"),
		"IPv6Zone":  bad("A zone is of one machine.", "[fe80::1%eth0]:5000"),
		"IPv6Open":  bad("A bracket is closed.", "[::1:5000"),
		"IPv6Long":  address("A registry has one name.", "[2001:db8:0:0:0:0:0:5]:5000"),
		"IPv6None":  address("An address is one.", "[::1::]:5000"),
		"IPv4In":    address("An IPv4 address has no brackets.", "[10.0.0.5]:5000"),
		"Bare":      bad("A client would take it for a part of a repository.", "localhost"),
		"Scheme":    bad("A registry is no URL.", "https://registry.example.com"),
		"Path":      bad("The path is the repository.", "registry.example.com/models"),
		"User":      bad("Credentials are in a Secret.", "user:secret@registry.example.com"),
		"NoPort":    bad("A colon asks for a port.", "registry.example.com:"),
		"WordPort":  bad("A port is a number.", "registry.example.com:http"),
		"Space":     bad("No host has a space.", "registry .example.com"),
		"LineBreak": bad("A host is one line.", "registry.example.com\n"),
		"EmptyPart": bad("No host has two dots together.", "registry..example.com"),
		"Option":    bad("A command would see an option.", "-registry.example.com"),
		"Empty":     bad("A registry that is written is not empty.", ""),
		"TooLong": {
			reason: "A host has a limit.",
			args:   fields{path: strings.Repeat("a.", 130) + "a"},
			want:   []string{"Too long"},
		},
	}
}

func TestArtifactRepository(t *testing.T) {
	const repository = "forProvider.target.repository"
	bad := func(reason, value string) rule {
		return rule{reason: reason, args: fields{repository: value}, want: sayRepository}
	}
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{repository: value}} }

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"OnePart":    good("A repository may have one part.", "qwen3"),
		"ManyParts":  good("A repository may have many parts.", "a/b/c/d"),
		"Separators": good("All separators of the specification are allowed.", "a.b/c_d/e__f/g---h"),
		"UpperCase":  bad("Registries refuse upper case.", "models/Qwen3"),
		"WithTag":    bad("The tag has a field of its own.", "models/qwen3:v1"),
		"WithDigest": bad("A digest is not chosen.", "models/qwen3@sha256:00"),
		"WithHost":   bad("The registry has a field of its own.", "localhost:5000/models"),
		"EmptyPart":  bad("A part may not be empty.", "models//qwen3"),
		"Leading":    bad("A repository does not start with a slash.", "/models"),
		"Trailing":   bad("A repository does not end with a slash.", "models/"),
		"DotEdge":    bad("A part does not start with a separator.", "models/.qwen3"),
		"TwoDots":    bad("The specification allows one dot between letters.", "models/qwen..3"),
		"LineBreak":  bad("A repository is one line.", "models\n"),
		"Empty":      bad("There is a repository.", ""),
		"Missing": {
			reason: "There is a repository.",
			args:   fields{repository: nil},
			want:   []string{repository, "Required value"},
		},
		"TooLong": {
			reason: "Registries bound a repository.",
			args:   fields{repository: strings.Repeat("a", 256)},
			want:   []string{repository, "Too long"},
		},
	})
}

func TestArtifactTag(t *testing.T) {
	const tag = "forProvider.target.tag"
	bad := func(reason, value string) rule { return rule{reason: reason, args: fields{tag: value}, want: sayTag} }
	good := func(reason, value string) rule { return rule{reason: reason, args: fields{tag: value}} }
	sayReserved := []string{tag, "tags that begin with kitops- are reserved for runs: write v1 or latest"}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Version":    good("A version is a tag.", "v1.2.3-rc_1"),
		"UpperCase":  good("Tags may have upper case.", "V1"),
		"Underscore": good("A tag may start with an underscore.", "_x"),
		"Longest":    good("A tag has at most 128 characters.", strings.Repeat("a", 128)),
		"Slash":      bad("A tag has no parts.", "a/b"),
		"Colon":      bad("A tag has no colon.", "a:b"),
		"Dot":        bad("A tag does not start with a dot.", ".a"),
		"Option":     bad("A command would see an option.", "-a"),
		"Space":      bad("No tag has a space.", "a b"),
		"LineBreak":  bad("A tag is one line.", "v1\n"),
		"Empty":      bad("A tag that is written is not empty.", ""),
		"Kitops":     good("A tag may be named after the tool.", "kitops"),
		"Staging":    {reason: "A run's own tags are no Artifact's.", args: fields{tag: "kitops-staging-0123456789abcdef"}, want: sayReserved},
		"Reserved":   {reason: "Later versions may need other tags.", args: fields{tag: "kitops-"}, want: sayReserved},
		"TooLong": {
			reason: "A tag has at most 128 characters.",
			args:   fields{tag: strings.Repeat("a", 129)},
			want:   []string{tag, "Too long"},
		},
	})
}

func TestArtifactExpectedDigest(t *testing.T) {
	const expected = "forProvider.expectedDigest"
	say := []string{expected, "write the digest in status.atProvider.digest"}
	bad := func(reason, value string) rule { return rule{reason: reason, args: fields{expected: value}, want: say} }
	hex := strings.Repeat("0a", 32)

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Digest":    {reason: "A manifest has a SHA-256 digest.", args: fields{expected: "sha256:" + hex}},
		"UpperCase": bad("Digests are lower case.", "sha256:"+strings.ToUpper(hex)),
		"Short":     bad("A digest has 64 hex digits.", "sha256:"+hex[2:]),
		"Bare":      bad("A digest names its algorithm.", hex),
		"Algorithm": bad("Registries and the provider use SHA-256.", "sha512:"+hex[:57]),
		"Empty":     bad("A digest that is written is not empty.", ""),
		"LineBreak": bad("A digest is one line.", "sha256:"+hex[1:]+"\n"),
	})
}

func TestArtifactAnnotations(t *testing.T) {
	const annotations = "forProvider.target.annotations"
	set := func(name, value string) fields { return fields{annotations: map[string]any{name: value}} }
	many := map[string]any{}
	for i := range 33 {
		many["a"+strconv.Itoa(i)] = "b"
	}
	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Own":        {reason: "A name of one's own may have any text.", args: set("com.example/team", "a = b: ü\n")},
		"Vendor":     {reason: "Names of the image specification that say nothing of the source are free.", args: set("org.opencontainers.image.vendor", "Example")},
		"Source":     {reason: "The source is the provider's to tell.", args: set("org.opencontainers.image.source", "x"), want: []string{annotations, "write a name of your own"}},
		"Provider":   {reason: "The provider's own names are reserved.", args: set("io.crossplane.m.kitops.owner", "x"), want: []string{annotations, "write a name of your own"}},
		"ModelPack":  {reason: "The names of ModelPack are reserved.", args: set("org.cncf.model.filepath", "x"), want: []string{annotations, "write a name of your own"}},
		"Signatures": {reason: "The names of signatures are reserved.", args: set("dev.sigstore.bundle.content", "x"), want: []string{annotations, "write a name of your own"}},
		"Name":       {reason: "A name that an argument could not hold is refused.", args: set("a=b", "x"), want: []string{annotations, "write com.example.team: search"}},
		"Empty":      {reason: "A value has some text.", args: set("a", ""), want: []string{annotations, "values of 1 to 1024 bytes"}},
		"Long":       {reason: "A value is bounded.", args: set("a", strings.Repeat("a", 1025)), want: []string{annotations, "values of 1 to 1024 bytes"}},
		"Many":       {reason: "Their number is bounded.", args: fields{annotations: many}, want: []string{annotations, "32"}},
		"Kit": {
			reason: "kit cannot set them.",
			args:   fields{annotations: map[string]any{"a": "b"}, "forProvider.pipeline": "Kit"},
			want:   []string{"pipeline Kit cannot set target.annotations: leave pipeline out"},
		},
	})
}

func TestArtifactFurtherTags(t *testing.T) {
	const tags, keep = "forProvider.target.additionalTags", "forProvider.target.keepVersions"
	say := []string{tags, "write stable or main-{commitShort}"}
	good := func(reason string, values ...any) rule { return rule{reason: reason, args: fields{tags: values}} }
	bad := func(reason string, values ...any) rule {
		return rule{reason: reason, args: fields{tags: values}, want: say}
	}

	checkCreate(t, modelv1alpha1.ArtifactGroupVersionKind, minimal, map[string]rule{
		"Fixed":       good("A tag may be fixed.", "stable", "V1.2_3-x"),
		"Commit":      good("A tag may have the commit.", "{commit}", "main-{commitShort}", "{commitShort}-rc"),
		"Two":         bad("Two placeholders would be longer than a tag may be.", "{commit}-{commitShort}"),
		"Date":        good("A tag may have the day of the commit.", "{date}", "nightly-{date}"),
		"Unknown":     bad("There are no other placeholders.", "v-{now}"),
		"Hyphen":      bad("A tag starts with a letter, a digit or an underscore.", "-a"),
		"Slash":       bad("A tag has no parts.", "a/b"),
		"Empty":       bad("A tag is not empty.", ""),
		"LineBreak":   bad("A tag is one line.", "a\n"),
		"Reserved":    bad("Tags of runs are no Artifact's.", "kitops-staging-1"),
		"LikeTag":     {reason: "The tag itself is not additional.", args: fields{tags: []any{"latest"}}, want: []string{"additionalTags must not have target.tag"}},
		"Duplicate":   {reason: "Each tag is written once.", args: fields{tags: []any{"a", "a"}}, want: []string{tags, "Duplicate"}},
		"Keep":        {reason: "Versions may be kept.", args: fields{keep: int64(20)}},
		"KeepTooMany": {reason: "There is a limit.", args: fields{keep: int64(21)}, want: []string{keep}},
		"KeepLongTag": {reason: "A kept version's tag is longer.", args: fields{keep: int64(1), "forProvider.target.tag": strings.Repeat("a", 121)}, want: []string{"write a shorter tag"}},
	})
}
