"""The whole daemon on the perps of builder dexes: what it pays, earns and quotes there."""

from __future__ import annotations

from statistics import mean

import pytest

from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import fees
from runtime.pipe_rig import PipeRun
from support import often

BUSY = {"a_per_s": 1.0, "sigma_bps_rt_s": 0.3, "sweeps_per_s": 0.0}
QUIET = {**BUSY, "a_per_s": 0.0, "sigma_bps_rt_s": 0.0, "oracle_noise_bps": 0.0}
EXACT = ("adverse.a1=0", "ladder.is_on_grid=false")
"""Depth costs nothing more, so the fee goes into a side as it is, and no line stands in between."""
PX_USD = {"HYPE": 26.2, "hyna:HYPE": 26.2, "xyz:NVDA": 181.32, "xyz:HOOD": 96.44}


def dex_run(
    coin: str,
    *sets: str,
    market: dict[str, float] | None = None,
    scale: float | None = None,
    is_growing: bool | None = None,
    is_referred: bool = False,
    signer: Signer | None = None,
) -> PipeRun:
    """A daemon on this perp, whose deployer chose this scale and mode."""

    def prepare(run: PipeRun) -> None:
        asset_id = run.venue.asset_id(coin)
        assert asset_id is not None
        asset = run.venue.asset(asset_id)
        if scale is not None:
            asset.deployer_fee_scale = scale
        if is_growing is not None:
            asset.growth_mode = is_growing
        if is_referred:
            run.venue.account(run.user).referrer = "0x" + "ab" * 20

    return PipeRun(
        "demo",
        sets=("risk.warm_s=0", "quoter.half_spread_bps_min=0.5", *sets),
        market={**(market or BUSY), "px_usd": PX_USD[coin]},
        coin=coin,
        prepare=prepare,
        signer=signer,
    )


@pytest.mark.parametrize(
    ("coin", "scale", "is_growing", "is_referred", "maker_bps"),
    [
        ("HYPE", None, None, False, 1.5),
        ("HYPE", None, None, True, 1.44),
        ("xyz:NVDA", None, None, False, 0.3),
        ("xyz:NVDA", 1.0, False, False, 3.0),
        ("xyz:NVDA", 0.5, False, False, 2.25),
        ("xyz:NVDA", 0.0, True, False, 0.15),
        ("xyz:NVDA", 3.0, False, False, 9.0),
        ("hyna:HYPE", None, None, True, 2.88),
        ("xyz:HOOD", None, None, False, 0.3),
    ],
)
def test_the_fees_charged_are_the_fees_predicted(
    coin: str, scale: float | None, *, is_growing: bool | None, is_referred: bool, maker_bps: float
) -> None:
    """Fill by fill, to 0.05 bps, for makers and for the taker that closes what is left."""
    run = dex_run(
        coin, "on_exit=flatten", scale=scale, is_growing=is_growing, is_referred=is_referred
    )
    run.start()
    run.run(often(70, thoroughly=100), every_s=5)
    predicted = fees(run.instrument, run.info(type="userFees", user=run.user))
    assert predicted.maker_bps == pytest.approx(maker_bps)
    (read, *_) = run.log.named("snapshot.read")
    assert read["maker_fee_bps"] == pytest.approx(maker_bps)
    run.stop()
    fills = run.fills()
    makers = [row for row in fills if not row["crossed"]]
    assert len(makers) >= 3
    paid_usd = 0.0
    for row in fills:
        value_usd = float(row["px"]) * float(row["sz"])
        fee_usd = float(row["fee"])
        rate_bps = predicted.taker_bps if row["crossed"] else predicted.maker_bps
        paid_usd += fee_usd
        # The venue rounds to micro-dollars.
        assert abs(fee_usd - rate_bps * 1e-4 * value_usd) <= 0.05e-4 * value_usd + 1e-6
    assert run.summary()["fees_usd"] == pytest.approx(paid_usd, abs=1e-6)


def half_bps(run: PipeRun) -> float:
    """Half of the distance between our best orders, from the middle, by the venue's word."""
    rows = run.resting()
    bid = max(float(row["limitPx"]) for row in rows if row["side"] == "B")
    ask = min(float(row["limitPx"]) for row in rows if row["side"] == "A")
    return (ask - bid) / (ask + bid) * 1e4


def test_a_tenth_of_the_fee_is_a_narrower_quote_by_the_rest_of_it() -> None:
    """The fee of a side is part of its width: 2.7 bps less of it, 2.7 bps nearer on the wire."""
    widths = []
    for is_growing in (True, False):
        run = dex_run("xyz:NVDA", *EXACT, market=QUIET, scale=1.0, is_growing=is_growing)
        run.start()
        looks = []
        for _ in range(40):
            run.run(1)
            if {row["side"] for row in run.resting()} == {"B", "A"}:
                looks.append(half_bps(run))
        assert len(looks) > 30
        widths.append(mean(looks[5:]))
    growing, grown = widths
    # A price step of this perp is 0.55 bps, and both sides round outward.
    assert grown - growing == pytest.approx(2.7, abs=0.6)


@pytest.mark.parametrize(("is_growing", "share"), [(True, 0.1), (False, 1.0)])
def test_what_a_trade_earns_in_requests_is_what_the_venue_credits(
    *, is_growing: bool, share: float
) -> None:
    """A tenth per USD in growth mode: counted whole, the budget would be gone before its time."""
    run = dex_run("xyz:NVDA", "gateway.requests_read_every_s=600", is_growing=is_growing, scale=1.0)
    run.start()
    run.run(240, every_s=5)
    now_ns = run.sim.clock()
    filled_usd = sum(float(row["px"]) * float(row["sz"]) for row in run.fills())
    assert filled_usd > 100
    used = run.venue.account(run.user).requests_used
    left = run.trader.engine.forecast(now_ns).left
    assert left == pytest.approx(10_000 - used + share * filled_usd, abs=10)
    forecast = run.trader.engine.forecast(now_ns)
    assert forecast.per_h is not None
    # Over the same span: spent less earned, by the hour.
    assert forecast.per_h == pytest.approx((10_000 - left) / 240 * 3600, rel=0.15)


def test_an_agent_signs_and_its_master_is_what_is_read_and_traded() -> None:
    """Streams and readings of the agent's own address would show an empty account for ever."""
    agent = Signer(b"\x09" * 32, is_mainnet=False)
    run = dex_run("xyz:NVDA", signer=agent)
    assert agent.address != run.user
    run.start()
    run.run(120)
    assert run.fills()
    assert run.trader.engine.position.lots == round(run.position_sz() * 1000)
    run.stop()
    assert run.resting() == []
    assert run.summary()["fees_usd"] == pytest.approx(
        sum(float(row["fee"]) for row in run.fills()), abs=1e-6
    )
