package kit

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// A release is a released version of kit, without what follows the patch number.
type release [3]int

// Releases that introduced what the pipeline may need
// (https://github.com/kitops-ml/kitops/releases).
var (
	withModelPack = release{1, 10, 0} // kit pack --use-model-pack
	withRawLayers = release{1, 15, 0} // kit pack --layer-format raw
)

var releasePattern = regexp.MustCompile(`^Version: v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})\b`)

func (v release) String() string {
	return strconv.Itoa(v[0]) + "." + strconv.Itoa(v[1]) + "." + strconv.Itoa(v[2])
}

func (v release) before(o release) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// parseRelease parses the output of `kit version`. A kit that was not built for a
// release prints none.
func parseRelease(lines []string) (release, bool) {
	for _, line := range lines {
		m := releasePattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var v release
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1]) // The pattern takes digits only.
		}
		return v, true
	}
	return release{}, false
}

// abilities are the features that differ between releases of kit.
type abilities struct {
	modelPack, rawLayers bool
}

// detect reads the version of kit, and derives its abilities.
func (r *task) detect(ctx context.Context) error {
	lines, err := r.output(ctx, "version")
	if err != nil {
		return err
	}
	v, ok := parseRelease(lines)
	if !ok {
		r.log.printf("this kit reports no released version; assuming the newest")
		r.abilities = abilities{modelPack: true, rawLayers: true}
		return nil
	}
	r.abilities = abilities{modelPack: !v.before(withModelPack), rawLayers: !v.before(withRawLayers)}
	if r.run.Format != pipeline.FormatModelPack {
		return nil
	}
	if !r.abilities.modelPack {
		return tooOld("kit "+v.String(), "format ModelPack", withModelPack)
	}
	if !r.abilities.rawLayers {
		r.log.printf("kit %s cannot make raw layers, which came with %s: each layer will be a tar archive of one file", v, withRawLayers)
	}
	return nil
}

func tooOld(found, what string, needed release) error {
	return outcome.Errorf(outcome.TooOld,
		"%s in the image of KitOps is too old: %s needs %s or newer; set the provider's flag --kit-image, or job.kitImage of the ClusterProviderConfig, to a newer %s",
		found, what, needed, "ghcr.io/kitops-ml/kitops")
}

// missesFlag returns the flag that kit reports as unknown, and reports whether there
// is one.
func missesFlag(lines []string) (string, bool) {
	for _, line := range lines {
		if _, flag, ok := strings.Cut(line, "unknown flag: "); ok {
			return strings.TrimSpace(flag), true
		}
	}
	return "", false
}
