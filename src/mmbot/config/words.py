"""What is wrong with a configuration, in sentences that a person can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_MAY_BE_A_KEY: Final = re.compile(r"[0-9a-fA-F]{41,}")
"""Longer than an address: somebody put a secret where it does not belong."""
_PLAIN_HOST: Final = re.compile(r"'https?://[^\s/@?#]*/?'")
"""An address of a host and no more; with a path or a user it may be that of a service of alerts."""

REMEDIES: Final = {
    "risk.capital_usd": "set the money this bot may risk, for example capital_usd = 100",
    "instrument.coin": 'name the perp as the venue does, for example coin = "HYPE"',
}
"""What to do about a key that has no default."""


FORMS: Final = {
    "instrument.coin": "the perp's name without its dex, such as HYPE; the dex is instrument.dex",
    "instrument.dex": "two to six small letters or digits, such as hyna, or leave it empty",
    "reference.coin": "one name as on the wire, such as HYPE",
    "account.address": "0x and 40 hex digits, or leave it empty for the key's own account",
    "account.key_env": "the name of an environment variable: capitals, digits, underscores",
    "emulator.url": "http://HOST:PORT, or leave it empty to have an exchange started",
    "alerts.url_env": "names of environment variables: capitals, digits, underscores",
}
"""The form of a text that has one."""


class UnfitError(ValueError):
    """What is wrong with one value, and what to do about it; the key is put in front."""


class RefusedError(ValueError):
    """A contradiction between keys, already worded."""


def refuse(key: str, value: object, why: str, remedy: str) -> None:
    """Raise `RefusedError` in the usual form."""
    raise RefusedError(f"{key} = {show(value)}: {why}; {remedy}")


def explain(model: type[BaseModel], item: ErrorDetails, section: str = "") -> str:
    """One complaint of pydantic about `model`, a section or all: key, value, bound, remedy."""
    key = ".".join([*([section] if section else []), *(str(part) for part in item["loc"])])
    if _MAY_BE_A_KEY.search(key):
        key = show(key)
    kind = item["type"]
    if isinstance(cause := item.get("ctx", {}).get("error"), RefusedError):
        return str(cause)
    if isinstance(cause, UnfitError):
        return f"{key} = {show(item['input'])}: {cause}"
    if kind == "extra_forbidden":
        hint = near(str(item["loc"][-1]), _fields_at(model, item["loc"][:-1]))
        return f"{key} = {show(item['input'])}: unknown key; {hint or 'remove it'}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        first = next(iter(_fields_at(model, item["loc"])), "")
        return f"{key} = {show(item['input'])}: is a section; set one of its keys, as {key}.{first}"
    if kind == "literal_error":
        return f"{key} = {show(item['input'])}: must be {item['ctx']['expected']}; choose one"
    if kind == "string_pattern_mismatch" and (form := FORMS.get(re.sub(r"\.\d+$", "", key))):
        return f"{key} = {show(item['input'])}: write {form}"
    if kind == "missing":
        home = key.rpartition(".")[0]
        where = f"add it to section [{home}]" if home else f"add a section [{key}]"
        return f"{key}: missing; {REMEDIES.get(key, where)}"
    if kind == "tuple_type":
        return f"{key} = {show(item['input'])}: must be a list; write it in brackets, [...]"
    if kind == "value_error":
        # A model's own check: its sentence begins with the key it is about.
        return f"{key}.{item['ctx']['error']}"
    why = item["msg"][:1].lower() + item["msg"][1:]
    return f"{key} = {show(item['input'])}: {why}; change it within that bound"


def _fields_at(root: type[BaseModel], loc: tuple[int | str, ...]) -> Mapping[str, object]:
    model: Any = root
    for part in loc:
        field = model.model_fields.get(part)
        if field is None or not hasattr(field.annotation, "model_fields"):
            return {}
        model = field.annotation
    fields: Mapping[str, object] = model.model_fields
    return fields


def near(name: str, known: Mapping[str, object]) -> str:
    """The known name that was probably meant, or all of them."""
    match = difflib.get_close_matches(name, known, n=1)
    if match:
        return f"did you mean {match[0]}?"
    return f"the keys here are: {', '.join(known)}" if known else ""


def show(value: object) -> str:
    """A value as a message shows it: cut when long, and left out where it may hold a secret."""
    text = repr(value)
    if "://" in text and _PLAIN_HOST.fullmatch(text) is None:
        return (
            "(not shown: an address may hold a secret; those of alerts come from the environment)"
        )
    if _MAY_BE_A_KEY.search(text):
        return "(not shown: it may be a key; keys come from the environment or a key file)"
    return text if len(text) <= 60 else text[:57] + "..."
