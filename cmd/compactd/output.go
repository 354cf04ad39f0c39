package main

import (
	"fmt"
	"io"
)

// output is standard output: its errors are outputErrors. What a command did in a root is done, whether or not it can be told.
type output struct{ io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		err = outputError{err}
	}
	return n, err
}

// outputError is an error of standard output, and none of the root.
type outputError struct{ err error }

func (e outputError) Error() string { return fmt.Sprintf("standard output: %v", e.err) }
func (e outputError) Unwrap() error { return e.err }
