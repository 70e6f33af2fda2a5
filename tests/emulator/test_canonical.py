"""The server's own reading of a request: schema, canonical form, MessagePack bytes."""

from __future__ import annotations

import json
import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.emulator.canonical import canonical, elements, envelope
from mmbot.emulator.packing import pack
from mmbot.emulator.schema import BadJsonError, SchemaError, decimal_text, parse_json

ORDER: dict[str, Any] = {
    "a": 140000,
    "b": False,
    "p": "81359",
    "s": "0.00015",
    "r": False,
    "t": {"limit": {"tif": "Alo"}},
    "c": "0x00000000000000000000000000000007",
}

leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.text(max_size=300)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=60,
)


@given(values)
def test_packed_bytes_equal_the_reference_encoder(value: Any) -> None:
    """The hash is over these bytes: one length in a longer form makes the signer a stranger."""
    assert pack(value) == msgpack.packb(value)


@pytest.mark.parametrize("length", [15, 16, 31, 32, 255, 256, 65535, 65536])
def test_lengths_at_the_edges_of_a_form_are_packed_as_the_reference_does(length: int) -> None:
    """Off by one at the edge of a form shows only with batches of just that size."""
    for value in ("x" * length, [0] * length, {str(i): 0 for i in range(length)}):
        assert pack(value) == msgpack.packb(value)


def test_a_float_has_no_place_in_an_action() -> None:
    """A float in hashed bytes means a number was not a string; refusing it beats hashing noise."""
    with pytest.raises(TypeError):
        pack({"p": 1.5})


@pytest.mark.parametrize(
    ("given_text", "clean"),
    [
        ("00012.3400", "12.34"),
        (".5", "0.5"),
        ("5.", "5"),
        ("0", "0"),
        ("000", "0"),
        ("0.000000000", "0"),
        ("81359.000", "81359"),
        ("1.234567890", "1.23456789"),
    ],
)
def test_padding_of_numbers_is_stripped(given_text: str, clean: str) -> None:
    """A client may pad a price; what it signed has to be the clean form."""
    assert decimal_text(given_text) == clean


@pytest.mark.parametrize(
    "wrong", ["", ".", "-1", "+1", "1e5", "1.2.3", " 1", "1 ", "0x1", "1.123456789", 1, 1.5, None]
)
def test_anything_but_a_plain_decimal_string_is_refused(wrong: Any) -> None:
    """The venue answers 422 to signs, exponents, JSON numbers and a ninth decimal."""
    with pytest.raises(SchemaError):
        decimal_text(wrong)


def _shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: _shuffled(value[key], rng) for key in keys}
    return [_shuffled(item, rng) for item in value] if isinstance(value, list) else value


@given(st.integers(0, 2**32))
def test_key_order_never_reaches_the_hash(seed: int) -> None:
    """Two JSON bodies that differ in key order are one action."""
    action = {"type": "order", "orders": [ORDER, ORDER], "grouping": "na"}
    assert pack(canonical(_shuffled(action, random.Random(seed)))) == pack(canonical(action))


def test_defaults_and_false_options_take_their_canonical_form() -> None:
    """`r` and `grouping` appear, `f:false` and nulls do not, a cloid is lower case."""
    bare = {key: value for key, value in ORDER.items() if key != "r"}
    bare["c"] = "0x0000000000000000000000000000ABCD"
    action = canonical({"orders": [bare], "type": "order", "builder": None})

    assert list(action) == ["type", "orders", "grouping"]
    assert action["orders"][0]["r"] is False
    assert action["orders"][0]["c"] == "0x0000000000000000000000000000abcd"
    cancel = canonical({"type": "cancel", "cancels": [{"a": 1, "o": 2}], "f": False})
    assert cancel == {"type": "cancel", "cancels": [{"a": 1, "o": 2}]}
    fast = canonical({"f": True, "type": "cancel", "cancels": [{"a": 1, "o": 2}]})
    assert list(fast) == ["type", "cancels", "f"]


def test_unknown_keys_are_refused_in_an_action_and_ignored_in_an_order() -> None:
    """Measured on testnet: serde refuses extras at the top of an action only."""
    extra = canonical({"type": "order", "orders": [{**ORDER, "zz": 1}], "grouping": "na"})
    assert "zz" not in extra["orders"][0]
    with pytest.raises(SchemaError, match="zz"):
        canonical({"type": "order", "orders": [ORDER], "grouping": "na", "zz": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"type": 3},
        {"type": "teleport"},
        {"type": "order"},
        {"type": "order", "orders": {}},
        {"type": "order", "orders": [{**ORDER, "p": 81359}]},
        {"type": "order", "orders": [{**ORDER, "t": {"limit": {"tif": "Fok"}}}]},
        {"type": "order", "orders": [{**ORDER, "a": -1}]},
        {"type": "order", "orders": [{**ORDER, "a": True}]},
        {"type": "order", "orders": [ORDER], "grouping": "other"},
        {"type": "updateLeverage", "asset": 0, "isCross": 1, "leverage": 3},
        {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": "0x7"}]},
    ],
)
def test_actions_of_a_wrong_shape_are_refused(wrong: Any) -> None:
    """Each of these is 422 at the venue, before anybody's signature is looked at."""
    with pytest.raises(SchemaError):
        canonical(wrong)


def _body(**changes: Any) -> dict[str, Any]:
    signature = {"r": "0x" + "1" * 64, "s": "0x2", "v": 28}
    action = {"type": "noop"}
    return {"action": action, "nonce": 1, "signature": signature, "vaultAddress": None, **changes}


def test_envelope_reads_short_words_and_addresses_without_prefix() -> None:
    """The SDK writes r and s as minimal hex; ccxt sends a vault without `0x`."""
    read = envelope(_body(vaultAddress="AB" * 20))

    assert read.s == 2
    assert read.vault == "0x" + "ab" * 20
    assert read.expires_after_ms is None


@pytest.mark.parametrize(
    "changes",
    [
        {"isFrontend": True},
        {"nonce": "1"},
        {"nonce": -1},
        {"vaultAddress": "0Xabab"},
        {"signature": {"r": "0x" + "1" * 65, "s": "0x1", "v": 27}},
        {"signature": {"r": 1, "s": "0x1", "v": 27}},
        {"expiresAfter": "soon"},
    ],
)
def test_envelopes_of_a_wrong_shape_are_refused(changes: dict[str, Any]) -> None:
    """An extra key of an old client makes every order a 422; a lenient server would hide that."""
    with pytest.raises(SchemaError):
        envelope(_body(**changes))


def test_a_known_field_that_comes_twice_is_refused() -> None:
    """Which of the two was signed is anybody's guess, so the venue takes neither."""
    body = json.dumps(_body())[:-1] + ',"nonce":2}'
    with pytest.raises(SchemaError, match="twice"):
        envelope(parse_json(body.encode()))


def test_bytes_behind_the_first_value_are_ignored() -> None:
    """The venue's parser stops after one value; ours must not be stricter."""
    assert parse_json(b' {"a":1} trailing') == {"a": 1}


@given(st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_raise_bad_json(body: bytes) -> None:
    """No body from outside may end in anything but a value or the 400 of the venue."""
    try:
        value = parse_json(body)
    except BadJsonError:
        return
    assert value is None or isinstance(value, bool | int | float | str | list | dict)


def test_a_batch_counts_each_of_its_elements() -> None:
    """The address budget is charged by element, and an empty batch still costs one."""
    assert elements(canonical({"type": "order", "orders": [ORDER] * 3})) == 3
    assert elements(canonical({"type": "order", "orders": []})) == 1
    assert elements({"type": "noop"}) == 1


@pytest.mark.parametrize("text", [r'{"code":"\ud800"}', r'["\uDFFF"]', r'{"\ud8ff":1}'])
def test_half_of_a_surrogate_pair_is_no_json(text: str) -> None:
    """It can be neither hashed nor sent on: one such request once stopped the whole exchange."""
    with pytest.raises(BadJsonError):
        parse_json(text)


def test_a_whole_surrogate_pair_is_a_character() -> None:
    """Clients may escape what lies beyond the basic plane."""
    assert parse_json(r'"\ud83d\ude00"') == "\U0001f600"
