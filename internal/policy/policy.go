// Package policy decides what may be packaged and published: by a model's name, its
// licences, the formats of its files, its size, and the Hub's security scan. It is
// pure: what is known of a source is passed to it, by the worker from the listing and
// from the bytes that pass, and by the controller from the spec and from what was
// staged.
package policy

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A HubScan says what a policy makes of the Hub's security scan.
type HubScan string

// What a policy makes of the Hub's security scan.
const (
	// HubScanIgnore does not ask for it. It is the default.
	HubScanIgnore HubScan = "Ignore"

	// HubScanWarn reports what is not clean, and packages it.
	HubScanWarn HubScan = "Warn"

	// HubScanRequire refuses what the Hub has not found clean.
	HubScanRequire HubScan = "Require"
)

// Rules allow and deny names. Deny takes precedence; no Allow allows all.
type Rules struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// IsZero reports whether there are no rules.
func (r Rules) IsZero() bool { return len(r.Allow)+len(r.Deny) == 0 }

// A Policy is that of one ProviderConfig or ClusterProviderConfig.
type Policy struct {
	// Of is the config that has the policy, for messages:
	// ClusterProviderConfig "default".
	Of string `json:"of"`

	// Models by patterns of their names.
	Models Rules `json:"models,omitzero"`

	// Licenses by their names.
	Licenses Rules `json:"licenses,omitzero"`

	// DeclaredLicenses counts licences that only the Artifact or the files declare.
	DeclaredLicenses bool `json:"declaredLicenses,omitempty"`

	// Files by their formats.
	Files Rules `json:"files,omitzero"`

	// HubScan defaults to HubScanIgnore.
	HubScan HubScan `json:"hubScan,omitempty"`

	// MaxSize in bytes; 0 for any.
	MaxSize int64 `json:"maxSize,omitempty"`

	// RequireAttestedSource refuses sources whose signature is not verified.
	RequireAttestedSource bool `json:"requireAttestedSource,omitempty"`
}

// isZero reports whether the policy has no rule.
func (p Policy) isZero() bool {
	return p.Models.IsZero() && p.Licenses.IsZero() && p.Files.IsZero() && p.MaxSize == 0 && !p.RequireAttestedSource && (p.HubScan == "" || p.HubScan == HubScanIgnore)
}

// A Set is the policies that apply together: what one of them refuses is refused.
type Set []Policy

// NewSet returns the policies that have a rule.
func NewSet(all ...Policy) Set {
	return slices.DeleteFunc(slices.Clone(Set(all)), Policy.isZero)
}

// MaxBytes bounds an encoded Set, which is one argument of the worker: Linux takes
// 128 KiB in one (execve(2), MAX_ARG_STRLEN).
const MaxBytes = 96 << 10

// Encode returns the policies as an argument of the worker; "" for none. It returns
// an error if they are larger than MaxBytes.
func (s Set) Encode() (string, error) {
	if len(s) == 0 {
		return "", nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "", errors.Wrap(err, "cannot encode the policies")
	}
	if len(b) > MaxBytes {
		return "", outcome.Errorf(outcome.ConfigInvalid, "the policies that apply have %d bytes together, and at most %d are passed to a run: shorten their lists", len(b), MaxBytes)
	}
	return string(b), nil
}

// Decode returns the policies of an argument of the worker; none for "".
func Decode(s string) (Set, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > MaxBytes {
		return nil, outcome.Errorf(outcome.Internal, "the policies have %d bytes, more than %d", len(s), MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	// A rule that this program does not know must not be ignored.
	d.DisallowUnknownFields()
	var out Set
	err := d.Decode(&out)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows")
		}
	}
	return out, errors.Wrap(err, "cannot decode the policies")
}

// HasFileRules reports whether a policy has a rule about formats of files, for which
// the first bytes of each file must be checked.
func (s Set) HasFileRules() bool {
	return slices.ContainsFunc(s, func(p Policy) bool { return !p.Files.IsZero() })
}

// AsksForScan reports whether a policy has a rule about the Hub's security scan.
func (s Set) AsksForScan() bool {
	return slices.ContainsFunc(s, func(p Policy) bool { return p.HubScan == HubScanWarn || p.HubScan == HubScanRequire })
}

// check returns the first error of a check of each policy.
func (s Set) check(one func(Policy) error) error {
	for _, p := range s {
		if err := one(p); err != nil {
			return err
		}
	}
	return nil
}
