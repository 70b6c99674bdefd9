"""The fastest way to multiply a few overlapping windows by a filter's matrices, on any processor.

With 20 ms of audio most of a product of matrices is what a BLAS does before it multiplies: it
copies both factors into the order that its kernel likes, unless it has another kernel for small
ones. OpenBLAS has that for AVX-512 and for ARM's SVE, and not for AVX2 and NEON. Products of a
vector and a matrix copy nothing, and load every tap again for every vector. Microseconds for 20 ms,
one core at about 3.5 GHz, OpenBLAS 0.3.31, both kernels on one machine:

================ ============== ======= ====== =======
conversion       kernel         whole   halves vectors
================ ============== ======= ====== =======
24 to 8 kHz      AVX-512        2.3     2.3    4.4
24 to 8 kHz      AVX2           3.5     3.6    4.3
44.1 to 8 kHz    AVX-512        3.9            6.6
44.1 to 8 kHz    AVX2           16.5           6.7
48 to 8, 10 ms   AVX2           5.4     3.9    5.6
================ ============== ======= ====== =======

No rule tells which of them wins for every processor and BLAS, so each is tried, once per process
and shape. Where the sums are exact, as in :mod:`pipecat_bandwidth.resampler`, what is chosen makes
no difference to the samples.

References:
    .. [1] OpenBLAS, ``interface/gemm.c`` and ``interface/gemv.c``: from which size on several
       threads multiply. ``kernel/x86_64``, ``kernel/arm64``: for whom there are small kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["MOST_PRODUCTS", "Product"]

#: From so many multiplications on OpenBLAS starts threads for two matrices; waking them costs more
#: than the whole product. Callers keep below it.
MOST_PRODUCTS: Final = 4 * 65536

#: The same for a vector and a matrix in its older releases; 0.3.31 takes fifty times as many.
_MOST_BY_VECTOR: Final = 4 * 2304

_Doubles: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_Call: TypeAlias = Callable[[], object]

_Way: TypeAlias = Callable[[_Doubles, _Doubles, _Doubles], _Call | None]

#: Which of :data:`_WAYS` is the fastest here, by the shapes and strides of all three.
_known: dict[tuple[int, ...], _Way] = {}


class Product:
    """Every window times its group's matrix, whatever is in the windows at the time.

    Attributes:
        values: What the products go into: shape (periods, groups, outputs), float64, at first 0.
        multiply: Make all of them.
    """

    __slots__ = ("_cuts", "_matrices", "_windows", "multiply", "values")

    def __init__(self, windows: _Doubles, matrices: _Doubles) -> None:
        """Choose how to multiply, within 0.2 ms when a shape comes for the first time.

        Args:
            windows: Shape (groups, periods, inputs), float64; a view that may overlap itself.
            matrices: Shape (groups, inputs, outputs), float64.
        """
        groups, periods, _ = windows.shape
        self._windows, self._matrices = windows, matrices
        self.values = np.zeros((periods, groups, matrices.shape[2]))
        self.multiply = _fastest(windows, matrices, self.values)
        self._cuts: dict[tuple[int, int], tuple[_Call, ...]] = {}

    def between(self, first: int, last: int) -> tuple[_Call, ...]:
        """Make those of some groups in a row, of all periods counted through.

        Args:
            first: The first that is needed, in the first period.
            last: The last.

        Returns:
            One or two functions that make them, and few others.
        """
        calls = self._cuts.get((first, last))
        if calls is None:
            if len(self._cuts) == 64:  # streams come to two for each group
                self._cuts.clear()
            calls = self._cuts[first, last] = tuple(self._cut(first, last))
        return calls

    def _cut(self, first: int, last: int) -> Iterator[_Call]:
        groups = len(self._matrices)
        if groups == 1 or last < first:
            yield self.multiply
            return
        periods, after = last // groups + 1, last % groups + 1
        if periods == 1:
            yield self._part(slice(first, after), slice(1))
            return
        yield self._part(slice(first, None), slice(periods - 1))
        yield self._part(slice(after if periods == 2 else max(after, first)), slice(1, periods))

    def _part(self, groups: slice, periods: slice) -> _Call:
        windows, matrices = self._windows[groups, periods], self._matrices[groups]
        return _fastest(windows, matrices, self.values[periods, groups])


def _fastest(windows: _Doubles, matrices: _Doubles, product: _Doubles) -> _Call:
    """Choose how to multiply, by trying unless it is known."""
    key = (*matrices.shape, *windows.shape, *windows.strides, *product.strides)
    way = _known.get(key)
    if way is None:
        each = [(make, make(windows, matrices, product)) for make in _WAYS]
        secs = {make: _least_secs(multiply) for make, multiply in each if multiply is not None}
        _known[key] = way = min(secs, key=secs.__getitem__)
    return way(windows, matrices, product) or _by_matrix(windows, matrices, product)


def _least_secs(call: _Call) -> float:
    """Time a few calls; the shortest counts, since what else the machine does only adds to it."""
    times = []
    for _ in range(4):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return min(times)


def _by_matrix(windows: _Doubles, matrices: _Doubles, product: _Doubles) -> _Call:
    """Multiply all the windows of a group at once."""
    by_group = product.transpose(1, 0, 2)
    _, step, item = windows.strides
    if step >= windows.shape[2] * item:
        return partial(np.matmul, windows, matrices, by_group)
    factors = np.empty(windows.shape)  # a BLAS does not take rows that overlap
    multiply: _Call
    if len(factors) == 1 and by_group.flags.c_contiguous:  # dot begins 0.7 us sooner than matmul
        multiply = partial(factors[0].dot, matrices[0], by_group[0])
    else:
        multiply = partial(np.matmul, factors, matrices, by_group)

    def copy_and_multiply() -> None:
        factors[...] = windows
        multiply()

    return copy_and_multiply


def _by_half(windows: _Doubles, matrices: _Doubles, product: _Doubles) -> _Call | None:
    """Multiply twice as many narrower windows by half a matrix: fewer zeros, more rows.

    Returns:
        ``None`` unless there is one matrix, and its second half is its first, further down, with
        nothing but zeros above the one and below the other.
    """
    groups, inputs, outputs = matrices.shape
    group, step, item = windows.strides
    shift, odd = divmod(step, 2 * item)
    half, length = outputs // 2, inputs - shift
    if groups > 1 or odd or outputs % 2 or length < shift or not product.flags.c_contiguous:
        return None
    block = matrices[:, :length, :half]
    if not np.array_equal(block, matrices[:, shift:, half:]):
        return None
    if matrices[:, length:, :half].any() or matrices[:, :shift, half:].any():
        return None
    block = np.ascontiguousarray(block.transpose(0, 2, 1)).transpose(0, 2, 1)
    periods = 2 * windows.shape[1]
    narrow = as_strided(windows, (1, periods, length), (group, shift * item, item), writeable=False)
    return _by_matrix(narrow, block, product.reshape(periods, 1, half))


def _by_vector(windows: _Doubles, matrices: _Doubles, product: _Doubles) -> _Call:
    """Multiply one window after the other, by as many columns as do not start threads."""
    groups, inputs, outputs = matrices.shape
    size = inputs * outputs
    fitting = (n for n in range(1, outputs) if outputs % n == 0 and size // n < _MOST_BY_VECTOR)
    parts = next(fitting, outputs)
    columns = outputs // parts
    cut = matrices.transpose(0, 2, 1).reshape(groups, 1, parts, columns, inputs)
    into = product.reshape(len(product), groups, parts, 1, columns).transpose(1, 0, 2, 3, 4)
    vectors = windows[:, :, np.newaxis, np.newaxis]
    return partial(np.matmul, vectors, cut.transpose(0, 1, 2, 4, 3), into)


#: None of them starts threads.
_WAYS: Final[tuple[_Way, ...]] = (_by_matrix, _by_half, _by_vector)
