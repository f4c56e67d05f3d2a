"""Means over few examples, with their errors and intervals."""

import math

import numpy as np

from . import _lib


def t_quantile(p, df):
    """t with P(T < t) = p, of Student's t with df degrees of freedom."""
    return _lib.library().hylab_student_quantile(p, df)


def mean_and_error(values, axis=-1):
    """Mean and its standard error (NaN of fewer than two values)."""
    values = np.asarray(values, float)
    n = values.shape[axis]
    if n < 2:
        return values.mean(axis), np.full(values.mean(axis).shape, np.nan)
    return values.mean(axis), values.std(axis, ddof=1) / math.sqrt(n)
