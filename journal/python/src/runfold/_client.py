"""The one child process that appends everything of this process, and the one thread that speaks with it.

A line is sent, and is under way until it is answered. If the child dies, what is under way is sent to the next one, in the same bytes and
so under the same record_id: the root takes it once. Of two records about one run and stage only one is under way at a time, because a repeat
counts as a later write if another record of the run came between.

What callers hand over lies in an inbox, and only the thread touches the rest. So an exception that a signal raises in a caller, at whatever
point, leaves nothing half done.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections import deque
from typing import Any, Callable, NamedTuple, Optional, Protocol

from . import _binaries
from ._pipes import Pipes, Waker
from ._raised import Again, NoBinary, NotDurable, Refused, RunfoldError, RunfoldWarning, of_kind

TIMEOUT = 30.0
"""How many seconds a call waits for durability, if nothing else is said."""

MOST_UNDER_WAY = 16 << 20
"""Bytes of lines that are under way. The child takes 64 MiB without an answer, so it always reads on."""

LONGEST_LINE = 60 << 20
"""The child reads a line of 61 MiB at most. Roots take less, if they were not told otherwise: 16 MiB."""

HANDSHAKE = 20.0
"""Seconds in which a child must say what it is."""

log = logging.getLogger("runfold")
"""Has what the child says to people, at level INFO."""


class Ack(NamedTuple):
    """The answer for a record that is on stable storage. It will be folded."""

    run_id: str
    stage: str
    record_id: str
    stream: str
    stamp: int


class Where(NamedTuple):
    """Where a record goes. The root is an absolute path."""

    root: str
    cohort: str
    root_id: Optional[str]
    create: bool

    def line(self, number: int, record: str) -> bytes:
        """What is sent to the child."""
        members: dict[str, object] = {"id": number, "root": self.root, "cohort": self.cohort}
        if self.root_id:
            members["root_id"] = self.root_id
        if self.create:
            members["create"] = True
        return f'{json.dumps(members)[:-1]}, "record": {record}}}\n'.encode()


class Item:
    """A record on its way."""

    __slots__ = ("abandoned", "ack", "answered", "error", "latch", "line", "number", "owner", "place", "tries", "what")

    def __init__(self, where: Where, record: str, what: str, place: tuple[str, ...], owner: Optional[Owner] = None) -> None:
        self.number = next(_numbers)
        self.line = where.line(self.number, record)
        if len(self.line) > LONGEST_LINE:
            raise Refused(
                f"{what}: the record has {len(self.line)} bytes, and {LONGEST_LINE} is the most that can be sent",
                "keep large things in files, and their paths in the record",
            )
        self.what = what  # for people: run r-17 of cohort a
        self.place = (where.root, *place)  # root, run, stage: one of each is under way
        self.owner = owner  # without one, "again" is tried again without asking
        self.abandoned = False
        self.tries = 0
        self.ack: Optional[Ack] = None
        self.error: Optional[RunfoldError] = None  # the last one, also while it is tried again
        self.answered = False
        self.latch = threading.Lock()  # released when it is answered
        self.latch.acquire()


_numbers = itertools.count(1)


class Owner(Protocol):
    """A run: it makes its records when there is room for them. Only the thread calls it."""

    def due(self, now: float) -> Optional[float]:
        """When it wants to be asked for a record; None if not before the last one is answered."""

    def state(self) -> Optional[Item]:
        """The record of now; None if there is nothing new."""

    def answered(self, item: Item) -> None:
        """Called once for each state."""

    def orphaned(self) -> None:
        """Called in a process that was forked from the one that has it."""


class Client:
    """Speaks with the child."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # held while the child or the thread is started or left, and by a fork
        self.thread: Optional[threading.Thread] = None
        self.stepping = threading.Lock()  # held by a caller that does the work of the thread
        # Handed over by callers:
        self.inbox: deque[Item] = deque()
        self.unwanted: deque[Item] = deque()
        self.owners: dict[int, Owner] = {}
        self.look_again = False  # an owner may be due
        self.closing = False
        self.waker = Waker()
        self.asleep = False
        # Of the thread:
        self.next_due = float("inf")
        self.ready: deque[Item] = deque()
        self.under_way: dict[int, Item] = {}  # by number, in the order in which they were sent
        self.bytes_under_way = 0
        self.places: dict[tuple[str, ...], deque[Item]] = {}  # who waits for the one that is under way
        self.later: list[tuple[float, int, Item]] = []  # a heap of what is tried again
        self.pipes: Optional[Pipes] = None
        self.greeted = False  # this child has said what it is
        self.deadline = 0.0  # for that
        self.ever_greeted = False
        self.failures = 0  # starts since a child was of use
        self.not_before = 0.0  # the next start
        self.why = ""  # words about the last child that ended
        self.command = "journal-append"
        self.out: deque[memoryview] = deque()
        self.answers = b""
        self.words = b""

    # What callers use.

    def submit(self, item: Item) -> None:
        """Sends a record as soon as there is room. Never waits for that."""
        self.inbox.append(item)
        self.wake()

    def add(self, owner: Owner) -> None:
        """Asks it for records from now on."""
        self.owners[id(owner)] = owner
        self.poke()

    def remove(self, owner: Owner) -> None:
        self.owners.pop(id(owner), None)

    def poke(self) -> None:
        """Makes the thread ask the owners again."""
        self.look_again = True
        self.wake()

    def abandon(self, item: Item) -> None:
        """Its caller waits no more. It is not sent any more; if it is under way, it may still become durable."""
        item.abandoned = True
        self.unwanted.append(item)
        self.wake()

    def wait(self, latch: Any, deadline: float) -> bool:
        """Whether the lock was let go by then. Where no thread can be started, as at the end of the interpreter, this does its work."""
        while True:
            left = deadline - time.monotonic()
            if self.thread is not None:
                got: bool = latch.acquire(timeout=min(max(left, 0.0), threading.TIMEOUT_MAX))
                return got
            if latch.acquire(blocking=False):
                return True
            if left <= 0:
                return False
            with self.stepping:
                self._step(min(left, 0.1))

    def reason(self) -> str:
        """Why nothing is answered, as far as is known."""
        pipes = self.pipes
        if pipes is None or not self.greeted:
            return self.why or "journal-append has not answered yet"
        return f"journal-append (process {pipes.process.pid}) has not answered: its storage may hang, or it may be stopped"

    def wake(self) -> None:
        """Lets the thread look at what is new."""
        if self.thread is None and not self.closing:
            self._start()
        elif self.asleep:
            self.asleep = False
            self.waker.wake()

    def _start(self) -> None:
        with self.lock:
            if self.thread is not None:
                return
            thread = threading.Thread(target=self._run, name="runfold", daemon=True)
            self.thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or there are too many: wait does the work
                pass
            finally:
                if thread.ident is None:
                    self.thread = None

    # The thread.

    def _run(self) -> None:
        going = True
        while going:
            try:
                going = self._step(None)
            except BaseException as e:  # of ours: nobody else sees it, and nobody may wait for ever
                error = RunfoldError(f"internal error of the package runfold: {e!r}", "please report it; what was answered until now is safe")
                log.error("%s", error.words, exc_info=e)
                self._end_child(kill=True)
                self._fail_all(error)
        self.thread = None

    def _step(self, most: Optional[float]) -> bool:
        """Does what can be done, and waits until there is more to do, for as long as most. False if all is done and it is to end."""
        now = time.monotonic()
        limits = [t - now for t in self._gather(now)]
        pipes = self._child(now)
        if pipes is not None:
            self._send(pipes)
            if not self.greeted:
                limits.append(self.deadline - now)
        elif self.ready or self.under_way:
            limits.append(self.not_before - now)
        elif self.closing and not self.later:
            return False
        if most is not None:
            limits.append(most)
        self.asleep = True
        if self.inbox or self.unwanted or self.look_again:
            limits.append(0.0)
        seconds = max(0.0, min(limits)) if limits else None
        if pipes is None:
            self.waker.wait(seconds)
        else:
            pipes.wait(self.waker, seconds, bool(self.out))
        self.asleep = False
        if pipes is not None:
            self._write(pipes)
            self._hear(pipes)
        return True

    def _gather(self, now: float) -> list[float]:
        """Queues what is new or due, and returns when more will be."""
        while self.inbox:
            self._enqueue(self.inbox.popleft())
        while self.unwanted:
            self._drop(self.unwanted.popleft())
        while self.later and self.later[0][0] <= now:
            self.ready.append(heapq.heappop(self.later)[2])
        if self.look_again or now >= self.next_due:
            self.look_again, self.next_due = False, float("inf")
            for owner in list(self.owners.values()):
                t = owner.due(now)
                if t is not None and t <= now:
                    item = owner.state()
                    if item is not None:
                        self._enqueue(item)
                        continue
                    t = owner.due(now)
                if t is not None:
                    self.next_due = min(self.next_due, t)
        times = [self.next_due] if self.next_due < float("inf") else []
        return times + [entry[0] for entry in self.later[:1]]

    def _enqueue(self, item: Item) -> None:
        waiting = self.places.get(item.place)
        if waiting is None:
            self.places[item.place] = deque()
            self.ready.append(item)
        else:
            waiting.append(item)

    def _leave(self, item: Item) -> None:
        """The next one of its run and stage may go."""
        waiting = self.places[item.place]
        if waiting:
            self.ready.append(waiting.popleft())
        else:
            del self.places[item.place]

    def _drop(self, item: Item) -> None:
        """Takes an abandoned one out, if it is not under way."""
        if item.answered or item.number in self.under_way:
            return
        if item in self.ready:
            self.ready.remove(item)
        elif any(item is entry[2] for entry in self.later):
            self.later = [entry for entry in self.later if entry[2] is not item]
            heapq.heapify(self.later)
        else:
            self.places[item.place].remove(item)
            return
        self._leave(item)

    def _resolve(self, item: Item, ack: Optional[Ack], error: Optional[RunfoldError]) -> None:
        if self.under_way.pop(item.number, None) is not None:
            self.bytes_under_way -= len(item.line)
        item.ack, item.error = ack, error
        if isinstance(error, Again) and item.owner is None and not item.abandoned:
            item.tries += 1
            heapq.heappush(self.later, (time.monotonic() + pause(item.tries), item.number, item))
            return
        self._leave(item)
        if item.owner is not None:
            item.owner.answered(item)
            self.look_again = True
        item.answered = True
        item.latch.release()

    def _fail_all(self, error: RunfoldError) -> None:
        while items := [*self.under_way.values(), *self.ready, *(entry[2] for entry in self.later)]:
            self.ready.clear()
            self.later.clear()
            for item in items:
                self._resolve(item, None, error)

    def _child(self, now: float) -> Optional[Pipes]:
        """The child; one is started if there is work for it."""
        if self.pipes is not None:
            if self.greeted or now <= self.deadline:
                return self.pipes
            self._end_child(kill=True)
            self._failed_start(NoBinary(f"{self.command} has said nothing for {HANDSHAKE:.0f} s"), now)
        if not (self.ready or self.under_way) or now < self.not_before:
            return None
        try:
            self.command = _binaries.find("journal-append")
            env = {k: v for k, v in os.environ.items() if k != "RUNFOLD_ROOT_ID"}  # each line says which root is meant
            with self.lock:
                self.pipes = Pipes([self.command, "--multiplex", "--summary", "none"], env)
        except NoBinary as e:
            self._failed_start(e, now)
            return None
        except OSError as e:
            self._failed_start(NoBinary(f"{self.command} cannot be run: {e.strerror or e}"), now)
            return None
        self.greeted, self.deadline = False, now + HANDSHAKE
        self.answers = self.words = b""
        return self.pipes

    def _failed_start(self, e: NoBinary, now: float) -> None:
        self.failures += 1
        self.not_before = now + pause(self.failures)
        self.why = e.words
        if not self.ever_greeted:  # else it was there: somebody installs another version, or the machine has no room for processes
            self._fail_all(e)

    def _send(self, pipes: Pipes) -> None:
        if not self.greeted:
            return
        while self.ready and self.bytes_under_way < MOST_UNDER_WAY:
            item = self.ready.popleft()
            self.under_way[item.number] = item
            self.bytes_under_way += len(item.line)
            self.out.append(memoryview(item.line))
        if self.closing and not (self.out or self.ready or self.later):
            with self.lock:
                pipes.close_stdin()

    def _write(self, pipes: Pipes) -> None:
        while self.out and pipes.stdin >= 0:
            data = self.out.popleft()
            if len(data) < 4096 and self.out:  # many small ones in one call
                parts, size = [data], len(data)
                while self.out and size < 32768:
                    parts.append(self.out.popleft())
                    size += len(parts[-1])
                data = memoryview(b"".join(parts))
            try:
                n = pipes.write(data)
            except OSError:
                self.out.clear()  # it has died, or does so: the end of its answers tells
                return
            if n < len(data):
                self.out.appendleft(data[n:])
            if n == 0:
                return

    def _hear(self, pipes: Pipes) -> None:
        words = pipes.read_words()
        if words:
            self._say(words)
        data = pipes.read()
        if data:
            *lines, self.answers = (self.answers + data).split(b"\n")
            for line in lines:
                self._answer(line)
        elif data is not None:
            self._died(pipes)

    def _say(self, words: bytes) -> None:
        self.words = (self.words + words)[-4096:]
        for line in words.decode(errors="replace").splitlines():
            log.info("%s", line)

    def _answer(self, line: bytes) -> None:
        try:
            a: dict[str, Any] = json.loads(line)
        except ValueError:
            a = {}
        if not self.greeted:
            self._greet(a, line)
            return
        item = self.under_way.get(a.get("id", 0))
        if item is None:
            log.warning("journal-append answers what was not asked: %r", line[:200])
        elif "error" in a:
            self._resolve(item, None, of_kind(a["kind"], f"{item.what}: {a['error']}", a.get("hint", "")))
        else:
            self._resolve(item, Ack(a["run_id"], a["stage"], a["record_id"], a["stream"], a["stamp"]), None)
        self.failures = 0

    def _greet(self, a: dict[str, Any], line: bytes) -> None:
        if a.get("multiplex") == 1:
            self.greeted = self.ever_greeted = True
            for item in self.under_way.values():  # of the child before, in the same order and the same bytes
                self.out.append(memoryview(item.line))
            return
        self._end_child(kill=True)
        words, hint = f"{self.command} says {line[:100]!r}, and not which version of the protocol it speaks", ""
        if a.get("multiplex"):
            words = f"{self.command} is of a later version ({a.get('version')}) than this package can speak with"
            hint = "install the package runfold of that version"
        self._failed_start(NoBinary(words, hint), time.monotonic())

    def _died(self, pipes: Pipes) -> None:
        """The child has ended. What it has not answered goes to the next one."""
        now = time.monotonic()
        while words := pipes.read_words():
            self._say(words)
        greeted = self.greeted
        said = self.words.decode(errors="replace").strip().splitlines()
        code = self._end_child(kill=False)
        if code < 0:
            self.why = f"{self.command} was killed by signal {-code}"
        else:
            self.why = f"{self.command} ended with exit code {code}" + (f": {said[-1]}" if said else "")
        for item in [i for i in self.under_way.values() if i.abandoned]:
            self._resolve(item, None, NotDurable(f"{item.what}: {self.why}"))
        if greeted:
            self.failures += 1
            self.not_before = now + (pause(self.failures) if self.failures > 1 else 0.0)
            return
        hint = ""
        if any("unknown flag: --multiplex" in line for line in said):
            self.why = f"{self.command} does not know --multiplex: it is older than this package"
            hint = f"install a wheel of runfold, which has its own; see also {_binaries.VAR}"
        self._failed_start(NoBinary(self.why, hint), now)

    def _end_child(self, kill: bool) -> int:
        """Leaves the child, and returns its exit code."""
        with self.lock:
            pipes, self.pipes, self.greeted = self.pipes, None, False
            self.out.clear()
            if pipes is None:
                return 0
            pipes.close()
        if kill:
            pipes.process.kill()
        try:
            return pipes.process.wait(timeout=5)
        except Exception:  # it has closed its output and goes on: then it must not write any more
            pipes.process.kill()
            return pipes.process.wait()

    # The end.

    def close(self, deadline: float) -> None:
        """Ends child and thread when all that was handed over is answered. Returns at the deadline at the latest."""
        self.owners.clear()
        self.closing = True
        thread = self.thread
        if thread is not None:
            self.wake()
            thread.join(max(0.0, deadline - time.monotonic()))
            return
        with self.stepping:
            while time.monotonic() < deadline and self._step(deadline - time.monotonic()):
                pass

    def forget(self) -> None:
        """Leaves everything to the process that this one was forked from."""
        if self.pipes is not None:
            self.pipes.forget()
        self.waker.close()
        for owner in list(self.owners.values()):
            owner.orphaned()


def pause(tries: int) -> float:
    """Seconds before the next try: 0.1, 0.2, ... 5."""
    return float(min(5.0, 0.1 * 2 ** min(tries - 1, 10)))


def warn(words: str) -> None:
    """Warns, and does not raise where warnings are errors: this may be our thread, or a training that must go on."""
    try:
        warnings.warn(words, RunfoldWarning, stacklevel=3)
    except RunfoldWarning:
        print(f"RunfoldWarning: {words}", file=sys.stderr)


_guard = threading.RLock()  # guards _client
_client: Optional[Client] = None


def client() -> Client:
    """The client of this process, which is made at the first use."""
    global _client
    with _guard:
        if _client is None:
            _client = Client()
            util = sys.modules.get("multiprocessing.util")
            if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
                util.Finalize(None, at_exit, exitpriority=100)  # a process of multiprocessing may end without atexit
        return _client


at_end: list[Callable[[float], list[str]]] = []
"""Of _run: makes durable what runs have, until a time, and returns words for what is not."""


def at_exit() -> None:
    """Makes durable what is not, and ends the child. What cannot be made durable is told."""
    global _client
    with _guard:
        c = _client
    if c is None:
        return
    deadline = time.monotonic() + TIMEOUT
    lost = [words for end in at_end for words in end(deadline)]
    with _guard:
        _client = None
    c.close(deadline if not lost else time.monotonic() + 1)
    for words in lost:
        warn(f"not durable at the end of the process: {words}")


def _before_fork() -> None:
    _guard.acquire()
    if _client is not None:
        _client.lock.acquire()


def _after_fork_in_parent() -> None:
    if _client is not None:
        _client.lock.release()
    _guard.release()


def _after_fork_in_child() -> None:
    global _guard, _client
    old, _client = _client, None
    _guard = threading.RLock()
    if old is not None:
        old.forget()


atexit.register(at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
