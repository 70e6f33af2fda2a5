"""The assembly over the pipe: what everything that measures the program stands on."""

from __future__ import annotations

import random

import pytest

from mmbot.config import load
from mmbot.core.types import NS_PER_MS
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.pipe import SimLoop
from mmbot.runtime.piped import WORTHLESS_KEY, Piped
from runtime.pipe_rig import CONFIG, START_MS


def piped(*sets: str, has_collateral: bool = False) -> Piped:
    """One on the market of the configuration, ten thousand dollars in its account."""
    config = load(CONFIG, sets)
    coin = config.instrument.wire_coin
    signer = Signer(WORTHLESS_KEY, is_mainnet=False)
    venue, market = build_venue(
        coin, "demo", overrides={}, seed=1, now_ms=START_MS, accounts=[(signer.address, 10_000.0)]
    )
    params = ExchangeParams(latency_ms=50, requests_kept=1000)
    return Piped(
        config,
        Exchange(venue, market, params, market_coin=coin, chance=random.Random(1)),
        SimLoop(START_MS * NS_PER_MS),
        signer=signer,
        user=signer.address,
        run=77,
        jitter=random.Random(1),
        level="info",
        has_collateral=has_collateral,
    )


def test_nothing_is_dialled_or_sent_before_it_is_started() -> None:
    """Whoever assembles it sets faults and breaks pieces first."""
    run = piped()
    run.sim.run_for(10)

    assert (run.dialer.dials, run.exchange.requests_seen) == (0, 0)
    assert run.instrument.coin == "HYPE"


def test_it_trades_as_the_run_it_was_given() -> None:
    """Leverage, socket, orders: all of them through the pipe, under the cloids of this run."""
    run = piped()
    assert run.lever() is None
    run.trader.start()
    assert run.sim.run_till(lambda: bool(run.exchange.venue.open_orders(run.user, "")), 20)

    sent = [entry["body"]["action"] for entry in run.exchange.requests]
    assert sent[0]["type"] == "updateLeverage"
    for row in run.exchange.venue.open_orders(run.user, ""):
        cloid = int(row["cloid"], 16)
        assert is_ours(cloid)
        assert cloid >> 64 & 0xFFFF_FFFF_FFFF == 77
    assert run.log.named("quote.moved")


def test_a_leverage_that_was_refused_is_told() -> None:
    """A measurement that goes on without it measures another program."""
    run = piped()
    run.exchange.faults.update({"refuse": [429]})

    refusal = run.lever()

    assert refusal is not None
    assert "429" in refusal
    assert run.lever() is None


@pytest.mark.parametrize("has_collateral", [True, False])
def test_a_perp_of_a_builder_dex_is_found_in_the_lists_of_its_dex(*, has_collateral: bool) -> None:
    """Its asset id comes from the list of dexs; its collateral's name from another list still."""
    run = piped("instrument.dex=xyz", "instrument.coin=GOLD", has_collateral=has_collateral)

    assert run.instrument.coin == "xyz:GOLD"
    assert run.instrument.asset_id >= 100_000
    reads_s = (run.sim.clock() - START_MS * NS_PER_MS) / 1e9
    assert reads_s == (3 if has_collateral else 2)


def test_what_went_wrong_is_told_in_the_words_of_the_log() -> None:
    """A self-test that fails says why, and nothing of what went well."""
    run = piped()
    assert run.lever() is None
    run.trader.start()
    run.sim.run_for(5)
    assert "killed by hand" not in " ".join(run.log.texts())

    run.trader.kill("killed by hand")
    assert run.sim.run_till(lambda: bool(run.endings), 60)

    assert any("killed by hand" in text for text in run.log.texts())
    assert [reason.trigger for reason in run.latched] == ["operator"]
