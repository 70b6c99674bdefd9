"""BXML: what is refused, how long each verb takes, and documents that are played on real sockets."""

from __future__ import annotations

import math

import bandwidth.models.bxml as sdk
import pytest

from tests.simulator.bots import STOP
from workbench.simulator.bxml import parse
from workbench.simulator.route import Fallback

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
    sdk.Connect([sdk.Endpoint("e-1")], event_callback_url="/e"),
    sdk.Refer(sdk.SipUri("sip:a@b.example"), refer_complete_url="/r"),
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


BOT = sdk.StartStream("wss://bot.example/ws", name="bot", mode="bidirectional", tracks="inbound")
EAR = sdk.StartStream("wss://ear.example/ws", name="ear", tracks="both")
HOLD = sdk.StopStream(name="bot", wait="true")
#: Documents as applications write them, with the seconds that each verb takes.
DOCUMENTS = {
    "a bot": ([BOT, HOLD], [0, 0]),
    "a bot, and a day's silence": ([BOT, sdk.Pause("86400")], [0, 86400]),
    "a bot after a greeting": ([sdk.SpeakSentence("One moment please"), BOT, HOLD], [1.2, 0, 0]),
    "a bot, then a person": ([BOT, HOLD, sdk.Transfer([NUMBER])], [0, 0, math.inf]),
    "a bot that is listened to": ([EAR, BOT, HOLD, sdk.StopStream(name="ear")], [0, 0, 0, 0]),
    "a bot that is recorded": (
        [sdk.StartRecording(multi_channel=True), BOT, HOLD, sdk.StopRecording(), sdk.Hangup()],
        [0, 0, 0, 0, 0],
    ),
    "keys beside a bot": (
        [sdk.StartGather(dtmf_url="/keys"), BOT, HOLD, sdk.StopGather()], [0, 0, 0, 0],
    ),
    "words beside a bot": (
        [sdk.StartTranscription(name="t", custom_params=[sdk.CustomParam("a", "b")]), BOT, HOLD],
        [0, 0, 0],
    ),
    "a menu": (
        [
            sdk.Gather(
                [sdk.SpeakSentence("Press one"), sdk.PlayAudio("or-two.wav")], gather_url="/chosen",
                first_digit_timeout=4, repeat_count=2, max_digits=1,
                gather_fallback_url="/chosen-too", gather_fallback_method="GET",
            ),
            sdk.Redirect(redirect_url="/again", redirect_fallback_url="/again-too"),
        ],
        [15.6, 0],
    ),
    "an answering machine": (
        [sdk.PlayAudio("nobody.wav"), sdk.Record(silence_timeout=3, max_duration=120),
         sdk.SpeakSentence("Good bye"), sdk.Hangup()],
        [3, 3, 0.8, 0],
    ),
    "a conference": ([sdk.Tag("room"), sdk.Conference("room")], [0, math.inf]),
    "keys that are sent": ([sdk.Pause("2"), sdk.SendDtmf("1w2"), BOT, HOLD], [2, 1.3, 0, 0]),
    "another number": ([sdk.Ring(duration=2), sdk.Forward(to="+15555550142")], [2, math.inf]),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_whole_documents_of_the_sdks_are_read_verb_by_verb(name: str) -> None:
    verbs, secs = DOCUMENTS[name]
    read = parse(sdk.Bxml(verbs).to_bxml()).verbs
    assert [verb.name for verb in read] == [verb._tag for verb in verbs]
    assert [verb.secs for verb in read] == pytest.approx(secs)


def test_so_many_documents_of_the_sdks_are_read() -> None:
    assert len(WRITTEN) + len(DOCUMENTS) >= 40


def test_where_an_event_goes_if_its_address_fails_is_read() -> None:
    gather, redirect = parse(sdk.Bxml(DOCUMENTS["a menu"][0]).to_bxml()).verbs
    assert gather.fallback == Fallback("/chosen-too", "GET")
    assert redirect.fallback == Fallback("/again-too", "POST")
    record = sdk.Record(
        record_complete_url="/r", record_complete_fallback_url="https://b.example/r",
        fallback_username="u", fallback_password="p",
    )  # fmt: skip
    (read,) = parse(sdk.Bxml([record]).to_bxml()).verbs
    assert read.fallback == Fallback("https://b.example/r", "POST", ("u", "p"))
    for wrong in ('redirectFallbackUrl="ftp://h/"', 'redirectFallbackMethod="PUT"'):
        with pytest.raises(ValueError, match=r"<Redirect.*redirectFallback"):
            parse(f'<Bxml><Redirect redirectUrl="/a" {wrong}/></Bxml>')
