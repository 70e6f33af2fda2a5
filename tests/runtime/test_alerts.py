"""
What a person is told, how often, and that no address of a service is ever told to anybody.

The services are real: Apprise posts to a server on loopback.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from mmbot.cli.alerting import find_addresses, find_services, find_those_that_serve
from mmbot.cli.app import build
from mmbot.config import AlertParams, Config, load
from mmbot.core.intents import KillReason
from mmbot.errors import ConfigError
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime import alerts as module
from mmbot.runtime.alerts import Alerts, Service, services_of
from mmbot.runtime.piped import Records
from mmbot.runtime.summary import summarise
from mmbot.runtime.telling import Log
from receiver import Receiver, receiving
from runtime.pipe_rig import PipeRun

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
TOKEN = "c4nary-t0ken-of-a-service"


class Sender:
    """Alerts to a receiver, fed through a log as the program's own are."""

    def __init__(self, receiver: Receiver, **params: Any) -> None:
        self.now_s = 0.0
        settings = AlertParams.model_validate({"url_env": ("X",), **params})
        services = services_of([("X", receiver.url(TOKEN))], settings)
        self.alerts = Alerts(services, settings, "HYPE emulator", clock=lambda: self.now_s)
        self.records = Records()
        self.log: Log = make_logger(
            cast("LogWriter", self.records), lambda: 0, "info", (self.alerts.take,)
        )
        self.alerts.attach(self.log)

    def named(self, event: str) -> list[Any]:
        """What the log says of the alerts."""
        return self.records.named(event)


@pytest.fixture
def receiver() -> Any:
    """A service on loopback."""
    with receiving() as found:
        yield found


def test_a_trip_is_told_with_trigger_value_limit_and_unit(receiver: Receiver) -> None:
    """What a person decides by who is woken; of a real trip in simulated time."""
    sender = Sender(receiver)
    run = PipeRun("demo", seed=3)
    run.start()
    run.run(5)
    run.trader.emit(_order_to_kill(run))
    ending = run.ended()
    for record in run.log.all:
        facts = {k: v for k, v in record.items() if k not in ("at", "level", "event")}
        getattr(sender.log, record["level"])(record["event"], **facts)
    sender.log.info("run.ended", **summarise(run.trader, ending, 5.0))
    sender.alerts.close()

    kill, summary = receiver.wait(2)
    assert kill["title"] == "mmbot HYPE emulator: kill"
    assert kill["type"] == "failure"
    reason = ending.kill
    assert isinstance(reason, KillReason)
    limit = f"limit {reason.limit:g} {reason.unit}"
    for part in (reason.trigger, f"{reason.value:g} {reason.unit}", limit, reason.text):
        assert part in kill["message"]
    assert summary["title"] == "mmbot HYPE emulator: summary"
    assert summary["type"] == "failure", "a run that was killed did not end well"
    assert "fills" in summary["message"]


def _order_to_kill(run: PipeRun) -> Any:
    from mmbot.core.events import Command, CommandKind

    return Command(run.clock(), CommandKind.KILL, "for the test", False)


CASES: Sequence[tuple[str, str, dict[str, Any], str, str]] = (
    ("error", "position.unexplained", {"missing_lots": 7, "for_s": 5.2}, "mismatch", "7 lots"),
    (
        "error",
        "vitals.violated",
        {
            "term": "inventory_skew",
            "where": "bid",
            "kind": "dead",
            "observed": 0.0,
            "expected": 3.0,
            "text": "0 where 3 was due",
        },
        "dead term",
        "inventory_skew",
    ),
    (
        "info",
        "requests.forecast",
        {"requests_left": 900, "requests_per_h": 300.0, "requests_hours_left": 3.0},
        "budget",
        "900 requests",
    ),
    (
        "warning",
        "market.shut",
        {"reason": "trading halted", "before": None},
        "halt",
        "trading halted",
    ),
    ("error", "run.refused", {"error": "the switch is latched", "exit_code": 3}, "halt", "latched"),
    ("error", "run.unverified", {"may_rest": 4}, "halt", "4 orders"),
    ("critical", "invariant.broken", {"error": "a bug"}, "kill", "a bug"),
    ("error", "watchdog.daemon_silent", {"pid": 7, "silent_s": 1.6}, "watchdog", "process 7"),
    (
        "warning",
        "watchdog.verified",
        {"cancelled": 6, "resting_orders": 0},
        "watchdog",
        "Cancelled 6 orders",
    ),
)


_IDS = [event for _, event, *_ in CASES]


@pytest.mark.parametrize(("level", "event", "facts", "kind", "part"), CASES, ids=_IDS)
def test_every_kind_is_told(
    receiver: Receiver, level: str, event: str, facts: dict[str, Any], kind: str, part: str
) -> None:
    """Each once, with what it is about."""
    sender = Sender(receiver)
    getattr(sender.log, level)(event, **facts)
    sender.alerts.close()

    (message,) = receiver.messages
    assert message["title"].endswith(f": {kind}")
    assert part in message["message"]


def test_a_kind_that_is_not_wanted_is_not_told(receiver: Receiver) -> None:
    """`events` is what a person wants to be woken by."""
    sender = Sender(receiver, events=("kill",))
    sender.log.error("run.unverified", may_rest=4)
    sender.log.critical("invariant.broken", error="a bug")
    sender.alerts.close()

    assert [message["title"] for message in receiver.messages] == ["mmbot HYPE emulator: kill"]


def test_a_low_budget_is_told_once_until_it_has_recovered(receiver: Receiver) -> None:
    """The forecast comes once a minute; sixty alike an hour are read by nobody."""
    sender = Sender(receiver, budget_hours=6.0)
    for hours in (7.0, 5.0, 4.0, None, 5.5):
        sender.log.info(
            "requests.forecast",
            requests_left=900,
            requests_per_h=200.0,
            requests_hours_left=hours,
        )
    sender.alerts.close()

    told = [message["message"] for message in receiver.messages]
    assert ["5.0 h" in told[0], "5.5 h" in told[1], len(told)] == [True, True, 2]


def test_a_storm_of_one_event_is_three_alerts_and_a_number(receiver: Receiver) -> None:
    """A service blocks who floods it, on the day of the kill; the count is told with the next."""
    sender = Sender(receiver, every_s=60)
    for _ in range(40):
        sender.log.error("position.unexplained", missing_lots=1, for_s=5.0)
    sender.log.critical("invariant.broken", error="a bug")
    sender.now_s = 61.0
    sender.log.error("position.unexplained", missing_lots=2, for_s=5.0)
    sender.log.error("position.unexplained", missing_lots=3, for_s=5.0)
    sender.alerts.close()

    titles = [message["title"].rpartition(": ")[2] for message in receiver.messages]
    assert titles == ["mismatch"] * 3 + ["kill", "mismatch", "mismatch"]
    assert "37 x position.unexplained" in receiver.messages[3]["message"]
    assert "2 lots" in receiver.messages[4]["message"]
    last = receiver.messages[5]["message"]
    assert last == "Not told: 1 x position.unexplained; the log has them.", "nothing comes after"


OF_ONE_KIND: Sequence[tuple[tuple[str, str, dict[str, Any]], Sequence[tuple[str, str, Any]]]] = (
    (
        ("warning", "watchdog.venue_away", {"error": "timed out"}),
        [
            ("error", "watchdog.daemon_silent", {"pid": 7, "silent_s": 10.0}),
            ("error", "watchdog.gave_up", {"error": "not reached"}),
        ],
    ),
    (
        ("warning", "market.shut", {"reason": "oracle stands", "before": None}),
        [
            ("error", "run.unverified", {"may_rest": 6}),
            ("error", "snapshot.failed", {"error": "502"}),
        ],
    ),
)


@pytest.mark.parametrize(("often", "then"), OF_ONE_KIND, ids=["watchdog", "halt"])
def test_a_warning_that_comes_and_goes_swallows_no_failure(
    receiver: Receiver,
    often: tuple[str, str, dict[str, Any]],
    then: Sequence[tuple[str, str, dict[str, Any]]],
) -> None:
    """A line that is bad is when a daemon dies, and both are told as one kind."""
    sender = Sender(receiver)
    level, event, facts = often
    for _ in range(9):
        getattr(sender.log, level)(event, **facts)
    for level, event, facts in then:
        getattr(sender.log, level)(event, **facts)
    for number in range(5):
        sender.log.critical("invariant.broken", error=f"bug {number}")
    sender.alerts.close()

    told = " ".join(message["message"] for message in receiver.messages)
    parts = {"watchdog": ["process 7", "may rest: not reached"], "halt": ["6 orders", "502"]}
    kind = "watchdog" if "watchdog" in often[1] else "halt"
    for part in (*parts[kind], *(f"bug {number}" for number in range(5))):
        assert part in told, "the first of its event, or critical"


def test_what_waits_together_is_one_message() -> None:
    """A service that is slow is not asked once for each, and the end is not waited for as often."""
    is_asked, is_free = threading.Event(), threading.Event()
    sent: list[tuple[str, str, str]] = []

    def send(*message: str) -> bool:
        is_asked.set()
        sent.append(cast("tuple[str, str, str]", message))
        return is_free.wait(30)

    params = AlertParams(url_env=("X",))
    alerts = Alerts([Service("slow", send, text_max=200)], params, "HYPE")
    records = Records()
    log = make_logger(cast("LogWriter", records), lambda: 0, "info", (alerts.take,))
    alerts.attach(log)
    log.warning("market.shut", reason="trading halted")
    assert is_asked.wait(30)
    log.warning("market.shut", reason="open again")
    log.error("run.unverified", may_rest=6)
    log.error("ledger.open", text="a fill is missing" + "." * 150)
    is_free.set()
    alerts.close()

    assert [(title, severity) for title, _, severity in sent] == [
        ("mmbot HYPE: halt", "warning"),
        ("mmbot HYPE: halt", "failure"),
        ("mmbot HYPE: mismatch", "failure"),
    ], "as much as the service takes"
    shut, unverified = sent[1][1].split("\n\n")
    assert shut.startswith("halt: ")
    assert "6 orders may" in unverified
    assert len(records.named("alert.sent")) == 4


def test_the_last_alerts_reach_a_service_that_the_library_would_pace(receiver: Receiver) -> None:
    """ntfy and e-mail are given one message in 5.5 s by it, and an end waits 10 s."""
    params = AlertParams(url_env=("X",))
    url = f"ntfy://127.0.0.1:{receiver.port}/topic"
    alerts = Alerts(services_of([("X", url)], params), params, "HYPE")
    records = Records()
    log = make_logger(cast("LogWriter", records), lambda: 0, "info", (alerts.take,))
    alerts.attach(log)
    log.critical("invariant.broken", error="a bug")
    receiver.wait(1)
    log.error("run.unverified", may_rest=6)
    receiver.wait(2)
    log.error("ledger.open", text="a fill is missing")
    receiver.wait(3, patience_s=5.0)
    alerts.close()

    assert records.named("alert.unsent") == []
    assert len(records.named("alert.sent")) == 3


def test_a_refusal_is_tried_again_and_the_log_says_so(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service restarts now and then; one that refuses for good is told of."""
    monkeypatch.setattr(module, "_AGAIN_S", (0.0, 0.0))
    receiver.refusals = 2
    sender = Sender(receiver)
    sender.log.critical("invariant.broken", error="a bug")
    receiver.wait(1)
    receiver.refusals = 99
    sender.log.critical("invariant.broken", error="another")
    sender.alerts.close()

    (sent,), (failed,) = sender.named("alert.sent"), sender.named("alert.failed")
    assert (sent["tries"], sent["service"]) == (3, "X (JSON)")
    assert failed["tries"] in (2, 3), "the end of a process makes one more try and no pause"
    assert TOKEN not in str(sender.records.all)


def test_a_service_that_hangs_holds_up_neither_the_others_nor_the_end(receiver: Receiver) -> None:
    """The last words go to whoever listens, and the process ends."""
    with receiving() as dead:
        dead.hold(is_held=True)
        params = AlertParams(url_env=("X",), timeout_s=1)
        services = services_of([("A", dead.url()), ("B", receiver.url())], params)
        alerts = Alerts(services, params, "HYPE emulator")
        records = Records()
        log = make_logger(cast("LogWriter", records), lambda: 0, "info", (alerts.take,))
        alerts.attach(log)
        log.critical("invariant.broken", error="a bug")
        receiver.wait(1)
        alerts.close(0.05)

        assert dead.messages == []
        (unsent,) = records.named("alert.unsent")
        assert unsent["service"] == "A (JSON)"


def test_of_an_exception_of_a_service_only_its_type_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The text of one nearly always has the address in it."""
    monkeypatch.setattr(module, "_AGAIN_S", (0.0, 0.0))

    def send(*_: str) -> bool:
        raise ValueError(f"cannot post to json://127.0.0.1/{TOKEN}")

    params = AlertParams(url_env=("X",))
    alerts = Alerts([Service("X (JSON)", send)], params, "HYPE")
    records = Records()
    log = make_logger(cast("LogWriter", records), lambda: 0, "info", (alerts.take,))
    alerts.attach(log)
    log.critical("invariant.broken", error="a bug")
    alerts.close()

    (failed,) = records.named("alert.failed")
    assert failed["error"].startswith("ValueError")
    assert TOKEN not in str(records.all)


def test_alerts_that_nobody_takes_are_dropped_and_not_kept_for_ever() -> None:
    """A service that is away for a day must not grow the daemon."""
    is_asked, is_free = threading.Event(), threading.Event()

    def send(*_: str) -> bool:
        is_asked.set()
        return is_free.wait(30)

    params = AlertParams(url_env=("X",), every_s=1)
    now_s = [0.0]
    alerts = Alerts([Service("slow", send)], params, "HYPE", clock=lambda: now_s[0])
    records = Records()
    log = make_logger(cast("LogWriter", records), lambda: 0, "info", (alerts.take,))
    alerts.attach(log)
    for _ in range(80):
        now_s[0] += 2.0
        log.error("run.refused", error="latched", exit_code=3)
        assert is_asked.wait(30)
    log.critical("invariant.broken", error="a bug")
    dropped = len(records.named("alert.dropped"))
    is_free.set()
    alerts.close()

    assert dropped == 15, "64 wait, and one is on its way"
    assert len(records.named("alert.sent")) == 81 - dropped, "what is critical is kept"


def test_a_record_that_no_message_can_be_made_of_ends_nothing(receiver: Receiver) -> None:
    """The log is told from the loop that trades: an error there would end the run."""
    sender = Sender(receiver)
    sender.log.critical("killswitch.tripped", trigger="operator")
    sender.alerts.close()

    assert receiver.messages == []
    (record,) = sender.named("alert.unmade")
    assert record["of"] == "killswitch.tripped"


# -- where the addresses come from ------------------------------------------------------------


def _config(*sets: str) -> Config:
    return load(CONFIG, sets)


def test_addresses_come_from_variables_and_from_a_private_file(tmp_path: Path) -> None:
    """Several of them, each named by where it stands and never by what it is."""
    file = tmp_path / "urls"
    file.write_text(f"# ours\njson://127.0.0.1:9/{TOKEN}\n\nxml://127.0.0.1:9/\n", "utf-8")
    file.chmod(0o600)
    config = _config('alerts.url_env=["ONE","TWO"]', f"alerts.urls_file={file}")
    env = {"ONE": "json://127.0.0.1:9/a", "TWO": "json://127.0.0.1:9/b json://127.0.0.1:9/c"}
    names = [service.name for service in find_services(config, env)]

    where = f"alerts.urls_file = {str(file)!r}"[:40]
    assert names[:3] == ["ONE (JSON)", "TWO, 1. (JSON)", "TWO, 2. (JSON)"]
    assert [name.startswith(where[:20]) and name[-6:] for name in names[3:]] == ["(JSON)", " (XML)"]
    assert TOKEN not in str(names)


@pytest.mark.parametrize(
    ("sets", "env", "said"),
    [
        (['alerts.url_env=["ONE"]'], {}, "ONE is not set"),
        (['alerts.url_env=["ONE"]'], {"ONE": f"nonsense://{TOKEN}"}, "ONE: is no Apprise URL"),
        (['alerts.url_env=["ONE"]'], {"ONE": TOKEN}, "ONE: is no Apprise URL"),
        (["alerts.urls_file={open}"], {}, "mode 0644 lets others read it"),
        (["alerts.urls_file={empty}"], {}, "holds no URL"),
        (["alerts.urls_file={none}"], {}, "no such file"),
    ],
)
def test_what_cannot_be_used_is_said_without_the_address(
    tmp_path: Path, sets: list[str], env: dict[str, str], said: str
) -> None:
    """The screen is seen by others, and a wrong address is nearly the right one."""
    for name, mode, text in (("open", 0o644, f"json://x/{TOKEN}"), ("empty", 0o600, "# none\n")):
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(mode)
    paths = {name: tmp_path / name for name in ("open", "empty", "none")}
    config = _config(*(it.format(**paths) if "{" in it else it for it in sets))

    with pytest.raises(ConfigError) as caught:
        find_services(config, env)

    assert said in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        f'alerts.url_env=["json://h/{TOKEN}"]',
        f"alerts.urls_file=json://h/{TOKEN}",
        f"alerts.url=https://discord.com/api/webhooks/1/{TOKEN}",
        f"alerts=tgram://{TOKEN}/1",
    ],
)
def test_an_address_in_the_configuration_is_refused_and_not_repeated(item: str) -> None:
    """Where it does not belong it must at least not be printed."""
    with pytest.raises(ConfigError) as caught:
        _config(item)

    assert "not shown" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_nothing_is_looked_for_where_nothing_is_configured() -> None:
    """Off by default, whatever the environment holds."""
    assert find_services(_config(), {"MMBOT_ALERT_URL": "json://h"}) == []
    with pytest.raises(ConfigError, match="is not set"):
        find_addresses(_config('alerts.url_env=["ONE"]'), {"ONE": "  "})


def test_a_protection_is_told_what_does_not_serve_and_uses_what_does(receiver: Receiver) -> None:
    """One variable that is not set must silence neither the watchdog nor the other service."""
    config = _config('alerts.url_env=["ONE","TWO"]', "alerts.urls_file=/nowhere/urls")
    alerts, problems = find_those_that_serve(config, {"TWO": receiver.url(TOKEN)}, "watchdog")
    assert alerts is not None
    alerts.take("error", {"event": "run.refused", "error": "for the test"})
    alerts.close()

    assert [message["title"] for message in receiver.messages] == [
        "mmbot HYPE emulator watchdog: halt"
    ]
    assert ["environment variable ONE is not set" in problems[0], len(problems)] == [True, 2]
    assert "/nowhere/urls" in problems[1]
    none, unset = find_those_that_serve(_config('alerts.url_env=["ONE"]'), {}, "watchdog")
    assert none is None
    assert len(unset) == 1
    assert find_those_that_serve(_config(), {}, "watchdog") == (None, [])


# -- mmbot check ------------------------------------------------------------------------------


def _check(*arguments: str, **env: str) -> Any:
    arguments = ("check", f"--config={CONFIG}", "--offline", *arguments)
    return CliRunner().invoke(build(arguments), arguments, env=env)


def test_check_says_whether_anybody_is_told(receiver: Receiver) -> None:
    """And by what, without sending anything."""
    off = _check()
    on = _check('--set=alerts.url_env=["ONE"]', ONE=receiver.url(TOKEN))

    assert "alerts: none" in off.stdout
    assert "# ok: alerts: ONE (JSON): kill, halt, mismatch" in on.stdout
    assert receiver.asked == 0


def test_a_test_alert_says_which_service_took_it(receiver: Receiver) -> None:
    """Exit 5 when one did not: a channel that is mute is found before it is needed."""
    with receiving() as broken:
        broken.refusals = 9
        env = {"ONE": receiver.url(TOKEN), "TWO": broken.url(TOKEN)}
        good = _check("--alerts", '--set=alerts.url_env=["ONE"]', **env)
        bad = _check("--alerts", '--set=alerts.url_env=["ONE","TWO"]', **env)

    assert (good.exit_code, bad.exit_code) == (0, 5)
    assert "# ok: alert: ONE (JSON): took a test alert" in good.stdout
    assert "# FAIL: alert: TWO (JSON)" in bad.stdout
    assert TOKEN not in good.stdout + bad.stdout
    assert [message["title"] for message in receiver.messages] == ["mmbot HYPE emulator: test"] * 2


def test_a_test_without_a_service_is_refused() -> None:
    """An empty success would be taken for a channel that works."""
    result = _check("--alerts")

    assert isinstance(result.exception, ConfigError)
    assert "alerts.url_env" in str(result.exception)
