package durable

import "errors"

// Touch makes a regular file young, for programs that delete what nobody has used for days. Its bytes stay as they are, and nothing
// is synced. A link is not followed.
//
//	lstat name; utimensat name
func Touch(fsys FS, name string) error {
	// Not a method of FS: the file systems of the tests know nothing that depends on the age of a file.
	t, ok := fsys.(interface{ Touch(name string) error })
	if !ok {
		return errors.ErrUnsupported
	}
	if err := Regular(fsys, name); err != nil {
		return err
	}
	return t.Touch(name)
}
