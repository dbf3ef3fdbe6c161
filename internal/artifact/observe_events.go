package artifact

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// patientRepeats is how often something may be said that is normal at first: a
// claim is looked at about every 15 seconds.
const patientRepeats = 8

// eventsOf returns the events of the object with this UID. An object of the
// same name that is gone is none of ours.
func eventsOf(events []corev1.Event, uid types.UID) []corev1.Event {
	var out []corev1.Event
	for i := range events {
		if events[i].InvolvedObject.UID == uid {
			out = append(out, events[i])
		}
	}
	return out
}

// latest returns the last event with one of these reasons, nil where there is
// none. Of two at the same time the one that sorts last by its name holds, so
// that their order decides nothing.
func latest(events []corev1.Event, reasons ...string) *corev1.Event {
	var out *corev1.Event
	for i := range events {
		e := &events[i]
		if !hasReason(e, reasons) {
			continue
		}
		if out == nil || lastSeen(e).After(lastSeen(out)) || (lastSeen(e).Equal(lastSeen(out)) && e.GetName() > out.GetName()) {
			out = e
		}
	}
	return out
}

func hasReason(e *corev1.Event, reasons []string) bool {
	for _, r := range reasons {
		if e.Reason == r {
			return true
		}
	}
	return false
}

// happenedSince says whether an event with one of these reasons is as late as
// the one before it. Times are whole seconds.
func happenedSince(events []corev1.Event, before *corev1.Event, reasons ...string) bool {
	e := latest(events, reasons...)
	return e != nil && !lastSeen(e).Before(lastSeen(before))
}

// repeated says whether an event was seen more often than is normal.
func repeated(e *corev1.Event) bool {
	if e == nil {
		return false
	}
	if e.Series != nil {
		return e.Series.Count > patientRepeats
	}
	return e.Count > patientRepeats
}

// lastSeen returns when an event was seen last, in whichever of its fields its
// reporter says so, to the second.
func lastSeen(e *corev1.Event) time.Time {
	t := e.CreationTimestamp.Time
	switch {
	case e.Series != nil:
		t = e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		t = e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		t = e.EventTime.Time
	}
	return t.Truncate(time.Second)
}
