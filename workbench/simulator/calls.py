"""The calls that the Voice API knows: what each is, and what requests do to it.

================================== =============================================================
``POST .../calls``                 201; a call to somebody, of which the simulator is told
``GET .../calls``                  200 with the states of those that the filters leave, on one page
``GET .../calls/{id}``             200 with its state, also when it is over
``POST .../calls/{id}``            200; ``{"state": "completed"}`` ends it, ``{"state": "active",
                                   "redirectUrl": ...}`` has it go on with what that webhook answers
``PUT .../calls/{id}/bxml``        204; it goes on with this document
================================== =============================================================

404 is the answer for a call that is unknown or over, 400 for a body that is not as documented. The
SDK of Bandwidth sends ``redirectMethod`` and ``redirectFallbackMethod`` whatever it asks for, so
they are taken beside ``completed`` too.

References:
    Bandwidth, Voice API v2: create call, get call state, update call, update call BXML.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from workbench.simulator.bxml import parse
from workbench.simulator.route import Fallback, not_an_address

__all__ = ["ACCOUNT", "Calls", "Kind", "KnownCall", "Update", "new_id", "problem", "timestamp"]

#: What a request can ask of calls.
Kind: TypeAlias = Literal["create", "list", "state", "hang up", "redirect", "bxml"]

ACCOUNT: Final = "9900000"

#: Fields of an update, as documented.
_UPDATE: Final = frozenset(
    "state redirectUrl redirectMethod username password redirectFallbackUrl redirectFallbackMethod "
    "fallbackUsername fallbackPassword tag".split()
)
#: Those of a call that is made, and which of them it cannot do without.
_NEEDED: Final = ("applicationId", "from", "to", "answerUrl")
_CREATE: Final = frozenset(_NEEDED).union(
    "privacy displayName uui answerMethod username password answerFallbackUrl answerFallbackMethod "
    "fallbackUsername fallbackPassword disconnectUrl disconnectMethod callTimeout callbackTimeout "
    "machineDetection priority tag".split()
)
_METHODS: Final = ("GET", "POST")

Answered: TypeAlias = tuple[int, dict[str, Any] | None]


@dataclass(frozen=True)
class Update:
    """What a call goes on with, in place of the verb in progress and those after it.

    Parameters:
        bxml: The document itself; empty if a webhook is asked for it.
        url: That webhook's.
        method: ``"GET"`` or ``"POST"``.
        credentials: HTTP Basic user and password of it; empty for none.
        fallback: Where the webhook goes if there it fails, if the request says so.
    """

    bxml: bytes = b""
    url: str = ""
    method: str = "POST"
    credentials: tuple[str, str] = ("", "")
    fallback: Fallback | None = None


@dataclass(eq=False)
class KnownCall:
    """One call, as Bandwidth's books have it.

    Parameters:
        account_id: Whose it is.
        call_id: Its id.
        direction: ``"inbound"``, or ``"outbound"`` for one that was made by a request.
        caller: Number of whoever rang.
        called: Number that was rung.
        application_id: The Voice application.
        tag: As it is sent with every event; ``""`` for none.
        made_by: The request that made it; empty for an inbound call.
        start_time: When it began, in ISO 8601.
        answer_time: When it was answered; ``""`` before.
        end_time: When it ended; ``""`` before.
        cause: Of its end, as in ``disconnect``; ``""`` before.
        error: What went wrong, if something did.
        over: Set when a request has ended it.
        updated: Set when a request has changed what it goes on with.
        update: That change, the last of them; taken with :meth:`take_update`.
    """

    account_id: str = ACCOUNT
    call_id: str = field(default_factory=lambda: new_id("c"))
    direction: Literal["inbound", "outbound"] = "inbound"
    caller: str = "+15555550100"
    called: str = "+15555550142"
    application_id: str = "00000000-0000-4000-8000-000000000000"
    tag: str = ""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    start_time: str = field(default_factory=lambda: timestamp())
    answer_time: str = ""
    end_time: str = ""
    cause: str = ""
    error: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    updated: asyncio.Event = field(default_factory=asyncio.Event)
    update: Update | None = None

    @property
    def state(self) -> str:
        """``"initiated"``, ``"answered"`` or ``"disconnected"``."""
        if self.end_time:
            return "disconnected"
        return "answered" if self.answer_time else "initiated"

    @property
    def facts(self) -> dict[str, str]:
        """What its state and each of its events say of it."""
        facts = {
            "callId": self.call_id,
            "from": self.caller,
            "to": self.called,
            "direction": self.direction,
            "applicationId": self.application_id,
            "accountId": self.account_id,
            "startTime": self.start_time,
        }
        return facts | ({"answerTime": self.answer_time} if self.answer_time else {})

    def answer(self) -> None:
        """Take note that it is answered."""
        self.answer_time = self.answer_time or timestamp()

    def end(self, cause: str, error: str = "") -> None:
        """Take note that it is over: from now on it can only be asked for its state."""
        self.cause, self.error, self.end_time = cause, error, timestamp()

    def change(self, update: Update) -> None:
        """Have it go on with something else."""
        self.update = update
        self.updated.set()

    def take_update(self) -> Update:
        """The change that was asked for; it is asked for no more."""
        update, self.update = self.update, None
        self.updated.clear()
        assert update is not None
        return update


class Calls:
    """All of them, by account and id.

    Attributes:
        made: Those that requests have made and nobody has placed yet.
    """

    def __init__(self) -> None:
        """None are known yet."""
        self.made: asyncio.Queue[KnownCall] = asyncio.Queue()
        self._known: dict[tuple[str, str], KnownCall] = {}

    def add(self, account_id: str, call_id: str) -> KnownCall:
        """Know a call; the same again if it is known."""
        call = KnownCall(account_id, call_id)
        return self._known.setdefault((account_id, call_id), call)

    def answer(self, kind: Kind, account_id: str, call_id: str, body: bytes, root: str) -> Answered:
        """Do what a request asks.

        Args:
            kind: What it asks.
            account_id: As in its path.
            call_id: As in its path; ``""`` for a call that is yet to be made.
            body: Of the request.
            root: Of the Voice API, for addresses in the answer.

        Returns:
            Status, and the fields of the answer's JSON, if it has any.
        """
        if kind == "create":
            return self._make(account_id, json_object(body), root)
        call = self._known.get((account_id, call_id))
        if call is not None and kind == "state":
            return 200, _state(call)
        if call is None or call.end_time or call.over.is_set():
            return 404, problem("not-found", f"Call {call_id} is not active")
        return _put(call, body) if kind == "bxml" else _post(call, json_object(body))

    def listed(self, account_id: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The states of an account's calls, oldest first.

        Args:
            account_id: Whose.
            query: Filters, as documented: ``to``, ``from``, ``minStartTime``, ``maxStartTime``,
                ``disconnectCause``.
        """
        states = [_state(call) for (whose, _), call in self._known.items() if whose == account_id]
        for name in {"to", "from", "disconnectCause"} & set(query):
            states = [state for state in states if state.get(name) == query[name]]
        first, last = query.get("minStartTime", ""), query.get("maxStartTime", "~")
        return [state for state in states if first <= state["startTime"] <= last]

    def _make(self, account_id: str, fields: Mapping[str, Any], root: str) -> Answered:
        if wrong := _wrong_fields(
            fields, _CREATE, ("answerMethod", "answerFallbackMethod", "disconnectMethod")
        ):
            return 400, problem("validation", wrong)
        if missing := [name for name in _NEEDED if not fields.get(name)]:
            return 400, problem("validation", f"{missing[0]} is missing")
        for name in {"answerUrl", "answerFallbackUrl"} & set(fields):
            if wrong := not_an_address(fields[name], "http", "https"):
                return 400, problem("validation", f"{name} is no address: {wrong}")
        call = KnownCall(
            account_id, direction="outbound", caller=fields["from"], called=fields["to"],
            application_id=fields["applicationId"], tag=fields.get("tag", ""), made_by=fields,
        )  # fmt: skip
        self._known[account_id, call.call_id] = call
        self.made.put_nowait(call)
        defaults = {"answerMethod": "POST", "disconnectMethod": "POST", "callTimeout": 30}
        told = {name: value for name, value in fields.items() if "assword" not in name}
        url = f"{root}/accounts/{account_id}/calls/{call.call_id}"
        return 201, defaults | told | {
            "accountId": account_id, "callId": call.call_id, "callUrl": url,
        }  # fmt: skip


def _post(call: KnownCall, fields: Mapping[str, Any]) -> Answered:
    """Update a call."""
    state = fields.get("state", "active") if fields else None
    if wrong := _wrong_fields(fields, _UPDATE, ("redirectMethod", "redirectFallbackMethod")):
        return 400, problem("bad-request", wrong)
    if state == "completed":
        if found := [name for name in ("redirectUrl", "tag") if name in fields]:
            return 400, problem("bad-request", f"{found[0]} is not allowed with completed")
        call.over.set()
        return 200, None
    if state != "active":
        return 400, problem("bad-request", "The body must end or redirect the call")
    url = fields.get("redirectUrl", "")
    if wrong := not_an_address(url, "http", "https"):
        return 400, problem("bad-request", f"redirectUrl is no address: {wrong}")
    fallback = Fallback.of(fields, "redirectFallback")
    if fallback and (wrong := not_an_address(fallback.url, "http", "https")):
        return 400, problem("bad-request", f"redirectFallbackUrl is no address: {wrong}")
    call.tag = fields.get("tag", call.tag)
    credentials = fields.get("username", ""), fields.get("password", "")
    method = fields.get("redirectMethod", "POST")
    call.change(Update(url=url, method=method, credentials=credentials, fallback=fallback))
    return 200, None


def _put(call: KnownCall, body: bytes) -> Answered:
    """Give a call another document."""
    try:
        parse(body)
    except ValueError as error:
        return 400, problem("bad-request", f"The document is not BXML: {error}")
    call.change(Update(bxml=body))
    return 204, None


def _state(call: KnownCall) -> dict[str, Any]:
    told = {
        "state": call.state,
        "endTime": call.end_time,
        "disconnectCause": call.cause,
        "errorMessage": call.error,
        "lastUpdate": call.end_time or call.answer_time or call.start_time,
    }
    return call.facts | {name: value for name, value in told.items() if value}


def _wrong_fields(
    fields: Mapping[str, Any], known: frozenset[str], methods: tuple[str, ...]
) -> str:
    """What is wrong with a body; empty if nothing is."""
    if unknown := sorted(set(fields) - known):
        return f"There is no field {unknown[0][:60]!r}"
    for name, value in fields.items():
        text = name not in ("privacy", "callTimeout", "callbackTimeout", "machineDetection",
                            "priority")  # fmt: skip
        if text and not isinstance(value, str):
            return f"{name} must be text"
        if name in methods and value not in _METHODS:
            return f"{name} must be GET or POST"
    return ""


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; none of its fields where it is no such thing."""
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def problem(kind: str, description: str) -> dict[str, Any]:
    """The body of an answer that refuses."""
    return {"type": kind, "description": description, "id": secrets.token_hex(8)}


def new_id(kind: str) -> str:
    """A fresh id of the real shape; ``kind`` is ``"c"`` for a call, ``"s"`` for a stream."""
    return f"{kind}-{secrets.token_hex(4)}-{uuid.uuid4()}"


def timestamp() -> str:
    """Now, in ISO 8601, as events have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
