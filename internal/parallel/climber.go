package parallel

const (
	// full is the share of the slots' time from which on they count as all in use: one that
	// is given from hand to hand is free for a moment.
	full = 0.8

	// worth is which part of a growth in size must be seen in throughput for the larger
	// size to be kept: with a half, twice the size must bring half as much again. Where
	// slots wait for their server, twice as many bring twice as much; what brings little
	// is not worth its memory, and may be chance.
	worth = 0.5

	// rest is for how many intervals nothing is tried after a choice that was not better. It
	// doubles with each such try, up to mostRest.
	rest     = 6
	mostRest = 160
)

// A climber chooses a size by what throughput earlier choices had. It is a pure function
// of what it is told.
type climber struct {
	min, max int
	size     int

	steep   bool // No choice was in vain yet: sizes are doubled, else they grow by half.
	settled bool // An interval has passed since the last change.
	trying  bool // size is a try, which base was exchanged for.
	doubted bool // An interval of the try has brought too little, which may be chance.
	base    int
	rate    float64 // The throughput of base.

	pause    int // For how many more intervals nothing is tried.
	nextRest int
}

func newClimber(least, start, most int) climber {
	start = max(least, min(start, most))
	return climber{min: least, max: most, size: start, base: start, steep: true, nextRest: rest}
}

// next returns the size after an interval with this throughput, in which all slots were in
// use or not, and reports whether it is another one.
func (c *climber) next(rate float64, allUsed bool) (size int, changed bool) {
	before := c.size
	switch {
	case !allUsed:
		// More would not be used.
		c.pause = max(0, c.pause-1)
	case !c.settled:
		// What has just begun is not at its speed yet.
		c.settled = true
	case c.trying:
		c.judge(rate)
	case c.pause > 0:
		c.pause--
	default:
		c.try(rate)
	}
	return c.size, c.size != before
}

// try begins to try a larger size than the present one, which has this throughput.
func (c *climber) try(rate float64) {
	c.base, c.rate = c.size, rate
	grown := c.size + max(1, c.size/2)
	if c.steep {
		grown = 2 * c.size
	}
	if grown = min(grown, c.max); grown == c.size {
		return
	}
	c.size, c.trying, c.settled, c.doubted = grown, true, false, false
}

// judge keeps the size that is tried if it is worth it, and tries the next one. After two
// intervals in which it was not, it returns to the one before.
func (c *climber) judge(rate float64) {
	growth := float64(c.size)/float64(c.base) - 1
	if rate >= c.rate*(1+worth*growth) {
		c.trying, c.nextRest = false, rest
		c.try(rate)
		return
	}
	if !c.doubted {
		c.doubted = true
		return
	}
	c.trying = false
	c.size, c.settled, c.steep = c.base, false, false
	c.pause, c.nextRest = c.nextRest, min(2*c.nextRest, mostRest)
}

// backOff halves the size, and tries no larger one for a while. It returns the new size, and
// reports whether it is another one.
func (c *climber) backOff() (size int, changed bool) {
	before := c.size
	c.size = max(c.min, c.size/2)
	c.base, c.trying, c.settled, c.steep = c.size, false, false, false
	c.pause, c.nextRest = c.nextRest, min(2*c.nextRest, mostRest)
	return c.size, c.size != before
}
