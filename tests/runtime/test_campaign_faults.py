"""Each fault of the campaign by itself: it happens, it meets an order in flight, and it is over."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.emulator.faults import Faults
from mmbot.runtime.campaign.inject import Injector
from mmbot.runtime.campaign.meddler import Meddler
from mmbot.runtime.campaign.run import campaign_config
from mmbot.runtime.campaign.schedule import SIMULATED, Fault, Finish, Kind, Schedule, draw
from mmbot.runtime.campaign.stage import Stage
from mmbot.runtime.simulation import SimLoop

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
FILLS = '{"channel":"userFills","data":{}}'
BBO = '{"channel":"bbo","data":{}}'


def drawn(kind: Kind) -> Fault:
    """A fault of a kind as the campaign draws it."""
    faults = (fault for seed in range(1, 1000) for fault in draw(seed).faults)
    return next(fault for fault in faults if fault.kind is kind and fault.is_aimed)


def staged(fault: Fault) -> tuple[Stage, Injector]:
    """A run with one fault, until it is long over."""
    fault = msgspec.structs.replace(fault, at_s=6.0)
    schedule = Schedule(3, "demo", 50, (fault,), Finish.STOP, 30.0, True, 0.0, 0, SIMULATED)
    stage = Stage(campaign_config(CONFIG), schedule, level="debug")
    stage.start()
    injector = Injector(stage, schedule)
    injector.arm()
    while stage.at_s < 30.0:
        stage.sim.run_for(0.05)
        injector.look()
        stage.look()
    return stage, injector


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_a_fault_meets_an_order_in_flight_and_leaves_nothing_of_itself(kind: Kind) -> None:
    """What outlives its span would make every later fault another one than was drawn."""
    stage, injector = staged(drawn(kind))

    assert [fault.kind for fault in injector.begun] == [kind]
    assert {fault.kind for fault in injector.hits} == {kind}
    # What is counted for the next action may still wait for it, nothing else.
    left = msgspec.structs.replace(stage.exchange.faults, drop=0)
    assert left == Faults()
    assert stage.dialer.refuse is None
    assert stage.trader.link.is_up
    assert stage.strays == []
    assert stage.over == []


def test_a_step_of_the_clock_is_seen_and_moves_no_timer() -> None:
    """Waits are spans; what the program takes for the time is another matter."""
    stage, _ = staged(Fault(Kind.CLOCK, 0.0, 0.0, is_aimed=False, size=0.8))

    (stepped,) = stage.log.named("clock.stepped")
    assert stepped["step_s"] == pytest.approx(0.8, abs=0.001)
    assert stage.clock() - stage.sim.clock() == round(0.8 * NS_PER_S)


def meddled(fault: Fault, texts: list[str]) -> list[list[tuple[int, str]]]:
    """What becomes of texts while a fault lasts, a tenth of a second apart."""
    sim = SimLoop(0)
    meddler = Meddler(sim.clock, random.Random(1))
    meddler.begin(fault)
    found = []
    for text in texts:
        found.append(list(meddler(text)))
        sim.run_for(0.1)
    meddler.end(fault)
    assert [list(meddler(text)) for text in texts] == [[(0, text)] for text in texts]
    return found


def fault_of(kind: Kind, size: float = 1.0) -> Fault:
    """A fault of the stream of fills."""
    return Fault(kind, 0.0, 1.0, is_aimed=False, channel="userFills", size=size)


def test_a_stalled_stream_comes_whole_at_the_end_of_the_stall_and_others_live() -> None:
    """Late is not lost, and only one stream is late."""
    first, other, second = meddled(fault_of(Kind.STALL_STREAM), [FILLS, BBO, FILLS])

    assert first == [(1000 * NS_PER_MS, FILLS)]
    assert other == [(0, BBO)]
    assert second == [(800 * NS_PER_MS, FILLS)]


def test_lost_repeated_and_late_messages_are_what_they_are_called() -> None:
    """A fault that does something else than its name is counted under the wrong kind."""
    assert meddled(fault_of(Kind.MUTE_STREAM), [FILLS, BBO]) == [[], [(0, BBO)]]
    assert meddled(fault_of(Kind.DROP), [FILLS, BBO]) == [[], [(0, BBO)]]
    assert meddled(fault_of(Kind.DROP, size=0.0), [FILLS]) == [[(0, FILLS)]]
    ((now, later), (alone,)) = meddled(fault_of(Kind.DUPLICATE), [FILLS, BBO])
    assert now == (0, FILLS)
    assert 0 < later[0] <= NS_PER_S
    assert later[1] == FILLS
    assert alone == (0, BBO)
    ((late,),) = meddled(fault_of(Kind.DELAY), [FILLS])
    assert 0 < late[0] <= 2 * NS_PER_S
    ((turned,),) = meddled(fault_of(Kind.REORDER), [FILLS])
    assert 0 < turned[0] <= 300 * NS_PER_MS
