package main

import (
	"slices"
	"strings"
)

// isCompletion tells whether args ask for the completion of a shell. An append always has --root, and then "completion" is
// the name of a file.
func isCompletion(args []string) bool {
	return len(args) > 0 && args[0] == "completion" && !slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--root" || strings.HasPrefix(arg, "--root=")
	})
}
