"""Linear prediction: what a sample is foretold from, and by how much it is off.

References:
    .. [1] J. Makhoul, "Linear prediction: a tutorial review", Proceedings of the IEEE 63 (1975): the
       covariance method.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fitted", "foretold"]


def fitted(
    windows: NDArray[np.float64], order: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a linear prediction to each window by itself, by least squares.

    Args:
        windows: Shape ``(n, order + samples)``.
        order: How many samples before it a sample is foretold from.

    Returns:
        What each sample is foretold from, ``(n, samples, order)``, the samples, ``(n, samples)``, and
        the weights, ``(n, order)``.
    """
    views = np.lib.stride_tricks.sliding_window_view(windows, order + 1, axis=1)
    past, now = views[..., :order], views[..., order]
    turned = past.transpose(0, 2, 1)
    # A little of the power is added to the diagonal: what is silent, or a tone, has no one solution.
    least = 1e-5 * np.mean(np.square(windows), axis=1) * past.shape[1] + 1e-12
    products = turned @ past + least[:, None, None] * np.eye(order)
    weights = np.linalg.solve(products, turned @ now[..., None])[..., 0]
    return past, now, weights


def foretold(windows: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Measure by how much each sample is off what those before it foretell, in its own window.

    Args:
        windows: Shape ``(n, order + samples)``.
        order: As of :func:`fitted`.

    Returns:
        Shape ``(n, samples)``.
    """
    past, now, weights = fitted(windows, order)
    off: NDArray[np.float64] = (past @ weights[..., None])[..., 0] - now
    return off
