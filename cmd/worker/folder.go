package main

import (
	"bytes"
	"encoding/json"

	"github.com/alecthomas/kingpin/v2"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// Values of --source-url-style.
const (
	styleHost = "virtual-host"
	stylePath = "path"
)

// folderFlags are the flags of a source that is files in a bucket, on a volume or at an
// HTTP server.
type folderFlags struct {
	name, license, credentials string

	s3                         pipeline.S3Source
	gcs                        pipeline.GCSSource
	azure                      pipeline.AzureBlobSource
	volume                     pipeline.VolumeSource
	prefix, endpoint, urlStyle string

	items []string
	http  pipeline.HTTPSource
}

// add adds the flags to a command.
func (f *folderFlags) add(run *kingpin.CmdClause) {
	run.Flag("source-name", "Name of the source's files for policies and provenance, as a URL.").StringVar(&f.name)
	run.Flag("source-license", "Licence of the files, as an SPDX expression, in place of what they say.").StringVar(&f.license)
	run.Flag("source-credentials-folder", "Folder with credentials for the bucket or the HTTP server, a file a key, which are read again when they change.").StringVar(&f.credentials)
	run.Flag("source-s3-bucket", "Bucket of S3, or of a server that speaks its protocol.").StringVar(&f.s3.Bucket)
	run.Flag("source-region", "Region of the bucket.").StringVar(&f.s3.Region)
	run.Flag("source-url-style", "Whether a URL names the bucket in its path or in its host: path or virtual-host.").EnumVar(&f.urlStyle, "", stylePath, styleHost)
	run.Flag("source-requester-pays", "Accept to be billed for the requests.").BoolVar(&f.s3.RequesterPays)
	run.Flag("source-gcs-bucket", "Bucket of Google Cloud Storage.").StringVar(&f.gcs.Bucket)
	run.Flag("source-user-project", "Project that is billed for the requests.").StringVar(&f.gcs.UserProject)
	run.Flag("source-azure-account", "Storage account of Azure.").StringVar(&f.azure.Account)
	run.Flag("source-azure-container", "Container in it.").StringVar(&f.azure.Container)
	run.Flag("source-prefix", "Folder in the bucket, container or volume.").StringVar(&f.prefix)
	run.Flag("source-endpoint", "Address of the server that has the bucket.").StringVar(&f.endpoint)
	run.Flag("source-volume", "Folder where the volume with the files is mounted.").StringVar(&f.volume.Folder)
	run.Flag("source-http-item", "File at an HTTP server, as JSON: url, path, sha256 and size. May be repeated.").StringsVar(&f.items)
}

// names returns what each kind of source is named by; empty for those that are not set.
func (f *folderFlags) names() []string {
	item := ""
	if len(f.items) > 0 {
		item = f.items[0]
	}
	return []string{f.s3.Bucket, f.gcs.Bucket, f.azure.Container, f.volume.Folder, item}
}

// isSet reports whether the flags name a source.
func (f *folderFlags) isSet() bool {
	for _, name := range f.names() {
		if name != "" {
			return true
		}
	}
	return false
}

// parse returns an error if an item is not valid.
func (f *folderFlags) parse() error {
	for _, i := range f.items {
		d := json.NewDecoder(bytes.NewReader([]byte(i)))
		d.DisallowUnknownFields()
		item := pipeline.HTTPItem{}
		if err := d.Decode(&item); err != nil {
			return errors.Wrap(err, "cannot decode --source-http-item")
		}
		f.http.Items = append(f.http.Items, item)
	}
	return nil
}

// setOn sets the source.
func (f *folderFlags) setOn(s *pipeline.Source, identity bool) {
	s.Name, s.License, s.CredentialsFolder = f.name, f.license, f.credentials
	switch {
	case f.s3.Bucket != "":
		f.s3.Prefix, f.s3.Endpoint, f.s3.Identity = f.prefix, f.endpoint, identity
		if f.urlStyle != "" {
			byPath := f.urlStyle == stylePath
			f.s3.PathStyle = &byPath
		}
		s.S3 = &f.s3
	case f.gcs.Bucket != "":
		f.gcs.Prefix, f.gcs.Endpoint, f.gcs.Identity = f.prefix, f.endpoint, identity
		s.GCS = &f.gcs
	case f.azure.Container != "":
		f.azure.Prefix, f.azure.Endpoint, f.azure.Identity = f.prefix, f.endpoint, identity
		s.AzureBlob = &f.azure
	case f.volume.Folder != "":
		f.volume.Name, f.volume.Path = f.name, f.prefix
		s.Volume = &f.volume
	default:
		s.HTTP = &f.http
	}
}
