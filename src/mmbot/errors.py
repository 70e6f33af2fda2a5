"""
Exceptions of the program, by whose fault they are.

Expected outcomes (a rejected order, a lost link) are events, because they belong in the record of a
run. An exception is for what the current call cannot finish.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; the contract with scripts and service managers."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    KILLED = 3
    VENUE = 4
    CHECK = 5


class MmbotError(Exception):
    """Base of all errors a person is shown; `exit_code` is what the process ends with."""

    exit_code: Exit = Exit.FAILED


class ConfigError(MmbotError):
    """Ours, before the start: a key, its value and the remedy are in the message."""

    exit_code = Exit.CONFIG


class KillLatchedError(MmbotError):
    """The kill switch tripped, now or in an earlier run, and a person has not reset it."""

    exit_code = Exit.KILLED


class VenueError(MmbotError):
    """Theirs: the venue refused what the program cannot go on without."""

    exit_code = Exit.VENUE


class VenueProtocolError(VenueError):
    """Theirs: a known message we cannot read. The link is dropped and resynchronised."""


class LinkError(VenueError):
    """Nobody's: the network. Quotes are pulled and the link is tried again."""


class CheckError(MmbotError):
    """A start-up check or self-test failed, so the program does not trade."""

    exit_code = Exit.CHECK


class StateError(MmbotError):
    """The safety store is damaged, foreign or locked; it is never overwritten."""


class InvariantError(MmbotError):
    """A bug of ours. Everything is cancelled, then the process ends; no handler retries it."""
