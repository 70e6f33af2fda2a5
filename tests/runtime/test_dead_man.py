"""The venue's own dead man, armed by the whole daemon on an emulated exchange."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from runtime.pipe_rig import PipeRun

SPAN_MS = 30_000


def armings(run: PipeRun) -> list[tuple[int, int | None]]:
    """When each scheduleCancel was received, and the time it names."""
    rows: list[dict[str, Any]] = [
        row for row in run.exchange.requests if row["body"]["action"]["type"] == "scheduleCancel"
    ]
    return [(row["time"], row["body"]["action"].get("time")) for row in rows]


def test_an_account_of_enough_volume_is_covered_at_every_moment() -> None:
    """Put off three times as often as it must be, and cleared by an end that was verified."""
    run = PipeRun()
    run.venue.grant_volume(run.user, 2_000_000)
    run.start()
    run.run(65)
    assert len(run.log.named("dead_man.armed")) == 1
    run.stop()
    run.sim.run_for(1)

    *kept, last = armings(run)
    assert len(kept) >= 6
    for (at, fires), (then, _) in pairwise(kept):
        assert fires is not None
        assert fires - at >= 0.9 * SPAN_MS
        assert then < fires - SPAN_MS / 2, "put off with time to spare for two lost answers"
    assert last[1] is None
    assert run.venue.account(run.user).cancel_at_ms is None


def test_a_daemon_that_is_cut_off_is_cancelled_by_the_venue() -> None:
    """Nothing of ours runs any more: the venue itself clears the book when the span is over."""
    run = PipeRun(market={"a_per_s": 0, "sweeps_per_s": 0, "sigma_bps_rt_s": 0})
    run.venue.grant_volume(run.user, 2_000_000)
    run.start()
    run.run(20)
    assert run.resting()

    began_ms = run.exchange.now_ms
    while run.resting() and run.exchange.now_ms < began_ms + 2 * SPAN_MS:
        run.exchange.advance(run.exchange.now_ms + 250)
    assert not run.resting()
    assert SPAN_MS / 2 < run.exchange.now_ms - began_ms <= SPAN_MS


def test_where_the_venue_is_closed_to_the_account_nothing_is_sent_and_it_is_said_once() -> None:
    """A refused try costs a request as well; `check` and the log say what to do instead."""
    run = PipeRun()
    run.start()
    run.run(65)
    run.stop()

    assert armings(run) == []
    assert [record["traded_usd"] < 1_000_000 for record in run.log.named("dead_man.closed")] == [
        True
    ]


def test_a_refusal_of_the_venue_is_said_once_and_not_repeated_every_few_seconds() -> None:
    """Its threshold is its own: the count may say one thing and the venue another."""
    run = PipeRun()
    run.venue.grant_volume(run.user, 2_000_000)
    params = run.venue.state.params
    run.venue.state.params = params.model_copy(update={"schedule_cancel_volume_usd": 10**7})
    run.start()
    run.run(120)
    run.stop()

    assert len(armings(run)) == 1
    (refused,) = run.log.named("dead_man.refused")
    assert "enough volume traded" in refused["text"]


def test_it_can_be_kept_unarmed() -> None:
    """It cancels other markets of the account as well, which is not for everybody."""
    run = PipeRun(sets=["gateway.schedule_cancel_s=0"])
    run.venue.grant_volume(run.user, 2_000_000)
    run.start()
    run.run(30)
    run.stop()

    assert armings(run) == []
