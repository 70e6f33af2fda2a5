"""
`mmbot watchdog`: a second process that cancels everything of ours when the daemon falls silent.

It has its own key and its own connection and shares with the daemon only a file, the heartbeat
(`runtime.heart`). The venue's own dead man (`scheduleCancel`) is closed to accounts below its
volume threshold and slower where it is open; this one works for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_S
from mmbot.errors import CheckError, VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.rest import Rest
from mmbot.runtime.aio import steady_clock_ns, wall_clock_ns
from mmbot.runtime.heart import Beat, beat_path, read_beat, write_beat
from mmbot.runtime.nonces import nonces_of
from mmbot.runtime.notify import ALIVE, READY, STOPPING, Notify
from mmbot.runtime.opening import lent_key
from mmbot.runtime.patience import PatientRest
from mmbot.runtime.preflight import read_universe
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.telling import Log
from mmbot.runtime.venues import signer_of, venue_url

POLL_S: Final = 0.1
"""Between two looks at the heartbeat."""
_LOOK_AGAIN_NS: Final = 15 * NS_PER_S
"""Between two sweeps of one silence: a daemon that hangs may come round and place again."""
_REACH_EVERY_NS: Final = 20 * NS_PER_S
"""How often it makes sure that it reaches the venue, while nothing is wrong."""


class Pulse:
    """
    Whether a daemon with orders that may rest has fallen silent; time is an argument.

    Only that the beats change counts, not what time the daemon thinks it is. A beat that was there
    before this process counts as old as this process.
    """

    def __init__(self, silent_s: float, now_ns: int) -> None:
        self._silent_ns = round(silent_s * NS_PER_S)
        self._changed_ns = now_ns
        self.last: Beat | None = None

    def see(self, beat: Beat | None, now_ns: int) -> bool:
        """
        Take what the file holds; True if it is another beat than the last one.

        No file, or none that can be read, is no beat: the one before it goes on growing old.
        """
        if beat is None or beat == self.last:
            return False
        self.last = beat
        self._changed_ns = now_ns
        return True

    def silence_ns(self, now_ns: int) -> int:
        """Time since the last new beat."""
        return now_ns - self._changed_ns

    def is_silent(self, now_ns: int) -> bool:
        """Whether orders may rest that nobody looks after."""
        may_rest = self.last is not None and self.last.may_rest
        return may_rest and self.silence_ns(now_ns) >= self._silent_ns


class Watchdog:
    """
    Watches one heartbeat.

    Args:
        state: Tells the safety state of the daemon; its beat lies beside it.
        user: Account traded; of an embedded exchange its daemon tells.
        key: The key to cancel with; None lends one from an emulated exchange.
        notify: The service manager.
    """

    def __init__(
        self,
        config: Config,
        state: Callable[[], Path],
        user: str,
        key: bytes | None,
        *,
        log: Log,
        notify: Notify,
    ) -> None:
        self._config = config
        self._state = state
        self._user = user
        self._key = key
        self._log = log
        self._notify = notify
        self.is_interrupted = False
        """Whether it was stopped before the venue confirmed what it had begun."""
        self._ended = asyncio.Event()
        self._rest: Rest | None = None
        self._nonces = Nonces()
        self._sweep: Sweep | None = None
        self._target: tuple[str, str] | None = None
        self._lost_target: tuple[str, str] | None = None
        self._is_silent = False
        self._look_again_ns = 0
        self._reach_ns = 0
        self._is_reachable = True
        self._probe: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End at the next look."""
        self._ended.set()

    async def watch(self) -> None:
        """
        Watch until stopped.

        Raises:
            VenueError: The venue was not reached before anything was watched.
            CheckError: The key may not cancel for this account.
        """
        async with AsyncExitStack() as stack:
            if not self._config.is_embedded:
                await self._reach(stack, *self._place())
            self._notify.say(READY)
            self._log.info("watchdog.watching", file=str(self._beat_path()))
            pulse = Pulse(self._config.watchdog.silent_s, steady_clock_ns())
            while not self._ended.is_set():
                self._notify.say(ALIVE)
                await self._look(stack, pulse)
                try:
                    await asyncio.wait_for(self._ended.wait(), POLL_S)
                except TimeoutError:
                    continue
            self._notify.say(STOPPING)
            if self._probe is not None:
                self._probe.cancel()
                await asyncio.gather(self._probe, return_exceptions=True)
        self._log.info("watchdog.ended")

    async def once(self) -> int:
        """
        Clear up behind a daemon that has ended, if it left in doubt what rests.

        Raises:
            CheckError: The daemon lives, so its orders are its own matter.
            VenueError: The venue did not confirm that nothing rests.
        """
        beat = read_beat(self._beat_path()) or self._doubt()
        if beat is None or not beat.may_rest:
            why = "no daemon has run" if beat is None else "the last daemon left nothing resting"
            self._log.info("watchdog.not_needed", why=why)
            return 0
        pulse = Pulse(self._config.watchdog.silent_s, steady_clock_ns())
        pulse.see(beat, steady_clock_ns())
        while not pulse.is_silent(steady_clock_ns()):
            await asyncio.sleep(POLL_S)
            if pulse.see(read_beat(self._beat_path()), steady_clock_ns()):
                assert pulse.last is not None
                raise CheckError(
                    f"the daemon lives (process {pulse.last.pid}), nothing was cancelled: stop it "
                    "first, or trip its switch with mmbot kill"
                )
        async with AsyncExitStack() as stack:
            url, user = self._place(beat)
            # The key may be the daemon's own: it does not run any more.
            sweep = await self._reach(stack, url, user, nonces_of(self._state()))
            found = await sweep.run(
                wall_clock_ns() + round(beat.lands_s * NS_PER_S) + READ_LAG_NS,
                patience_s=self._config.start.retry_s,
            )
        self._log.info("watchdog.verified", cancelled=found, resting_orders=0)
        # Said for the next one who asks; the daemon that beat here has ended.
        done = msgspec.structs.replace(beat, count=beat.count + 1, may_rest=False)
        with suppress(OSError):
            write_beat(self._beat_path(), done)
        return found or 0

    # -- the heartbeat ----------------------------------------------------------------------

    def _beat_path(self) -> Path:
        return beat_path(self._state())

    def _doubt(self) -> Beat | None:
        """
        What a file stands for that cannot be read: a daemon was here, and left who knows what.

        None where there is no file, or where nothing but the beat tells which exchange it was.
        """
        path = self._beat_path()
        if self._config.is_embedded or not path.exists():
            return None
        self._log.warning("watchdog.beat_unreadable", file=str(path))
        return Beat(pid=0, lands_s=self._config.gateway.expires_after_s)

    async def _look(self, stack: AsyncExitStack, pulse: Pulse) -> None:
        """One look; what must be done about it is done before the next."""
        now_ns = steady_clock_ns()
        read = read_beat(self._beat_path())
        if read is None and pulse.last is None:
            read = self._doubt()
        if pulse.see(read, now_ns) and self._is_silent:
            self._is_silent = False
            assert pulse.last is not None
            event = "watchdog.daemon_beats" if pulse.last.may_rest else "watchdog.settled"
            self._log.info(event, pid=pulse.last.pid)
        beat = pulse.last
        if not pulse.is_silent(now_ns):
            if self._config.is_embedded and beat is not None and beat.may_rest:
                await self._reach_embedded(stack, beat)
            if self._sweep is not None and now_ns >= self._reach_ns:
                self._reach_ns = now_ns + _REACH_EVERY_NS
                # Beside the watching: a venue that does not answer must not hold it up.
                self._probe = asyncio.create_task(self._make_sure())
            return
        assert beat is not None
        if not self._is_silent:
            self._is_silent = True
            self._look_again_ns = now_ns
            silent_s = pulse.silence_ns(now_ns) / NS_PER_S
            self._log.error("watchdog.daemon_silent", pid=beat.pid, silent_s=silent_s)
        if now_ns >= self._look_again_ns:
            await self._clear(stack, pulse, beat)
            self._look_again_ns = steady_clock_ns() + _LOOK_AGAIN_NS

    async def _clear(self, stack: AsyncExitStack, pulse: Pulse, beat: Beat) -> None:
        """Cancel everything and have the venue confirm it, unless the daemon comes round."""
        if self._config.is_embedded:
            await self._reach_embedded(stack, beat)
        if self._sweep is None:
            return  # the embedded exchange ended with its daemon, and with it every order
        lands_ns = round(beat.lands_s * NS_PER_S) + READ_LAG_NS
        quiet_at_ns = wall_clock_ns() - pulse.silence_ns(steady_clock_ns()) + lands_ns

        def is_wanted() -> bool:
            self._notify.say(ALIVE)
            return not self._ended.is_set() and read_beat(self._beat_path()) in (None, beat)

        patience_s = 5.0 if self._config.is_embedded else None
        try:
            found = await self._sweep.run(quiet_at_ns, patience_s=patience_s, is_wanted=is_wanted)
        except VenueError as error:
            self._log.warning("watchdog.gave_up", error=str(error))
            self._forget()
            return
        if found is None and self._ended.is_set():
            self.is_interrupted = True
            why = "the venue has not confirmed that nothing rests; look at the account"
            self._log.error("watchdog.interrupted", why=why)
        elif found is None:
            self._log.warning("watchdog.called_off", why="the daemon beats again")
        elif found:
            self._log.warning("watchdog.verified", cancelled=found, resting_orders=0)
        else:
            self._log.info("watchdog.verified", cancelled=0, resting_orders=0)

    # -- the venue --------------------------------------------------------------------------

    def _place(self, beat: Beat | None = None) -> tuple[str, str]:
        """Address of the venue and account, of an embedded exchange as its daemon says."""
        if self._config.is_embedded:
            assert beat is not None
            return beat.url, beat.user
        return venue_url(self._config), self._user

    async def _reach_embedded(self, stack: AsyncExitStack, beat: Beat) -> None:
        """Reach the exchange that a daemon brought along; one that is gone is told of once."""
        target = (beat.url, beat.user)
        if target in (self._target, self._lost_target):
            return
        try:
            await self._reach(stack, *target)
        except VenueError as error:
            self._lost_target = target
            self._log.info("watchdog.exchange_gone", url=beat.url, why=str(error))

    def _forget(self) -> None:
        """The exchange of one embedded run is not that of the next."""
        if self._config.is_embedded:
            self._lost_target, self._sweep, self._target = self._target, None, None

    async def _reach(
        self, stack: AsyncExitStack, url: str, user: str, nonces: Nonces | None = None
    ) -> Sweep:
        """Connect, and see that this key may cancel for this account."""
        config = self._config
        rest = await stack.enter_async_context(Rest(url))
        retry_s = 0.0 if config.is_embedded else config.start.retry_s
        reads = PatientRest(rest, url, retry_s=retry_s, on_wait=self._on_wait)
        on_wait = None if config.is_embedded else self._on_wait
        key = self._key if self._key is not None else await lent_key(config, url, on_wait)
        signer = signer_of(config, key)
        role = wire_rest.user_role(await reads.info({"type": "userRole", "user": signer.address}))
        is_own = signer.address == user
        if not is_own and not (role.role == "agent" and (role.master or "").lower() == user):
            raise CheckError(
                f"watchdog key {signer.address}: the venue says {role.role} of "
                f"{role.master or 'nobody'}, so it cannot cancel for {user}; approve it as an API "
                "wallet of account.address, or correct account.address"
            )
        universe = await read_universe(config, reads)
        instrument = universe.for_cancelling(config.instrument.wire_coin)
        self._rest, self._target = rest, (url, user)
        self._reach_ns = steady_clock_ns() + _REACH_EVERY_NS
        self._nonces = Nonces() if nonces is None else nonces
        self._sweep = Sweep(
            rest,
            instrument,
            signer=signer,
            user=user,
            clock=wall_clock_ns,
            log=self._log,
            nonces=self._nonces,
        )
        self._log.info("watchdog.reached", url=url, user=user, signer=signer.address)
        return self._sweep

    async def _make_sure(self) -> None:
        """Say so when the venue is out of reach, before it is needed; and keep the line warm."""
        assert self._rest is not None
        try:
            body = await self._rest.info({"type": "exchangeStatus"}, timeout_s=5.0)
            self._nonces.hear(wire_rest.exchange_time_ms(body))
        except VenueError as error:
            if self._is_reachable:
                self._log.error("watchdog.venue_away", error=str(error))
            self._is_reachable = False
        else:
            if not self._is_reachable:
                self._log.info("watchdog.venue_back")
            self._is_reachable = True

    def _on_wait(self, error: VenueError, left_s: float) -> None:
        self._log.warning("venue.retried", error=str(error), for_s=round(left_s, 1))
