"""The memory of a sweep, from outside: the orders on the wire, and the next run's."""

from __future__ import annotations

from pathlib import Path

from system.harness import STILL, daemon, exchange, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def test_a_sweep_keeps_the_next_orders_away_and_a_restart_does_not_forget_it(
    tmp_path: Path,
) -> None:
    """The predecessor was swept twice in four minutes: it had forgotten after thirty seconds."""
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}", "risk.warm_s=0"]
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as bot:
            bot.wait_event("quote.moved")
            bot.wait_for(
                "bids to hit", lambda _: sum(o["side"] == "B" for o in venue.resting()) > 3
            )
            bids = [float(o["limitPx"]) for o in venue.resting() if o["side"] == "B"]
            venue.control("trade", coin="HYPE", side="A", px=min(bids), sz=1e6)
            bot.wait_event("cascade.seen")
            bot.wait_for(
                "a quote that knows of it",
                lambda _: any(r.get("cascade_bid_bps", 0.0) > 0 for r in bot.records()),
            )
            code, _, err = bot.stop()
        assert (code, err) == (0, "")
        before = [r for r in bot.records() if r.get("cascade_bid_bps", 0.0) > 0][-1]

        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as again:
            again.wait_event("quote.moved")
            code, _, err = again.stop()
        assert (code, err) == (0, "")
        after = next(r for r in again.records() if r["event"] == "quote.moved")
        assert after["cascade_bid_bps"] == before["cascade_bid_bps"]
        assert after["cascade_ask_bps"] == 0.0

        reset = start("reset", "--sweeps", f"--config={CONFIG}", *(f"--set={s}" for s in sets))
        out, err = reset.communicate(timeout=120)
        assert (reset.returncode, err) == (0, "")
        assert "forgotten the memory of sweeps" in out

        with daemon(tmp_path / "third", config=CONFIG, sets=sets) as third:
            third.wait_event("quote.moved")
            third.stop()
        calm = next(r for r in third.records() if r["event"] == "quote.moved")
        assert calm["cascade_bid_bps"] == 0.0
        if after["touch_bid_px"] is not None and calm["touch_bid_px"] is not None:
            assert after["touch_bid_px"] < calm["touch_bid_px"]


def test_orders_that_outlive_a_killed_run_are_swept_like_any_other(tmp_path: Path) -> None:
    """The next run had the position of the sweep, and quoted as if nothing had happened."""
    with exchange(sets=STILL) as venue:
        sets = [f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}", "risk.warm_s=0"]
        with daemon(tmp_path / "first", config=CONFIG, sets=sets) as bot:
            bot.wait_event("quote.moved")
            bot.wait_for("bids", lambda _: sum(o["side"] == "B" for o in venue.resting()) > 3)
            # One fill that it lives to store, so that there is a ledger.
            best = max(float(o["limitPx"]) for o in venue.resting() if o["side"] == "B")
            venue.control("trade", coin="HYPE", side="A", px=best, sz=1e6)
            bot.wait_event("fill.booked")
            bot.wait_for("bids", lambda _: sum(o["side"] == "B" for o in venue.resting()) > 3)
            bot.process.kill()
            bot.process.wait()
        bids = [float(o["limitPx"]) for o in venue.resting() if o["side"] == "B"]
        assert len(bids) > 3
        venue.control("trade", coin="HYPE", side="A", px=min(bids), sz=1e6)
        with daemon(tmp_path / "second", config=CONFIG, sets=sets) as again:
            again.wait_event("quote.moved")
            again.wait_event("ledger.caught_up")
            again.stop()
    first = next(r for r in again.records() if r["event"] == "quote.moved")
    assert first["q_frac"] > 0.05
    assert first["cascade_bid_bps"] > 3.0
    assert first["cascade_ask_bps"] == 0.0
    replay = start("replay", str(tmp_path / "second"))
    out, err = replay.communicate(timeout=120)
    assert replay.returncode == 0, out + err
