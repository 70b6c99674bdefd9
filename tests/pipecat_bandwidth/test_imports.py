"""What each module loads: in a fresh interpreter, since this one has loaded everything."""

import subprocess
import sys

import pytest


def loaded(code: str) -> set[str]:
    """Top-level packages in ``sys.modules`` after that code."""
    code = (
        f"{code}\nimport sys; print('loaded', *{{name.partition('.')[0] for name in sys.modules}})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.rpartition("loaded ")[2].split())


@pytest.mark.parametrize(
    "module",
    [
        "encodings",
        "exceptions",
        "hanging_up",
        "messages",
        "mono",
        "products",
        "resampler",
        "stats",
        "voice_api",
    ],
)
def test_a_leaf_loads_neither_pipecat_nor_httpx(module: str) -> None:
    assert not {"pipecat", "httpx"} & loaded(f"import pipecat_bandwidth.{module}")


def test_httpx_is_loaded_by_the_first_hang_up() -> None:
    made = "from pipecat_bandwidth import VoiceAPI\napi = VoiceAPI('id', 'secret')"
    assert "httpx" not in loaded(made)
    hang_up = (
        f"{made}\nimport asyncio, contextlib\n"
        "api = VoiceAPI('id', 'secret', token_url='http://127.0.0.1:9/', deadline_secs=0.05)\n"
        "with contextlib.suppress(Exception): asyncio.run(api.hang_up('1', 'c-1'))"
    )
    assert "httpx" in loaded(hang_up)


def test_the_serializer_adds_httpx_to_nothing() -> None:
    """Pipecat may load it for itself."""
    bare = "import pipecat.serializers.base_serializer, pipecat.frames.frames"
    added = loaded(f"{bare}\nimport pipecat_bandwidth.serializer") - loaded(bare)
    assert "httpx" not in added
