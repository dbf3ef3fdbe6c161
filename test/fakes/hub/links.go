package hub

import (
	"strconv"
	"sync"
	"time"
)

// linkLife is how long a CDN's link is good for, unless SetLinks says
// otherwise.
const linkLife = time.Hour

// maxLinks bounds how many links a handler remembers.
const maxLinks = 100_000

// links are those that were handed out, with what is left of each.
type links struct {
	mu     sync.Mutex
	life   time.Duration // Zero for linkLife.
	uses   int           // Zero for as many as one likes.
	issued int
	known  map[string]*issued
}

type issued struct {
	end  time.Time
	uses int // Negative for as many as one likes.
}

// SetLinks says what the links to the CDN that are handed out from now on are
// good for: a time, by default an hour, and a number of requests, by default as
// many as one likes. A link that is not good any more is answered with 403.
func (h *Handler) SetLinks(life time.Duration, uses int) {
	h.links.mu.Lock()
	defer h.links.mu.Unlock()
	h.links.life, h.links.uses = life, uses
}

// Links returns how many links to the CDN were handed out so far.
func (h *Handler) Links() int {
	h.links.mu.Lock()
	defer h.links.mu.Unlock()
	return h.links.issued
}

// ExpireLinks ends all links to the CDN that were handed out so far.
func (h *Handler) ExpireLinks() {
	h.links.mu.Lock()
	defer h.links.mu.Unlock()
	h.links.known = nil
}

// issue makes a link, and returns its name and its end.
func (l *links) issue() (string, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) == maxLinks {
		l.known = map[string]*issued{}
	}
	i := &issued{end: time.Now().Add(linkLife), uses: -1}
	if l.life > 0 {
		i.end = time.Now().Add(l.life)
	}
	if l.uses > 0 {
		i.uses = l.uses
	}
	l.issued++
	id := strconv.Itoa(l.issued)
	l.known[id] = i
	return id, i.end
}

// use takes one request off what a link is good for, and reports whether it was
// good.
func (l *links) use(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.known[id]
	if !ok || i.uses == 0 || time.Now().After(i.end) {
		return false
	}
	i.uses--
	return true
}
