package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const of = `ClusterProviderConfig "models"`

// want is the error that a check should return.
type want struct {
	reason outcome.Reason // Empty for no error.
	says   []string
}

// compare reports a difference between an error and what is wanted.
func compare(t *testing.T, reason string, w want, err error) {
	t.Helper()
	got := outcome.Reason("")
	if err != nil {
		got = outcome.ReasonOf(err)
	}
	if diff := cmp.Diff(w.reason, got); diff != "" {
		t.Errorf("\n%s\n-want reason, +got reason:\n%s\nerror: %v", reason, diff, err)
	}
	for _, s := range w.says {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("\n%s\nwant an error that says %q, got %v", reason, s, err)
		}
	}
}

func violation(says ...string) want { return want{reason: outcome.PolicyViolation, says: says} }

func TestCheckModel(t *testing.T) {
	models := func(allow, deny []string) Set { return Set{{Of: of, Models: Rules{Allow: allow, Deny: deny}}} }
	cases := map[string]struct {
		reason  string
		set     Set
		name    string
		claimed string
		want    want
	}{
		"NoRules":     {reason: "Without a rule any model should be allowed.", set: Set{{Of: of}}, name: "a/b"},
		"Allowed":     {reason: "A model that matches a pattern should be allowed.", set: models([]string{"Qwen/*"}, nil), name: "Qwen/Qwen3-0.6B"},
		"NotAllowed":  {reason: "A model that matches no allowed pattern should be refused.", set: models([]string{"Qwen/*"}, nil), name: "meta-llama/L", want: violation(of, "meta-llama/L", "spec.policy.models.allow: Qwen/*", "spec.forProvider.source")},
		"Denied":      {reason: "A model that matches a denied pattern should be refused.", set: models(nil, []string{"meta-llama/*"}), name: "meta-llama/L", want: violation("spec.policy.models.deny: meta-llama/*")},
		"Case":        {reason: "The Hub does not tell names by case, and neither should a pattern.", set: models(nil, []string{"meta-llama/*"}), name: "Meta-Llama/L", want: violation("Meta-Llama/L")},
		"DenyFirst":   {reason: "A denied model should be refused although it is allowed, too.", set: models([]string{"*"}, []string{"a/b"}), name: "a/b", want: violation("deny")},
		"Dataset":     {reason: "A pattern for a model should not be one for a dataset of that name.", set: models([]string{"a/*"}, nil), name: DatasetPrefix + "a/b", want: violation("datasets/a/b")},
		"Registry":    {reason: "A pattern should match all of a repository's path.", set: models([]string{"registry.example.com/*"}, nil), name: "registry.example.com/models/a/b"},
		"Claimed":     {reason: "The model that an artifact says it was made from should be refused if it is denied.", set: models(nil, []string{"meta-llama/*"}), name: "registry.example.com/a", claimed: "meta-llama/L", want: violation("meta-llama/L")},
		"ClaimAllows": {reason: "What an artifact says it was made from should not make it allowed.", set: models([]string{"Qwen/*"}, nil), name: "registry.example.com/a", claimed: "Qwen/Q", want: violation("registry.example.com/a")},
		"Both":        {reason: "What the second of two policies refuses should be refused.", set: Set{{Of: `ProviderConfig "default"`, Models: Rules{Allow: []string{"*"}}}, {Of: of, Models: Rules{Deny: []string{"a/*"}}}}, name: "a/b", want: violation(of)},
		"Infix":       {reason: "A star should stand for characters between others.", set: models([]string{"a*/*-gguf"}, nil), name: "ab/c-GGUF"},
		"InfixNot":    {reason: "What follows a star should match the end.", set: models([]string{"a/*-gguf"}, nil), name: "a/c-gguf-2", want: violation()},
		"NoOverlap":   {reason: "The same characters should not match twice.", set: models([]string{"aba*aba"}, nil), name: "aba", want: violation()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { compare(t, tc.reason, tc.want, tc.set.CheckModel(tc.name, tc.claimed)) })
	}
}

func TestCheckLicense(t *testing.T) {
	licenses := func(allow, deny []string) Set {
		return Set{{Of: of, Licenses: Rules{Allow: allow, Deny: deny}}}
	}
	open := []string{"apache-2.0", "MIT"}
	cases := map[string]struct {
		reason     string
		set        Set
		expression string
		declared   bool
		want       want
	}{
		"NoRules":       {reason: "Without a rule any licence should be allowed.", set: Set{{Of: of}}, expression: "x"},
		"HubsWord":      {reason: "The Hub's word for a licence should stand for its identifier.", set: licenses(open, nil), expression: "Apache-2.0"},
		"NotAllowed":    {reason: "A licence that is not listed should be refused.", set: licenses(open, nil), expression: "LicenseRef-llama3.1", want: violation("LicenseRef-llama3.1", "spec.policy.licenses.allow: apache-2.0, MIT")},
		"OwnWord":       {reason: "The Hub's word for a licence without an identifier should stand for it.", set: licenses([]string{"llama3.1"}, nil), expression: "LicenseRef-llama3.1"},
		"Reference":     {reason: "A LicenseRef should stand for itself.", set: licenses([]string{"LicenseRef-llama3.1"}, nil), expression: "LicenseRef-llama3.1"},
		"Plus":          {reason: "The Hub's word with characters that no identifier has should stand for the licence.", set: licenses([]string{"openrail++"}, nil), expression: "LicenseRef-openrail--"},
		"Family":        {reason: "A family should stand for its licences.", set: licenses(nil, []string{"gpl"}), expression: "GPL-3.0-only", want: violation("GPL-3.0-only", "deny: gpl")},
		"OtherFamily":   {reason: "A family should not stand for licences of another.", set: licenses(nil, []string{"gpl"}), expression: "LGPL-3.0-only"},
		"Pattern":       {reason: "A pattern should stand for what it matches.", set: licenses(nil, []string{"CC-BY-NC-*"}), expression: "CC-BY-NC-4.0", want: violation("CC-BY-NC-4.0")},
		"OldWord":       {reason: "A deprecated identifier should stand for the one that replaces it.", set: licenses([]string{"GPL-3.0"}, nil), expression: "GPL-3.0-only"},
		"All":           {reason: "Of licences that all apply each should have to be allowed.", set: licenses(open, nil), expression: "MIT AND LicenseRef-gfdl", want: violation()},
		"AllAllowed":    {reason: "Licences that are all allowed should be.", set: licenses(open, nil), expression: "MIT AND Apache-2.0"},
		"Choice":        {reason: "Of a choice one should be enough.", set: licenses(open, nil), expression: "GPL-2.0-only OR MIT"},
		"DeniedChoice":  {reason: "A choice that leaves one that is not denied should be allowed.", set: licenses(nil, []string{"gpl"}), expression: "(GPL-2.0-only OR MIT) AND Zlib"},
		"NoChoice":      {reason: "A choice of nothing but denied licences should be refused.", set: licenses(nil, []string{"gpl"}), expression: "GPL-2.0-only OR GPL-3.0-only", want: violation()},
		"Exception":     {reason: "A licence with an exception should count as the licence.", set: licenses(nil, []string{"gpl"}), expression: "GPL-2.0-only WITH Classpath-exception-2.0", want: violation()},
		"Text":          {reason: "A text that is no expression should not be allowed by a word in it.", set: licenses(open, nil), expression: "See the MIT file", want: violation()},
		"None":          {reason: "A source that names no licence should be refused if licences are listed.", set: licenses(open, nil), want: violation("names none")},
		"NoneAllowed":   {reason: "A source that names no licence should be allowed as unknown.", set: licenses([]string{"unknown"}, nil)},
		"NoneDenied":    {reason: "A source that names no licence should be denied as unknown.", set: licenses(nil, []string{"unknown"}), want: violation()},
		"NoneNotDenied": {reason: "A source that names no licence should be allowed if only others are denied.", set: licenses(nil, []string{"gpl"})},
		"Declared":      {reason: "A licence that is only declared should not count.", set: licenses(open, nil), expression: "MIT", declared: true, want: violation("MIT, which is only declared", "set to Allow")},
		"DeclaredCounts": {reason: "A licence that is only declared should count where the policy says so.", declared: true, expression: "MIT",
			set: Set{{Of: of, Licenses: Rules{Allow: open}, DeclaredLicenses: true}}},
		"DeclaredOther": {reason: "A declared licence should have to be allowed, too.", declared: true, expression: "GPL-3.0-only", want: violation("GPL-3.0-only"),
			set: Set{{Of: of, Licenses: Rules{Allow: open}, DeclaredLicenses: true}}},
		"DeclaredDenied":  {reason: "A declared licence that is denied should be refused, whatever it counts.", set: licenses(nil, []string{"gpl"}), expression: "GPL-3.0-only", declared: true, want: violation("GPL-3.0-only")},
		"DeclaredUnknown": {reason: "A licence that does not count is unknown, which may be allowed.", set: licenses(nil, []string{"gpl"}), expression: "MIT", declared: true},
		"DeclaredNone":    {reason: "No declared licence is unknown.", set: licenses(open, nil), declared: true, want: violation("names none")},
		"Others":          {reason: "Licences that did not fit into an expression may be denied ones.", set: licenses(nil, []string{"gpl"}), expression: "MIT AND LicenseRef-others", want: violation()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { compare(t, tc.reason, tc.want, tc.set.CheckLicense(tc.expression, tc.declared)) })
	}
}

func TestCheckFiles(t *testing.T) {
	files := func(allow, deny string) Set {
		return Set{{Of: of, Files: Rules{Allow: strings.Fields(allow), Deny: strings.Fields(deny)}}}
	}
	only, noPickle := files("safetensors gguf", ""), files("", "pickle")
	safetensors := "\x80\x04\x00\x00\x00\x00\x00\x00{\"a\""
	zip := "PK\x03\x04\x00\x00"
	cases := map[string]struct {
		reason string
		set    Set
		path   string
		head   string
		byName want // By the listing.
		want   want // By the first bytes.
	}{
		"Allowed":         {reason: "Files of an allowed format should be allowed.", set: only, path: "model.safetensors", head: safetensors},
		"HeaderLikePick":  {reason: "A safetensors file whose header's length begins like a pickle should be allowed.", set: noPickle, path: "a/model.safetensors", head: safetensors},
		"Config":          {reason: "Configuration should be data.", set: only, path: "config.json", head: "{}"},
		"Tokenizer":       {reason: "Tokenizers should be data.", set: only, path: "tokenizer.model", head: "\x0a\x0e"},
		"Readme":          {reason: "Files without an extension that people read should be data.", set: only, path: "LICENSE", head: "MIT"},
		"Git":             {reason: "A file of git should be data.", set: only, path: ".gitignore", head: "x"},
		"PickleName":      {reason: "A pickle should be refused by its name.", set: noPickle, path: "model.PT", head: "x", byName: violation(of, "model.PT (pickle)", "spec.policy.files.deny: pickle", "source.files"), want: violation()},
		"PyTorchName":     {reason: "PyTorch's usual names should be those of pickles.", set: noPickle, path: "pytorch_model-00001-of-00002.bin", head: "x", byName: violation("(pickle)"), want: violation()},
		"BinUndecided":    {reason: "A .bin without a pickle in it should be allowed.", set: noPickle, path: "data.bin", head: "\x00\x01"},
		"BinZip":          {reason: "A .bin that is a zip archive should be a pickle.", set: noPickle, path: "data.bin", head: zip, want: violation("data.bin (pickle")},
		"BinProto":        {reason: "A .bin that begins as a pickle should be one.", set: noPickle, path: "data.bin", head: "\x80\x02}q", want: violation("pickle")},
		"BinPolyglot":     {reason: "A .bin that is both a pickle and a safetensors file should be a pickle.", set: noPickle, path: "data.bin", head: "\x80\x04T\x03\x00\x00\x00\x00{", want: violation("pickle")},
		"BinGGUF":         {reason: "A .bin should be what its first bytes tell.", set: only, path: "data.bin", head: "GGUF\x03"},
		"BinOther":        {reason: "A .bin of an unknown format should be refused if formats are listed.", set: only, path: "data.bin", head: "\x00\x01", want: violation("(other")},
		"DataPickle":      {reason: "A pickle with the name of data should be refused.", set: noPickle, path: "config.json", head: "\x80\x04\x95", want: violation("config.json (pickle")},
		"WeightsPickle":   {reason: "A pickle with the name of weights should be refused.", set: noPickle, path: "model.gguf", head: "\x80\x04\x95", want: violation("model.gguf (pickle")},
		"Unknown":         {reason: "An unknown format should be refused if formats are listed.", set: only, path: "a.xyz", head: "x", byName: violation("a.xyz (other)"), want: violation()},
		"UnknownAllowed":  {reason: "An unknown format should be allowed if only others are denied.", set: noPickle, path: "a.xyz", head: "x"},
		"ListedAndDenied": {reason: "A format that is allowed and denied should be refused.", set: files("pickle", "pickle"), path: "a.pt", head: "x", byName: violation(), want: violation()},
		"Code":            {reason: "Source code should be code.", set: files("", "code"), path: "modeling.py", head: "import os", byName: violation("(code)"), want: violation()},
		"Program":         {reason: "A program should be code whatever its name is.", set: files("", "code"), path: "weights.bin", head: "\x7fELF\x02", want: violation("(code")},
		"NumPy":           {reason: "An array of numbers should not be a pickle.", set: noPickle, path: "a.npy", head: "\x93NUMPY\x01\x00v\x00{'descr': '<f4'"},
		"NumPyObjects":    {reason: "An array of objects should be a pickle.", set: noPickle, path: "a.npy", head: "\x93NUMPY\x01\x00v\x00{'descr': '|O'", want: violation("pickle")},
		"NumPyZip":        {reason: "A zip archive of arrays should be what its name tells.", set: noPickle, path: "a.npz", head: zip},
		"Keras":           {reason: "Keras' own zip archive should be what its name tells.", set: noPickle, path: "a.keras", head: zip},
		"Archive":         {reason: "An archive should be what its name tells.", set: files("", "archive"), path: "a.tar.gz", head: "\x1f\x8b", byName: violation("(archive)"), want: violation()},
		"Tar":             {reason: "A tar archive should be one whatever its name is.", set: files("", "archive"), path: "a.bin", head: strings.Repeat("\x00", 257) + "ustar\x00", want: violation("(archive")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := File{Path: tc.path, Size: 1 << 20}
			compare(t, tc.reason, tc.byName, tc.set.CheckNames([]File{{Path: "README.md"}, f}))
			compare(t, tc.reason, tc.want, tc.set.CheckContent(f, []byte(tc.head)))
			compare(t, tc.reason, tc.want, tc.set.CheckFormat(f.Path, FormatOf(f, []byte(tc.head))))
		})
	}
}

func TestCheckNamesMany(t *testing.T) {
	set := Set{{Of: of, Files: Rules{Deny: []string{FormatPickle}}}}
	var files []File
	for _, name := range []string{"e.pt", "d.pt", "c.pt", "b.pt", "a.pt"} {
		files = append(files, File{Path: name})
	}
	compare(t, "A message should name some of many files, in a fixed order.", violation("a.pt (pickle), b.pt (pickle), c.pt (pickle) and 2 more"), set.CheckNames(files))
}

func TestCheckSize(t *testing.T) {
	set := Set{{Of: of, MaxSize: 10}}
	compare(t, "An artifact of the largest size should be allowed.", want{}, set.CheckSize(10))
	compare(t, "A larger artifact should be refused.", violation("at most 10 bytes", "has 11"), set.CheckSize(11))
	compare(t, "Without a limit any size should be allowed.", want{}, Set{{Of: of}}.CheckSize(1<<60))
}

func TestCheckAttested(t *testing.T) {
	set := Set{{Of: of, RequireAttestedSource: true}}
	compare(t, "A source that is verified should be allowed.", want{}, set.CheckAttested(true))
	compare(t, "A source that is not verified should be refused.", violation("spec.policy.requireAttestedSource", "spec.forProvider.source.oci"), set.CheckAttested(false))
	compare(t, "Without the rule any source should be allowed.", want{}, Set{{Of: of}}.CheckAttested(false))
}

func TestCheckScan(t *testing.T) {
	set := func(h HubScan) Set { return Set{{Of: of, HubScan: h}} }
	files := []File{{Path: "a.bin"}, {Path: "config.json"}}
	issues := func(done bool, levels ...string) Scan {
		s := Scan{Known: true, Done: done, Issues: []Issue{{Path: "left-out.bin", Level: "unsafe"}}}
		for _, l := range levels {
			s.Issues = append(s.Issues, Issue{Path: "a.bin", Level: l})
		}
		return s
	}
	cases := map[string]struct {
		reason  string
		scan    Scan
		verdict string
		want    want // With Require.
		later   want // By the recorded verdict.
	}{
		"Clean":      {reason: "A clean scan should be allowed, also if files that are left out are not safe.", scan: issues(true), verdict: VerdictClean},
		"Safe":       {reason: "A file that is listed as safe should be no issue.", scan: issues(true, "safe"), verdict: VerdictClean},
		"Unsafe":     {reason: "A file that is unsafe should be refused.", scan: issues(true, "caution", "unsafe"), verdict: "unsafe", want: violation("a.bin (unsafe)"), later: violation("its files (unsafe)")},
		"Suspicious": {reason: "A file that is suspicious should be refused.", scan: issues(true, "suspicious"), verdict: "suspicious", want: violation("a.bin (suspicious)"), later: violation()},
		"Unknown":    {reason: "A level that is not known should be as bad as the worst.", scan: issues(true, "dire"), verdict: "unsafe", want: violation("a.bin (dire)"), later: violation()},
		"Early":      {reason: "An issue should count before the scan is finished.", scan: issues(false, "unsafe"), verdict: "unsafe", want: violation(), later: violation()},
		"Pending":    {reason: "A scan that is not finished should be waited for.", scan: issues(false), verdict: VerdictPending, want: want{reason: outcome.Unavailable, says: []string{"not finished"}}, later: violation("request another run")},
		"Queued":     {reason: "A file that is not scanned yet should be waited for.", scan: issues(true, "queued"), verdict: VerdictPending, want: want{reason: outcome.Unavailable}, later: violation()},
		"Missing":    {reason: "A source without a scan should be refused.", verdict: VerdictMissing, want: violation("there is none"), later: violation()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			verdict, _ := tc.scan.Verdict(files)
			if diff := cmp.Diff(tc.verdict, verdict); diff != "" {
				t.Errorf("\n%s\nVerdict(...): -want, +got:\n%s", tc.reason, diff)
			}
			compare(t, tc.reason, tc.want, set(HubScanRequire).CheckScan(tc.scan, files))
			compare(t, tc.reason, tc.later, set(HubScanRequire).CheckVerdict(verdict))
			for _, h := range []HubScan{"", HubScanIgnore, HubScanWarn} {
				compare(t, "Only Require should refuse.", want{}, set(h).CheckScan(tc.scan, files))
			}
			if warned := set(HubScanWarn).Warnings(verdict) != ""; warned != (verdict != VerdictClean) {
				t.Errorf("\n%s\nWarnings(%q): got %t", tc.reason, verdict, warned)
			}
		})
	}
	compare(t, "An artifact that was pushed before a policy asked for its scan should not pass.", violation("did not ask for it"), set(HubScanRequire).CheckVerdict(""))
}

func TestSet(t *testing.T) {
	set := NewSet(
		Policy{Of: "none"},
		Policy{Of: of, Models: Rules{Allow: []string{"a/*"}}, Licenses: Rules{Deny: []string{"gpl"}}, DeclaredLicenses: true, Files: Rules{Allow: []string{"gguf"}}, HubScan: HubScanRequire, MaxSize: 7, RequireAttestedSource: true},
	)
	encoded, err := set.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(encoded)
	if diff := cmp.Diff(set, got); diff != "" || err != nil || len(got) != 1 {
		t.Errorf("Policies should be decoded as they were encoded, without those that have no rule.\nDecode(...): -want, +got:\n%s\nerror: %v", diff, err)
	}
	if !got.HasFileRules() || !got.AsksForScan() {
		t.Error("The policies should have rules for files and for scans.")
	}
	if encoded, err := NewSet(Policy{Of: of, HubScan: HubScanIgnore}).Encode(); encoded != "" || err != nil {
		t.Errorf("No rules should be encoded as nothing.\nEncode(): got %q, %v", encoded, err)
	}
	if got, err := Decode(""); got != nil || err != nil {
		t.Errorf("Nothing should be decoded as no policies.\nDecode(...): got %v, %v", got, err)
	}
	for _, broken := range []string{"x", `{}`, `[{"of":"a","colour":"red"}]`, `[] []`, "[" + strings.Repeat(" ", MaxBytes) + "]"} {
		if got, err := Decode(broken); err == nil {
			t.Errorf("What is no list of policies should be refused, and so should a rule that is not known.\nDecode(%.40q): got %v", broken, got)
		}
	}
	large := Policy{Of: of, Models: Rules{Allow: []string{strings.Repeat("a", MaxBytes)}}}
	if _, err := NewSet(large).Encode(); outcome.ReasonOf(err) != outcome.ConfigInvalid {
		t.Errorf("Policies that are too large for an argument should be refused.\nEncode(): got %v", err)
	}
}
