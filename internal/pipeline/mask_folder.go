package pipeline

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// secretKeys are the keys of a source's Secret whose values are secret, with what of a
// value may be shown by itself.
var secretKeys = map[string]func(value string) []string{
	"AWS_SECRET_ACCESS_KEY":               nil,
	"AWS_SESSION_TOKEN":                   nil,
	"AZURE_CLIENT_SECRET":                 nil,
	"AZURE_STORAGE_ACCESS_KEY":            nil,
	"AZURE_STORAGE_SAS_TOKEN":             signatureIn,
	"gcloud-application-credentials.json": privateKeyIn,
	"password":                            nil,
	"token":                               nil,
}

// folderSecrets returns the secrets in the mounted Secret of a bucket or an HTTP server.
func folderSecrets(folder string, read fileReader) ([]string, error) {
	if folder == "" {
		return nil, nil
	}
	values := map[string]string{"username": ""}
	for key := range secretKeys {
		values[key] = ""
	}
	for key := range values {
		b, err := read(filepath.Join(folder, key))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Wrapf(err, "cannot read key %s of the source's Secret", key)
		}
		values[key] = connection.Trimmed(string(b))
	}
	var secrets []string
	for key, parts := range secretKeys {
		secrets = append(secrets, values[key])
		if parts != nil {
			secrets = append(secrets, parts(values[key])...)
		}
	}
	if p := values["password"]; p != "" {
		// As HTTP sends it.
		secrets = append(secrets, values["username"]+":"+p)
	}
	return secrets, nil
}

// signatureIn returns the signature of a shared access signature, as it is written there
// and as it is sent.
func signatureIn(sas string) []string {
	for pair := range strings.SplitSeq(strings.TrimPrefix(sas, "?"), "&") {
		if v, ok := strings.CutPrefix(pair, "sig="); ok {
			plain, _ := url.QueryUnescape(v) // What cannot be read is not sent either.
			return []string{v, plain, strings.TrimPrefix(sas, "?")}
		}
	}
	return nil
}

// privateKeyIn returns the lines of the private key in the key of a service account.
func privateKeyIn(credentials string) []string {
	var c struct {
		Key string `json:"private_key"`
	}
	_ = json.Unmarshal([]byte(credentials), &c) // Whoever uses it reports what is wrong.
	return longLines(c.Key)
}
