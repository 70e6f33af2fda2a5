"""A wrong configuration stops the program and names key, value, bound and remedy."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.config import Config, dump_toml, load, market_overrides, parse
from mmbot.emulator.listings import dexes
from mmbot.errors import ConfigError, Exit
from support import often

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

GOOD = """
[instrument]
coin = "HYPE"
[risk]
capital_usd = 100
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "bot.toml"
    path.write_text(text, "utf-8")
    return path


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text), overrides)
    assert caught.value.exit_code is Exit.CONFIG
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    """A template that does not load teaches a newcomer the wrong thing first."""
    config = load(path)

    assert config.risk.leverage == 10
    assert config.risk.capital_usd == 100
    limit_usd = config.risk.position_limit_usd(100)
    assert limit_usd == (400 if config.mode == "emulator" else 200)


def test_the_shipped_limits_are_the_defaults(tmp_path: Path) -> None:
    """Two times the equity; only the emulator's templates say 400."""
    config = load(written(tmp_path, GOOD))

    assert config.mode == "emulator"
    assert config.risk.max_position_usd is None
    assert config.risk.position_limit_usd(100) == 200
    assert config.risk.position_limit_usd(60) == 120
    assert config.risk.position_limit_usd(5000) == 200, "of the smaller of capital and equity"


def test_an_unknown_key_names_the_near_one(tmp_path: Path) -> None:
    """The predecessor parsed keys nobody read; here they stop the start."""
    text = complaint(tmp_path, GOOD + "max_positon_usd = 150\n")

    assert "bot.toml" in text
    assert "risk.max_positon_usd = 150: unknown key" in text
    assert "max_position_usd" in text


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    """A misspelt section would silently leave every default in place."""
    assert "[stochastic]" not in GOOD
    assert "stochastic" in complaint(tmp_path, GOOD + "[stochastic]\nx = 1\n")


def test_a_value_out_of_bounds_names_the_bound(tmp_path: Path) -> None:
    """The person sees what would be accepted."""
    text = complaint(tmp_path, GOOD + "leverage = 1000\n")

    assert "risk.leverage = 1000" in text
    assert "less than or equal to" in text


def test_capital_is_required_and_the_remedy_says_how(tmp_path: Path) -> None:
    """There is no safe default for somebody else's money."""
    text = complaint(tmp_path, '[instrument]\ncoin = "HYPE"\n[risk]\n')

    assert "risk.capital_usd: missing" in text
    assert "capital_usd = 100" in text


def test_a_position_above_five_times_the_capital_is_refused(tmp_path: Path) -> None:
    """500 USD on 100 passes, one cent more does not."""
    load(written(tmp_path, GOOD + "max_position_usd = 500\n"))

    text = complaint(tmp_path, GOOD + "max_position_usd = 500.01\n")

    assert "risk.max_position_usd = 500" in text
    assert "500" in text
    assert "raise risk.capital_usd" in text


def test_a_position_beyond_the_leverage_contradicts_it(tmp_path: Path) -> None:
    """With leverage 1 a limit of 200 USD on 100 could never be reached."""
    assert "risk.leverage" in complaint(tmp_path, GOOD + "leverage = 1\n")


def test_a_side_budget_below_the_minimum_order_is_refused(tmp_path: Path) -> None:
    """It would start, and quote nothing for ever."""
    text = complaint(tmp_path, GOOD + "side_budget_frac = 0.05\nmax_position_usd = 150\n")

    assert "risk.side_budget_frac = 0.05" in text
    assert "minimum order" in text


@pytest.mark.parametrize(("expires_s", "clock_s"), [(2, 2.0), (1, 1.5), (1, 1.0)])
def test_a_clock_that_may_be_off_by_the_life_of_an_order_is_refused(
    tmp_path: Path, expires_s: float, clock_s: float
) -> None:
    """Every placement would be refused as expired, and nothing would ever say why."""
    text = GOOD + f"[gateway]\nexpires_after_s = {expires_s}\n[kill]\nclock_s = {clock_s}\n"
    said = complaint(tmp_path, text)
    assert f"kill.clock_s = {clock_s:g}" in said
    assert f"gateway.expires_after_s = {expires_s}" in said
    assert "lower it, or raise" in said
    load(written(tmp_path, text), [f"kill.clock_s={clock_s - 0.75}"])
    assert "kill.clock_s" in complaint(tmp_path, GOOD, "kill.clock_s=2.01")


def test_a_taker_exit_that_the_kill_switch_would_always_forestall_is_refused(
    tmp_path: Path,
) -> None:
    """Stuck for 900 s the switch closes the position: an exit due then would never be seen."""
    exits = GOOD + "[guards]\ntaker_exit = true\n"
    load(written(tmp_path, exits))
    load(written(tmp_path, GOOD + "[guards]\nstuck_exit_s = 900\n"))

    text = complaint(tmp_path, exits + "stuck_exit_s = 900\n")

    assert "guards.stuck_exit_s = 900" in text
    assert "kill.stuck_s = 900" in text


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """One start, one list: not one problem per start."""
    text = complaint(tmp_path, GOOD + 'leverage = "ten"\nfoo = 1\n[log]\nlevel = "loud"\n')

    assert len(text.splitlines()) == 3


def test_set_overrides_one_key(tmp_path: Path) -> None:
    """The file stays as it is; the run differs in one figure."""
    config = load(written(tmp_path, GOOD), ["risk.max_position_usd=300"])

    assert config.risk.max_position_usd == 300


def test_set_takes_a_bare_word_as_text(tmp_path: Path) -> None:
    """Quotes on a command line are a nuisance."""
    config = load(written(tmp_path, GOOD), ["instrument.coin=BTC", "log.level=debug"])

    assert (config.instrument.coin, config.log.level) == ("BTC", "debug")


def test_set_takes_an_address_as_it_is(tmp_path: Path) -> None:
    """TOML would read it as a number of 160 bits."""
    address = "0x14791697260E4c9A71f18484C9f997B308e59325"

    config = load(written(tmp_path, GOOD), [f"account.address={address}"])

    assert config.account.address == address


@pytest.mark.parametrize("item", ["risk.max_position_usd", "=3", "risk..x=1"])
def test_set_without_key_or_value_is_explained(tmp_path: Path, item: str) -> None:
    """It says the form it wants."""
    assert "section.key=value" in complaint(tmp_path, GOOD, item)


def test_an_override_is_checked_like_the_file(tmp_path: Path) -> None:
    """A limit set on the command line is a limit all the same."""
    assert "at most 5 x" in complaint(tmp_path, GOOD, "risk.max_position_usd=900")


def test_market_figures_override_the_scenario(tmp_path: Path) -> None:
    """`--set market.k_per_bp=0.35` is how a market is varied."""
    config = load(written(tmp_path, GOOD), ["market.k_per_bp=0.35"])

    assert config.market_params.k_per_bp == 0.35


def test_an_unknown_market_figure_is_refused(tmp_path: Path) -> None:
    """The overrides are checked against the market's own model."""
    assert "market.kk" in complaint(tmp_path, GOOD, "market.kk=1")


def test_an_unknown_scenario_lists_the_known_ones(tmp_path: Path) -> None:
    """A person can pick from the message."""
    assert "demo" in complaint(tmp_path, GOOD, "emulator.scenario=dmeo")


def test_malformed_toml_names_the_line(tmp_path: Path) -> None:
    """The parser knows where; so does the person."""
    assert "line" in complaint(tmp_path, GOOD + "oops\n")


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    """With where to find a template."""
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")


def test_a_directory_is_explained(tmp_path: Path) -> None:
    """Not a traceback about permissions."""
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_the_effective_configuration_reads_back_as_itself(path: Path) -> None:
    """`config.toml` of a run repeats the run."""
    config = load(path)

    again = parse(tomllib.loads(dump_toml(config)), "dump")

    assert again == config


def test_the_schema_describes_every_key() -> None:
    """`mmbot check --schema` serves editors; a key without a description serves nobody."""
    schema = Config.model_json_schema()
    bare = [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, entry in model.get("properties", {}).items()
        if "description" not in entry and "$ref" not in entry
    ]

    assert bare == []


# -- whatever somebody writes ----------------------------------------------------------------------

SECTIONS = {
    "": Config,
    **{
        name: field.annotation
        for name, field in Config.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    },
}
LEAVES = [(section, name) for section, model in SECTIONS.items() for name in model.model_fields]  # type: ignore[union-attr]
ODD = st.one_of(
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.sampled_from(
        [10**400, -(10**400), "nan", "inf", "1e999", "", " ", "\0", "a\nb", "~nobody/x"]
    ),
    st.text(max_size=80),
    st.text(alphabet="./:@[]?#0x~\\\"'\x7f", max_size=40),
    st.booleans(),
    st.lists(st.floats(), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.dates(),
)


@settings(max_examples=often(250, thoroughly=600), deadline=None)
@given(leaf=st.sampled_from(LEAVES), value=ODD)
def test_any_value_of_any_key_is_taken_or_refused_in_words(
    leaf: tuple[str, str], value: object
) -> None:
    """Nothing but a `ConfigError` may come out, and no number that is none may stay in."""
    tree: dict[str, Any] = tomllib.loads(GOOD)
    section, name = leaf
    node = tree.setdefault(section, {}) if section else tree
    node[name] = value
    try:
        config = parse(tree, "bot.toml")
    except ConfigError as error:
        assert "bot.toml: " in str(error)  # noqa: PT017 - that it is raised is not the claim
        return
    assert load_again(config) == config
    assert all(math.isfinite(number) for number in numbers(config.model_dump()))


def load_again(config: Config) -> Config:
    """What is written beside a run is what ran."""
    return parse(tomllib.loads(dump_toml(config)), "bot.toml")


def numbers(tree: object) -> Iterator[float]:
    """Every float in nested tables and lists."""
    if isinstance(tree, float):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from numbers(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from numbers(value)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("gateway.query_delays_s=[0.5, nan]", "finite number"),
        ("gateway.query_delays_s=[0.5, inf]", "finite number"),
        ("market.sigma_bps_rt_s=nan", "market.sigma_bps_rt_s = nan: is not a finite number"),
        ("risk.max_position_usd=nan", "risk.max_position_usd = nan"),
        ("reference.coin=HYPE", "is the perp that is traded, which cannot lead itself"),
        ("market.k_per_bp=0", "greater than 0.01; change it within that bound"),
        ("market.k_per_pb=1", "market.k_per_pb = 1: unknown key; did you mean k_per_bp?"),
        ("quoter.half_spread_bps_min=40", "not beyond quoter.half_spread_bps_min = 40"),
        ("ladder.depth_bps_max=5", "raise it or lower quoter.half_spread_bps_min"),
        ('log.dir="a\\u0000b"', "log.dir = 'a\\x00b': holds a NUL character"),
        ('log.dir="~nobody-here/x"', "home is not known"),
        ("log.dir=", "log.dir = '': is empty"),
        ("state_dir=", "state_dir = '': is empty"),
        ("emulator.url=http://" + "xyz" * 70, "is not the address of a host"),
        ("emulator.url=http://h:99999", "is not the address of a host"),
        ("emulator.url=http://[::1", "is not the address of a host"),
        ("emulator.url=http://a..b", "is not the address of a host"),
        ("emulator.url=http://me:pw@host", "is not the address of a host"),
        ("risk.leverage=5\nrisk.capital_usd=1", "holds a line break"),
    ],
)
def test_what_no_system_could_use_is_refused_by_name(tmp_path: Path, item: str, said: str) -> None:
    """Key, value, remedy; before it reaches a file system, a resolver or a formula."""
    assert said in complaint(tmp_path, GOOD, item)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a pipe", "is a pipe or a device"),
        ("a device", "is a pipe or a device"),
        ("not UTF-8", "is not UTF-8 text"),
        ("huge", "bytes are no configuration"),
        ("deep", "nested too deeply"),
        ("NUL", "cannot be a file name"),
    ],
)
def test_what_is_no_configuration_file_is_named(tmp_path: Path, kind: str, said: str) -> None:
    """A pipe could be waited for without end; none of the others is a traceback."""
    path = tmp_path / "bot.toml"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path = Path("/dev/zero")
    elif kind == "not UTF-8":
        path.write_bytes(GOOD.encode() + b"# caf\xe9\n")
    elif kind == "huge":
        path.write_bytes(b"#" * 2_000_000)
    elif kind == "deep":
        path.write_text("x = " + "[" * 20_000)
    else:
        path = tmp_path / "a\0b"
    with pytest.raises(ConfigError, match=said):
        load(path)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("risk=3", "is a section; set one of its keys, as risk.capital_usd"),
        ("mode='papre'", "must be 'emulator', 'paper', 'testnet' or 'live'; choose one"),
        ("account.address='0x12'", "write 0x and 40 hex digits"),
        ("emulator.url='ftp://x'", "write http://HOST:PORT"),
        ("risk.capital_usd=" + "9" * 5000, "holds a number of thousands of digits"),
        ("a=" + "[" * 3000, "nested too deeply"),
        ("quoter" + ".a" * 3000 + ".b=1", "nested too deeply"),
        ("quoter.\0=1", "holds a NUL character"),
    ],
)
def test_a_value_of_the_wrong_kind_is_answered_with_what_to_write(item: str, said: str) -> None:
    """Not with the words of the library that found it."""
    with pytest.raises(ConfigError) as caught:
        load(CONFIGS / "emulator.toml", [item])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("quoter.gamma_per_bp=true", "quoter.gamma_per_bp = True: is a truth value where a number"),
        ("risk.leverage=true", "risk.leverage = True: is a truth value where a number belongs"),
        ("risk.max_position_usd=true", "risk.max_position_usd = True: is a truth value"),
        ('risk.capital_usd="100"', "risk.capital_usd = '100': is text where a number belongs"),
        ("risk.leverage=05", "risk.leverage = '05': is text where a number belongs; write the"),
        ("live.accept_negative_edge=yes", "= 'yes': is neither true nor false; write one of them"),
        ("live.accept_negative_edge=1", "accept_negative_edge = 1: is neither true nor false"),
        ("gateway.query_delays_s=[0.5, true]", "gateway.query_delays_s.1 = True: is a truth value"),
        ("market.sigma_bps_rt_s=true", "market.sigma_bps_rt_s = True: is a truth value"),
        ('market.sigma_bps_rt_s="2"', "market.sigma_bps_rt_s = '2': is text where a number"),
        ("alerts.events=[]", "alerts.events = []: is empty, so nothing is told; name kinds"),
        ('alerts.events=["kill", "kill"]', "names kill more than once; take the others out"),
        ('alerts.url_env=["ONE", "ONE"]', "names ONE more than once; take the others out"),
        ('hours.utc=["mon 01:00-02:00", "mon 01:00-02:00"]', "stands there twice; take one out"),
    ],
)
def test_a_value_that_something_would_have_to_be_made_of_is_refused(
    tmp_path: Path, item: str, said: str
) -> None:
    """A risk aversion of `true` was 1, and a "yes" accepted a loss: whoever wrote it meant else."""
    text = complaint(tmp_path, GOOD, item)

    assert said in text
    assert len(text.splitlines()) == 1


def test_the_market_of_an_exchange_takes_numbers_alone() -> None:
    """`mmbot exchange --set` is read without a configuration around it."""
    with pytest.raises(ConfigError, match=r"market\.sigma_bps_rt_s = True: is a truth value"):
        market_overrides(["market.sigma_bps_rt_s=true"])


def test_hours_that_cannot_be_read_are_named_by_their_key() -> None:
    """One wrong line must not keep a market open all night."""
    tree = {"instrument": {"coin": "HYPE"}, "risk": {"capital_usd": 100}}
    with pytest.raises(ConfigError, match=r"hours\.utc: 'mon 22:00-02:00' ends before it begins"):
        parse({**tree, "hours": {"utc": ["mon 22:00-02:00"]}}, "x.toml")
    with pytest.raises(ConfigError, match=r"hours\.utc = 'mon 22:00-23:00': must be a list"):
        parse({**tree, "hours": {"utc": "mon 22:00-23:00"}}, "x.toml")
    kept = parse({**tree, "hours": {"utc": ["mon 22:00-23:00"]}}, "x.toml")
    assert parse(tomllib.loads(dump_toml(kept)), "x.toml") == kept


def test_the_template_of_a_builder_dex_names_a_growth_mode_asset() -> None:
    """Its fee is a tenth; the program reads that from the venue, the person from the file."""
    config = load(CONFIGS / "hip3.toml")
    dex = next(dex for dex in dexes(is_hyna_alive=False) if dex.name == config.instrument.dex)
    (asset,) = [it for it in dex.assets if it.name == config.instrument.wire_coin]
    assert asset.growth_mode
