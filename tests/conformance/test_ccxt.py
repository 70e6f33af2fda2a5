"""ccxt as it is, against the emulated exchange: its start-up calls, its orders, its streams."""

from __future__ import annotations

import asyncio

import ccxt.pro

from conformance.harness import ALICE, BOB, HYNA_HYPE, HYPE, NOW_MS, Server, ccxt_client, wire_order

PERP = "HYPE/USDC:USDC"
BUILDER_DEX_PERP = "HYNA-HYPE/USDE:USDE"


def test_ccxt_trades_unchanged(server: Server) -> None:
    """
    The other client most people use: markets, book, orders, positions and trades, nothing patched.

    Red when `is_network_strict` is true by default, since ccxt signs for the main network.
    """
    server.order(BOB, wire_order(HYPE, "A", "26.01", "10"), wire_order(HYPE, "B", "25.9", "10"))
    with ccxt_client(server, ALICE) as client:
        client.load_markets()
        assert client.fetch_order_book(PERP)["asks"][0] == [26.01, 10.0]
        order = client.create_order(PERP, "limit", "buy", 1, 25.5)
        opened = client.fetch_open_orders(PERP)
        client.cancel_order(order["id"], PERP)
        bought = client.create_order(PERP, "market", "buy", 2, 26.01)
        (position,) = client.fetch_positions([PERP])
        (trade,) = client.fetch_my_trades(PERP)

        assert [row["id"] for row in opened] == [order["id"]]
        assert client.fetch_open_orders(PERP) == []
        assert bought["filled"] == 2.0
        assert (position["side"], position["contracts"]) == ("long", 2.0)
        assert (trade["price"], trade["amount"]) == (26.01, 2.0)
        assert client.fetch_balance()["USDC"]["total"] > 0
        found = client.fetch_order(order["id"], PERP)
        assert found["status"] == "canceled"


def test_ccxt_starts_up_with_its_own_approvals(server: Server) -> None:
    """
    Before its first trade ccxt approves its builder and sets a referrer; both have to pass.

    Red when the envelope refuses a request without `vaultAddress`.
    """
    server.order(BOB, wire_order(HYPE, "A", "26.01", "10"))
    with ccxt_client(server, ALICE) as client:
        client.create_order(PERP, "limit", "buy", 1, 25.5)
    log = server.request("GET", "/emulator/requests").json["requests"]
    kinds = [row["body"]["action"]["type"] for row in log if row["account"] == ALICE.address]

    assert kinds == ["approveBuilderFee", "setReferrer", "order"]
    assert log[-1]["body"]["action"]["builder"]["f"] == 10
    assert all(row["response"]["status"] == "ok" for row in log)


def test_ccxt_trades_on_a_builder_dex(server: Server) -> None:
    """
    The asset id decides the dex; collateral and margin are that dex's.

    Red when ids of builder dexes start at 100000 plus ten thousand times one less.
    """
    with ccxt_client(server, ALICE) as client:
        client.create_order(BUILDER_DEX_PERP, "limit", "sell", 1, 27)
    (order,) = server.info(type="openOrders", user=ALICE.address, dex="hyna")

    assert order["coin"] == "hyna:HYPE"
    assert HYNA_HYPE == 140_001


def test_ccxt_places_on_a_sub_account_by_vault_address(server: Server) -> None:
    """
    ccxt sends the vault without `0x` and hashes it that way; the venue takes both spellings.

    Red when `address_text` asks for the prefix.
    """
    server.control("account", user=ALICE.address, volume_usd=1e6)
    sub = server.act(ALICE, {"type": "createSubAccount", "name": "desk"})["response"]["data"]
    server.act(
        ALICE,
        {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 5 * 10**8},
    )
    with ccxt_client(server, ALICE) as client:
        client.create_order(PERP, "limit", "buy", 1, 25.5, {"vaultAddress": sub})

    assert len(server.info(type="openOrders", user=sub)) == 1


async def test_check_64_ccxt_watch_methods_resolve(server: Server) -> None:
    """
    The streaming half of ccxt: book, balance, orders and trades.

    Red when `_margin` sends the state under another name.
    """
    server.order(BOB, wire_order(HYPE, "A", "26.01", "10"), wire_order(HYPE, "B", "25.9", "10"))
    client = ccxt.pro.hyperliquid(
        {"walletAddress": ALICE.address, "privateKey": ALICE.key, "enableRateLimit": False}
    )
    client.urls["api"] = {
        "public": server.url,
        "private": server.url,
        "ws": {"public": f"ws{server.url.removeprefix('http')}/ws"},
    }
    client.milliseconds = lambda: NOW_MS + 7_200_000

    def act() -> None:
        """Once the watchers listen: fill an order, and let every clock beat."""
        server.wait_for_topics(5)
        server.order(ALICE, wire_order(HYPE, "B", "26.01", "1", "Ioc"))
        server.advance(6000)

    try:
        await client.load_markets()
        # The book is live, so its state now is copied.
        touch = list((await client.watch_order_book(PERP))["asks"][0])
        balance = await client.watch_balance({"type": "swap"})
        watchers = [
            asyncio.ensure_future(client.watch_orders(PERP)),
            asyncio.ensure_future(client.watch_my_trades(PERP)),
            asyncio.ensure_future(client.watch_trades(PERP)),
            asyncio.ensure_future(client.watch_positions([PERP])),
        ]
        await asyncio.to_thread(act)
        orders, fills, trades, positions = await asyncio.wait_for(asyncio.gather(*watchers), 20)
    finally:
        await client.close()

    assert touch == [26.01, 10.0]
    assert balance["USDC"]["total"] > 0
    assert orders[-1]["status"] == "closed"
    assert fills[-1]["amount"] == 1.0
    assert trades[-1]["price"] == 26.01
    assert positions[0]["contracts"] == 1.0
