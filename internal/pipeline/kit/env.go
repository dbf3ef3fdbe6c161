package kit

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// systemCertDirs are where Go reads certificate authorities on Linux unless
// SSL_CERT_DIR is set (crypto/x509, root_linux.go).
const systemCertDirs = "/etc/ssl/certs:/etc/pki/tls/certs"

// environment returns the environment of kit's commands: this process's own, so that
// proxies and an operator's variables reach kit, with everything that kit writes
// inside the workspace.
func environment(run pipeline.Run, w workspace) ([]string, error) {
	set := map[string]string{
		"KITOPS_HOME":   w.kitHome,
		"HOME":          w.home,
		"TMPDIR":        w.temp,
		"XDG_DATA_HOME": filepath.Join(w.home, ".local", "share"),
		"DOCKER_CONFIG": filepath.Join(w.home, ".docker"),
		// The metadata of a raw layer has the file's modification time in local time.
		"TZ": "UTC",
	}
	if run.Target.DockerConfig != "" {
		set["DOCKER_CONFIG"] = run.Target.DockerConfig
	}
	if run.Target.CertificateFile != "" {
		set["KITOPS_CLIENT_CERT"], set["KITOPS_CLIENT_KEY"] = run.Target.CertificateFile, run.Target.KeyFile
	}
	trusted, err := trust(w.certs, run.Source.CAFile, run.Target.CAFile)
	if err != nil {
		return nil, err
	}
	if trusted {
		// SSL_CERT_DIR and SSL_CERT_FILE replace the system's folders and file
		// separately. So the folders are named again, and the file, which mostly
		// holds the public authorities, is kept.
		set["SSL_CERT_DIR"] = w.certs + ":" + cmp.Or(os.Getenv("SSL_CERT_DIR"), systemCertDirs)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, ours := set[name]
		// Kit's variables have the same prefix as the worker's own.
		return ours || name == "SOURCE_DATE_EPOCH" || name == outcome.EnvProgressAddress
	})
	for i, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasSuffix(strings.ToLower(name), "_proxy") {
			env[i] = name + "=" + connection.Trimmed(value)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return env, nil
}

// trust copies files of certificate authorities into one folder, which programs trust
// that have it in SSL_CERT_DIR. It reports whether there were any.
func trust(dir string, files ...string) (bool, error) {
	found := false
	for i, file := range files {
		if file == "" {
			continue
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return found, errors.Wrap(err, "cannot read certificate authorities")
		}
		to := filepath.Join(dir, strconv.Itoa(i)+".crt")
		if err := os.WriteFile(to, connection.PEM(pem), 0o600); err != nil {
			return found, errors.Wrap(err, "cannot write certificate authorities for kit")
		}
		found = true
	}
	return found, nil
}

// sourceDateEpoch gives what kit packs the time of the source commit, so that the
// same commit gives the same digest
// (https://reproducible-builds.org/specs/source-date-epoch/).
func sourceDateEpoch(t time.Time) string {
	return "SOURCE_DATE_EPOCH=" + strconv.FormatInt(t.Unix(), 10)
}
