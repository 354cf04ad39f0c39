// Package build says which runfold this is: what the commands print, and what manifests, streams and
// indexes state for people who look at them later. No reader decides anything by it.
package build

import (
	"runtime/debug"
	"strings"
)

// release is the version in CHANGELOG.md that this source is, or with "-dev" becomes.
const release = "0.1.0-dev"

const module = "github.com/runfold/runfold"

// Version is the version and, if the build knows it, the commit: "0.1.0-dev+0ac5a63c1d2e". It ends with ".modified"
// if files differed from that commit. A build without version control or with -buildvcs=false, and a test,
// have only the version.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	return of(info)
}

func of(info *debug.BuildInfo) string {
	if c := commit(info); c != "" {
		return release + "+" + c
	}
	return release
}

// commit is from what our source was built, if that is known. In a program of others the commit that the build
// names is theirs: there the version of our module may hold ours.
func commit(info *debug.BuildInfo) string {
	if info.Main.Path != module {
		for _, dep := range info.Deps {
			if dep.Path == module && dep.Replace == nil {
				return pseudo(dep.Version)
			}
		}
		return ""
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), commitDigits)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ".modified"
		}
	}
	if revision == "" {
		return pseudo(info.Main.Version) // go install of a commit
	}
	return revision + modified
}

// commitDigits is how many digits of a commit the go command puts into a version, and so do we.
const commitDigits = 12

// pseudo is the commit in a version that the go command made of one, such as v0.1.1-0.20261126012612-0ac5a63c1d2e.
func pseudo(version string) string {
	version, _, _ = strings.Cut(version, "+")
	parts := strings.Split(version, "-")
	last := parts[len(parts)-1]
	if len(parts) < 3 || len(last) != commitDigits || strings.Trim(last, "0123456789abcdef") != "" {
		return ""
	}
	return last
}
