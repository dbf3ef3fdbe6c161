package pull

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
)

// dockerConfig reads the credentials in a folder, or nothing where there are
// none.
func dockerConfig(dir string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	for _, name := range []string{"config.json", corev1.DockerConfigJsonKey} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return b, errors.Wrap(err, "cannot read the registry's credentials")
	}
	return nil, nil
}
