"""What a run has told of since its start, in numbers, counted where it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mmbot.logs import Record

_OTHER = "other"


class Counts(msgspec.Struct, frozen=True):
    """How often each thing was told of; the keys are in the order of their first time."""

    records: Mapping[tuple[str, str], int]
    """By event and level."""
    rejects: Mapping[str, int]
    """Orders that the venue refused, by its reason."""
    violations: Mapping[str, int]
    """By the term of the quote that did not do what it must."""


class Tally:
    """A tap of the log that counts. Records below the level of the log count as well."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], int] = {}
        self._rejects: dict[str, int] = {}
        self._violations: dict[str, int] = {}

    def take(self, level: str, record: Record) -> None:
        """Count one record."""
        event = str(record.get("event"))
        _add(self._records, (event, level))
        if event == "order.rejected":
            _add(self._rejects, str(record.get("reason", _OTHER)))
        elif event == "vitals.violated":
            _add(self._violations, str(record.get("term", _OTHER)))

    def counts(self) -> Counts:
        """As of now; what comes later does not change it."""
        return Counts(dict(self._records), dict(self._rejects), dict(self._violations))


def _add(counts: dict[Any, int], key: object) -> None:
    counts[key] = counts.get(key, 0) + 1
