package stream

import (
	"net/http"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/source/buckets"
)

// What a run transfers side by side at first, and at most.
const (
	startLarge, mostLarge = 4, 32
	startSmall, mostSmall = 8, 64
	mostRanges            = 64

	// startAhead is how many bytes are read ahead at first, of all files together. So many
	// ranges as fit there are requested beside each file's own stream.
	startAhead = 16 << 20

	// mostPrefetch is how many bytes of archives' small files are read before their turn.
	mostPrefetch = 16 << 20

	// hubRange and bucketRange are how many bytes of a file one request asks for. Object
	// stores verify a signature and look the object up for each: ranges as small as the
	// Hub's take a quarter longer.
	hubRange    = 2 << 20
	bucketRange = 8 << 20
)

// limits are what a run transfers side by side. They are chosen during the run by its
// throughput, within its memory: more where that is faster, and less where the source or
// the registry asks for that.
type limits struct {
	// large and small bound the layers of their kind, and layers all of them; nil if
	// nothing was asked for. A small layer is in memory while it is moved.
	large, small, layers *parallel.Limit

	// ranges bounds the requests that are made beside each file's own stream, and ahead
	// the memory for what they bring.
	ranges *parallel.Limit
	ahead  *download.Budget

	// files bounds the requests for archives' small files before their turn, and prefetch
	// the memory for these.
	files    *parallel.Limit
	prefetch int64
}

// newLimits returns the limits of a run. Half of its memory is for what is read ahead of
// large files, and a quarter each for small layers and for the files of archives.
func (s *Pipeline) newLimits(run pipeline.Run) *limits {
	buffer := memory.Budget(run.Parallel.Buffer)
	l := &limits{files: newPrefetchLimit(), prefetch: min(s.prefetch, buffer/4)}
	large, small := s.large, s.small
	small.Max = min(small.Max, int(buffer/4/s.inMemory))
	if registry.UploadTime(run.Target.Registry) > 0 {
		// The registry limits the time of each upload, which so has all of the bandwidth.
		large.Max = 1
	}
	if n := run.Parallel.Layers; n > 0 {
		large.Max, small.Max, l.layers = min(large.Max, n), min(small.Max, n), parallel.Fixed(n)
	}
	l.large, l.small = parallel.New(large), parallel.New(small)
	size := s.rangeOf(run.Source)
	start := min(startAhead, buffer/2)
	l.ahead = download.NewBudget(start)
	last := start
	l.ranges = parallel.New(parallel.Options{
		Min: 1, Start: int(start / size), Max: min(mostRanges, int(buffer/2/size)),
		Changed: func(n int) {
			next := max(start, int64(n)*size)
			memory.AddBuffers(next - last)
			l.ahead.SetLimit(next)
			last = next
		},
	})
	return l
}

// rangeOf returns how many bytes of a source's file one request asks for.
func (s *Pipeline) rangeOf(from pipeline.Source) int64 {
	if buckets.Is(from) {
		return max(s.ranges, bucketRange)
	}
	return s.ranges
}

// overloaded has less run side by side at the end that refused a request.
func (l *limits) overloaded(target string) func(*http.Request) {
	return func(req *http.Request) {
		l.small.BackOff()
		if strings.EqualFold(req.URL.Host, target) {
			l.large.BackOff()
			return
		}
		l.ranges.BackOff()
		l.files.BackOff()
	}
}
