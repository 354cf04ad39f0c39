"""A run that is under way: what it is, and its record, which is appended whole each time."""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Optional

from . import _client, _values
from ._client import TIMEOUT, Client, Item, Where, client, pause, warn
from ._raised import Again, NoBinary, NotDurable, Refused, RunfoldError

EVERY = 10.0
"""Seconds between two records of a run that changes, if nothing else is said."""

MOST_AT_START = 10.0
"""Seconds for which the start of a run waits at most for its first record."""

MOST_POINTS = 1_000
"""Points of one metric in the history. From then on every second one is left out, then three of four, and so on."""

MOST_POINTS_OF_ALL = 10_000
"""Points of all metrics of a run together."""

OWN_FIELDS = frozenset(
    "record_id run_id stage phase timestamp status name end_time metrics params tags snapshot snapshot_seq".split()
)
"""What stands at the top of a record by other ways than fields."""


def place_of(root: str | os.PathLike[str], cohort: str, root_id: str | None, create: bool) -> Where:
    """Where a record goes. A relative root is relative to the directory of now. The root id of the environment counts where none is given."""
    path = os.fspath(root)
    if not isinstance(path, str) or not isinstance(cohort, str):
        raise Refused(f"root {path!r} and cohort {cohort!r} must be text")
    return Where(os.path.abspath(path), cohort, root_id or os.environ.get("RUNFOLD_ROOT_ID") or None, create)


def run(
    root: str | os.PathLike[str],
    cohort: str,
    *,
    run_id: str | None = None,
    stage: str = "RUN",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    snapshot: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    create: bool = False,
    root_id: str | None = None,
    every: float = EVERY,
    timeout: float = TIMEOUT,
) -> Run:
    """Begins a run, and appends its first record, with status RUNNING.

        with runfold.run("runs", cohort="churn_eu", params={"lr": 3e-4}) as run:
            run.metrics["auc"] = 0.71

    The record is appended whole each time: now, every few seconds if it has changed, at run.flush(), and at the end, with status FINISHED,
    FAILED or KILLED. The last one counts.

    run_id: a new one if none is given. fields: more members at the top of the record, such as those of a wider key. create: make the root if
    it does not exist. root_id: refuse any other root. every: seconds between two records. timeout: seconds for which flush and the end wait.

    Raises Refused, Failed or NoBinary if the first record cannot be appended. If it only takes too long (10 s, or timeout if that is less), a
    warning says so, and the run goes on.
    """
    r = Run(
        place_of(root, cohort, root_id, create), run_id, stage, name,
        {"params": params, "tags": tags, "metrics": metrics, "snapshot": snapshot}, fields, every, timeout,
    )  # fmt: skip
    r._begin()
    return r


class Fields(MutableMapping[str, Any]):
    """The metrics, params, tags or snapshot of a run. A value is read when it is set, and what comes back cannot be changed in place.

    Setting a value never waits for anything. It raises Refused for what has no JSON.
    """

    def __init__(self, run: Run, what: str) -> None:
        self._run = run
        self._what = what
        self._members: dict[str, tuple[str, str]] = {}  # name as JSON, value as JSON

    def __setitem__(self, name: str, value: Any) -> None:
        member = self._member(name, value)
        run = self._run
        run._open()
        with run._lock:
            self._members[member[2]] = member[:2]
            run._version += 1

    def _member(self, name: object, value: object) -> tuple[str, str, str]:
        try:
            text, nulls = _values.encode(value)
            key = name if type(name) is str else _values.name_of(name)
            quoted = _values.quote(key)
        except Refused as e:
            raise Refused(f"{self._what}.{name}: {e.words}", e.hint) from None
        if nulls:
            self._run._tell_nulls(f"{self._what}.{name}", nulls)
        return quoted, text, key

    def __getitem__(self, name: str) -> Any:
        return _values.frozen(self._members[name][1])

    def __delitem__(self, name: str) -> None:
        self._run._open()
        with self._run._lock:
            del self._members[name]
            self._run._version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._members.copy())

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def update(self, *args: Any, **more: Any) -> None:
        """Sets many at once: no record has only some of them."""
        members = [self._member(n, v) for n, v in dict(*args, **more).items()]
        self._run._open()
        with self._run._lock:
            self._members.update((m[2], m[:2]) for m in members)
            self._run._version += 1

    def __repr__(self) -> str:
        return f"<{self._what} of run {self._run.run_id}: {dict(self)}>"

    def _json(self, *more: str) -> str:
        return "{" + ",".join([*(n + ":" + v for n, v in self._members.values()), *more]) + "}"


class _Curve:
    """The history of one metric, thinned to a bound."""

    def __init__(self) -> None:
        self.points: list[tuple[str, str]] = []  # step and value
        self.last: Optional[tuple[str, str]] = None  # the newest one, if it is not among them
        self.stride = 1
        self.seen = 0

    def add(self, step: str, value: str) -> None:
        self.last = step, value
        if self.seen % self.stride == 0:
            self.points.append(self.last)
            self.last = None
        self.seen += 1
        if len(self.points) > MOST_POINTS:
            self.thin()

    def thin(self) -> None:
        if self.last is None and len(self.points) % 2 == 0:
            self.last = self.points[-1]
        self.points = self.points[::2]
        self.stride *= 2

    def json(self) -> str:
        points = self.points if self.last is None else [*self.points, self.last]
        thinned = "" if len(points) == self.seen else f',"points":{self.seen}'
        return f'{{"step":[{",".join(p[0] for p in points)}],"value":[{",".join(p[1] for p in points)}]{thinned}}}'


class _Waiter:
    """Somebody who waits until a version of the record is durable."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.latch = threading.Lock()
        self.latch.acquire()
        self.error: Optional[RunfoldError] = None
        self.given_up = False


class Run:
    """A run that is under way. runfold.run begins one; it ends at the end of its with block, or by finish."""

    def __init__(
        self, where: Where, run_id: str | None, stage: str, name: str | None, given: dict[str, Mapping[str, Any] | None],
        fields: Mapping[str, Any] | None, every: float, timeout: float,
    ) -> None:  # fmt: skip
        start = datetime.datetime.now(datetime.timezone.utc)
        self.run_id = new_run_id(start) if run_id is None else run_id
        self.stage = stage
        self.cohort = where.cohort
        self.root = where.root
        self.status = "RUNNING"
        self.timeout = timeout
        self.nulls: dict[str, int] = {}
        """How many NaN and infinities became null, by name."""
        self._where = where
        self._every = max(0.05, every)
        self._lock = threading.RLock()  # guards _version, _curves and the members of the fields
        self._version = 1  # a change makes it greater
        self._curves: dict[str, _Curve] = {}
        self._steps = 0
        self._ending = ""  # members of the last record: status and end
        self._error = ""  # a member of the snapshot
        self._elsewhere = False  # this is a fork of the process that has it
        # Of the thread of the client:
        self._client: Client
        self._item: Optional[Item] = None
        self._item_version = 0
        self._durable = 0  # the version that is
        self._durable_since = 0.0
        self._tries = 0
        self._next = 0.0
        self._not_before = 0.0
        self._told: set[type] = set()  # errors that were warned about since the last durable record
        self._waiters: deque[_Waiter] = deque()
        self.metrics, self.params = Fields(self, "metrics"), Fields(self, "params")
        self.tags, self.snapshot = Fields(self, "tags"), Fields(self, "snapshot")
        for what, values in given.items():
            getattr(self, what).update(values or {})
        head: dict[str, Any] = {"run_id": self.run_id, "stage": stage, "timestamp": _text_of(start)}
        if name is not None:
            head["name"] = name
        for field in fields or {}:
            if field in OWN_FIELDS:
                raise Refused(f"fields: {field} is given in another way")
        self._head = _encoded("fields", {**head, **(fields or {})})[1:-1]

    @property
    def what(self) -> str:
        return f"run {self.run_id}:{self.stage} of cohort {self.cohort} in {self.root}"

    def __repr__(self) -> str:
        return f"<{self.status} {self.what}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.what} stays in its process: begin a run of its own in the other one")

    # What is logged.

    def log(self, metrics: Mapping[str, Any] | None = None, /, *, step: float | None = None, **more: Any) -> None:
        """Sets metrics, and keeps them in the history of the snapshot: {"history": {"loss": {"step": [...], "value": [...]}}}.

        Without step, the calls are counted from 0. The history is bounded: of a metric with more than 1,000 points every second one
        stays, then one of four, and "points" says how many there were; the first and the last point always stay. All metrics together have 10,000.
        """
        values = {**(metrics or {}), **more}
        members = [self.metrics._member(n, v) for n, v in values.items()]
        self._open()
        at = None if step is None else _encoded("step", step)
        with self._lock:
            if at is None:
                at = str(self._steps)
            self._steps += 1
            for name, text, key in members:
                self.metrics._members[key] = name, text
                curve = self._curves.get(name)
                if curve is None:
                    curve = self._curves[name] = _Curve()
                curve.add(at, text)
            if len(self._curves) * MOST_POINTS > MOST_POINTS_OF_ALL:
                self._thin()
            self._version += 1

    def _thin(self) -> None:
        while sum(len(c.points) for c in self._curves.values()) > MOST_POINTS_OF_ALL:
            longest = max(self._curves.values(), key=lambda c: len(c.points))
            if len(longest.points) < 4:
                return
            longest.thin()

    def _open(self) -> None:
        """Refuses changes that no record would have."""
        if self._ending:
            raise RunfoldError(f"{self.what} has ended: nothing can be set any more")
        if self._elsewhere:
            self._tell_elsewhere()

    def _tell_nulls(self, name: str, nulls: int) -> None:
        seen = self.nulls.get(name, 0)
        self.nulls[name] = seen + nulls
        if not seen:
            warn(f"{self.what}: {name} is NaN or infinite, and becomes null. This is told once for each name; run.nulls counts")

    # Durability.

    def flush(self, timeout: float | None = None) -> None:
        """Returns when all that was set is on stable storage.

        Raises Refused or Failed with the words of the command, and NotDurable after the time: timeout, else that of the run.
        """
        if self._elsewhere:
            self._tell_elsewhere()
            return
        self._wait(time.monotonic() + (self.timeout if timeout is None else timeout), self._client.poke)

    def _wait(self, deadline: float, tell: Callable[[], None]) -> None:
        waiter = _Waiter(self._version)
        if self._durable >= waiter.version:
            return
        begin = time.monotonic()
        self._waiters.append(waiter)
        tell()
        if not self._client.wait(waiter.latch, deadline):
            waiter.given_up = True
            reason = waiter.error.words if waiter.error is not None else self._client.reason()
            raise NotDurable(
                f"{self.what} is not durable after {time.monotonic() - begin:.1f} s: {reason}; {self._last()}",
                waiter.error.hint if waiter.error is not None else "",
            )
        if waiter.error is not None:
            raise waiter.error

    def _last(self) -> str:
        if not self._durable:
            return "nothing of this run is durable yet"
        return f"what was set in the last {time.monotonic() - self._durable_since:.1f} s may be missing"

    def _begin(self) -> None:
        self._client = client()
        try:
            self._wait(time.monotonic() + min(self.timeout, MOST_AT_START), lambda: self._client.add(self))
        except Again as e:
            warn(f"{e.words}. The run goes on, and this is tried again")
        except BaseException:
            self._client.remove(self)
            raise

    def finish(self, status: str = "FINISHED", *, timeout: float | None = None) -> None:
        """Ends the run, as the end of its with block does, and returns when that is durable. Raises what flush raises. Only the first call counts."""
        self._end(status, None)
        self.flush(timeout)

    def _end(self, status: str, error: BaseException | None) -> None:
        if self._ending:
            return
        ending = _encoded("status", {"status": status, "end_time": _text_of(datetime.datetime.now(datetime.timezone.utc))})[1:-1]
        with self._lock:
            if error is not None:
                self._error = '"error":' + _encoded_error(error)
            self.status = status
            self._ending = ending
            self._version += 1

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._elsewhere:
            return
        if error is None:
            self.finish()
            return
        status = status_of(error)
        self._end(status, None if status == "FINISHED" else error)
        try:
            self.flush()
        except RunfoldError as e:  # the error of the block goes on, and must not be hidden by ours
            warn(str(e))
            if sys.version_info >= (3, 11):
                error.add_note(f"runfold: {e}")

    # Of the thread of the client: see Owner.

    def due(self, now: float) -> Optional[float]:
        if self._item is not None:
            return None
        if self._waiters:
            return max(now, self._not_before)
        return max(self._next, self._not_before)

    def state(self) -> Optional[Item]:
        with self._lock:
            version = self._version
            text = self._json() if version > self._durable else ""
        self._next = time.monotonic() + self._every
        self._item_version = version
        if not text:
            self._outcome(None)
            return None
        try:
            self._item = Item(self._where, text, self.what, (self.run_id, self.stage), self)
        except Refused as e:
            self._outcome(e)
        return self._item

    def _json(self) -> str:
        status = self._ending or '"status":"RUNNING"'
        more = [self._error] if self._error else []
        if self._curves:
            more.append('"history":{' + ",".join(n + ":" + c.json() for n, c in self._curves.items()) + "}")
        # An empty object has no column, so it would stand in _extra of each run.
        groups = [f'"{what}":{group._json()}' for what, group in (("metrics", self.metrics), ("params", self.params), ("tags", self.tags)) if group]
        return "{" + ",".join([f'"record_id":"{new_id()}"', self._head, status, *groups, f'"snapshot":{self.snapshot._json(*more)}']) + "}"

    def answered(self, item: Item) -> None:
        self._item = None
        self._outcome(item.error)

    def _outcome(self, error: Optional[RunfoldError]) -> None:
        """What became of the version that was sent."""
        now, version = time.monotonic(), self._item_version
        raised = False
        for _ in range(len(self._waiters)):
            w = self._waiters.popleft()
            if w.given_up:
                continue
            if isinstance(error, Again):
                w.error = error
            elif w.version <= version:
                w.error, raised = error, True
                w.latch.release()
                continue
            self._waiters.append(w)
        if error is None:
            self._durable, self._durable_since, self._tries = version, now, 0
            self._told.clear()
            if self._ending and version == self._version:
                self._client.remove(self)
            return
        self._tries += 1
        if isinstance(error, Again):
            self._not_before = now + pause(self._tries)
        if not raised and type(error) not in self._told and not (self._waiters and isinstance(error, Again)):
            self._told.add(type(error))
            warn(f"{error.words}. The run goes on, and this is tried again; what is not durable at the end is raised there")

    def orphaned(self) -> None:
        """This is a fork of the process that has the run."""
        self._elsewhere = True
        self._lock = threading.RLock()
        self._waiters.clear()
        self._told.clear()

    def _tell_elsewhere(self) -> None:
        if type(self) not in self._told:
            self._told.add(type(self))
            warn(f"{self.what} belongs to the process that this one was forked from: what is set here goes nowhere. Begin a run of its own here")


def status_of(error: BaseException) -> str:
    """The status of a run that an exception ends."""
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return "FINISHED"
        return "KILLED" if error.code in (130, 143, -2, -15) else "FAILED"
    return "FAILED" if isinstance(error, Exception) else "KILLED"


def _encoded(what: str, value: object) -> str:
    try:
        return _values.encode(value)[0]
    except Refused as e:
        raise Refused(f"{what}: {e.words}", e.hint) from None


def _encoded_error(error: BaseException) -> str:
    """The type and the text of an exception, and where it was raised."""

    def clean(text: str) -> str:
        return text.encode(errors="replace").decode()[-8192:]

    try:
        text = str(error)
    except Exception as e:
        text = f"its text cannot be had: {e!r}"
    where = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return _values.encode({"type": clean(name), "text": clean(text), "traceback": clean(where)})[0]


def _text_of(t: datetime.datetime) -> str:
    return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_run_id(start: datetime.datetime) -> str:
    return f"{start:%Y%m%d-%H%M%S}-{os.urandom(6).hex()}"


def new_id() -> str:
    """An id for a record, which no other process makes."""
    return os.urandom(16).hex()


def _at_end(deadline: float) -> list[str]:
    """Makes durable what open runs have. A run that is open when an exception ends the interpreter has FAILED; else it stays RUNNING."""
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    lost = []
    for owner in list(client().owners.values()):
        if not isinstance(owner, Run):
            continue
        if error is not None:
            owner._end("FAILED", error)
        try:
            owner._wait(deadline, client().poke)
        except RunfoldError as e:
            lost.append(str(e))
    return lost


_client.at_end.append(_at_end)

__all__ = ["NoBinary", "Run", "run"]
