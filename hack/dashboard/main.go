// Command dashboard writes the Grafana dashboard of examples/monitoring to its standard
// output. `make generate` runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

const (
	// height of a panel, in rows of the grid.
	height = 8

	// Widths of panels: the grid has 24 columns.
	narrow, half, third = 4, 12, 8
)

// Units of Grafana (https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts).
const (
	unitBytes   = "bytes"
	unitRate    = "Bps"
	unitSeconds = "s"
	unitTimes   = "cps"
)

// A builder builds a dashboard of the schema that every Grafana imports. The SDK prefers
// that of version 2, which only the newest ones know.
type builder = dashboard.DashboardBuilder //nolint:staticcheck // See above.

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// run writes the dashboard.
func run() error {
	d, err := build().Build()
	if err != nil {
		return fmt.Errorf("cannot build the dashboard: %w", err)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("cannot write the dashboard: %w", err)
	}
	return nil
}

// build returns the dashboard: what there is and what is wrong first, then runs, then
// what they depend on, then the provider itself.
func build() *builder {
	b := dashboard.NewDashboardBuilder("provider-kitops") //nolint:staticcheck // See builder.
	b.Uid("provider-kitops").
		Description("Artifacts, their runs, registries and configs, and the provider itself.").
		Tags([]string{"crossplane", "kitops"}).
		Readonly().
		Refresh("1m").
		Time("now-6h", "now").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(dashboard.NewQueryVariableBuilder("namespace").Label("Namespace").
			Datasource(source()).
			Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(provider_kitops_artifacts, artifact_namespace)")}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
			Sort(dashboard.VariableSortAlphabeticalAsc).
			Multi(true).IncludeAll(true).AllValue(".*").
			Current(dashboard.VariableOption{
				Text: dashboard.StringOrArrayOfString{String: cog.ToPtr("All")}, Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("$__all")},
			}))
	artifacts(b)
	runs(b)
	dependencies(b)
	provider(b)
	return b
}

func artifacts(b *builder) {
	b.WithRow(dashboard.NewRowBuilder("Artifacts")).
		WithPanel(number("Artifacts", "", `sum(provider_kitops_artifacts{artifact_namespace=~"$namespace"})`)).
		WithPanel(number("Ready", "", `sum(provider_kitops_artifacts{artifact_namespace=~"$namespace", ready="True"})`)).
		WithPanel(number("Wait for a person", "", `sum(provider_kitops_artifacts{artifact_namespace=~"$namespace", stalled="true"})`)).
		WithPanel(number("Active runs", "", `sum(provider_kitops_active_runs{artifact_namespace=~"$namespace"})`)).
		WithPanel(number("Queued runs", "", `sum(provider_kitops_queued_runs{artifact_namespace=~"$namespace"})`)).
		WithPanel(number("In registries", unitBytes, `sum(provider_kitops_artifact_bytes{artifact_namespace=~"$namespace"})`)).
		WithPanel(graph("Artifacts by reason", "", half, target(`sum by (reason) (provider_kitops_artifacts{artifact_namespace=~"$namespace"})`, "{{reason}}")).
			Description("The reason of the condition Ready. Causes and cures: docs/runbooks/failures.md.").FillOpacity(30).
			Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))).
		WithPanel(list("Not ready", `sum by (artifact_namespace, phase, reason, stalled) (provider_kitops_artifacts{artifact_namespace=~"$namespace", ready!="True"})`))
}

func runs(b *builder) {
	b.WithRow(dashboard.NewRowBuilder("Runs")).
		WithPanel(graph("Active and queued runs", "", third,
			target(`sum by (artifact_namespace) (provider_kitops_active_runs{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}, active"),
			target(`sum by (artifact_namespace) (provider_kitops_queued_runs{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}, queued"))).
		WithPanel(graph("Longest wait for room", unitSeconds, third,
			target(`time() - min by (artifact_namespace) (provider_kitops_oldest_queued_run_timestamp_seconds{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}"))).
		WithPanel(graph("Runs that ended", "", third,
			target(`sum by (result) (increase(provider_kitops_runs_total{artifact_namespace=~"$namespace"}[$__rate_interval]))`, "{{result}}"))).
		WithPanel(graph("Failed runs by reason", "", third,
			target(`sum by (reason) (increase(provider_kitops_run_failures_total{artifact_namespace=~"$namespace"}[$__rate_interval]))`, "{{reason}}"))).
		WithPanel(graph("Duration of runs that succeeded", unitSeconds, third,
			target(`histogram_quantile(0.5, sum by (le, pipeline) (rate(provider_kitops_run_seconds_bucket{result="Succeeded"}[$__rate_interval])))`, "{{pipeline}}, median"),
			target(`histogram_quantile(0.95, sum by (le, pipeline) (rate(provider_kitops_run_seconds_bucket{result="Succeeded"}[$__rate_interval])))`, "{{pipeline}}, 95 %")).
			Description("Of all namespaces.")).
		WithPanel(graph("Size of staged artifacts", unitBytes, third,
			target(`histogram_quantile(0.5, sum by (le, pipeline) (rate(provider_kitops_run_bytes_bucket[$__rate_interval])))`, "{{pipeline}}, median"),
			target(`histogram_quantile(0.95, sum by (le, pipeline) (rate(provider_kitops_run_bytes_bucket[$__rate_interval])))`, "{{pipeline}}, 95 %")).
			Description("Of all namespaces.")).
		WithPanel(graph("Staged bytes", unitRate, half,
			target(`sum by (artifact_namespace) (rate(provider_kitops_pushed_bytes_total{artifact_namespace=~"$namespace"}[$__rate_interval]))`, "{{artifact_namespace}}")).
			Description("Counted when a run ends.")).
		WithPanel(graph("Bytes in registries", unitBytes, half,
			target(`sum by (artifact_namespace) (provider_kitops_artifact_bytes{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}")))
}

func dependencies(b *builder) {
	b.WithRow(dashboard.NewRowBuilder("Registries, sources and configs")).
		WithPanel(graph("Requests to registries", unitTimes, third,
			target(`sum by (operation, result) (rate(provider_kitops_registry_requests_total[$__rate_interval]))`, "{{operation}}, {{result}}")).
			Description("Of the controllers; those of runs are not counted.")).
		WithPanel(graph("Hosts that do not answer", "", third, target(`max(provider_kitops_open_circuit_breakers)`, "hosts"))).
		WithPanel(graph("Age of what Ready says", unitSeconds, third,
			target(`time() - min by (artifact_namespace) (provider_kitops_oldest_observation_timestamp_seconds{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}, oldest"),
			target(`time() - max by (artifact_namespace) (provider_kitops_last_observation_timestamp_seconds{artifact_namespace=~"$namespace"})`, "{{artifact_namespace}}, latest"))).
		WithPanel(graph("Artifacts that follow their source", "", third,
			target(`sum by (up_to_date, reason) (provider_kitops_followed_artifacts{artifact_namespace=~"$namespace"})`, "{{up_to_date}}, {{reason}}"))).
		WithPanel(graph("Look-ups of followed sources", unitTimes, third,
			target(`sum by (result) (rate(provider_kitops_follow_requests_total[$__rate_interval]))`, "{{result}}"))).
		WithPanel(graph("ClusterProviderConfigs that are Ready", "", third, target(`min by (config) (provider_kitops_cluster_config_ready)`, "{{config}}")).Min(0).Max(1)).
		WithPanel(list("ProviderConfigs", `sum by (artifact_namespace, ready, reason) (provider_kitops_provider_configs{artifact_namespace=~"$namespace"})`))
}

func provider(b *builder) {
	b.WithRow(dashboard.NewRowBuilder("Provider")).
		WithPanel(graph("Duration of reconciles", unitSeconds, third,
			target(`histogram_quantile(0.95, sum by (le, controller) (rate(controller_runtime_reconcile_time_seconds_bucket{controller=~".*kitops.*"}[$__rate_interval])))`, "{{controller}}, 95 %"))).
		WithPanel(graph("Reconciles", unitTimes, third,
			target(`sum by (controller, result) (rate(controller_runtime_reconcile_total{controller=~".*kitops.*"}[$__rate_interval]))`, "{{controller}}, {{result}}"))).
		WithPanel(graph("Work queues", "", third, target(`sum by (name) (workqueue_depth{name=~".*kitops.*"})`, "{{name}}"))).
		WithPanel(graph("Memory", unitBytes, half,
			target(`process_resident_memory_bytes and on (job, instance) provider_kitops_open_circuit_breakers`, "{{instance}}"))).
		WithPanel(graph("CPU", unitSeconds, half,
			target(`rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) provider_kitops_open_circuit_breakers`, "{{instance}}")).
			Description("Of the leader, in seconds per second."))
}

// source is the data source that the viewer chooses.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// target returns a query of a panel with the name of each series.
func target(expr, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(expr).LegendFormat(legend)
}

// number returns a panel that shows the current value of a query.
func number(title, unit, expr string) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Datasource(source()).Unit(unit).Height(height / 2).Span(narrow).
		NoValue("0").
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		WithTarget(target(expr, "").Instant().RefId("A"))
}

// graph returns a panel that shows queries over time.
func graph(title, unit string, width uint32, targets ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Datasource(source()).Unit(unit).Height(height).Span(width).Min(0).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti))
	for i, t := range targets {
		p.WithTarget(t.Range().RefId(string(rune('A' + i))))
	}
	return p
}

// list returns a panel that shows the current values of a query with their labels.
func list(title, expr string) *table.PanelBuilder {
	return table.NewPanelBuilder().Title(title).Datasource(source()).Height(height).Span(half).
		WithTarget(target(expr, "").Instant().Format(prometheus.PromQueryFormatTable).RefId("A")).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true},
			"renameByName":  map[string]string{"Value": "number", "artifact_namespace": "namespace"},
		}})
}
