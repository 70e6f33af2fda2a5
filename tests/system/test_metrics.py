"""A running daemon scraped over HTTP, as Prometheus does it."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from pathlib import Path

import pytest

from runtime.test_metrics import samples_of, value
from system.harness import STILL, daemon, exchange
from system.test_control import asked
from system.test_start_and_stop import CONFIG, rests, sets_for

ROOT = Path(__file__).resolve().parent.parent.parent
SOMETIMES = {
    "mmbot_entry_price_usd",
    "mmbot_side_pulled",
    "mmbot_trend_bps",
    "mmbot_trend_z",
    "mmbot_requests_per_second",
    "mmbot_requests_left_seconds",
    "mmbot_rule_active",
    "mmbot_order_rejects_total",
    "mmbot_vitals_violations_total",
}
"""What a young run in a still market may have no sample of."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_scrape_of_a_running_daemon_has_all_that_the_dashboard_shows(tmp_path: Path) -> None:
    """Against what `status` says of the same daemon; every query of the dashboard finds its own."""
    port = free_port()
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[*sets_for(venue, tmp_path / "state"), f"metrics.port={port}"],
        ) as bot,
    ):
        rests(venue, bot)
        bot.wait_event("quote.held")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120) as answer:
            kind, text = answer.headers["Content-Type"], answer.read().decode()
        status = asked("status", bot.run_dir)
        resting = len(venue.resting())
        code, _, err = bot.stop()

    assert (code, err) == (0, "")
    assert kind.startswith("text/plain; version=")
    page = samples_of(text)
    assert value(page, "mmbot_link_up") == 1
    assert value(page, "mmbot_phase", phase="trading") == 1
    assert value(page, "mmbot_equity_usd") == pytest.approx(status["equity_usd"])
    assert value(page, "mmbot_requests_cap") == status["requests"]["cap"]
    sides = [value(page, "mmbot_resting_orders", side=side) for side in ("buy", "sell")]
    assert sum(sides) == resting > 0
    assert {dict(labels)["term"] for name, labels in page if name == "mmbot_term_bps"}
    board = json.loads((ROOT / "docs" / "grafana.json").read_text("utf-8"))
    exprs = [it["expr"] for panel in board["panels"] for it in panel.get("targets", [])]
    queried = {name for expr in exprs for name in re.findall(r"\b(?:mmbot|process)_\w+", expr)}
    assert len(queried) > 50
    assert queried - {name for name, _ in page} <= SOMETIMES


def test_a_port_that_is_taken_ends_no_run(tmp_path: Path) -> None:
    """Whoever watches is not worth what is watched; the log and the screen say what is wrong."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with daemon(
            tmp_path / "run", "--for=1s", config=CONFIG, sets=[f"metrics.port={port}"]
        ) as bot:
            code, out, err = bot.end()

    (record,) = (r for r in bot.records() if r["event"] == "metrics.unavailable")
    assert (code, err) == (0, "")
    assert record["level"] == "error"
    assert f"metrics.port = {port}" in record["error"]
    assert "metrics.unavailable" in out
