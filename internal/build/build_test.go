package build

import (
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	const whole = "0ac5a63c1d2e4f5061728394a5b6c7d8e9f00112"
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "-trimpath", Value: "true"}, {Key: "vcs.revision", Value: whole}, {Key: "vcs.modified", Value: modified}}
	}
	ours := func(version string) debug.Module { return debug.Module{Path: module, Version: version} }
	theirs := debug.Module{Path: "example.com/theirs", Version: "v1.2.3"}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"no version control":     {debug.BuildInfo{Main: ours("(devel)")}, release},
		"a clean checkout":       {debug.BuildInfo{Main: ours("v0.0.0-20261126012612-0ac5a63c1d2e"), Settings: vcs("false")}, release + "+0ac5a63c1d2e"},
		"a changed checkout":     {debug.BuildInfo{Main: ours("(devel)"), Settings: vcs("true")}, release + "+0ac5a63c1d2e.modified"},
		"a short revision":       {debug.BuildInfo{Main: ours("(devel)"), Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "17"}}}, release + "+17"},
		"install of a release":   {debug.BuildInfo{Main: ours("v0.1.0")}, release},
		"install of a candidate": {debug.BuildInfo{Main: ours("v0.1.0-rc-1")}, release},
		"install of a commit":    {debug.BuildInfo{Main: ours("v0.1.1-0.20261126012612-0ac5a63c1d2e")}, release + "+0ac5a63c1d2e"},
		"in a program of others": {debug.BuildInfo{Main: theirs, Settings: vcs("true")}, release},
		"a release in a program of others": {
			debug.BuildInfo{Main: theirs, Deps: []*debug.Module{{Path: module, Version: "v0.1.0"}}, Settings: vcs("true")}, release,
		},
		"a commit in a program of others": {
			debug.BuildInfo{Main: theirs, Deps: []*debug.Module{{Path: module, Version: "v0.0.0-20261126012612-0ac5a63c1d2e"}}, Settings: vcs("true")},
			release + "+0ac5a63c1d2e",
		},
		"replaced in a program of others": {
			debug.BuildInfo{Main: theirs, Deps: []*debug.Module{{Path: module, Version: "v0.0.0-20261126012612-0ac5a63c1d2e", Replace: &debug.Module{Path: "../ours"}}}},
			release,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := of(&test.info); got != test.want {
				t.Errorf("of(%+v) = %q, want %q", test.info, got, test.want)
			}
		})
	}
}

// TestChangelog keeps the version and the changelog together: what is not released yet ends in -dev, and a
// release has a section.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$`).MatchString(release) {
		t.Errorf("release = %q is no semantic version", release)
	}
	heading := "\n## [" + release + "]"
	if strings.HasSuffix(release, "-dev") {
		heading = "\n## [Unreleased]"
	}
	if !strings.Contains(string(text), heading) {
		t.Errorf("CHANGELOG.md has no heading %q, which release = %q needs", heading[1:], release)
	}
}
