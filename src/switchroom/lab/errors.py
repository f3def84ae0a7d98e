"""What can go wrong in the lab itself, as opposed to in the code under test."""

from __future__ import annotations


class LabError(Exception):
    """Base class of the errors that the lab raises about how it is used."""


class RealWorldError(LabError, NotImplementedError):
    """The code under test reached for something real: a socket, a process, another thread."""


class DeadlockError(LabError):
    """Nothing can happen any more: no callback is ready, no timer is set, and somebody still waits.

    The message names the waiting tasks and the line where each of them waits.
    """


class TimeLimitError(LabError):
    """Virtual time passed the loop's `time_limit`, or stood still for a million turns of the loop."""
