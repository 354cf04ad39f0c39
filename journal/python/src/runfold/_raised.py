"""What this package raises, and the warning that it gives. The words are those of the commands."""

from __future__ import annotations

from typing import Any, Sequence


class RunfoldError(Exception):
    """Something was not done. `words` says what, on what and why; `hint` says what to do next, and may be empty.

    Where append_many raises it, `answers` has the Ack or the RunfoldError of each record, in order.
    """

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(f"{words}\nhint: {hint}" if hint else words)
        self.words = words
        self.hint = hint
        self.answers: Sequence[Any] = ()

    def __reduce__(self) -> Any:
        return type(self), (self.words, self.hint), {"answers": self.answers}


class Refused(RunfoldError, ValueError):
    """The record, or the question, will never be taken as it is."""


class Failed(RunfoldError):
    """The root does not take it: there is none, or it is damaged, or of a newer version, or this user may not write there."""


class Again(RunfoldError):
    """The same call may succeed later: a disk is full, a server is away."""


class NotDurable(Again):
    """The time to wait is over. What is named may have become durable or not; to append it again under the same record_id is harmless."""


class NoBinary(RunfoldError):
    """A command of runfold is not found, cannot be run, or is too old for this package."""


class RunfoldWarning(UserWarning):
    """What must be told, and is no reason to stop a training."""


def of_kind(kind: str, words: str, hint: str = "") -> RunfoldError:
    """The exception for an answer of the child."""
    return {"refused": Refused, "again": Again}.get(kind, Failed)(words, hint)
