"""
Actions of `/exchange` by type, each ending in the venue's answer.

Sources: Hyperliquid docs, "Exchange endpoint"; protocol notes 2.2, 2.3, 2.7, 2.8 and 2.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmbot.emulator import budgets, leverage, orders, transfers
from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import MS_PER_DAY
from mmbot.emulator.margin import summarise
from mmbot.emulator.placing import Desk
from mmbot.emulator.specs import U_PER_USD
from mmbot.emulator.state import State

Json = dict[str, Any]
SCHEDULE_LEAD_MS = 5_000
ABSTRACTIONS = {"i": "disabled", "u": "unifiedAccount", "p": "portfolioMargin"}
BUILDER_MAX_PERCENT = 0.1
OK: Json = {"status": "ok", "response": {"type": "default"}}

Handler = Callable[["Dispatcher", Account, Json], Json]


def err(text: str) -> Json:
    """A whole action refused."""
    return {"status": "err", "response": text}


def _plain(refused: str | None) -> Json:
    return OK if refused is None else err(refused)


class Dispatcher:
    """Carries out parsed and authenticated actions on a state."""

    def __init__(self, state: State, desk: Desk) -> None:
        self.state = state
        self.desk = desk

    def execute(self, account: Account, action: Json, *, signer: str, is_agent: bool) -> Json:
        """
        Weight limit, address budget, then the action.

        Args:
            account: Whose books it touches.
            action: Canonical action of a known type.
            signer: Address that signed; named when an agent may not do this.
            is_agent: The signer is an agent, not the account itself.
        """
        state = self.state
        count = budgets.elements(action)
        if count > state.params.batch_max:
            # Measured for cancels; the same for orders and modifies is unverified.
            return err(f"Signed action over weight limit of {state.params.batch_max}.")
        refused = budgets.spend(account, action, state.params, state.now_ms)
        if refused is not None:
            return err(refused)
        kind = action["type"]
        if is_agent and kind in MASTER_ONLY:
            return err(f"Must deposit before performing actions. User: {signer}")
        handler = HANDLERS.get(kind)
        if handler is None:
            # Nothing this client may send is silently accepted.
            return err(f"Action {kind} is not available on the emulated exchange.")
        state.tx += 1
        return handler(self, account, action)

    def order(self, account: Account, action: Json) -> Json:
        """`order`."""
        return orders.place_batch(self.state, self.desk, account, action)

    def cancel(self, account: Account, action: Json) -> Json:
        """`cancel` and `cancelByCloid`."""
        return orders.cancel_batch(self.desk, account, action)

    def modify(self, account: Account, action: Json) -> Json:
        """`modify`."""
        return orders.modify_one(self.state, self.desk, account, action)

    def batch_modify(self, account: Account, action: Json) -> Json:
        """`batchModify`."""
        return orders.modify_batch(self.state, self.desk, account, action)

    def update_leverage(self, account: Account, action: Json) -> Json:
        """`updateLeverage`."""
        return _plain(
            leverage.update_leverage(
                self.state,
                account,
                action["asset"],
                action["leverage"],
                is_cross=bool(action["isCross"]),
            )
        )

    def update_isolated_margin(self, account: Account, action: Json) -> Json:
        """`updateIsolatedMargin`; `isBuy` has no meaning in one-way mode."""
        refused = leverage.update_isolated_margin(
            self.state, account, action["asset"], action["ntli"]
        )
        return _plain(refused)

    def top_up(self, account: Account, action: Json) -> Json:
        """`topUpIsolatedOnlyMargin`."""
        return _plain(leverage.top_up(self.state, account, action["asset"], action["leverage"]))

    def schedule_cancel(self, account: Account, action: Json) -> Json:
        """`scheduleCancel`: set, or clear without a time."""
        state = self.state
        when_ms = action.get("time")
        if when_ms is None:
            account.cancel_at_ms = None
            return OK
        required = state.params.schedule_cancel_volume_usd
        if account.volume_u < required * U_PER_USD:
            traded = account.volume_u / U_PER_USD
            return err(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: ${required}. Traded: ${traded:.2f}."
            )
        if when_ms < state.now_ms + SCHEDULE_LEAD_MS:
            # Unverified wording of this and the next sentence; the rules are documented.
            return err("Scheduled cancel time must be at least 5 seconds from now.")
        if fired_today(account, state.now_ms) >= state.params.schedule_cancel_per_day:
            most = state.params.schedule_cancel_per_day
            return err(f"Too many scheduled cancel triggers today. Max is {most}.")
        account.cancel_at_ms = when_ms
        return OK

    def noop(self, _account: Account, _action: Json) -> Json:
        """`noop`: its nonce is all it costs."""
        return OK

    def reserve_requests(self, account: Account, action: Json) -> Json:
        """`reserveRequestWeight`: buy requests from the main dex purse."""
        purse = account.purse(0)
        weight = int(action["weight"])
        price_u = weight * budgets.REQUEST_PRICE_U
        if price_u > summarise(purse).withdrawable_u:
            return err("Insufficient balance for token transfer")
        target = account
        if action.get("destination"):
            found = self.state.account(action["destination"])
            if found is None:
                return err(f"Must deposit before performing actions. User: {action['destination']}")
            target = found
        purse.cash_u -= price_u
        self.state.dexes[0].fees_u += price_u
        target.requests_bought += weight
        return OK

    def send_asset(self, account: Account, action: Json) -> Json:
        """`sendAsset`."""
        return _plain(transfers.send_asset(self.state, account, action, own=False))

    def agent_send_asset(self, account: Account, action: Json) -> Json:
        """`agentSendAsset`: to the same user or its sub-accounts."""
        return _plain(transfers.send_asset(self.state, account, action, own=True))

    def class_transfer(self, account: Account, action: Json) -> Json:
        """`usdClassTransfer`."""
        return _plain(transfers.class_transfer(self.state, account, action))

    def usd_send(self, account: Account, action: Json) -> Json:
        """`usdSend`."""
        return _plain(transfers.usd_send(self.state, account, action))

    def spot_send(self, account: Account, action: Json) -> Json:
        """`spotSend`."""
        return _plain(transfers.spot_send(self.state, account, action))

    def withdraw(self, account: Account, action: Json) -> Json:
        """`withdraw3`."""
        return _plain(transfers.withdraw(self.state, account, action))

    def create_sub(self, account: Account, action: Json) -> Json:
        """`createSubAccount`: the address is the data of the answer."""
        refused, address = transfers.create_sub(self.state, account, action["name"])
        if refused is not None:
            return err(refused)
        return {"status": "ok", "response": {"type": "createSubAccount", "data": address}}

    def sub_transfer(self, account: Account, action: Json) -> Json:
        """`subAccountTransfer`."""
        return _plain(transfers.sub_transfer(self.state, account, action))

    def sub_spot_transfer(self, account: Account, action: Json) -> Json:
        """`subAccountSpotTransfer`."""
        return _plain(transfers.sub_spot_transfer(self.state, account, action))

    def vault_transfer(self, _account: Account, action: Json) -> Json:
        """`vaultTransfer`: there are no vaults here."""
        return err(f"Vault not registered: {action['vaultAddress']}")

    def set_referrer(self, account: Account, action: Json) -> Json:
        """`setReferrer`: once; again it changes nothing (unverified)."""
        if account.referrer is None:
            account.referrer = action["code"]
        return OK

    def approve_builder(self, account: Account, action: Json) -> Json:
        """`approveBuilderFee`: `maxFeeRate` is a percentage such as `0.01%`."""
        text = action["maxFeeRate"].removesuffix("%")
        try:
            percent = float(text)
        except ValueError:
            return err("Invalid max fee rate")
        if not 0 <= percent <= BUILDER_MAX_PERCENT:
            # Unverified wording; the cap for perps is documented.
            return err("Builder fee rate exceeds the maximum of 0.1%")
        account.builders[action["builder"].lower()] = percent / 100
        return OK

    def set_abstraction(self, account: Account, action: Json) -> Json:
        """Account modes: only the standard one exists here."""
        wanted = ABSTRACTIONS.get(action["abstraction"], action["abstraction"])
        if wanted not in {"disabled", "default"}:
            return err("Abstraction transition not allowed")
        account.abstraction = "disabled"
        return OK

    def dex_abstraction(self, _account: Account, action: Json) -> Json:
        """Discontinued at the venue."""
        if action.get("enabled") is False:
            return OK
        return err("Abstraction transition not allowed")


MASTER_ONLY = frozenset(
    {
        "sendAsset",
        "usdClassTransfer",
        "usdSend",
        "spotSend",
        "withdraw3",
        "approveBuilderFee",
        "userSetAbstraction",
        "userDexAbstraction",
        "reserveRequestWeight",
    }
)
"""What an agent may not sign; it is answered as an account without a deposit."""

HANDLERS: dict[str, Handler] = {
    "order": Dispatcher.order,
    "cancel": Dispatcher.cancel,
    "cancelByCloid": Dispatcher.cancel,
    "modify": Dispatcher.modify,
    "batchModify": Dispatcher.batch_modify,
    "updateLeverage": Dispatcher.update_leverage,
    "updateIsolatedMargin": Dispatcher.update_isolated_margin,
    "topUpIsolatedOnlyMargin": Dispatcher.top_up,
    "scheduleCancel": Dispatcher.schedule_cancel,
    "noop": Dispatcher.noop,
    "reserveRequestWeight": Dispatcher.reserve_requests,
    "sendAsset": Dispatcher.send_asset,
    "agentSendAsset": Dispatcher.agent_send_asset,
    "usdClassTransfer": Dispatcher.class_transfer,
    "usdSend": Dispatcher.usd_send,
    "spotSend": Dispatcher.spot_send,
    "withdraw3": Dispatcher.withdraw,
    "createSubAccount": Dispatcher.create_sub,
    "subAccountTransfer": Dispatcher.sub_transfer,
    "subAccountSpotTransfer": Dispatcher.sub_spot_transfer,
    "vaultTransfer": Dispatcher.vault_transfer,
    "setReferrer": Dispatcher.set_referrer,
    "approveBuilderFee": Dispatcher.approve_builder,
    "agentSetAbstraction": Dispatcher.set_abstraction,
    "userSetAbstraction": Dispatcher.set_abstraction,
    "agentEnableDexAbstraction": Dispatcher.dex_abstraction,
    "userDexAbstraction": Dispatcher.dex_abstraction,
}


def fired_today(account: Account, now_ms: int) -> int:
    """Scheduled cancels that fired this UTC day."""
    return account.cancels_fired if account.cancels_day == now_ms // MS_PER_DAY else 0


def fire_scheduled(state: State, desk: Desk, account: Account) -> None:
    """Cancel every open order of an account whose scheduled time has come."""
    account.cancel_at_ms = None
    fired = fired_today(account, state.now_ms)
    account.cancels_day = state.now_ms // MS_PER_DAY
    account.cancels_fired = fired + 1
    state.tx += 1
    for order in list(account.open.values()):
        if order.oid in account.open:
            desk.end(order, "scheduledCancel")
