"""The pipes to and from a child process, read and written by one thread that never waits for only one of them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from typing import Sequence

CHUNK = 64 << 10


class Waker:
    """Ends the wait of the one thread that waits."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            self.event = threading.Event()
        else:
            self.awake, self.waker = os.pipe()
            os.set_blocking(self.awake, False)
            os.set_blocking(self.waker, False)

    def wake(self) -> None:
        if sys.platform == "win32":
            self.event.set()
            return
        try:
            os.write(self.waker, b"x")
        except BlockingIOError:
            pass  # it is awake

    def wait(self, seconds: float | None) -> None:
        """Returns after wake, also after one before, or after the time."""
        if sys.platform == "win32":
            self.event.wait(seconds)
        else:
            p = select.poll()
            p.register(self.awake, select.POLLIN)
            p.poll(_milliseconds(seconds))
        self.clear()

    def clear(self) -> None:
        if sys.platform == "win32":
            self.event.clear()
            return
        try:
            while len(os.read(self.awake, CHUNK)) == CHUNK:
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        if sys.platform != "win32":
            os.close(self.awake)
            os.close(self.waker)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, seconds * 1000 + 1)


class Pipes:
    """A child with its three pipes. One thread at a time may call its methods."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        """Starts the command. Raises OSError if it cannot be run."""
        self.to_close: list[int] = []  # our ends, which a forked process closes
        theirs: list[int] = []
        try:
            self.stdin = self._pipe(theirs, ours=1)
            self.stdout = self._pipe(theirs, ours=0)
            self.stderr = self._pipe(theirs, ours=0)
            # A session, or group, of its own: Ctrl-C in a terminal is for the training, and what it has appended by then must still go through here.
            # Its directory is not ours, which may be on a disk that is to be unmounted.
            if sys.platform == "win32":
                self.process = subprocess.Popen(
                    command, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2], env=env, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP
                )
            else:
                self.process = subprocess.Popen(command, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2], env=env, start_new_session=True, cwd="/")
        except BaseException:
            for fd in self.to_close:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._prepare()

    def _pipe(self, theirs: list[int], ours: int) -> int:
        ends = os.pipe()  # neither is inherited, but those that Popen hands over
        self.to_close.append(ends[ours])
        theirs.append(ends[1 - ours])
        return ends[ours]

    def close_stdin(self) -> None:
        """Tells the child that nothing more comes."""
        if self.stdin >= 0:
            self.to_close.remove(self.stdin)
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Closes all of ours, and says nothing to the child."""
        for fd in self.to_close:
            os.close(fd)
        self.to_close.clear()
        self.stdin = -1

    def forget(self) -> None:
        """Closes all of ours in a forked process, to which the child does not belong."""
        self.close()
        self.process.returncode = 0  # so that nobody waits for it here

    if sys.platform == "win32":

        def _prepare(self) -> None:
            pass

        def wait(self, waker: Waker, seconds: float | None, to_write: bool) -> None:
            """Returns when there is something to read, when to_write and there may be room, after a wake, or after the time."""
            # Pipes of Windows cannot be waited for together, so they are looked at now and then.
            end = None if seconds is None else time.monotonic() + seconds
            pause = 0.001
            while not to_write and not waker.event.is_set() and not self._has(self.stdout) and not self._has(self.stderr):
                left = pause if end is None else min(pause, end - time.monotonic())
                if left <= 0:
                    break
                waker.event.wait(left)
                pause = min(pause * 1.5, 0.05)
            waker.clear()

        def _has(self, fd: int) -> bool:
            import _winapi
            import msvcrt

            if fd < 0:
                return False
            try:
                return int(_winapi.PeekNamedPipe(msvcrt.get_osfhandle(fd), 0)[0]) > 0
            except OSError:
                return True  # its end

    else:

        def _prepare(self) -> None:
            for fd in self.to_close:
                os.set_blocking(fd, False)

        def wait(self, waker: Waker, seconds: float | None, to_write: bool) -> None:
            """Returns when there is something to read, when to_write and there may be room, after a wake, or after the time."""
            # poll, and no epoll: a forked process would share the latter with us.
            p = select.poll()
            for fd in (waker.awake, self.stdout, self.stderr):
                if fd >= 0:
                    p.register(fd, select.POLLIN)
            if to_write and self.stdin >= 0:
                p.register(self.stdin, select.POLLOUT)
            p.poll(_milliseconds(seconds))
            waker.clear()

        def _has(self, fd: int) -> bool:
            return fd >= 0

    def read(self) -> bytes | None:
        """What the child has written to standard output, b"" at its end, or None if there is nothing now."""
        try:
            return os.read(self.stdout, CHUNK) if self._has(self.stdout) else None
        except BlockingIOError:
            return None

    def read_words(self) -> bytes:
        """What the child has written to standard error since."""
        try:
            words = os.read(self.stderr, CHUNK) if self._has(self.stderr) else None
        except BlockingIOError:
            return b""
        if words == b"":
            self.to_close.remove(self.stderr)
            os.close(self.stderr)
            self.stderr = -1
        return words or b""

    def write(self, data: memoryview) -> int:
        """Writes a part of it, which may be none, and says how much. Raises OSError if the child reads no more."""
        # On Windows this waits while the pipe is full. A child that runs reads on: it takes more lines than we ever have under way.
        try:
            return os.write(self.stdin, data[:CHUNK])
        except BlockingIOError:
            return 0
