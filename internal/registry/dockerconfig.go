package registry

import (
	"cmp"
	"encoding/json"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// dockerHub is the name that docker, and every tool since, keeps an account of
// Docker Hub under.
const dockerHub = "https://index.docker.io/v1/"

// DockerConfigFor returns a docker config.json with the entry that the supplied
// one has for a repository at a host, and nothing else, under the name by which
// any tool finds it: the plain host. Its errors tell nothing of the config's
// content.
func DockerConfigFor(config []byte, host, repository string) ([]byte, error) {
	e, err := choose(host, repository, config)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, outcome.Errorf(outcome.Unauthorized,
			"the registry's credentials have no entry for %s: make the Secret with kubectl create secret docker-registry --docker-server=%s", host, host)
	}
	raw, err := e.encode()
	if err != nil {
		return nil, errors.Wrap(err, "cannot encode the registry's entry")
	}
	out, err := json.Marshal(dockerConfig{Auths: map[string]json.RawMessage{plainName(host): raw}})
	return out, errors.Wrap(err, "cannot encode the registry's entry")
}

// IsPlain reports whether a tool that knows entries for whole hosts only, such as
// kit, finds in a docker config.json what DockerConfigFor does. It is true also
// where that finds nothing.
func IsPlain(config []byte, host, repository string) bool {
	e, err := choose(host, repository, config)
	return err != nil || e == nil || e.name == plainName(host) && !e.trimmed
}

// EntriesForHost returns a docker config.json with those entries of the supplied
// one that are for a host, whatever the repository, and nothing else. For all
// repositories at the host it is as good as the whole. A config that cannot be
// read is returned as it is: who uses it says what is wrong.
func EntriesForHost(config []byte, host string) []byte {
	var c dockerConfig
	if len(config) == 0 || json.Unmarshal(config, &c) != nil {
		return config
	}
	kept := map[string]json.RawMessage{}
	for name, raw := range c.Auths {
		e := &entry{}
		e.host, e.path = splitName(name)
		if e.matches(host, e.path) {
			kept[name] = raw
		}
	}
	out, err := json.Marshal(dockerConfig{Auths: kept})
	if err != nil {
		return config
	}
	return out
}

// plainName is the name of a host's entry.
func plainName(host string) string {
	if len(aliases(host)) > 1 {
		return dockerHub
	}
	return host
}

// choose returns the most specific entry that a docker config has for a
// repository, which may be empty, at a host; nil if there is none. It reads no
// entry that is for something else, so that a broken one does no harm. (oras-go's
// own reader decodes all of them, and puts one that it cannot read, password and
// all, into its error.)
func choose(host, repository string, config []byte) (*entry, error) {
	if len(config) == 0 {
		return nil, nil //nolint:nilnil // There is none.
	}
	var c dockerConfig
	if json.Unmarshal(config, &c) != nil {
		return nil, unreadable("is not the JSON of a docker config.json")
	}
	for _, e := range entriesFor(host, repository, c.Auths) {
		if err := e.decode(host); err != nil {
			return nil, err
		}
		if !e.empty() {
			return e, nil
		}
	}
	return nil, nil //nolint:nilnil // There is none.
}

// entriesFor returns the entries that are for a repository at a host, the most
// specific first: as Kubernetes reads them
// (https://kubernetes.io/docs/concepts/containers/images/#config-json), an entry's
// name is a host, whose parts may hold wildcards, with a port if the registry's
// has one, and may go on with the beginning of a repository.
func entriesFor(host, repository string, auths map[string]json.RawMessage) []*entry {
	var out []*entry
	for name, raw := range auths {
		e := &entry{name: name, raw: raw}
		e.host, e.path = splitName(name)
		if e.matches(host, repository) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(a.rank, b.rank),
			cmp.Compare(len(b.path), len(a.path)),
			cmp.Compare(a.alias, b.alias),
			cmp.Compare(b.host, a.host), // Wildcards come before letters.
			cmp.Compare(len(a.name), len(b.name)),
			cmp.Compare(a.name, b.name),
		)
	})
	return out
}

// splitName returns the host and the path of an entry's name. Docker wrote it as
// https://host/v1/ once, and still does for its own Hub.
func splitName(name string) (host, path string) {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(name, scheme); ok {
			name = rest
			break
		}
	}
	host, path, _ = strings.Cut(name, "/")
	for _, version := range []string{"v1", "v2"} {
		if path == version {
			return host, ""
		}
		if rest, ok := strings.CutPrefix(path, version+"/"); ok {
			return host, rest
		}
	}
	return host, path
}

// Ranks of entries: one for the very host is more specific than one with
// wildcards, and one for the parts of a repository than one for the beginning of
// a part, which Kubernetes also takes.
const (
	rankHost = iota
	rankHostLoose
	rankPattern
	rankPatternLoose
)

// matches reports whether an entry is for a repository at a host, and notes how.
func (e *entry) matches(host, repository string) bool {
	rest, ok := strings.CutPrefix(repository, e.path)
	if !ok {
		return false
	}
	loose := rest != "" && rest[0] != '/' && e.path != "" && !strings.HasSuffix(e.path, "/")
	e.alias = slices.Index(aliases(host), e.host)
	switch {
	case e.alias >= 0 && !loose:
		e.rank = rankHost
	case e.alias >= 0:
		e.rank = rankHostLoose
	case !slices.ContainsFunc(aliases(host), func(h string) bool { return hostMatches(e.host, h) }):
		return false
	case !loose:
		e.rank = rankPattern
	default:
		e.rank = rankPatternLoose
	}
	return true
}

// hostMatches reports whether a pattern is for a host: as many parts, of which each
// matches, and the same port.
func hostMatches(pattern, host string) bool {
	pattern, port := splitPort(pattern)
	host, want := splitPort(host)
	patterns, parts := strings.Split(pattern, "."), strings.Split(host, ".")
	if port != want || len(patterns) != len(parts) {
		return false
	}
	for i := range parts {
		if ok, err := path.Match(patterns[i], parts[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

func splitPort(s string) (host, port string) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host, port
	}
	return s, ""
}

// aliases are the names that Docker Hub has, for which the config's name is
// not the host's; a host's own comes first.
func aliases(host string) []string {
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return []string{host, "index.docker.io", "docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}
