package locktest

import (
	"testing"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
)

func TestFile(t *testing.T) {
	TestProvider(t, func(testing.TB) lock.Provider { return file.Provider{} })
}
