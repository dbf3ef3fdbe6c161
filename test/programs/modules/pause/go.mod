module github.com/crossplane-contrib/provider-kitops/cluster/local/modules/pause

go 1.26.0
