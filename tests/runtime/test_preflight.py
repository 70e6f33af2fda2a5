"""What is looked at before a run, each row in its good and its bad form, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import floor
from pathlib import Path
from typing import Any

import pytest

from mmbot.config import load
from mmbot.core.types import NS_PER_S, Side, Tif
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.server import Running, serve, wall_clock_ms
from mmbot.emulator.specs import NewOrder
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import ConfigError, VenueError
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.preflight import Facts, failures, read_facts
from mmbot.runtime.preview import preview, quoted_half_bps
from mmbot.runtime.verdicts import Row
from system.harness import command

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
KEY = b"\x11" * 32
SIGNER = Signer(KEY, is_mainnet=False)
STILL = {
    "sigma_bps_rt_s": 0.0,
    "a_per_s": 0.0,
    "sweeps_per_s": 0.0,
    "oracle_noise_bps": 0.0,
}


@asynccontextmanager
async def venue_with(
    equity_usd: float = 1000.0, coin: str = "HYPE", skew_ms: int = 0
) -> AsyncIterator[tuple[Running, Rest]]:
    """A running exchange with our account funded, its clock set wrongly by `skew_ms`."""

    def clock() -> int:
        return wall_clock_ms() + skew_ms

    venue, market = build_venue(
        coin,
        "demo",
        overrides=STILL,
        seed=1,
        now_ms=clock(),
        accounts=[(SIGNER.address, equity_usd)] if equity_usd else [],
    )
    exchange = Exchange(venue, market, ExchangeParams(), clock(), market_coin=coin)
    running = await serve(exchange, clock=clock)
    try:
        async with Rest(running.url) as rest:
            yield running, rest
    finally:
        await running.stop()


async def facts_of(rest: Rest, *sets: str, signer: Signer = SIGNER) -> Facts:
    """What preflight reads with the shipped configuration."""
    return await read_facts(load(CONFIG, sets), rest, signer)


def row(facts: Facts, name: str) -> Row:
    """One row."""
    (found,) = [one for one in facts.rows if one.name == name]
    return found


def failed(facts: Facts) -> list[str]:
    """Names of the rows that keep a run from beginning."""
    return [one.name for one in failures(facts)]


async def test_a_sound_account_passes_every_row() -> None:
    """And the figures are those of the venue."""
    async with venue_with() as (_, rest):
        facts = await facts_of(rest)

    assert failed(facts) == []
    assert facts.user == SIGNER.address
    assert facts.equity_usd == 1000.0
    assert facts.fees.maker_bps == pytest.approx(1.5)
    assert facts.position_lots == 0
    assert "the account's own" in row(facts, "key").text
    assert "at most" in row(facts, "instrument").text
    assert "maker 1.500 bps" in row(facts, "fees").text


async def test_a_run_reads_nothing_that_is_for_the_eye_alone() -> None:
    """It sets the leverage and looks for orders itself, and an address has 1200 a minute."""
    asked: list[str] = []

    class Noting:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            asked.append(payload["type"])
            return await self.rest.info(payload)

    async with venue_with() as (_, rest):
        brief = await read_facts(load(CONFIG), Noting(rest), SIGNER, is_shown=False)
        of_run = asked.copy()
        whole = await read_facts(load(CONFIG), Noting(rest), SIGNER)

    assert sorted([*of_run, "activeAssetData", "openOrders"]) == sorted(asked[len(of_run) :])
    names = [one.name for one in brief.rows]
    assert [one.name for one in whole.rows if one.name not in names] == ["leverage", "open orders"]
    assert (brief.open_orders, whole.open_orders) == (None, 0)
    assert brief.known.fees == whole.fees
    assert (brief.known.requests_used, brief.known.requests_cap) == (
        whole.requests_used,
        whole.requests_cap,
    )


async def test_an_agent_that_was_never_approved_is_refused() -> None:
    """Its orders would be refused one by one, at the worst time."""
    stranger = Signer(b"\x22" * 32, is_mainnet=False)
    async with venue_with() as (_, rest):
        facts = await facts_of(rest, f'account.address="{SIGNER.address}"', signer=stranger)

    assert failed(facts) == ["key"]
    text = row(facts, "key").text
    assert stranger.address in text
    assert SIGNER.address in text
    assert "approve it as an API wallet" in text


async def test_an_account_without_a_deposit_is_told_to_make_one() -> None:
    """Both rows that see it say what to do."""
    async with venue_with(equity_usd=0) as (_, rest):
        facts = await facts_of(rest)

    assert set(failed(facts)) == {"key", "equity"}
    assert "deposit" in row(facts, "key").text
    assert "deposit into the main dex first" in row(facts, "equity").text


@pytest.mark.parametrize(("frac", "is_ok"), [(0.51, True), (0.5, False)])
async def test_isolated_margin_that_the_first_fill_would_trip_is_refused(
    frac: float, *, is_ok: bool
) -> None:
    """At 10x of 10x half of what opens a position must be kept: a limit of half is none."""
    sets = (f"kill.margin_frac={frac}", "instrument.coin=HYPE", "instrument.dex=hyna")
    async with venue_with(coin="hyna:HYPE") as (_, rest):
        facts = await facts_of(rest, *sets)
    assert failed(facts) == ([] if is_ok else ["margin"])
    text = row(facts, "margin").text
    assert "isolated at 10x, of which 50% is maintenance" in text
    assert "liquidates a long at -5.3%" in text
    assert ("kill.margin_frac = 0.5; lower risk.leverage" in text) is not is_ok


@pytest.mark.parametrize(("bought", "is_ok"), [(0, False), (700, True)])
async def test_requests_that_were_bought_are_there_to_be_spent(bought: int, *, is_ok: bool) -> None:
    """`reserveRequestWeight` is the way out of an empty budget: a start must see it."""
    async with venue_with() as (running, rest):
        account = running.exchange.venue.account(SIGNER.address)
        account.requests_used, account.requests_bought = 10_000, bought
        facts = await facts_of(rest)
    assert failed(facts) == ([] if is_ok else ["requests"])
    assert f"{bought} left of {10_000 + bought}" in row(facts, "requests").text


async def test_a_unified_account_is_refused() -> None:
    """Its per-dex balances mean nothing, so no limit could be computed from them."""
    async with venue_with() as (running, rest):
        running.exchange.venue.account(SIGNER.address).abstraction = "unifiedAccount"
        facts = await facts_of(rest)

    assert failed(facts) == ["account mode"]
    assert "switch the account to standard mode" in row(facts, "account mode").text


@pytest.mark.parametrize("skew_ms", [-60_000, -3500, -2500, 2500, 3500, 60_000])
async def test_a_clock_that_is_off_is_refused(skew_ms: int) -> None:
    """
    Three seconds behind, every order is dead on arrival; two ahead, one outlives its expiry.

    What a run would trip on by `kill.clock_s` ten seconds later must not let it begin.
    """
    async with venue_with(skew_ms=skew_ms) as (_, rest):
        facts = await facts_of(rest)

    assert failed(facts) == ["clock"]
    assert "synchronise it (NTP)" in row(facts, "clock").text
    sign = "-" if skew_ms > 0 else "+"
    assert row(facts, "clock").text.startswith(sign)


@pytest.mark.parametrize(("clock_s", "is_ok"), [(0.5, False), (2.0, True)])
async def test_the_clock_may_be_off_by_less_than_what_trips(clock_s: float, *, is_ok: bool) -> None:
    """Whatever the configuration says of it."""
    async with venue_with(skew_ms=-900) as (_, rest):
        facts = await facts_of(rest, f"kill.clock_s={clock_s}")
    assert failed(facts) == ([] if is_ok else ["clock"])
    assert ("more than 375 ms" in row(facts, "clock").text) is not is_ok


async def test_one_slow_answer_is_no_skew() -> None:
    """Delivery only ever makes our clock look ahead: the quickest of three answers counts."""
    asked: list[str] = []

    class Slow:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            body = await self.rest.info(payload)
            if payload["type"] == "exchangeStatus":
                asked.append(payload["type"])
                if len(asked) == 1:
                    told = json.loads(body)
                    body = json.dumps({**told, "time": told["time"] - 4000}).encode()
            return body

    async with venue_with() as (_, rest):
        facts = await read_facts(load(CONFIG), Slow(rest), SIGNER)
    assert failed(facts) == []
    assert len(asked) == 2


async def test_a_slow_machine_is_no_skew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer takes 1.8 s: our clock may be right, and nothing says that it is not."""
    late_ns = [0]
    monkeypatch.setattr(
        "mmbot.runtime.preflight.wall_clock_ns", lambda: wall_clock_ns() + late_ns[0]
    )

    class Late:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            body = await self.rest.info(payload)
            if payload["type"] == "exchangeStatus":
                told = json.loads(body)
                body = json.dumps({**told, "time": told["time"] + late_ns[0] // 10**6}).encode()
                late_ns[0] += 1800 * 10**6
            return body

    async with venue_with() as (_, rest):
        facts = await read_facts(load(CONFIG), Late(rest), SIGNER)
    assert failed(facts) == []


async def test_waiting_for_a_busy_venue_is_no_skew(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read waits a minute for its turn while the clock was read at once: no fault of NTP."""
    waited_ns = [0]
    monkeypatch.setattr(
        "mmbot.runtime.preflight.wall_clock_ns", lambda: wall_clock_ns() + waited_ns[0]
    )
    is_read = asyncio.Event()

    class Busy:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            body = await self.rest.info(payload)
            if payload["type"] == "exchangeStatus":
                asyncio.get_running_loop().call_soon(is_read.set)
            elif payload["type"] == "userFees":
                await is_read.wait()
                waited_ns[0] = 65 * NS_PER_S
            return body

    async with venue_with() as (_, rest):
        facts = await read_facts(load(CONFIG), Busy(rest), SIGNER)

    assert failed(facts) == []


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"time":"soon"}'])
@pytest.mark.parametrize("kind", ["exchangeStatus", "userFees", "clearinghouseState", "userRole"])
async def test_an_answer_of_the_wrong_shape_is_a_fault_of_the_venue(kind: str, body: bytes) -> None:
    """Exit 4 with what was said, not an internal error."""

    class Odd:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            return body if payload["type"] == kind else await self.rest.info(payload)

    async with venue_with() as (_, rest):
        with pytest.raises(VenueError):
            await read_facts(load(CONFIG), Odd(rest), SIGNER)


@pytest.mark.parametrize("body", [b"[]", b'{"levels":3}', b"<html>"])
async def test_a_book_of_the_wrong_shape_has_no_preview(body: bytes) -> None:
    """As every other answer."""

    class Odd:
        def __init__(self, rest: Rest) -> None:
            self.rest = rest

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            return body if payload["type"] == "l2Book" else await self.rest.info(payload)

    async with venue_with() as (_, rest):
        facts = await facts_of(rest)
        with pytest.raises(VenueError, match="not a book"):
            await preview(load(CONFIG), Odd(rest), facts)


async def test_a_leverage_above_the_maximum_is_said() -> None:
    """The venue allows ten; what is set is what is shown."""
    async with venue_with() as (_, rest):
        facts = await facts_of(rest, "risk.leverage=50")
    assert "risk.leverage = 50 is above its maximum, 10x will be set" in row(facts, "leverage").text


async def test_the_limit_may_be_five_times_the_smaller_of_capital_and_equity() -> None:
    """Exactly at the bound it passes, a dollar below it does not."""
    async with venue_with(equity_usd=80.0) as (_, rest):
        assert failed(await facts_of(rest)) == []
    async with venue_with(equity_usd=79.0) as (_, rest):
        facts = await facts_of(rest)

    assert failed(facts) == ["equity"]
    assert "5 x the smaller of the two = 395" in row(facts, "equity").text


async def test_a_spent_request_budget_is_refused_and_a_small_one_is_said() -> None:
    """One request per USD traded is the only way to earn more."""
    async with venue_with() as (running, rest):
        account = running.exchange.venue.account(SIGNER.address)
        account.requests_used = 9_500
        few = await facts_of(rest)
        account.requests_used = 10_000
        none = await facts_of(rest)

    assert failed(few) == []
    assert "500 left of 10000: few" in row(few, "requests").text
    assert failed(none) == ["requests"]


def lay(running: Running, coin_px: float, cloid: str | None, coin: str = "HYPE") -> None:
    """An order of our account, resting where nobody trades."""
    venue = running.exchange.venue
    asset_id = venue.asset_id(coin)
    assert asset_id is not None
    ticks = venue.asset(asset_id).ticks(coin_px)
    venue.submit(SIGNER.address, NewOrder(asset_id, Side.BUY, ticks, 100, Tif.ALO, cloid=cloid))
    running.exchange.settle()


@pytest.mark.parametrize(
    ("cloids", "is_fine"),
    [
        ([], True),
        ([f"0x6d6d{5:028x}"], True),
        ([None], False),
        ([f"0x{5:032x}"], False),
        ([f"0x6d6d{5:028x}", f"0x6d6e{5:028x}"], False),
    ],
    ids=["none", "ours", "by hand", "of another program", "beside ours"],
)
async def test_orders_of_others_in_the_market_are_refused_and_leftovers_of_ours_are_not(
    cloids: Sequence[str | None], is_fine: bool, tmp_path: Path
) -> None:
    """They would trade against ours; `mmbot check` ends with code 5 and says which they are."""
    async with venue_with() as (running, rest):
        for number, cloid in enumerate(cloids):
            lay(running, 20.0 + number, cloid)
        lay(running, 60_000.0, None, coin="BTC")
        facts = await facts_of(rest)
        process = await asyncio.to_thread(
            command,
            "check",
            f"--config={CONFIG}",
            f"--set=emulator.url={running.url}",
            f"--set=state_dir={tmp_path}",
            env={"MMBOT_KEY": f"0x{KEY.hex()}"},
        )

    assert failed(facts) == ([] if is_fine else ["open orders"])
    assert facts.open_orders == len(cloids)
    assert process.returncode == (0 if is_fine else 5), process.stderr
    (line,) = [text for text in process.stdout.splitlines() if "open orders" in text]
    assert line.startswith("ok" if is_fine else "FAIL")
    if not is_fine:
        foreign = [n for n, cloid in enumerate(cloids) if not (cloid or "").startswith("0x6d6d")]
        assert f"buy 1 at {20 + foreign[0]}, oid" in line


async def test_every_problem_is_shown_at_once() -> None:
    """A person mends them in one go."""
    async with venue_with(equity_usd=20.0, skew_ms=60_000) as (running, rest):
        running.exchange.venue.account(SIGNER.address).abstraction = "unifiedAccount"
        facts = await facts_of(rest)

    assert set(failed(facts)) == {"account mode", "equity", "clock"}


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["instrument.coin=HYPR"], "HYPE"),
        (["instrument.dex=hyna"], "delisted"),
        (["instrument.dex=nodex"], "nodex"),
        (["reference.coin=hype"], "reference.coin = 'hype': .* did you mean HYPE"),
        (["reference.coin=hyna:HYPE"], "reference.coin"),
        (["reference.coin=nodex:HYPE"], "reference.coin: the venue has no dex 'nodex'"),
    ],
)
async def test_a_perp_that_is_not_there_is_refused_by_name(sets: Sequence[str], said: str) -> None:
    """Unknown or delisted, ours or the reference."""
    async with venue_with() as (_, rest):
        with pytest.raises(ConfigError, match=said):
            await facts_of(rest, *sets)


async def test_a_reference_of_another_dex_is_found() -> None:
    """hyna:HYPE with the main dex's HYPE as its reference."""
    async with venue_with(coin="hyna:HYPE") as (_, rest):
        facts = await facts_of(rest, "instrument.dex=hyna", "reference.coin=HYPE")

    assert failed(facts) == []
    assert facts.instrument.dex == "hyna"


async def test_the_preview_is_what_the_engine_would_place_now() -> None:
    """Both sides, post-only, within the side budget."""
    async with venue_with() as (_, rest):
        facts = await facts_of(rest)
        ladder = await preview(load(CONFIG), rest, facts)

    sides: dict[str, list[Any]] = {"buy": [], "sell": []}
    for rung in ladder.rungs:
        sides[rung.side].append(rung)
    for side, rungs in sides.items():
        assert rungs, side
        assert sum(rung.usd for rung in rungs) <= 0.2 * 400 + 1e-6
        assert all(rung.depth_bps > 0 for rung in rungs)
    assert [rung.px for rung in ladder.rungs] == sorted((r.px for r in ladder.rungs), reverse=True)


@pytest.mark.parametrize("half_bps", [6.0, 11.0])
async def test_the_width_that_is_judged_before_a_run_is_that_of_the_preview(
    half_bps: float,
) -> None:
    """The one without a book, for the verdict on the edge; the other on the book of now."""
    chosen = load(CONFIG, [f"quoter.half_spread_bps_min={half_bps}", "ladder.depth_bps_max=30"])
    async with venue_with() as (_, rest):
        facts = await read_facts(chosen, rest, SIGNER)
        ladder = await preview(chosen, rest, facts)
    half = quoted_half_bps(chosen, facts)
    assert half is not None
    assert half == ladder.terms["half spread"]
    assert half >= half_bps
    assert min(rung.depth_bps for rung in ladder.rungs) >= half - 0.2


async def test_an_empty_book_has_no_preview() -> None:
    """Nothing is invented where there is no price."""
    async with venue_with() as (running, rest):
        facts = await facts_of(rest)
        running.exchange.venue.halt(facts.instrument.asset_id)
        with pytest.raises(VenueError, match="no two sides, nothing can be priced"):
            await preview(load(CONFIG), rest, facts)


async def test_a_limit_that_noise_alone_would_trip_is_refused_where_money_is_at_stake() -> None:
    """With the figure and the limit that fits; in the emulator it is a warning."""
    sets = ("risk.capital_usd=100", "risk.max_position_usd=400")
    async with venue_with(equity_usd=100.0) as (_, rest):
        shown = await facts_of(rest, *sets)
        emulated = row(shown, "noise")
        money = await facts_of(rest, *sets, 'mode="testnet"')
        # What the message says to do helps, and a dollar more does not.
        fitting = floor(money.noise.position_usd_max)
        fit = await facts_of(rest, sets[0], f"risk.max_position_usd={fitting}", 'mode="testnet"')
        more = await facts_of(
            rest, sets[0], f"risk.max_position_usd={fitting + 1}", 'mode="testnet"'
        )

    assert emulated.is_ok
    assert emulated.text.startswith("WARNING")
    assert failed(money) == ["noise"]
    text = row(money, "noise").text
    assert f"{money.noise.kill_p:.1%} of days" in text
    assert money.noise.kill_p == pytest.approx(0.4038, abs=1e-3)
    assert f"risk.max_position_usd to {fitting} or less" in text
    assert failed(fit) == []
    assert failed(more) == ["noise"]


async def test_the_templates_for_money_fit_their_limits() -> None:
    """Twice the equity, at the volatility that is assumed before any is known."""
    async with venue_with(equity_usd=100.0) as (_, rest):
        facts = await read_facts(load(CONFIG.with_name("hype.toml")), rest, SIGNER)

    assert failed(facts) == []
    assert facts.noise.kill_p < 0.05
    assert "position limit 200 USD" in row(facts, "noise").text


async def test_the_volatility_of_the_last_day_counts_where_there_is_one() -> None:
    """A lively day makes the same limit too large."""

    class Lively:
        def __init__(self, rest: Rest, bars: int) -> None:
            self.rest, self.bars = rest, bars

        async def info(self, payload: Mapping[str, Any]) -> bytes:
            if payload["type"] != "candleSnapshot":
                return await self.rest.info(payload)
            bar = b'{"o":"25","h":"25.6","l":"25","c":"25.3","v":"1","n":3}'
            return b"[" + b",".join([bar] * self.bars) + b"]"

    config = load(CONFIG.with_name("hype.toml"))
    async with venue_with(equity_usd=100.0) as (_, rest):
        lively = await read_facts(config, Lively(rest, 24), SIGNER)
        unknown = await read_facts(config, Lively(rest, 11), SIGNER)

    # 240 bps an hour are 2.5 bps per root second.
    assert failed(lively) == ["noise"]
    assert (
        "2.51 bps per root second, from the last day's hourly ranges" in row(lively, "noise").text
    )
    assert failed(unknown) == []
    assert "volatility.prior_bps_rt_s" in row(unknown, "noise").text


async def test_an_equity_whose_limit_holds_no_order_is_refused() -> None:
    """Twice 20 USD leaves 8 a side: it would start and quote nothing for ever."""
    async with venue_with(equity_usd=20.0) as (_, rest):
        facts = await read_facts(load(CONFIG.with_name("hype.toml")), rest, SIGNER)

    assert failed(facts) == ["equity"]
    assert "deposit more or set risk.max_position_usd" in row(facts, "equity").text


@pytest.mark.parametrize(
    ("sets", "is_enough"),
    [
        (("risk.side_budget_frac=0.2", "risk.max_position_usd=57"), True),
        (("risk.side_budget_frac=0.2", "risk.max_position_usd=54.2"), False),
    ],
)
async def test_a_run_begins_exactly_where_its_side_holds_an_order(
    sets: tuple[str, ...], is_enough: bool
) -> None:
    """Between the venue's 10 USD and the least order of ours it would start and never quote."""
    async with venue_with(equity_usd=100.0) as (_, rest):
        facts = await facts_of(rest, *sets)
        config = load(CONFIG, ["emulator.scenario=hype", *sets])
        ladder = await preview(config, rest, facts)
    assert (failed(facts) == []) is is_enough
    assert bool(ladder.rungs) is is_enough


async def test_a_side_too_small_for_an_order_anywhere_is_no_configuration() -> None:
    """The head-room of a side counts: 10 USD a side never held an order of 10.5."""
    with pytest.raises(ConfigError, match="order_usd_min"):
        load(CONFIG, ["risk.capital_usd=10", "risk.max_position_usd=50"])


async def test_a_halted_market_is_refused_with_the_reason() -> None:
    """An order there would be refused, and its position would be settled at anybody's mark."""
    async with venue_with() as (running, rest):
        asset_id = running.exchange.venue.asset_id("HYPE")
        assert asset_id is not None
        running.exchange.venue.halt(asset_id)
        facts = await facts_of(rest)

    assert failed(facts) == ["market"]
    assert "HYPE has no mid at the venue: trading is halted" in row(facts, "market").text


async def test_a_cap_and_a_mark_off_the_oracle_are_said_and_refuse_nothing() -> None:
    """Either may be over in a minute, and what is held can be reduced until then."""
    async with venue_with() as (running, rest):
        venue = running.exchange.venue
        asset_id = venue.asset_id("HYPE")
        assert asset_id is not None
        assert row(await facts_of(rest), "market").text.startswith("trades, mark +0.0 bps")
        venue.asset(asset_id).oi_cap_u = 0
        capped = await facts_of(rest)
        venue.asset(asset_id).oi_cap_u = None
        venue.set_oracle(asset_id, venue.asset(asset_id).spec.mark_px * 0.99)
        apart = await facts_of(rest, "premises.oracle_gap_bps=90")

    assert failed(capped) == []
    assert "WARNING: at its cap of open interest" in row(capped, "market").text
    assert failed(apart) == []
    assert "WARNING: more than premises.oracle_gap_bps = 90" in row(apart, "market").text


async def test_the_hours_of_the_market_are_told() -> None:
    """A run outside of them begins, and waits with nothing on the side that adds."""
    async with venue_with() as (_, rest):
        always = await facts_of(rest)
        never = await facts_of(rest, 'hours.utc=["mon 00:00-00:01"]')

    assert row(always, "hours").text == "always open"
    assert failed(never) == []
    assert " 00:0" in row(never, "hours").text
