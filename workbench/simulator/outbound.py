"""A call that the bot makes: it asks the Voice API, and somebody is rung and answers at once."""

from __future__ import annotations

import asyncio

import httpx

from workbench.exceptions import SimulationError
from workbench.simulator.calls import Calls, KnownCall
from workbench.simulator.route import not_an_address, ssl_advice
from workbench.simulator.webhooks import WEBHOOK_SECS

__all__ = ["made_call"]


async def made_call(
    client: httpx.AsyncClient,
    calls: Calls,
    url: str,
    credentials: tuple[str, str],
    patience: float = 2 * WEBHOOK_SECS,
) -> KnownCall:
    """Wait for the bot to make a call.

    Args:
        client: How requests travel.
        calls: Where it is made.
        url: What is posted to first, so that the bot does; ``""`` for nothing.
        credentials: HTTP Basic user and password of that; empty for none.
        patience: Seconds that it may take.

    Raises:
        SimulationError: If none is made in time, or that address refuses.
    """
    if url and (wrong := not_an_address(url, "http", "https")):
        raise SimulationError("outbound", f"{url} is not an http:// address: {wrong}")
    made = asyncio.ensure_future(calls.made.get())
    waiting: set[asyncio.Future[KnownCall] | asyncio.Future[None]] = {made}
    if url:
        waiting.add(asyncio.ensure_future(_ask(client, url, credentials)))
    try:
        async with asyncio.timeout(patience):
            while not made.done():
                done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for future in done - {made}:
                    future.result()
                waiting = set(pending)
    except TimeoutError:
        reason = f"no POST .../calls at the Voice API within {patience:g} s"
        raise SimulationError("outbound", reason) from None
    finally:
        for future in waiting:
            future.cancel()
    return made.result()


async def _ask(client: httpx.AsyncClient, url: str, credentials: tuple[str, str]) -> None:
    auth = httpx.BasicAuth(*credentials) if any(credentials) else httpx.Auth()
    try:
        response = await client.post(url, auth=auth, json={})
    except httpx.HTTPError as error:
        reason = (str(error) or type(error).__name__) + ssl_advice(error)
        raise SimulationError("outbound", f"no answer from {url}: {reason}") from None
    if response.status_code >= 300:
        what = f"{response.status_code} {response.reason_phrase[:60]}"
        raise SimulationError("outbound", f"{url} answered {what}")
