package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// tick is the unit in which Linux counts processor time (proc(5), /proc/pid/stat).
const tick = 10 * time.Millisecond

// ownName is how the benchmark itself is named beside the processes that it has started.
const ownName = "benchmark"

// processorTimes are what processes have used, by their names.
type processorTimes map[string]time.Duration

// usedProcessor returns what the benchmark and the processes that it has started have used
// until now.
func usedProcessor() (processorTimes, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, errors.Wrap(err, "cannot list processes")
	}
	out := processorTimes{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // It has ended.
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		name, parent, used := parseStat(string(stat))
		switch os.Getpid() {
		case pid:
			out[ownName] += used
		case parent:
			out[name] += used
		}
	}
	return out, nil
}

// parseStat returns a process's name, its parent and the processor time that it has used, of
// the kernel's line about it.
func parseStat(stat string) (name string, parent int, used time.Duration) {
	_, after, _ := strings.Cut(stat, "(")
	i := strings.LastIndex(after, ")")
	if i < 0 {
		return "", 0, 0
	}
	fields := strings.Fields(after[i+1:])
	if len(fields) < 13 {
		return after[:i], 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return after[:i], parent, time.Duration(user+system) * tick
}

// less returns what these are more than others.
func (p processorTimes) less(others processorTimes) processorTimes {
	out := processorTimes{}
	for name, used := range p {
		out[name] = used - others[name]
	}
	return out
}

// each names what the processes have used for one of n Artifacts, the most first.
func (p processorTimes) each(n int) string {
	var out []string
	total := time.Duration(0)
	for _, name := range slices.SortedFunc(maps.Keys(p), func(a, b string) int { return cmp.Compare(p[b], p[a]) }) {
		total += p[name]
		out = append(out, fmt.Sprintf("%s %.1f", name, inMilliseconds(p[name])/float64(n)))
	}
	return fmt.Sprintf("%.1f ms: %s", inMilliseconds(total)/float64(n), strings.Join(out, ", "))
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
