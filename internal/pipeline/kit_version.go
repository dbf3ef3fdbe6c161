package pipeline

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A kitVersion is a released version of kit, without what follows the patch.
type kitVersion [3]int

// Versions of kit that brought what the pipeline may need
// (https://github.com/kitops-ml/kitops/releases).
var (
	kitWithModelPack = kitVersion{1, 10, 0} // kit pack --use-model-pack
	kitWithRawLayers = kitVersion{1, 15, 0} // kit pack --layer-format raw
)

var kitVersionPattern = regexp.MustCompile(`^Version: v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})\b`)

func (v kitVersion) String() string {
	return strconv.Itoa(v[0]) + "." + strconv.Itoa(v[1]) + "." + strconv.Itoa(v[2])
}

func (v kitVersion) before(o kitVersion) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// parseKitVersion reads what `kit version` prints. A kit that was not built
// for a release has no version in it.
func parseKitVersion(lines []string) (kitVersion, bool) {
	for _, line := range lines {
		m := kitVersionPattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var v kitVersion
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1]) // The pattern takes digits only.
		}
		return v, true
	}
	return kitVersion{}, false
}

// kitAbilities is what a kit can do, as far as versions differ.
type kitAbilities struct {
	modelPack, rawLayers bool
}

// detect asks kit for its version and learns what it can do.
func (r *kitRun) detect(ctx context.Context) error {
	lines, err := r.output(ctx, "version")
	if err != nil {
		return err
	}
	v, ok := parseKitVersion(lines)
	if !ok {
		r.log.printf("this kit does not tell a released version; going on as if it were the newest")
		r.abilities = kitAbilities{modelPack: true, rawLayers: true}
		return nil
	}
	r.abilities = kitAbilities{modelPack: !v.before(kitWithModelPack), rawLayers: !v.before(kitWithRawLayers)}
	if r.run.Format != FormatModelPack {
		return nil
	}
	if !r.abilities.modelPack {
		return tooOld("kit "+v.String(), "format ModelPack", kitWithModelPack)
	}
	if !r.abilities.rawLayers {
		r.log.printf("kit %s cannot make raw layers, which came with %s: each layer will be a tar archive of one file", v, kitWithRawLayers)
	}
	return nil
}

func tooOld(found, what string, needed kitVersion) error {
	return outcome.Errorf(outcome.TooOld,
		"%s in the image of KitOps is too old: %s needs %s or newer; set the provider's flag --kit-image, or job.kitImage of the ClusterProviderConfig, to a newer %s",
		found, what, needed, "ghcr.io/kitops-ml/kitops")
}

// missesFlag returns a flag that kit says it does not know, if it does.
func missesFlag(lines []string) (string, bool) {
	for _, line := range lines {
		if _, flag, ok := strings.Cut(line, "unknown flag: "); ok {
			return strings.TrimSpace(flag), true
		}
	}
	return "", false
}
