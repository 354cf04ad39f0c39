"""Whole records, for those who have them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Union

from . import _values
from ._client import TIMEOUT, Ack, Item, Where, client, warn
from ._raised import Failed, NoBinary, NotDurable, Refused, RunfoldError
from ._run import new_id, place_of

Answer = Union[Ack, RunfoldError]

MOST_WAITING = 8 << 20
"""Bytes of records that append_many hands over before it waits for answers."""


def append(
    root: str | os.PathLike[str],
    cohort: str,
    record: Mapping[str, Any],
    *,
    create: bool = False,
    root_id: str | None = None,
    timeout: float = TIMEOUT,
) -> Ack:
    """Appends one record, and returns when it is on stable storage.

    The record needs run_id and stage. It gets a record_id if it has none. Raises Refused or Failed with the words of the command, and NotDurable
    if there is no answer in the time. After that, nobody knows whether it was appended. If the record has a record_id of yours, to
    append it again is harmless.
    """
    return append_many(root, cohort, [record], create=create, root_id=root_id, timeout=timeout)[0]


def append_many(
    root: str | os.PathLike[str],
    cohort: str,
    records: Iterable[Mapping[str, Any]],
    *,
    create: bool = False,
    root_id: str | None = None,
    timeout: float = TIMEOUT,
) -> list[Ack]:
    """Appends records, and returns their answers, in order, when all are on stable storage. That is much quicker than one append after another.

    If a record is refused, the others are appended all the same. Then the first error is raised, and its answers has the Ack or the error of each
    record. A root that takes nothing, or that answers nothing for timeout seconds, ends it: records after that have no answer.
    """
    where = place_of(root, cohort, root_id, create)
    c = client()
    answers: list[Answer] = []
    waiting: deque[Item] = deque()
    size = 0

    def take() -> None:
        """Waits for the oldest."""
        nonlocal size
        item = waiting[0]
        if not c.wait(item.latch, time.monotonic() + timeout):
            reason = item.error.words if item.error is not None else c.reason()
            hint = item.error.hint if item.error is not None else ""
            raise NotDurable(f"{item.what} is not known to be durable after {timeout:g} s: {reason}", hint)
        waiting.popleft()
        size -= len(item.line)
        answer: Answer | None = item.ack or item.error
        assert answer is not None
        answers.append(answer)
        if isinstance(answer, (Failed, NoBinary)):
            raise answer

    try:
        for record in records:
            try:
                item = _item(where, record)
            except Refused as e:
                while waiting:
                    take()
                answers.append(e)
                continue
            c.submit(item)
            waiting.append(item)
            size += len(item.line)
            while size > MOST_WAITING or waiting and waiting[0].answered:
                take()
        while waiting:
            take()
    except RunfoldError as e:
        e.answers = answers
        raise
    finally:
        for item in waiting:
            c.abandon(item)
    acks = [a for a in answers if isinstance(a, Ack)]
    if len(acks) < len(answers):
        error = next(a for a in answers if isinstance(a, RunfoldError))
        error.answers = answers
        raise error
    return acks


def _item(where: Where, record: Mapping[str, Any]) -> Item:
    if not isinstance(record, Mapping):
        raise Refused(f"a record is a {type(record).__name__}, and must be a dict")
    run_id, stage = record.get("run_id"), record.get("stage", record.get("phase"))
    what = f"run {run_id}:{stage} of cohort {where.cohort} in {where.root}"
    try:
        text, nulls = _values.encode(record)
    except Refused as e:
        raise Refused(f"{what}: the record {e.words}", e.hint) from None
    if nulls:
        warn(f"{what}: {nulls} NaN or infinite values become null")
    if record.get("record_id") is None:
        if "record_id" in record:
            raise Refused(f"{what}: record_id is None", "leave it out, and it gets one")
        text = f'{{"record_id":"{new_id()}"' + ("," if len(text) > 2 else "") + text[1:]
    return Item(where, text, what, (str(run_id), str(stage)))
