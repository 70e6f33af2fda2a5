"""`mmbot check`: is everything there that a run needs, and what would it quote."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mmbot.cli.alerting import alert_rows
from mmbot.cli.keys import find_key, find_watchdog_key
from mmbot.cli.options import AsJson, Overrides, echo, json_text, show
from mmbot.config import Config, dump_toml, load
from mmbot.core.risk import day_number
from mmbot.errors import ConfigError, Exit, VenueError
from mmbot.logs import stderr_line
from mmbot.runtime.drill import Drill, drill
from mmbot.runtime.drill import lines as drill_lines
from mmbot.runtime.drill import offline as offline_drill
from mmbot.runtime.economics import EdgeVerdict, judge_edge, measure_at_account, measure_own
from mmbot.runtime.opening import open_venue
from mmbot.runtime.preflight import Facts, failures, read_facts
from mmbot.runtime.preview import Ladder, preview, quoted_half_bps
from mmbot.runtime.selftest.rows import switched_off
from mmbot.runtime.venues import signer_of, standing, state_path
from mmbot.runtime.verdicts import Row
from mmbot.runtime.widths import Widths, lines
from mmbot.state.store import Store


def check(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).")
    ] = None,
    overrides: Overrides = None,
    *,
    offline: Annotated[bool, typer.Option(help="Only the configuration and the key.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the configuration.")
    ] = False,
    widths: Annotated[
        Path | None,
        typer.Option(
            "--widths", metavar="RECORDING", help="Print what each width would earn there."
        ),
    ] = None,
    coin: Annotated[
        str | None, typer.Option(help="Coin of that recording; default: the instrument.")
    ] = None,
    kill: Annotated[
        bool,
        typer.Option("--kill", help="Print the fire drill: which move and loss trips what."),
    ] = False,
    alerts: Annotated[
        bool,
        typer.Option("--alerts", help="Send a test alert by every service, and say which took it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Check configuration, key, instrument, fees, balance, clock and budget; print the ladder.

    With --kill the kill switch as well: every trigger with its limit, which price move fires which
    of them here, and how often noise alone would. With --widths, or live.recording in the
    configuration, also the economics of each width on a recording, at the fee of this account.
    With --alerts a test alert is sent by every service that is configured.
    """
    if schema:
        show(json.dumps(Config.model_json_schema(), indent=2).splitlines())
        return
    if config is None:
        raise ConfigError("--config FILE: missing; name the configuration to check")
    if coin is not None and widths is None:
        raise ConfigError(
            f"--coin {coin}: names the coin of a recording that --widths names; the one of "
            "live.recording is that of the instrument"
        )
    settings = load(config, overrides or ())
    key = find_key(settings, os.environ)
    ways = alert_rows(settings, os.environ, is_test=alerts)
    if offline:
        _offline(settings, key, offline_drill(settings) if kill else None, ways, as_json=as_json)
        return
    facts, ladder = asyncio.run(_look(settings, key))
    rows = (*facts.rows, *standing(settings, facts.user), *ways)
    facts = msgspec.structs.replace(facts, rows=rows)
    burnt = _drill(settings, facts) if kill else None
    table = _widths(settings, facts, widths, coin)
    edge = None
    if table is not None or settings.mode in ("live", "paper"):
        edge = judge_edge(settings, table)
        facts = msgspec.structs.replace(facts, rows=(*facts.rows, _edge_row(settings, edge)))
    if as_json:
        off = switched_off(settings)
        told = {
            "facts": facts,
            "ladder": ladder,
            "widths": table,
            "edge": edge,
            "off": off,
            "kill": burnt,
        }
        echo(json_text(told))
    else:
        _show(settings, facts, ladder)
        if table is not None:
            echo("")
            show(lines(table))
        if burnt is not None:
            echo("")
            show(drill_lines(burnt))
    if failures(facts):
        raise typer.Exit(Exit.CHECK)


def _edge_row(settings: Config, edge: EdgeVerdict) -> Row:
    is_ok = edge.is_allowed or settings.mode != "live"
    text = edge.text
    if settings.is_paper and (edge.is_measurement or not edge.is_allowed):
        text = f"WARNING: {text}"
    return Row("edge", is_ok, text)


def _widths(
    settings: Config, facts: Facts, recording: Path | None, coin: str | None
) -> Widths | None:
    """The table of --widths, or else of live.recording; None where neither is given."""

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            stderr_line(text)

    own, half_bps = facts.instrument, quoted_half_bps(settings, facts)
    if recording is None:
        return measure_own(settings, own, facts.fees, quoted_bps=half_bps, on_progress=progress)
    instrument = own if coin is None or coin == own.coin else coin
    return measure_at_account(
        settings, recording, instrument, facts.fees, quoted_bps=half_bps, on_progress=progress
    )


async def _look(settings: Config, key: bytes | None) -> tuple[Facts, Ladder | None]:
    """What the venue says, and the ladder on its book unless something keeps it from resting."""
    async with open_venue(settings, key) as venue, venue.line() as rest:
        facts = await read_facts(settings, rest, signer_of(settings, venue.key))
        try:
            return facts, await preview(settings, rest, facts)
        except VenueError:
            if not failures(facts):
                raise
            return facts, None  # a row says why


def _drill(settings: Config, facts: Facts) -> Drill:
    """At the equity of the account, with what earlier runs of today have lost."""
    day = None
    if not settings.is_embedded:
        path = state_path(settings, None, facts.user)
        if path.exists():
            with Store(path) as store:
                day = store.load_day()
    now_ns = time.time_ns()
    return drill(
        settings,
        facts.instrument,
        equity_usd=facts.equity_usd,
        px=facts.mark_px,
        vol_bps_rt_s=facts.vol_bps_rt_s,
        day=day if day is not None and day.number == day_number(now_ns) else None,
        now_ns=now_ns,
    )


def _offline(
    settings: Config, key: bytes | None, burnt: Drill | None, ways: list[Row], *, as_json: bool
) -> None:
    address, watchdog = (
        None if each is None else signer_of(settings, each).address
        for each in (key, find_watchdog_key(settings, os.environ))
    )
    if as_json:
        told = {
            "config": settings.model_dump(mode="json"),
            "signer": address,
            "watchdog_signer": watchdog,
            "off": switched_off(settings),
            "kill": None if burnt is None else msgspec.to_builtins(burnt),
            "alerts": msgspec.to_builtins(ways),
        }
        echo(json_text(told))
        _require_fit(burnt, ways)
        return
    show(dump_toml(settings).split("\n"))
    for term, why in switched_off(settings).items():
        echo(f"# off: {term}: {why}")
    echo(f"# signing address: {address or 'none needed or none given'}")
    echo(f"# that of the watchdog: {watchdog or 'none given'}")
    for row in ways:
        echo(f"# {'ok' if row.is_ok else 'FAIL'}: {row.name}: {row.text}")
    if burnt is not None:
        for line in drill_lines(burnt):
            echo(f"# {line}".rstrip())
    _require_fit(burnt, ways)


def _require_fit(burnt: Drill | None, ways: list[Row]) -> None:
    """A limit that noise alone trips too often refuses it, and so does a service that is mute."""
    is_fit = burnt is None or burnt.noise_row.is_ok
    if not is_fit or any(not row.is_ok for row in ways):
        raise typer.Exit(Exit.CHECK)


def _show(settings: Config, facts: Facts, ladder: Ladder | None) -> None:
    if settings.is_paper:
        echo(f"PAPER: the market of {settings.paper.source}, an account of this program alone")
    for row in facts.rows:
        echo(f"{'ok  ' if row.is_ok else 'FAIL'}  {row.name:<12}  {row.text}")
    for term, why in switched_off(settings).items():
        echo(f"off   {term:<12}  {why}")
    if ladder is None:
        echo("")
        echo("no ladder: nothing would rest before what fails is mended")
        return
    echo("")
    echo(f"ladder at fair {ladder.fair_px:.6g} ({settings.mode}, {facts.instrument.coin})")
    for rung in ladder.rungs:
        echo(
            f"  {rung.side:<4}  {rung.px:>12g}  {rung.sz:>10g}  {rung.usd:>8.2f} USD  "
            f"{rung.depth_bps:>6.2f} bps"
        )
    echo("  each touch, in bps from fair:")
    for name, value in ladder.terms.items():
        echo(f"    {name:<24}  {'absent' if value is None else f'{value:.3f}'}")
