"""Student's t, for intervals of means over few examples, without scipy."""

import math

import numpy as np


def _beta_fraction(a, b, x):
    """The continued fraction of the incomplete beta function (Lentz)."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    f = d
    for m in range(1, 500):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + top * d
            c = 1 + top / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            f *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return f


def _beta(a, b, x):
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return (
        front * _beta_fraction(a, b, x) / a
        if x < (a + 1) / (a + b + 2)
        else 1 - front * _beta_fraction(b, a, 1 - x) / b
    )


def t_quantile(p, df):
    """t with P(T < t) = p, for 0.5 < p < 1."""
    low, high = 0.0, 1.0
    upper = lambda t: 0.5 * _beta(df / 2, 0.5, df / (df + t * t))
    while upper(high) > 1 - p:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if upper(middle) > 1 - p else (low, middle)
    return (low + high) / 2


def mean_and_error(values, axis=-1):
    """Mean and its standard error (NaN of fewer than two values)."""
    values = np.asarray(values, float)
    n = values.shape[axis]
    if n < 2:
        return values.mean(axis), np.full(values.mean(axis).shape, np.nan)
    return values.mean(axis), values.std(axis, ddof=1) / math.sqrt(n)
