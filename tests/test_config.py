"""A wrong configuration stops the program and names key, value, bound and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mmbot.config import Config, dump_toml, load, parse
from mmbot.errors import ConfigError, Exit

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

    assert config.risk.capital_usd == 100
    assert config.risk.leverage == 10
    assert config.risk.max_position_usd == (400 if config.mode == "emulator" else 200)


def test_the_shipped_limits_are_the_defaults(tmp_path: Path) -> None:
    """Two times the equity; only the emulator's templates say 400."""
    config = load(written(tmp_path, GOOD))

    assert config.mode == "emulator"
    assert config.risk.max_position_usd == 200


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
