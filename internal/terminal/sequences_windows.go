package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// enableSequences has a console obey control sequences
// (https://learn.microsoft.com/windows/console/setconsolemode).
func enableSequences(f *os.File) error {
	var mode uint32
	h := windows.Handle(f.Fd())
	if err := windows.GetConsoleMode(h, &mode); err != nil {
		return err
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
}
