"""What both serializers do with hostile messages and with a Voice API in trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

from pipecat.frames.frames import EndFrame
from pipecat.serializers.base_serializer import FrameSerializer
from rich.console import Console
from rich.table import Table

from pipecat_bandwidth.serializer import BandwidthFrameSerializer
from pipecat_bandwidth.voice_api import VoiceAPI
from tests.benchmarks import official
from tests.benchmarks.hostile import INPUTS
from tests.http_server import HANG, RESET, Answer, http_server

#: A hung server is watched no longer than this.
PATIENCE_SECS = 15.0


async def raised(kind: type[FrameSerializer]) -> list[str]:
    """Names of the hostile inputs that raise, which ends Pipecat's receive loop and the call."""
    names = []
    for name, data in INPUTS.items():
        serializer = kind("s-1", params=kind.InputParams(auto_hang_up=False))
        await serializer.setup(SimpleNamespace(audio_in_sample_rate=8000))
        try:
            await serializer.deserialize(data)
        except Exception:
            names.append(name)
    return names


TOKEN = Answer(200, {"access_token": "t0ken", "expires_in": 3600})
FINE = Answer(200)

#: What the token endpoint and the Voice API answer, in turn. The last of each is good.
TROUBLES: dict[str, tuple[list[Answer], list[Answer]]] = {
    "no trouble": ([TOKEN], [FINE]),
    "connection reset once": ([TOKEN], [RESET, FINE]),
    "one 429": ([TOKEN], [Answer(429, headers=(("Retry-After", "1"),)), FINE]),
    "one 500": ([TOKEN], [Answer(500), FINE]),
    "one 503": ([TOKEN], [Answer(503), FINE]),
    "one 503 for the token": ([Answer(503), TOKEN], [FINE]),
    "one 401": ([TOKEN], [Answer(401), FINE]),
    "cancelled while under way": ([replace(TOKEN, delay=0.5)], [FINE]),
}


async def hang_up(
    kind: type[FrameSerializer], token: list[Answer], call: list[Answer], cancel: bool = False
) -> tuple[float, bool]:
    """Seconds that EndFrame blocked, and whether the call was ended."""
    async with http_server() as server:
        server.on("/token", *token)
        server.on("/api", *call)
        urls = {"base_url": f"{server.url}/api", "token_url": f"{server.url}/token"}
        names = {"OAUTH_TOKEN_URL": urls["token_url"], "VOICE_API_BASE_URL": urls["base_url"]}
        ids = {"stream_id": "s-1", "call_id": "c-1", "account_id": "1"}
        async with VoiceAPI("id", "secret", **urls) as voice_api:
            if kind is BandwidthFrameSerializer:
                serializer = kind(**ids, voice_api=voice_api)
            else:
                loopback = type(kind.__name__, (kind,), names)
                serializer = loopback(**ids, client_id="id", client_secret="secret")
            began = time.perf_counter()
            patience = 0.2 if cancel else PATIENCE_SECS
            try:
                await asyncio.wait_for(serializer.serialize(EndFrame()), patience)
            except TimeoutError:
                await asyncio.sleep(1.0 if cancel else 0.0)
            blocked = time.perf_counter() - began
        return blocked, len(server.paths("/api")) >= len(call)


def robustness(
    console: Console, kinds: Sequence[type[FrameSerializer]]
) -> list[tuple[str, str, str]]:
    async def hang_ups() -> list[tuple[str, list[tuple[float, bool]]]]:
        names = ["silent token server", "silent Voice API", *TROUBLES]
        scripts = [([HANG], [FINE]), ([TOKEN], [HANG]), *TROUBLES.values()]
        tries = [
            asyncio.gather(*(hang_up(kind, [*t], [*c], "cancelled" in name) for kind in kinds))
            for name, (t, c) in zip(names, scripts, strict=True)
        ]
        return list(zip(names, await asyncio.gather(*tries), strict=True))

    def seconds(blocked: float) -> str:
        return f">{PATIENCE_SECS:.0f} s" if blocked >= PATIENCE_SECS else f"{blocked:.1f} s"

    hostile = [asyncio.run(raised(kind)) for kind in kinds]
    done = asyncio.run(hang_ups())
    rows = [
        (f"hostile messages that end the call, of {len(INPUTS)}", *(str(len(h)) for h in hostile))
    ]
    rows += [(f"EndFrame blocked by a {name}", *(seconds(b) for b, _ in r)) for name, r in done[:2]]
    rows += [
        (f"call ended: {name}", *("yes" if over else "no" for _, over in r)) for name, r in done[2:]
    ]
    table = Table("", f"official {official.VERSION}", "ours", title="Robustness")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for names in hostile[1:]:
        if names:
            console.print(f"ours raised on: {', '.join(names)}")
    return rows
