r"""Streaming sample-rate conversion with a small, constant delay.

A resampler inside a telephone call has to give out audio whenever it is given some: what it holds
back is heard as delay, and what it holds back when a speaker stops is heard late or never. So this
is the plainest of converters, one linear-phase low-pass filter evaluated at the output instants:

======================= ===========================================================================
delay                   32 samples of the lower of the two rates: 4 ms at 8 kHz, 2 ms at 16 kHz
output                  on every call, all that is due: ``n`` samples in, ``n * out / in`` out
pass band               flat within 0.01 dB to 0.85 of the lower Nyquist frequency (3.4 kHz when
                        one side is 8 kHz), -0.1 dB at 0.87, -2.5 dB at 0.91
stop band               at least 73 dB down from the lower Nyquist frequency on, images and aliases
chunking                makes no difference, not even in the last bit
======================= ===========================================================================

The filter is a windowed sinc. For an attenuation of :math:`A` dB and a length of :math:`N` taps
Kaiser's empirical formulas give the window's shape and the width of the transition band, here laid
so that the stop band begins exactly at the lower Nyquist frequency [1]_ [2]_:

.. math:: \beta = 0.1102\,(A - 8.7), \qquad \Delta f = \frac{A - 7.95}{14.36\,(N - 1)} f_s

Every tap is rounded to a multiple of :math:`2^{-32}`. With 16-bit samples all products and partial
sums are then whole multiples of it below :math:`2^{53}`, hence exact in double precision: the order
of summation, which a BLAS is free to choose, cannot matter. That is why the chunking makes no
difference.

References:
    .. [1] J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function",
       Proc. 1974 IEEE Int. Symp. Circuits and Systems, pp. 20-23.
    .. [2] A. V. Oppenheim, R. W. Schafer, "Discrete-Time Signal Processing", 3rd ed., section 7.6.
    .. [3] Ibid., section 4.7: polyphase implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import gcd
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pipecat_bandwidth.products import MOST_PRODUCTS, Product

__all__ = ["RATES", "StreamResampler"]

#: The rates that can be converted into each other, in hertz.
RATES: Final = (8000, 16000, 22050, 24000, 32000, 44100, 48000)

#: Half the filter's length, in samples of the lower rate: this is the delay.
_HALF_LENGTH: Final = 32

#: Attenuation asked of the design, in dB. 74 gives 73 and leaves the pass band its 0.85.
_ATTENUATION: Final = 74.0

#: Taps are multiples of one part in this.
_TAP_UNIT: Final = 2.0**32

#: Fewest outputs of one period. The 10 ms of most rates are then a multiple of four periods, and of
#: four outputs: so many a kernel takes at a time, or twice as many.
_PERIOD: Final = 20

#: What a product costs beside its multiplications, in multiplications: about 40 ns.
_CALL: Final = 440

_Doubles: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_Shorts: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int16]]
_Conversion: TypeAlias = Callable[[bytes], bytes]

#: ``ndarray.clip`` without its wrapper in Python, which takes longer than clipping 20 ms does.
_clip: Final[Callable[..., object]] = (getattr(np, "_core", None) or np.core).umath.clip

_SHORT: Final = np.dtype("<i2")
_LOWEST: Final = np.array(-32768.0)
_HIGHEST: Final = np.array(32767.0)


class StreamResampler:
    """Convert one stream of 16-bit PCM from one rate to another.

    Example::

        >>> resampler = StreamResampler(8000, 16000)
        >>> len(resampler.process(bytes(320))), len(resampler.flush()), resampler.delay_ms
        (640, 128, 4.0)

    Attributes:
        in_rate: Of what goes in, in hertz.
        out_rate: Of what comes out, in hertz.
        delay_ms: Constant delay of the output; 0.0 when the rates are equal.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        """Set the rates. The filter of a pair of rates is computed once per process.

        Args:
            in_rate: One of :data:`RATES`.
            out_rate: One of :data:`RATES`; when equal, audio passes through untouched.

        Raises:
            ValueError: If a rate is not among them.
        """
        for name, rate in (("in_rate", in_rate), ("out_rate", out_rate)):
            if type(rate) is not int or rate not in RATES:
                raise ValueError(f"{name}={rate!r} is not one of {', '.join(map(str, RATES))}")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self.delay_ms = 0.0 if in_rate == out_rate else 1000 * _HALF_LENGTH / min(in_rate, out_rate)
        self._bank = bank = None if in_rate == out_rate else _bank(in_rate, out_rate)
        # What a period begun needs, from its first window on; then the inputs being converted;
        # then room that only meets zero taps.
        self._input = np.zeros(0 if bank is None else bank.buffered)
        self._phase = 0  # inputs taken so far, modulo the bank's step
        self._begun = False
        self._conversions: dict[tuple[int, int], _Conversion] = {}
        self._workings: dict[int, _Working] = {}

    def process(self, pcm: bytes) -> bytes:
        """Convert the next samples of the stream.

        Args:
            pcm: 16-bit little-endian mono, any whole number of samples.

        Returns:
            What is due by now: after ``n`` samples in all, ``ceil(n * out_rate / in_rate)``. Each
            is :attr:`delay_ms` behind the input, so that a stream begins with that much silence.

        Raises:
            ValueError: If ``pcm`` holds half a sample.
        """
        convert = self._conversions.get((self._phase, len(pcm)))
        if convert is None:
            return self._process_other(pcm)
        self._begun = True
        return convert(pcm)

    def flush(self) -> bytes:
        """End the stream.

        Returns:
            The tail, :attr:`delay_ms` long to within one sample. Afterwards the resampler
            is as new. Nothing when there has been no stream, or nothing to convert.
        """
        if self._bank is None or not self._begun:
            return b""
        tail = self.process(bytes(2 * self._bank.delay))
        self.reset()
        return tail

    def reset(self) -> None:
        """Forget the stream: its tail is dropped, the next sample begins a new one."""
        self._input.fill(0.0)
        self._phase = 0
        self._begun = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the filter, which is shared, and the views, which show this one's inputs."""
        left_out: dict[str, Any] = {"_bank": None, "_conversions": {}, "_workings": {}}
        return vars(self) | left_out | {"_input": self._input.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.in_rate != self.out_rate:
            self._bank = _bank(self.in_rate, self.out_rate)

    def __repr__(self) -> str:
        return f"StreamResampler({self.in_rate}, {self.out_rate})"

    def _process_other(self, pcm: bytes) -> bytes:
        """Convert where nothing is prepared: a new length of audio, or equal rates."""
        if len(pcm) % 2:
            raise ValueError(f"{len(pcm)} bytes are not a whole number of 16-bit samples")
        bank = self._bank
        if bank is None or not pcm:
            return pcm
        longest = 2 * bank.longest
        if len(pcm) > longest:
            starts = range(0, len(pcm), longest)
            return b"".join(self.process(pcm[start : start + longest]) for start in starts)
        length = len(pcm) // 2
        working = self._working(bank, -(-(self._phase + length) // bank.step))
        if length % bank.step:
            return self._convert(bank, working, pcm)
        # Nearly every stream's messages are whole periods, so that the next is converted likewise.
        if len(self._conversions) == 8:
            self._conversions.clear()
        convert = _conversion(bank, self._input, working, self._phase, length)
        self._conversions[self._phase, len(pcm)] = convert
        return self.process(pcm)

    def _working(self, bank: _Bank, periods: int) -> _Working:
        """Make what is needed to convert so many periods, or find it made."""
        working = self._workings.get(periods)
        if working is None:
            if len(self._workings) == 8:  # real streams come in one or two lengths
                self._workings.clear()
                self._conversions.clear()
            working = self._workings[periods] = _prepare(bank, self._input, periods)
        return working

    def _convert(self, bank: _Bank, working: _Working, pcm: bytes) -> bytes:
        """Convert what ends elsewhere in a period than it began; compare :func:`_conversion`."""
        inputs, phase = self._input, self._phase
        newest = bank.history + phase
        end = newest + len(pcm) // 2
        inputs[newest:end] = np.frombuffer(pcm, _SHORT)
        step, period, after = bank.step, bank.period, end - bank.history
        first, last = -(-phase * period // step), -(-after * period // step)
        size = bank.rows.shape[2]
        for multiply in working.product.between(first // size, (last - 1) // size):
            multiply()
        working.saturate()
        working.round()
        working.rounded[...] = working.product.values
        due = working.flat[first:last]
        begun = after // step * step
        data = inputs.data
        data[: end - begun] = data[begun:end]
        self._phase = after - begun
        self._begun = True
        return due.tobytes()


class _Bank(NamedTuple):
    """The filter of one pair of rates, laid out for matrix products.

    Outputs come in *periods* of ``L`` (or a multiple, to be at least :data:`_PERIOD`) after which
    the position between the inputs repeats, ``step`` inputs later. A period is cut into *groups* of ``rows.shape[2]`` outputs. Each group is one product of the inputs that it needs with a banded
    matrix, in whose column ``j`` stand the taps of output ``j``.

    Parameters:
        rows: The matrices, shape (groups, inputs, outputs).
        period: Outputs per period.
        step: Inputs per period.
        stride: Inputs from the first input of one group to that of the next.
        history: Inputs before the first of a period that its first output needs.
        delay: In inputs, rounded up.
        longest: Most inputs that are converted at a time.
    """

    rows: _Doubles
    period: int
    step: int
    stride: int
    history: int
    delay: int
    longest: int

    @property
    def buffered(self) -> int:
        """Inputs that a stream keeps, with the room that the last windows reach into."""
        return self.history + self.longest + 2 * self.step + self.rows.shape[1]


def _taps(up: int, down: int) -> _Doubles:
    """Design the low-pass filter at ``up`` times the input rate.

    Returns:
        Shape (taps per phase, up): column ``p`` holds the taps of the outputs that lie ``p / up``
        of an input period after an input. Each column sums to 1, so that a constant stays one.
    """
    oversampling = max(up, down)  # rate of the taps, in units of the lower rate
    half = _HALF_LENGTH * oversampling
    width = (_ATTENUATION - 7.95) / (14.36 * 2 * half) * oversampling
    cutoff = (0.5 - width / 2) / oversampling  # in units of the rate of the taps
    ideal = 2 * cutoff * np.sinc(2 * cutoff * np.arange(-half, half + 1))
    taps = np.zeros((2 * half // up + 1) * up)
    taps[: 2 * half + 1] = ideal * np.kaiser(2 * half + 1, 0.1102 * (_ATTENUATION - 8.7))
    phases = taps.reshape(-1, up)
    rounded: _Doubles = np.rint(phases / phases.sum(axis=0) * _TAP_UNIT) / _TAP_UNIT
    return rounded


@cache
def _bank(in_rate: int, out_rate: int) -> _Bank:
    """Lay out the filter of a pair of rates; one copy serves the whole process."""
    divisor = gcd(in_rate, out_rate)
    up, down = out_rate // divisor, in_rate // divisor
    taps = _taps(up, down)
    repeat = 1
    while up * repeat < _PERIOD or (up < _PERIOD and up * repeat % 4):
        repeat += 1
    period, step = up * repeat, down * repeat
    size = _outputs(period, step, len(taps)) if repeat == 1 else period
    groups = period // size
    stride = step // groups

    position = np.arange(period) * down  # of each output, in units of 1 / up of an input
    newest = (position // up).reshape(groups, 1, size) - stride * np.arange(groups)[:, None, None]
    phase = (position % up).reshape(groups, 1, size)
    inputs = len(taps) + int(newest.max())
    inputs += -inputs % 4  # whole vectors of four, each output's taps begin like the others
    age = newest - np.arange(1 - len(taps), inputs - len(taps) + 1)[:, None]
    rows = np.where((age >= 0) & (age < len(taps)), taps[np.clip(age, 0, len(taps) - 1), phase], 0)
    most = (MOST_PRODUCTS - 1) // (inputs * size)  # periods in a product
    return _Bank(
        _aligned(rows),
        period,
        step,
        stride,
        history=len(taps) - 1,
        delay=-(-_HALF_LENGTH * in_rate // min(in_rate, out_rate)),
        longest=step * max(1, min(most - 2, in_rate // 10 // step)),
    )


def _outputs(period: int, step: int, taps: int) -> int:
    """Choose how many outputs a product makes: more multiply more zeros, fewer make more calls."""

    def cost(size: int) -> tuple[bool, float]:
        multiplied = size * (taps + (size - 1) * step / period)
        return size % 4 > 0, period // size * (multiplied + _CALL)

    return min((size for size in range(4, period + 1) if period % size == 0), key=cost)


def _aligned(rows: _Doubles) -> _Doubles:
    """Copy to the beginning of a cache line, the taps of each output side by side.

    A product then takes up to a sixth less time, that of a vector and a narrow matrix up to a third.
    """
    line = 64
    by_output = rows.transpose(0, 2, 1)
    room = np.empty(rows.nbytes + line, np.uint8)
    start = -room.ctypes.data % line
    copy = room[start : start + rows.nbytes].view(rows.dtype).reshape(by_output.shape)
    copy[...] = by_output
    copy.flags.writeable = False
    return copy.transpose(0, 2, 1)


def _windows(bank: _Bank, inputs: _Doubles, phase: int, length: int) -> _Doubles:
    """Show what each group needs in each period that ``length`` inputs reach into; all overlap.

    Returns:
        A view, shape (groups, periods, inputs). The first period begins with ``inputs``.
    """
    groups, width, _ = bank.rows.shape
    periods = -(-(phase + length) // bank.step)
    item = inputs.itemsize
    return as_strided(
        inputs,
        (groups, periods, width),
        (bank.stride * item, bank.step * item, item),
        writeable=False,
    )


class _Working(NamedTuple):
    """What a stream needs to convert so many periods, made once.

    With a few hundred samples at a time, allocating would take longer than the arithmetic.

    Parameters:
        product: The outputs, from the inputs.
        saturate: Limits them to 16 bits.
        round: Rounds them.
        rounded: The same as 16-bit samples, once they are copied there.
        flat: A view of ``rounded``, shape (samples,).
    """

    product: Product
    saturate: Callable[[], object]
    round: Callable[[], object]
    rounded: _Shorts
    flat: _Shorts


def _prepare(bank: _Bank, inputs: _Doubles, periods: int) -> _Working:
    """Make what converts so many periods."""
    product = Product(_windows(bank, inputs, 0, periods * bank.step), bank.rows)
    values = product.values
    rounded = np.empty(values.shape, _SHORT)
    saturate = partial(_clip, values, _LOWEST, _HIGHEST, values)
    return _Working(
        product, saturate, partial(np.rint, values, values), rounded, rounded.reshape(-1)
    )


def _conversion(
    bank: _Bank, inputs: _Doubles, working: _Working, phase: int, length: int
) -> _Conversion:
    """Prepare to convert ``length`` inputs, whole periods, that come ``phase`` after one's beginning.

    Returns:
        A function of the PCM that does it: :meth:`StreamResampler._convert` with its views made.
    """
    product, saturate, round_, rounded, flat = working
    multiply, values = product.multiply, product.values
    first, end = (-(-at * bank.period // bank.step) for at in (phase, phase + length))
    due = flat[first:end]
    received = memoryview(bytearray(2 * length))
    shorts = np.frombuffer(received, _SHORT)
    newest = bank.history + phase
    new = inputs[newest : newest + length]
    last = inputs.data[length : newest + length]
    kept = inputs.data[:newest]

    def convert(pcm: bytes) -> bytes:
        received[:] = pcm
        new[...] = shorts
        multiply()
        saturate()
        round_()
        rounded[...] = values
        kept[:] = last
        return due.tobytes()

    return convert
