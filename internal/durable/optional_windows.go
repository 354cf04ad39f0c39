package durable

import "syscall"

// linkless are ERROR_NOT_SAME_DEVICE, ERROR_TOO_MANY_LINKS and ERROR_INVALID_FUNCTION (FAT).
var linkless = []error{syscall.Errno(17), syscall.Errno(1142), syscall.Errno(1)}

// inTheWay are ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION: a program has the file open.
var inTheWay = []error{syscall.Errno(5), syscall.Errno(32)}
