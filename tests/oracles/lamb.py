"""The author's optimizer recipe in float64 NumPy: LAMB, its rates, weight averages."""

import itertools

import numpy as np


def lamb(params, gradients, rates, *, exclude, b1=0.9, b2=0.999, eps=1e-7):
    """Parameters after each step; ``params`` a flat dict of name -> float64 array.

    gradients: a list of dicts, one a step. rates: one number a step. Adam with bias
    correction, no weight decay; the direction is rescaled to the length of the weights
    unless the name contains a word of ``exclude`` in any case or a length is zero.
    """
    params = {name: np.array(p, np.float64) for name, p in params.items()}
    m = {name: np.zeros_like(p) for name, p in params.items()}
    v = {name: np.zeros_like(p) for name, p in params.items()}
    history = []
    for k, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        for name, p in params.items():
            m[name] = b1 * m[name] + (1 - b1) * gradient[name]
            v[name] = b2 * v[name] + (1 - b2) * gradient[name] ** 2
            m_hat, v_hat = m[name] / (1 - b1**k), v[name] / (1 - b2**k)
            direction = m_hat / (np.sqrt(v_hat) + eps)
            ratio = 1.0
            if not any(word.lower() in name.lower() for word in exclude):
                length = np.sqrt(np.sum(p**2))
                step = np.sqrt(np.sum(direction**2))
                if length > 0 and step > 0:
                    ratio = length / step
            params[name] = p - rate * ratio * direction
        history.append({name: p.copy() for name, p in params.items()})
    return history


def piecewise_linear(step, multipliers):
    """The multiplier at one step, by the segment that contains it."""
    points = sorted(multipliers.items())
    if step <= points[0][0]:
        return float(points[0][1])
    for (left, low), (right, high) in itertools.pairwise(points):
        if left <= step <= right:
            return low + (high - low) * (step - left) / (right - left)
    return float(points[-1][1])


def ema_zero_debias(values, decay):
    """Averages after each value: accumulator from zero, divided by 1 - decay^k."""
    accumulator, averages = np.zeros_like(values[0], np.float64), []
    for k, value in enumerate(values, 1):
        accumulator = decay * accumulator + (1 - decay) * value
        averages.append(accumulator / (1 - decay**k))
    return averages


def ema_initial(initial, values, decay):
    """Averages after each value, started from the initial parameters."""
    average, averages = np.array(initial, np.float64), []
    for value in values:
        average = decay * average + (1 - decay) * value
        averages.append(average)
    return averages
