package pull

import (
	"path/filepath"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestModelKit checks that a ModelKit's files are pulled to where kit unpacks them, and
// that one that does not contain its model is refused.
func TestModelKit(t *testing.T) {
	const t0 = "application/vnd.kitops.modelkit."
	readme := tarLayer(t, t0+"docs.v1.tar", map[string]string{"README.md": "# Model"})
	cases := map[string]struct {
		reason  string
		config  string
		layers  []content
		files   map[string]string
		want    outcome.Reason
		message string
	}{
		"Old": {
			reason: "Layers from before kit wrote digests should be placed in the folders of the Kitfile (kitops#489, kitops#635).",
			config: `{"manifestVersion":"1.0.0","package":{"name":"m"},"model":{"name":"m","path":"./models/model.gguf"},"docs":[{"path":"./docs/README.md"}],"datasets":[{"name":"d","path":"./data/train"}]}`,
			layers: []content{
				tarLayer(t, t0+"model.v1.tar+gzip", map[string]string{"model.gguf": "weights"}),
				tarLayer(t, t0+"dataset.v1.tar+gzip", map[string]string{"train/a.csv": "1,2"}),
				tarLayer(t, t0+"docs.v1.tar+gzip", map[string]string{"README.md": "# Model"}),
			},
			files: map[string]string{"models/model.gguf": "weights", "data/train/a.csv": "1,2", "docs/README.md": "# Model"},
		},
		"SameArchiveTwice": {
			reason: "The same archive should be unpacked into two folders.",
			config: `{"docs":[{"path":"a/README.md"},{"path":"b/README.md"}]}`,
			layers: []content{readme, readme},
			files:  map[string]string{"a/README.md": "# Model", "b/README.md": "# Model"},
		},
		"IntoState": {
			reason:  "A folder of the Kitfile that is reserved for the state should be refused.",
			config:  `{"docs":[{"path":".provider-kitops/README.md"}]}`,
			layers:  []content{readme},
			want:    outcome.Unsupported,
			message: stateDir,
		},
		"OtherKit": {
			reason:  "A ModelKit that refers to the model of another one should be refused (kitops#840).",
			config:  `{"manifestVersion":"1.0.0","package":{"name":"m"},"model":{"name":"m","path":"jozu.ml/jozu/llama3-8b:8B-instruct-q4_0"},"docs":[{"path":"README.md"}]}`,
			layers:  []content{readme},
			want:    outcome.Unsupported,
			message: "jozu.ml/jozu/llama3-8b:8B-instruct-q4_0",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, open, false)
			d := f.pushWith(t, modelKit, tc.config, tc.layers...)
			dir := filepath.Join(t.TempDir(), "model")
			p, _ := f.pulling(dir, d)
			_, err := p.Run(t.Context())
			checkError(t, tc.reason, err, tc.want, tc.message)
			holdsFiles(t, dir, tc.files)
			if tc.want == "" {
				checkAgain(t, f, dir, d)
			}
		})
	}
}
