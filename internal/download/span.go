package download

import (
	"context"
	"io"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// progress is how many bytes must come for earlier failures not to count.
const progress = 64 << 10

// errAhead is returned for a segment ahead if the server sends only the whole file.
var errAhead = errors.New("the server serves no range of this file")

// A span reads the bytes of a file from one place up to another, in order, and
// resumes where a stream breaks. It is not safe for concurrent use.
type span struct {
	src    *source
	at, to int64
	ahead  bool // Others read what is before it.
	tries  *retry.Tries

	body   io.ReadCloser // From at on.
	bodyTo int64
	whole  bool  // The body is the rest of the file, beyond the span.
	gained int64 // Since the last failure.
	afresh bool  // Request another link from the server.
	err    error // That ended it.
}

// read reads some bytes. It does not return until there is one, or an error
// that no other try changes. At the end it is io.EOF.
func (s *span) read(ctx context.Context, p []byte) (int, error) {
	for s.at < s.to {
		if err := s.open(ctx); err != nil {
			return 0, err
		}
		n, err := s.body.Read(p[:min(int64(len(p)), s.bodyTo-s.at)])
		s.at += int64(n)
		s.gained += int64(n)
		switch {
		case s.at == s.bodyTo:
			s.close()
			s.came(ctx)
		case errors.Is(err, io.EOF):
			s.failed(ctx, s.endedEarly())
		case err != nil:
			s.failed(ctx, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// open makes sure that there is a stream, and tries again where that helps.
func (s *span) open(ctx context.Context) error {
	for s.body == nil {
		if s.err != nil {
			return s.err
		}
		p, err := s.src.ask(ctx, s.at, s.to, s.afresh)
		s.afresh = false
		if err == nil {
			err = s.take(p)
		}
		if errors.Is(err, errAhead) {
			return err
		}
		if err != nil {
			s.failed(ctx, err)
		}
	}
	return nil
}

// take begins to read a part. Of one that is the whole file, what comes before
// the span is dropped, and what comes after it belongs to it now: nothing of
// the file is sent twice.
func (s *span) take(p *part) error {
	if p.whole {
		s.src.giveUpRanges()
		if s.ahead {
			_ = p.body.Close()
			return errAhead
		}
		s.to, s.whole = p.to, true
	}
	if _, err := io.CopyN(io.Discard, p.body, s.at-p.from); err != nil {
		_ = p.body.Close()
		if errors.Is(err, io.EOF) {
			err = s.endedEarly()
		}
		return err
	}
	s.body, s.bodyTo = p.body, p.to
	return nil
}

// came is called after a part that is shorter than the span. A server may send less
// than requested, but not next to nothing each time.
func (s *span) came(ctx context.Context) {
	switch {
	case s.at == s.to:
	case s.gained >= progress:
		s.tries.Reset()
		s.gained = 0
	default:
		s.failed(ctx, s.endedEarly())
	}
}

func (s *span) endedEarly() error {
	return outcome.Errorf(outcome.Unavailable, "%s's stream of %s ended early; this may be transient", s.src.server.Name, s.src.object.Name)
}

// failed drops the stream and waits before the next try. It records the error if
// there must be no other try.
func (s *span) failed(ctx context.Context, err error) {
	s.close()
	if s.gained >= progress {
		s.tries.Reset()
	}
	s.gained = 0
	switch {
	case ctx.Err() != nil:
		s.err = errors.Wrapf(ctx.Err(), "cannot read %s", s.src.object.Name)
		return
	case errors.Is(err, errLinkRefused) && s.tries.Failures() == 0:
		// The next link may be good.
		s.tries.Failed()
		return
	}
	// The server may know a better place by now, unless this one only asks to wait.
	s.afresh = s.tries.Failures() > 0 && outcome.ReasonOf(err) != outcome.RateLimited
	s.err = s.tries.Wait(ctx, err)
}

// close ends the stream. The span can be read on.
func (s *span) close() {
	if s.body != nil {
		_ = s.body.Close()
		s.body = nil
	}
}
