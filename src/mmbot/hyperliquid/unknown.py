"""
What the venue sends and we do not know: fields that appeared since this was written.

The decoders pass over unknown fields, which costs nothing; this module finds their names, by
walking a message beside the type that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

# fmt: off
_UNREAD: Final = frozenset((
    # Books and trades.
    "n", "spread", "hash", "users",
    # Context.
    "prevDayPx", "dayNtlVlm", "dayBaseVlm", "premium", "impactPxs",
    # Fills and funding.
    "feeToken", "twapId", "builder", "builderFee", "deployerFee", "priorityGas", "markPx",
    "method", "szi", "fundingRate", "nSamples",
    # Orders and acknowledgements.
    "reduceOnly", "triggerCondition", "isTrigger", "triggerPx", "children", "isPositionTpsl",
    "orderType", "tif", "totalSz", "avgPx",
))
# fmt: on
"""Fields the venue is known to send that nothing here needs."""


_Known = dict[str, "_Known"]
"""Fields a message may have, with those below each of them; empty where anything may follow."""


def known_fields(kind: Any) -> _Known:
    """List the fields of a message type, for `unknown_fields`."""
    return _fields_of(msgspec.inspect.type_info(kind))


def _fields_of(info: msgspec.inspect.Type) -> _Known:
    match info:
        case msgspec.inspect.StructType(fields=fields):
            return {field.encode_name: _fields_of(field.type) for field in fields}
        case msgspec.inspect.ListType(item_type=item):
            return _fields_of(item)
        case msgspec.inspect.TupleType(item_types=items):
            return _fields_of(items[0])
        case msgspec.inspect.UnionType(types=types):
            merged: _Known = {}
            for each in types:
                merged.update(_fields_of(each))
            return merged
        case _:
            return {}


def unknown_fields(value: Any, known: _Known, path: str) -> Iterator[str]:
    """Yield the dotted names of fields that neither `known` nor the list of unread ones has."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, known, path)
    elif isinstance(value, dict) and known:
        for name, below in value.items():
            if name in known:
                yield from unknown_fields(below, known[name], f"{path}.{name}")
            elif name not in _UNREAD:
                yield f"{path}.{name}"
