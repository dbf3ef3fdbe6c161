package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/license"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// DatasetPrefix is what the names of datasets begin with in policies, as they do on
// the Hub.
const DatasetPrefix = "datasets/"

// A File is a file of a source, as a listing has it.
type File struct {
	// Path inside the model, with slashes.
	Path string

	// Size in bytes.
	Size int64
}

// violation returns the error for what a policy refuses: the rule, and what may be
// done about it.
func (p Policy) violation(what, cure string) error {
	return outcome.Errorf(outcome.PolicyViolation, "%s %s: %s", p.Of, what, cure)
}

// CheckModel returns an error with reason PolicyViolation unless the policies allow
// all names of a source: as the Hub names a model (organisation/name) or a dataset
// (datasets/organisation/name), and for a registry registry/repository. An allowed
// pattern must match the first of them, which is the name of what is read. No denied
// pattern may match any: a source may name others, such as the model that an artifact
// in a registry says it was made from.
func (s Set) CheckModel(name string, others ...string) error {
	return s.check(func(p Policy) error {
		for _, n := range append([]string{name}, others...) {
			if pattern := firstMatch(p.Models.Deny, n); pattern != "" {
				return p.violation(fmt.Sprintf("denies model %s (spec.policy.models.deny: %s)", outcome.Shorten(n), pattern),
					"write another in spec.forProvider.source, or have the pattern changed")
			}
		}
		if len(p.Models.Allow) > 0 && firstMatch(p.Models.Allow, name) == "" {
			return p.violation(fmt.Sprintf("does not allow model %s (spec.policy.models.allow: %s)", outcome.Shorten(name), some(p.Models.Allow)),
				"write another in spec.forProvider.source, or have a pattern added")
		}
		return nil
	})
}

// CheckAttested returns an error with reason PolicyViolation if a policy requires an
// attested source, which one is if its signature, or an attestation of it, is verified
// before it is read.
func (s Set) CheckAttested(attested bool) error {
	return s.check(func(p Policy) error {
		if attested || !p.RequireAttestedSource {
			return nil
		}
		return p.violation("requires an attested source (spec.policy.requireAttestedSource)",
			"write an artifact in spec.forProvider.source.oci, with the keys of who signed it in its verify, or have the rule changed")
	})
}

// CheckLicense returns an error with reason PolicyViolation unless the policies allow
// an SPDX expression of a source's licences: of those that all apply (AND) each, of a
// choice (OR) one. "" is a source that names none, which is allowed and denied as
// unknown. One that is only declared, by the Artifact, by the files themselves or by who
// packed them, is unknown, too, to a policy that does not allow declared licences.
func (s Set) CheckLicense(expression string, declared bool) error {
	return s.check(func(p Policy) error {
		if p.Licenses.IsZero() {
			return nil
		}
		shown := outcome.Shorten(expression)
		if expression == "" {
			expression, shown, declared = license.Unknown, "unknown, since the source names none,", false
		}
		if !license.Satisfies(expression, p.allowsLicense) {
			return p.violation(fmt.Sprintf("does not allow licence %s (spec.policy.licenses%s)", shown, p.Licenses.shown()),
				"write a source with another licence in spec.forProvider.source, or have the rule changed")
		}
		if !declared || p.DeclaredLicenses || license.Satisfies(license.Unknown, p.allowsLicense) {
			return nil
		}
		return p.violation(fmt.Sprintf("does not count licence %s, which is only declared: by spec.forProvider.source.license, the files themselves or an artifact that is not verified (spec.policy.licenses%s)", shown, p.Licenses.shown()),
			"write a model of a Hub in spec.forProvider.source, require a signature in source.oci.verify, or have spec.policy.licenses.declared set to Allow")
	})
}

// allowsLicense reports whether a policy allows one licence.
func (p Policy) allowsLicense(id string) bool {
	is := func(name string) bool { return matchesLicense(name, id) }
	return id != license.Others && !slices.ContainsFunc(p.Licenses.Deny, is) &&
		(len(p.Licenses.Allow) == 0 || slices.ContainsFunc(p.Licenses.Allow, is))
}

// matchesLicense reports whether a name in a policy, or a pattern of names, stands for
// a licence.
func matchesLicense(name, id string) bool {
	if strings.Contains(name, "*") {
		return matches(strings.ToLower(name), license.Plain(id))
	}
	return license.Matches(name, id)
}

// CheckNames returns an error with reason PolicyViolation unless the policies allow the
// files of a listing, as far as their names tell their formats.
func (s Set) CheckNames(files []File) error {
	return s.check(func(p Policy) error {
		var refused []string
		for _, f := range files {
			if format, ok := FormatByName(f.Path); ok && !p.allowsFormat(format) {
				refused = append(refused, fmt.Sprintf("%s (%s)", outcome.Shorten(f.Path), format))
			}
		}
		if len(refused) == 0 {
			return nil
		}
		slices.Sort(refused)
		return p.refusesFiles(some(refused))
	})
}

// CheckSize returns an error with reason PolicyViolation unless the policies allow an
// artifact of this size in bytes.
func (s Set) CheckSize(size int64) error {
	return s.check(func(p Policy) error {
		if p.MaxSize <= 0 || size <= p.MaxSize {
			return nil
		}
		return p.violation(fmt.Sprintf("allows artifacts of at most %d bytes (spec.policy.maxSize), and this has %d", p.MaxSize, size),
			"leave files out in spec.forProvider.source.files, write another source, or have the limit raised")
	})
}

// CheckContent returns an error with reason PolicyViolation unless the policies allow
// a file with these first bytes: up to HeadBytes of them, or all if it has no more.
func (s Set) CheckContent(f File, head []byte) error {
	formats := FormatsOf(f, head)
	return s.check(func(p Policy) error {
		for _, format := range formats {
			if !p.allowsFormat(format) {
				return p.refusesFiles(fmt.Sprintf("%s (%s, by its first bytes)", outcome.Shorten(f.Path), format))
			}
		}
		return nil
	})
}

// CheckFormat returns an error with reason PolicyViolation unless the policies allow
// a file that is recorded to have a format; "" is one of no known format.
func (s Set) CheckFormat(path, format string) error {
	if format == "" {
		format = FormatOther
	}
	return s.check(func(p Policy) error {
		if p.allowsFormat(format) {
			return nil
		}
		return p.refusesFiles(fmt.Sprintf("%s (%s)", outcome.Shorten(path), format))
	})
}

// allowsFormat reports whether a policy allows files of a format. Data is always
// allowed.
func (p Policy) allowsFormat(format string) bool {
	if format == FormatData || slices.Contains(p.Files.Deny, format) {
		return format == FormatData
	}
	return len(p.Files.Allow) == 0 || slices.Contains(p.Files.Allow, format)
}

// refusesFiles returns the error for files that a policy refuses.
func (p Policy) refusesFiles(which string) error {
	return p.violation(fmt.Sprintf("does not allow %s (spec.policy.files%s)", which, p.Files.shown()),
		"leave such files out in spec.forProvider.source.files, write another source, or have the rule changed")
}

// shown returns the rules for a message.
func (r Rules) shown() string {
	var out []string
	if len(r.Allow) > 0 {
		out = append(out, ".allow: "+some(r.Allow))
	}
	if len(r.Deny) > 0 {
		out = append(out, ".deny: "+some(r.Deny))
	}
	return strings.Join(out, ", ")
}

// some returns the first of several names, for a message.
func some(names []string) string {
	const most = 3
	out := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return out
}

// firstMatch returns the first pattern that matches a name, whatever the case of its
// letters; "" for none.
func firstMatch(patterns []string, name string) string {
	for _, p := range patterns {
		if matches(strings.ToLower(p), strings.ToLower(name)) {
			return p
		}
	}
	return ""
}

// matches reports whether a pattern matches all of a name: * stands for any
// characters, slashes too, and everything else for itself.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
