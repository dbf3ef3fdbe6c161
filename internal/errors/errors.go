// Package errors wraps errors as crossplane-runtime's pkg/errors does, for packages that
// small programs share with the controllers. That package imports controller-runtime's
// client, which links all kinds of Kubernetes into a program: 20 MB.
package errors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// New returns an error with this text.
func New(text string) error { return errors.New(text) }

// Errorf returns an error with a formatted text, which may wrap others with %w.
func Errorf(format string, a ...any) error { return fmt.Errorf(format, a...) }

// Is reports whether err, or an error that it wraps, matches target.
func Is(err, target error) bool { return errors.Is(err, target) }

// As reports whether err, or an error that it wraps, can be assigned to what target
// points to, and assigns it.
func As(err error, target any) bool { return errors.As(err, target) }

// Wrap returns an error with a message before err's; nil if err is nil.
func Wrap(err error, message string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", message, err)
}

// Wrapf returns an error with a formatted message before err's; nil if err is nil.
func Wrapf(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return Wrap(err, fmt.Sprintf(format, a...))
}

// Join returns an error that wraps those of errs that are not nil, or nil if there are none.
// It reads as one line, in which each message is once.
func Join(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return joined(errs)
}

// joined are several errors.
type joined []error

// Error returns the messages of the errors.
func (j joined) Error() string {
	var messages []string
	for _, err := range j {
		if m := err.Error(); !slices.Contains(messages, m) {
			messages = append(messages, m)
		}
	}
	if len(messages) == 1 {
		return messages[0]
	}
	return "[" + strings.Join(messages, ", ") + "]"
}

// Unwrap returns the errors.
func (j joined) Unwrap() []error { return j }
