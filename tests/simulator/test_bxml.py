"""BXML: what is refused, how long each verb takes, and documents that are played on real sockets."""

from __future__ import annotations

import math

import bandwidth.models.bxml as sdk
import pytest

from tests.simulator.bots import STOP
from workbench.simulator.bxml import parse

STREAM = '<StartStream name="s" mode="bidirectional" destination="ws://127.0.0.1:1/x?a=1&amp;b=2"'


def test_a_stream_is_read() -> None:
    document = parse(
        f'<?xml version="1.0"?><Response>{STREAM} tracks="both" destinationUsername="u" '
        'destinationPassword="p" streamEventUrl="/events"><StreamParam name="a" value="1"/>'
        '<StreamParam name="a" value="2"/></StartStream><StopStream name="other"/>'
        f"{STOP}</Response>"
    )
    start, other, stop = document.verbs
    stream = start.stream
    assert stream is not None
    assert stream.destination == "ws://127.0.0.1:1/x?a=1&b=2"
    assert stream.credentials == ("u", "p")
    assert stream.tracks == ("inbound", "outbound")
    assert stream.bidirectional
    assert (stream.event_url, stream.event_method, stream.event_credentials) == (
        "/events", "POST", None,
    )  # fmt: skip
    assert stream.params == {"a": "1"}, "the first of two"
    assert (other.stops, other.waits, stop.stops, stop.waits) == ("other", False, "s", True)


@pytest.mark.parametrize(
    ("verb", "secs", "heard_secs"),
    [
        ("<Pause/>", 1, 0),
        ('<Pause duration="86400"/>', 86400, 0),
        ("<Ring/>", 5, 5),
        ("<SpeakSentence>One two <break/>three</SpeakSentence>", 1.2, 1.2),
        ("<PlayAudio>hello.wav</PlayAudio>", 3, 3),
        ("<SendDtmf>12</SendDtmf>", 1.2, 1.2),
        ('<SendDtmf toneInterval="300">1w2</SendDtmf>', 1.2, 1.2),
        ('<SendDtmf toneDuration="50">W1</SendDtmf>', 1.45, 1.45),
        ("<Gather/>", 5, 0),
        ('<Gather firstDigitTimeout="2" repeatCount="3"><PlayAudio>a</PlayAudio></Gather>', 15, 13),
        ("<Record/>", 60, 0),
        ('<Record maxDuration="20" silenceTimeout="30"/>', 20, 0),
        ('<Record silenceTimeout="2"/>', 2, 0),
        ("<Transfer><PhoneNumber>+1</PhoneNumber></Transfer>", math.inf, math.inf),
        ("<Conference>c</Conference>", math.inf, math.inf),
        ("<Tag>x</Tag>", 0, 0),
        ('<StartGather dtmfUrl="/d"/>', 0, 0),
        ("<StartTranscription/>", 0, 0),
        ('<Redirect redirectUrl="/next"/>', 0, 0),
    ],
)
def test_how_long_a_verb_takes(verb: str, secs: float, heard_secs: float) -> None:
    (read,) = parse(f"<Bxml>{verb}</Bxml>").verbs
    assert (read.secs, read.heard_secs) == pytest.approx((secs, heard_secs))


def test_what_is_asked_for_another_document() -> None:
    gather, record, redirect = parse(
        '<Response><Gather gatherUrl="/g" gatherMethod="GET" username="u" password="p"/>'
        '<Record recordCompleteUrl="/r"/><Redirect redirectUrl="https://h/x" tag="t"/></Response>'
    ).verbs
    assert (gather.event, gather.url, gather.method, gather.credentials) == (
        "gather", "/g", "GET", ("u", "p"),
    )  # fmt: skip
    assert (record.event, record.url, record.method) == ("recordComplete", "/r", "POST")
    assert (redirect.event, redirect.url, redirect.tag) == ("redirect", "https://h/x", "t")


def params(count: int, name: int = 1, value: int = 1) -> str:
    rows = (f'<StreamParam name="{n:0{name}}" value="{"v" * value}"/>' for n in range(count))
    return f"{STREAM}>{''.join(rows)}</StartStream>"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<Response>", "not XML"),
        ("hello", "not XML"),
        ("<Twiml/>", "root is <Twiml>, <Response> or <Bxml>"),
        ('<Response><StartStream destination="http://x/"/></Response>', "not a ws:// or wss://"),
        (f'<Response>{STREAM} mode="full"/></Response>', "not XML"),
        ('<Response><StartStream destination="ws://h" mode="full"/></Response>', "mode='full'"),
        ('<Response><StartStream destination="ws://h" tracks="all"/></Response>', "tracks='all'"),
        ('<Response><StartStream destination="ws://h" destination_username="u"/></Response>',
         "no attribute 'destination_username'"),
        (f'<Response>{STREAM}/><StopStream name="s" wait="True"/></Response>', "wait='True'"),
        (f'<Response>{STREAM}/><StopStream wait="true"/></Response>', "needs a name"),
        (f'<Response>{STREAM}/><Pause duration="86401"/></Response>', "duration='86401'>, 0.1"),
        (f'<Response>{STREAM}/><Pause duration="long"/></Response>', "duration='long'>, 0.1"),
        (f"<Response>{STREAM}/>{STREAM}/></Response>", "streams of one name"),
        (f"<Response>{params(13)}</Response>", "13 stream parameters, at most 12"),
        (f"<Response>{params(1, name=257)}</Response>", "a name of 257"),
        (f"<Response>{params(1, value=2049)}</Response>", "a value of 2049"),
        (f"<Response>{STREAM}/>{' ' * 65536}</Response>", "at most 65536"),
        (f"<Response><Pause duration='0'/>{STREAM}/>{STOP}</Response>", "duration='0'>, 0.1 to 86400"),
        (f"<Response>{STREAM}/>{STOP}<Dial/></Response>", "<Dial> is no verb"),
        (f"<Response>{STREAM}><Parameter name='a'/></StartStream>{STOP}</Response>",
         "<StreamParam> alone, not <Parameter>"),
        (f"<Response>{STREAM} destinationUsername='a:b'/>{STOP}</Response>", "has a colon"),
        ('<Response><StartStream destination="ws://h:99999/"/></Response>', "Port out of range"),
        ('<Response><StartStream destination="ws://h/#a"/></Response>', "it has a #fragment"),
        ('<Response><StartStream destination="ws://h/a b"/></Response>', "a space in it"),
        ('<Response><StartStream destination="ws:///a"/></Response>', "it names no host"),
        (f'<Response>{STREAM} streamEventUrl="http://["/></Response>', "streamEventUrl .*IPv6"),
        (f'<Response>{STREAM} streamEventUrl="ftp://h/"/></Response>', "streamEventUrl .*'ftp'"),
        (f'<Response>{STREAM} streamEventMethod="PUT"/></Response>', "'PUT'>, GET or POST"),
        ("<Bxml><SpeakSentence> </SpeakSentence></Bxml>", "<SpeakSentence> says nothing"),
        ("<Bxml><SendDtmf>12x</SendDtmf></Bxml>", "<SendDtmf> of '12x'"),
        ("<Bxml><Redirect/></Bxml>", "<Redirect> needs a redirectUrl"),
        ('<Bxml><Redirect redirectUrl="ftp://h/"/></Bxml>', "redirectUrl is no address"),
        ('<Bxml><Gather gatherUrl="/g" gatherMethod="PUT"/></Bxml>', "GET or POST"),
        ("<Bxml><Gather><Pause/></Gather></Bxml>", "not <Pause>"),
        ('<Bxml><Gather repeatCount="15"><PlayAudio>a</PlayAudio><PlayAudio>b</PlayAudio></Gather>'
         "</Bxml>", "30 prompts, at most 20"),
    ],
)  # fmt: skip
def test_bxml_that_bandwidth_would_reject(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_bxml_at_its_limits_is_accepted() -> None:
    start = parse(f"<Response>{params(12, name=256, value=2048)}{STOP}</Response>").verbs[0]
    assert start.stream is not None and len(start.stream.params) == 12


NUMBER = sdk.PhoneNumber("+15555550142")
WRITTEN = [
    sdk.SpeakSentence("Hello <break time='1s'/> you"),
    sdk.PlayAudio("hello.wav", username="u", password="p"),
    sdk.Pause("3"),
    sdk.Ring(duration=5, answer_call=True),
    sdk.SendDtmf("12w34#", tone_duration=100, tone_interval=100),
    sdk.Gather([sdk.SpeakSentence("Press one")], gather_url="/g", first_digit_timeout=2),
    sdk.Record(record_complete_url="/r", max_duration=10, silence_timeout=2, transcribe=False),
    sdk.StartRecording(recording_available_url="/r", multi_channel=True),
    sdk.PauseRecording(),
    sdk.ResumeRecording(),
    sdk.StopRecording(),
    sdk.StartGather(dtmf_url="/d"),
    sdk.StopGather(),
    sdk.StartTranscription(name="t", tracks="both"),
    sdk.StopTranscription(name="t"),
    sdk.Tag("a tag"),
    sdk.Redirect(redirect_url="/next", redirect_method="GET"),
    sdk.Hangup(),
    sdk.Transfer([NUMBER], transfer_caller_id="+15555550100", transfer_complete_url="/t"),
    sdk.Bridge("c-1", bridge_complete_url="/b"),
    sdk.Conference("room", mute=True),
    sdk.Forward(to="+15555550142", call_timeout="10"),
    sdk.StopStream(name="s", wait="true"),
    sdk.StopStream(name="s", wait=True),
    sdk.StopStream(name="s"),
    sdk.StartStream("wss://bot.example/ws", name="s", mode="bidirectional", tracks="inbound"),
    sdk.StartStream(
        "wss://bot.example/ws?a=1&b=2", destination_username="u", destination_password="p",
        stream_params=[sdk.StreamParam("k", "v")], stream_event_url="/e",
        stream_event_method="POST",
    ),
]  # fmt: skip


@pytest.mark.parametrize("root", [sdk.Bxml, sdk.Response])
@pytest.mark.parametrize("verb", WRITTEN, ids=lambda verb: verb._tag)
def test_what_bandwidths_sdk_writes_is_read(verb: sdk.Verb, root: type) -> None:
    (read,) = parse(root([verb]).to_bxml()).verbs
    assert read.name == verb._tag
