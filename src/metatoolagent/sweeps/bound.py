"""The shape of the generalization bound, fitted to measured gaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDING = 3e-6
"""Gaps that differ by less are equal: each is a difference of two shares, which a table has to six digits."""


@dataclass(frozen=True)
class Fit:
    """gap = sqrt(C / n), and how much of the gaps' variance it explains."""

    complexity: float
    r_squared: float
    """1 less the squared residuals over the squared deviations from the mean; below 0 the mean alone is nearer."""


def fit(sizes: Sequence[float], gaps: Sequence[float]) -> Fit | None:
    """Return the least-squares fit of sqrt(C / n), C > 0, to gaps; None where that has no meaning.

    So it is for fewer than two sizes, for equal gaps, and where C would be 0: there is no gap then that could fall.

    The shape is the paper's bound (arXiv 2601.12680, section 2.3): the error grows with sqrt(C(H) / n). A bound says nothing of
    constants below it, so only the shape is compared.

    Args:
        sizes: n, such as the number of query tasks or of training tools.
        gaps: accuracy on training tasks less accuracy on unseen tools, one a size.
    """
    n, gap = np.asarray(sizes, np.float64), np.asarray(gaps, np.float64)
    if len(set(sizes)) < 2 or np.ptp(gap) < ROUNDING:
        return None
    # The root of C enters linearly.
    root = float((gap / np.sqrt(n)).sum() / (1 / n).sum())
    if root <= 0:
        return None
    residual, spread = ((gap - root / np.sqrt(n)) ** 2).sum(), ((gap - gap.mean()) ** 2).sum()
    return Fit(root**2, float(1 - residual / spread))
