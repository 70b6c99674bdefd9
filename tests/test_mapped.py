"""Arrays in files are arrays like any other, and take memory only while they are looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench import mapped
from workbench.mapped import LARGE, Spool, blocks, let_go, same, zeros

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="as Linux counts")

#: Told by a process of its own: what it prints last, as JSON.
_MEMORY = """
import json, re
import numpy as np
def of(what):
    with open("/proc/self/status") as status:
        return int(re.search(what + r":\\s*(\\d+)", status.read())[1]) / 1024
def more(work):
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before = of("VmRSS")
    work()
    return of("VmHWM") - before
"""


def told(code: str, **environment: str) -> object:
    command = [sys.executable, "-c", _MEMORY + code]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_what_was_let_go_of_is_still_there():
    array = zeros(3 * LARGE, np.int16)
    assert array.shape == (3 * LARGE,) and not array[:: LARGE // 7].any()
    values = np.random.default_rng(1).integers(-32768, 32767, len(array), np.int16)
    for first, block in blocks(array, 1_000_003):
        block[:] = values[first : first + len(block)]
    let_go(array)
    assert np.array_equal(array, values)
    let_go(array[7:LARGE][::3])
    assert same(array, values)
    array[-1] ^= 1
    assert not same(array, values) and not same(array, values[:-1])


def test_blocks_follow_each_other_without_a_gap():
    array = np.arange(10)
    assert [(first, block.tolist()) for first, block in blocks(array, 4)] == [
        (0, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (8, [8, 9]),
    ]  # fmt: skip
    assert list(blocks(array[:0], 4)) == []


@pytest.mark.parametrize("size", [0, 10, LARGE - 1, LARGE, 2 * LARGE + 12345])
def test_pieces_lie_in_a_spool_as_they_were_added(size):
    rng, spool, pieces, begins = np.random.default_rng(2), Spool(), [], []
    while sum(map(len, pieces)) < size:
        pieces.append(rng.bytes(int(rng.integers(0, 300_000))))
        begins.append(spool.add(pieces[-1]))
    data = spool.taken()
    assert data.tobytes() == b"".join(pieces)
    for begin, piece in zip(begins, pieces, strict=True):
        assert data[begin : begin + len(piece)].tobytes() == piece


@linux
def test_a_long_array_takes_memory_only_where_it_is_looked_at():
    grown = told("""
from workbench.mapped import blocks, zeros
import numpy as np
array = zeros(20_000_000, np.float32)
def work():
    for first, block in blocks(array, 250_000):
        block[:] = first
assert array.nbytes == 80_000_000
print(json.dumps([more(work), more(lambda: [block.sum() for _, block in blocks(array, 250_000)])]))
""")
    assert max(grown) < 8


@linux
def test_its_file_has_no_name_and_is_gone_with_it(tmp_path):
    code = """
import os
from workbench.mapped import Spool, zeros
array, spool = zeros(4_000_000, np.float32), Spool()
spool.add(bytes(20_000_000))
data = spool.taken()
array[:] = 1
folder = os.environ["TMPDIR"]
held = [os.readlink(f"/proc/self/map_files/{name}") for name in os.listdir("/proc/self/map_files")]
print(json.dumps([os.listdir(folder), sum(folder in name for name in held)]))
"""
    named, mapped_ = told(code, TMPDIR=str(tmp_path))
    assert named == [] and mapped_ >= 2
    assert list(tmp_path.iterdir()) == []


@linux
@pytest.mark.parametrize("limit", [0, 1 << 20, 9 << 20])
def test_where_the_disk_has_no_room_memory_takes_it(limit):
    # No file of this process may be longer, as on a full disk: the writing fails, not the process.
    equal = told(f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from workbench.mapped import Spool, zeros
array, spool = zeros(4_000_000, np.float32), Spool()
array[:] = np.arange(4_000_000)
pieces = [bytes([number]) * 3_000_000 for number in range(7)]
for piece in pieces:
    spool.add(piece)
print(json.dumps([bool(array[-1] == 3_999_999), spool.taken().tobytes() == b"".join(pieces)]))
""")
    assert equal == [True, True]


def test_files_are_made_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mapped._folder.cache_clear()
    assert mapped._folder() is None
    monkeypatch.delenv("TMPDIR")
    mapped._folder.cache_clear()
    assert mapped._folder() in (None, "/var/tmp")
    mapped._folder.cache_clear()


@linux
def test_whatever_is_measured_of_a_long_signal_takes_no_more_memory_than_of_a_short_one():
    grown = told("""
import warnings
warnings.simplefilter("ignore")
from workbench import mapped
from workbench.audio import Audio
from workbench.metrics import levels, segments, sounds, spectra, speech, speech_level
from workbench.diagnosis.detectors import continuity, loudness, readings
from workbench.tuning.legs import LEGS
rng = np.random.default_rng(0)
samples = mapped.zeros(12_000_000, np.float32)  # 25 minutes, 48 MB
tone = np.sin(np.arange(100_000) * 0.3).astype(np.float32)
for number, (_, block) in enumerate(mapped.blocks(samples, 100_000)):
    block[:] = (0.1 / (number % 7 + 1) * tone + 1e-3 * rng.standard_normal(100_000)).astype(np.float32)
audio = Audio(samples, 8000)
few = Audio(samples[:80_000].copy(), 8000)
work = {
    "level": lambda a: a.level,
    "resampled": lambda a: a.resampled(16000),
    "int16": lambda a: Audio.from_pcm(a.int16(), 8000),
    "levels": speech.levels,
    "centred": sounds.centred,
    "active": speech_level.speech_activity,
    "bandwidth": spectra.effective_bandwidth,
    "loudness": levels.loudness,
    "peak": levels.peak,
    "loudest": lambda a: levels.loudest_span(a, 5.0),
    "segments": segments.segments,
    "clipping": lambda a: list(loudness._clipping(a, "bot", "bot_sent", [])),
    "centre": loudness._off_centre,
    "holes": continuity._holes,
    "misread": lambda a: list(readings.misread(a, "PCM")),
    "G.711": LEGS["G.711"].apply,
    "G.722": LEGS["G.722"].apply,
}
for one in work.values():
    one(few)  # what is imported, or known once
print(json.dumps({name: more(lambda: one(audio)) for name, one in work.items()}))
""")
    assert {name: mb for name, mb in grown.items() if mb > 24} == {}
