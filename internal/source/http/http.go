// Package http reads files that an HTTP server has, each with its SHA-256.
package http

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket"
)

// field of the spec that describes the source.
const field = "spec.forProvider.source.http"

// parallel is how many files are asked for their size at a time.
const parallel = 8

// isSHA256 matches a SHA-256 as files have it.
var isSHA256 = regexp.MustCompile("^[a-f0-9]{64}$")

// A Folder is files of one HTTP server.
type Folder struct {
	name     string
	items    []pipeline.HTTPItem
	urls     map[string]*url.URL // By path of the file.
	client   *bucket.Client
	server   *download.Server
	retries  retry.Policy
	download download.Options
	signs    bool // Requests have credentials.
}

var _ source.Folder = &Folder{}

// New returns the files of a run's source, whose HTTP must be set. It downloads them as the
// options say, and retries other requests by a policy.
func New(s pipeline.Source, retries retry.Policy, options download.Options) (*Folder, error) {
	secret := bucket.NewSecret(s)
	f := &Folder{items: s.HTTP.Items, urls: map[string]*url.URL{}, retries: retries, download: options, signs: secret != nil}
	base, err := f.parse()
	if err != nil {
		return nil, err
	}
	o := bucket.Options{
		Service: "the server", Field: field, Address: field + ".items.url", Endpoint: base.Scheme + "://" + base.Host, Source: s,
		Redirects: true, Retry: retries,
	}
	if f.signs {
		if base.Scheme != "https" {
			return nil, outcome.Errorf(outcome.ConfigInvalid, "credentials are sent with TLS only: write https:// into %s.items.url, or remove %s.credentialsSecretRef", field, field)
		}
		own := &credentials{secret: secret, host: identity.HostOf(o.Endpoint)}
		// What is wrong with them is reported before anything is asked.
		if _, err := own.Credentials(context.Background()); err != nil {
			return nil, err
		}
		o.Authorizer = own
	}
	if f.client, err = bucket.NewClient(o); err != nil {
		return nil, err
	}
	f.server = f.client.Server(retries)
	f.server.Name = base.Host
	return f, nil
}

// parse reads the items and names the folder. It returns the URL of the first item, and an
// error unless all are of one server.
func (f *Folder) parse() (*url.URL, error) {
	var base *url.URL
	for _, i := range f.items {
		u, err := parseURL(i.URL)
		switch {
		case err != nil:
			return nil, err
		case !file.SafePath(i.Path):
			return nil, outcome.Errorf(outcome.Unsupported, "%s.items has a path that is not safe to write: %q: write names with slashes between them, such as tokenizer/vocab.json", field, outcome.Shorten(i.Path))
		case f.urls[i.Path] != nil:
			return nil, outcome.Errorf(outcome.Unsupported, "%s.items has path %q twice: write another one", field, outcome.Shorten(i.Path))
		case !isSHA256.MatchString(i.SHA256):
			return nil, outcome.Errorf(outcome.Unsupported, "%s.items has no SHA-256 of %s: write what sha256sum prints into sha256", field, u)
		case base != nil && (u.Scheme != base.Scheme || u.Host != base.Host):
			return nil, outcome.Errorf(outcome.Unsupported, "%s.items are of more than one server: write URLs with the same scheme, host and port", field)
		case base == nil:
			base, f.name = u, u.String()
		}
		f.urls[i.Path], f.name = u, shared(f.name, u.String())
	}
	if base == nil {
		return nil, outcome.Errorf(outcome.Unsupported, "%s.items is empty: write url, path and sha256 of a file", field)
	}
	return base, nil
}

// disguised matches URLs that name what another URL names, too: with unreserved
// characters or slashes escaped (RFC 3986, section 6.2.2.2), and with dot segments, also
// before the parameters that some servers cut off.
var disguised = regexp.MustCompile(`(?i)%(2[def]|3[0-9]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])|/\.{1,2}(/|;|$)`)

// hasOtherPort reports whether the same server has another name with the URL's port: the one
// that a URL has without a port, none after a colon, or one with zeros before it.
func hasOtherPort(u *url.URL) bool {
	p := u.Port()
	return strings.HasSuffix(u.Host, ":") || strings.HasPrefix(p, "0") || u.Scheme == "https" && p == "443" || u.Scheme == "http" && p == "80"
}

// parseURL returns the URL of a file. One with a user or a query is an error, since they
// may be credentials, which belong into a Secret.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return nil, outcome.Errorf(outcome.Unsupported, "%s.items has a url that is not the address of a file: write https://host/folder/file, without a user, a password, ? and #", field)
	}
	if disguised.MatchString(s) || hasOtherPort(u) {
		// A server may take them for another file than policies do.
		return nil, outcome.Errorf(outcome.Unsupported, "%s.items has a url with a default port or zeros before it, or with letters, digits, dots or slashes that are escaped, or with . or .. as a name: write each as it is, and leave the port out", field)
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// shared returns the URL of the folder that a URL is in and that another one is or is in,
// or the URL itself if they are equal.
func shared(folder, u string) string {
	for folder != u && (!strings.HasSuffix(folder, "/") || !strings.HasPrefix(u, folder)) {
		folder = strings.TrimSuffix(folder, "/")
		folder = folder[:strings.LastIndexByte(folder, '/')+1]
	}
	return folder
}

// Name implements source.Folder.
func (f *Folder) Name() string { return f.name }

// List implements source.Folder. It asks for the size of each file, so that one that is
// missing is noticed before others are moved.
func (f *Folder) List(ctx context.Context) ([]file.File, error) {
	files := make([]file.File, len(f.items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n, i := range f.items {
		group.Go(func() error {
			size, err := f.size(ctx, i)
			files[n] = file.File{Path: i.Path, Size: size, SHA256: i.SHA256}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return files, nil
}

// Complete implements source.Folder: there is nothing to add to a SHA-256.
func (*Folder) Complete(_ context.Context, files []file.File) ([]file.File, error) { return files, nil }

// Open implements source.Folder.
func (f *Folder) Open(ctx context.Context, one file.File, from, to int64) (io.ReadCloser, error) {
	u := f.urls[one.Path]
	if u == nil {
		return nil, outcome.Errorf(outcome.Internal, "%s is not one of the files of %s", one.Path, f.name)
	}
	r, err := f.server.Open(ctx, download.Object{
		Name: u.String(), URL: u.String(), Size: one.Size,
		Refused: func(rsp *http.Response) error { return f.refused(rsp, u) },
		Changed: func(string) error {
			return outcome.Errorf(outcome.Changed,
				"%s has changed while it was read, or servers of that name have different files: restore it, or write the new file's sha256 into %s.items", u, field)
		},
	}, from, to, f.download)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close implements source.Folder.
func (f *Folder) Close() { f.client.Close() }
