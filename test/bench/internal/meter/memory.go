package meter

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// A process is told to have had as much memory as the one that started it,
// which is this program, until it became another one
// (https://man7.org/linux/man-pages/man2/getrusage.2.html): what took less than
// this program is only known by looking at it while it runs.

// lookEvery is how often a process is looked at.
const lookEvery = 5 * time.Millisecond

// watch looks at a process's memory until it ends, and returns a function that
// tells the most that was seen, once it has ended.
func watch(pid int) func() int64 {
	end, most := make(chan struct{}), make(chan int64, 1)
	go func() {
		var seen int64
		for {
			seen = max(seen, peak(strconv.Itoa(pid)))
			select {
			case <-end:
				most <- seen
				return
			case <-time.After(lookEvery):
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-most
	}
}

// peak returns the largest resident set that a process had so far, in bytes;
// zero where there is none.
func peak(pid string) int64 {
	return Kilobytes("/proc/"+pid+"/status", "VmHWM:")
}

// Kilobytes returns a figure from a file of /proc, in bytes; zero where it has
// none.
func Kilobytes(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(l, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
