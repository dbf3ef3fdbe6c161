package registry

import (
	"encoding/json"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// DockerConfigFor returns a docker config.json that holds the entry that the
// supplied one has for a host, under that host's plain name, and nothing else.
// Its errors tell nothing of the config's content.
func DockerConfigFor(config []byte, host string) ([]byte, error) {
	if _, who, err := credentialFor(host, config); err != nil || who != known {
		if err == nil {
			err = outcome.Errorf(outcome.Unauthorized,
				"the registry's credentials have no entry for %s: make the Secret with kubectl create secret docker-registry --docker-server=%s", host, host)
		}
		return nil, err
	}
	var c dockerConfig
	// It could be read just above.
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, unreadable("is not the JSON of a docker config.json")
	}
	raw, _ := entryFor(host, c.Auths)
	out, err := json.Marshal(dockerConfig{Auths: map[string]json.RawMessage{host: raw}})
	return out, errors.Wrap(err, "cannot encode the registry's entry")
}
