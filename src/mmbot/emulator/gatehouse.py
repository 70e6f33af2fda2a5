"""
The way of a signed request to the venue: recovery, nonce, account, expiry; then the action itself.

The order of the checks is measured (protocol notes 2.9): what fails before the nonce is admitted
burns nothing, what fails after it has used its nonce up.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from mmbot.emulator.auth import (
    USER_TYPES,
    Identities,
    connection_id,
    l1_digest,
    recover,
    user_digest,
    window_refusal,
)
from mmbot.emulator.canonical import Envelope, elements
from mmbot.emulator.venue import Venue

Network = Literal["a", "b"]

CHAINS: dict[str, Network] = {"Mainnet": "a", "Testnet": "b"}
STALE_COST = 5
"""An expired action costs five times its requests (Hyperliquid docs, "Rate limits")."""


class Verdict(NamedTuple):
    """Answer to a request, and whom it concerned where that became known."""

    response: dict[str, Any]
    signer: str | None = None
    account: str | None = None


class _Refused(Exception):  # noqa: N818 - an outcome of the protocol, not an error of the program
    def __init__(self, text: str, signer: str | None = None, account: str | None = None) -> None:
        super().__init__(text)
        self.verdict = Verdict({"status": "err", "response": text}, signer, account)


def rank(action: dict[str, Any]) -> int:
    """
    Place of an action within a block: 0 without GTC or IOC, 1 cancels, 2 with a GTC or IOC.

    Source: Hyperliquid docs, "Transaction ordering": cancels and post-only orders go before
    anything that may take; a modify ranks by its new order. Unverified, and chosen here: actions
    of one place keep the order of their arrival, and a modify to a GTC counts as one that may
    take although it can only rest.
    """
    if action["type"] in {"cancel", "cancelByCloid"}:
        return 1
    orders = action.get("orders") or [item["order"] for item in action.get("modifies", ())]
    if "order" in action:
        orders = [action["order"]]
    takes = any(order["t"].get("limit", {}).get("tif") != "Alo" for order in orders)
    return 2 if takes else 0


class Gatehouse:
    """Admits requests. Holds what the venue knows of keys: agents and nonces."""

    def __init__(self, venue: Venue, *, network: Network, is_strict: bool) -> None:
        self.identities = Identities()
        self._venue = venue
        self._networks: tuple[Network, ...] = (
            (network,) if is_strict else (network, "a" if network == "b" else "b")
        )

    def carry_out(self, request: Envelope, now_ms: int) -> Verdict:
        """Check a request and, if it is admitted, execute its action; refusals are answers."""
        try:
            return self._admit(request, now_ms)
        except _Refused as refused:
            return refused.verdict

    def _admit(self, request: Envelope, now_ms: int) -> Verdict:
        action = request.action
        is_user_signed = action["type"] in USER_TYPES
        inner = action.get("nonce", action.get("time") if is_user_signed else None)
        if inner is not None and inner != request.nonce:
            raise _Refused("Nonce mismatch.")
        if is_user_signed:
            signer = self._user_signer(request, now_ms)
            account, is_agent = signer, False
        else:
            signer, account, is_agent = self._l1_signer(request, now_ms)
        nonces = self.identities.nonces(signer)
        refusal = nonces.refusal(request.nonce)
        if refusal is not None:
            raise _Refused(refusal, signer, account)
        if request.vault is not None and not is_user_signed:
            if self._venue.master_of(request.vault) != account:
                raise _Refused(f"Vault not registered: {request.vault}", signer, account)
            account = request.vault
        nonces.admit(request.nonce, now_ms)
        if request.expires_after_ms is not None and request.expires_after_ms < now_ms:
            self._venue.charge(account, STALE_COST * elements(action))
            raise _Refused("Action already expired", signer, account)
        if action["type"] == "approveAgent":
            return Verdict(self._approve_agent(account, action, now_ms), signer, account)
        response = self._venue.execute(account, action, signer=signer, is_agent=is_agent)
        return Verdict(response, signer, account)

    def _l1_signer(self, request: Envelope, now_ms: int) -> tuple[str, str, bool]:
        """Signer, the account it acts for, and whether it is an agent."""
        connection = connection_id(
            request.action, request.nonce, request.vault, request.expires_after_ms
        )
        recovered: list[str] = []
        refusal = window_refusal(request.nonce, now_ms)
        for network in self._networks:
            signer = recover(l1_digest(connection, network), request)
            if signer is None:
                raise _Refused("Unable to recover signer.")
            if refusal is not None:
                # Reported before any account is named.
                raise _Refused(refusal)
            recovered.append(signer)
            if self._venue.has_account(signer):
                return signer, signer, False
            agent = self.identities.agent(signer, now_ms)
            if agent is not None:
                return signer, agent.master, True
        text = f"User or API Wallet {recovered[0]} does not exist."
        raise _Refused(text, recovered[0])

    def _user_signer(self, request: Envelope, now_ms: int) -> str:
        action = request.action
        if CHAINS.get(action["hyperliquidChain"]) not in self._networks:
            raise _Refused("Mainnet and testnet require different signature.")
        signer = recover(user_digest(action), request)
        if signer is None:
            raise _Refused("Unable to recover signer.")
        refusal = window_refusal(request.nonce, now_ms)
        if refusal is not None:
            raise _Refused(refusal)
        if not self._venue.has_account(signer):
            # An agent ends here too: these actions are nobody's but the account's own key's.
            text = f"Must deposit before performing actions. User: {signer}"
            raise _Refused(text, signer)
        return signer

    def _approve_agent(self, account: str, action: dict[str, Any], now_ms: int) -> dict[str, Any]:
        address = action["agentAddress"]
        if self._venue.has_account(address):
            return {"status": "err", "response": "Extra agent already used."}
        subs = len(self._venue.sub_addresses(account))
        error = self.identities.approve_agent(
            account, address, action["agentName"], now_ms, sub_accounts=subs
        )
        if error is not None:
            return {"status": "err", "response": error}
        return {"status": "ok", "response": {"type": "default"}}
