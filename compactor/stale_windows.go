package compactor

import "syscall"

// errStale has no like on Windows: ERROR_FILE_INVALID is what SMB answers for a file that is gone.
const errStale = syscall.Errno(1006)
