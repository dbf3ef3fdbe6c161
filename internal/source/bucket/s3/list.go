package s3

import (
	"context"
	"net/http"
	"net/url"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// List implements source.Folder. Files are pinned to their versions if the bucket has
// versions and they may be listed, and otherwise to their ETags.
func (f *Folder) List(ctx context.Context) ([]file.File, error) {
	return bucket.Collect(func(take func(file.File) error) error { return f.Each(ctx, take) })
}

// Each implements source.Lister.
func (f *Folder) Each(ctx context.Context, take func(file.File) error) error {
	versions, err := f.hasVersions(ctx)
	if err != nil {
		return err
	}
	l := bucket.NewListing(f.name, f.prefix, take)
	if versions {
		if ok, err := f.listVersions(ctx, l); ok || err != nil {
			return err
		}
	}
	query := url.Values{"list-type": {"2"}}
	_, err = f.pages(ctx, l, "ListBucketResult", query, func(p page) (bool, error) {
		for _, o := range p.Contents {
			if err := f.add(l, o); err != nil {
				return false, err
			}
		}
		was := query.Get("continuation-token")
		query.Set("continuation-token", p.Next)
		return p.Next != "" && p.Next != was, nil
	}, nil)
	return err
}

// listVersions lists the latest versions of the objects. It reports whether these can be
// listed; if not, nothing was.
func (f *Folder) listVersions(ctx context.Context, l *bucket.Listing) (bool, error) {
	query := url.Values{"versions": {""}}
	return f.pages(ctx, l, "ListVersionsResult", query, func(p page) (bool, error) {
		for _, o := range p.Versions {
			if !o.IsLatest {
				continue
			}
			if err := f.add(l, o); err != nil {
				return false, err
			}
		}
		wasKey, wasVersion := query.Get("key-marker"), query.Get("version-id-marker")
		query.Set("key-marker", p.NextKey)
		query.Del("version-id-marker")
		if p.NextVersion != "" {
			query.Set("version-id-marker", p.NextVersion)
		}
		return p.NextKey != "" && (p.NextKey != wasKey || p.NextVersion != wasVersion), nil
	}, isForbidden)
}

// pages calls take with each page of a listing, whose root element has a name. Take
// prepares the query of the next one, and reports whether it names another. If the first
// page is refused in a way that without takes, it returns false.
func (f *Folder) pages(ctx context.Context, l *bucket.Listing, root string, query url.Values, take func(page) (bool, error), without func(bucket.Answer) bool) (bool, error) {
	query.Set("encoding-type", "url")
	query.Set("prefix", l.Prefix())
	for range bucket.Pages {
		p, ok, err := f.page(ctx, l, root, query, without)
		if err != nil || !ok {
			return false, err
		}
		without = nil
		next, err := take(p)
		switch {
		case err != nil:
			return false, err
		case !p.IsTruncated:
			return true, nil
		case !next:
			return false, outcome.Errorf(outcome.Unsupported, "%s cuts the list of %s off and does not tell how to go on: check %s.endpoint", f.client.Host(), f.name, field)
		}
	}
	return false, l.ErrEndless()
}

// page returns one page of a listing. If it is refused in a way that without takes, it
// returns false.
func (f *Folder) page(ctx context.Context, l *bucket.Listing, root string, query url.Values, without func(bucket.Answer) bool) (p page, ok bool, err error) {
	ok = true
	a, err := f.ask(ctx, "the list of "+f.name, maxPageBytes, http.MethodGet, f.urlOf("", query), nil, func(a bucket.Answer) error {
		if without != nil && without(a) {
			ok = false
			return nil
		}
		return f.refused(a, nil)
	}, func(a bucket.Answer) (err error) {
		if p, err = parsePage(a.Body, root); err != nil {
			// It may be cut.
			return outcome.Errorf(outcome.Unavailable, "%s does not list %s as S3 does; this may be transient, or %s.endpoint is no server of S3's protocol", f.client.Host(), f.name, field).Because(err)
		}
		return nil
	})
	if err == nil && ok {
		err = l.Read(len(a.Body))
	}
	return p, ok, err
}

// ask makes a request, and calls parse with an answer with status 200, and otherwise
// refused. An error of either counts as a failed try. It returns the last answer.
func (f *Folder) ask(ctx context.Context, what string, most int64, method string, u *url.URL, header http.Header, refused, parse func(bucket.Answer) error) (bucket.Answer, error) {
	var last bucket.Answer
	err := f.client.Ask(ctx, what, most, func(ctx context.Context) (*http.Request, error) {
		req, err := f.client.Request(ctx, method, u)
		if err == nil {
			for name, values := range header {
				req.Header[name] = values
			}
		}
		return req, err
	}, func(a bucket.Answer) error {
		last = a
		if a.Status == http.StatusOK {
			return parse(a)
		}
		return refused(a)
	})
	return last, err
}

// add adds an object to a listing, with what pins it.
func (f *Folder) add(l *bucket.Listing, o object) error {
	one := file.File{Size: o.Size}
	switch tag := tagOf(o.ETag); {
	// What was there before a bucket had versions has the version null, as has what comes
	// while they are suspended: that one is replaced.
	case o.VersionID != "" && o.VersionID != "null":
		one.Version = pinVersion + o.VersionID
	case tag != "":
		one.Version = pinETag + tag
	}
	if len(one.Version) > maxPinBytes || !connection.InHeader(one.Version) {
		return outcome.Errorf(outcome.Unsupported, "%s tells no usable version of %q: check %s.endpoint", f.client.Host(), outcome.Shorten(o.Key), field)
	}
	return l.Add(o.Key, one)
}

// hasVersions reports whether to try to list versions: the bucket has them, or does not
// tell.
func (f *Folder) hasVersions(ctx context.Context) (bool, error) {
	versions := true
	_, err := f.ask(ctx, "the versions of "+f.name, maxErrorBytes, http.MethodGet, f.urlOf("", url.Values{"versioning": {""}}), nil, func(a bucket.Answer) error {
		if isForbidden(a) {
			return nil
		}
		return f.refused(a, nil)
	}, func(a bucket.Answer) (err error) {
		versions, err = parseVersioning(a.Body)
		if err != nil {
			// Another server may answer with something else.
			versions = true
		}
		return nil
	})
	return versions, err
}

// isForbidden reports whether an answer says that these credentials, or this server, do not
// serve a request about versions, and nothing else about the bucket.
func isForbidden(a bucket.Answer) bool {
	f := parseError(a.Body)
	switch a.Status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return f.Code == codeDenied || f.Code == ""
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest:
		return f.Region == "" && f.Code != codeMalformed && f.Code != codeExpired && f.Code != codeInvalidToken
	case http.StatusNotFound:
		return f.Code != codeNoBucket
	}
	return false
}
