"""A server for bots on Bandwidth calls: the webhook, the media stream, and the end of both.

::

    async def bot(websocket, serializer):  # one call, from its start message to its end
        ...

    app = create_app(bot, username=..., password=..., voice_api=VoiceAPI(...))
    run(app)

======================================= ============================================================
what comes                              what is done
======================================= ============================================================
``POST /webhook``, ``initiate``,        answered with BXML: a stream to this server, with a one-time
``answer`` or ``redirect``              token as its password, and a wait for that stream's end
``POST /webhook``, any other event      204
WebSocket ``/stream`` with a token      the bot gets it, and a serializer for the call of that token
any HTTP request without the password   401, and none of its body is read
SIGTERM or Ctrl-C, under :func:`run`    live calls are hung up or handed over, then it ends
======================================= ============================================================

The modules, in the order in which a call meets them:

- :mod:`pipecat_bandwidth.server.guard`: who may post, and how much;
- :mod:`pipecat_bandwidth.server.tokens`: which stream belongs to which call;
- :mod:`pipecat_bandwidth.server.switchboard`: streams that wait, live calls, their end;
- :mod:`pipecat_bandwidth.server.app`: these as one application;
- :mod:`pipecat_bandwidth.server.serving`: uvicorn, set up for it.

It needs the extra ``server``: FastAPI and uvicorn.
"""

from __future__ import annotations

try:
    from pipecat_bandwidth.server.app import bxml, create_app
    from pipecat_bandwidth.server.guard import Guard, credentials
    from pipecat_bandwidth.server.serving import Server, configured, run
    from pipecat_bandwidth.server.switchboard import Limits, Switchboard
    from pipecat_bandwidth.server.tokens import MemoryTokens, Tokens
except ModuleNotFoundError as error:
    if error.name not in ("fastapi", "starlette", "uvicorn"):
        raise
    raise ModuleNotFoundError(
        f"pipecat_bandwidth.server needs {error.name}: pip install 'pipecat-bandwidth[server]'",
        name=error.name,
    ) from error

__all__ = [
    "Guard",
    "Limits",
    "MemoryTokens",
    "Server",
    "Switchboard",
    "Tokens",
    "bxml",
    "configured",
    "create_app",
    "credentials",
    "run",
]
