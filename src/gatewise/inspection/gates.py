"""The gates of an LSTM layer, recomputed in float64, and statistics of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from gatewise.data.sequences import Array
from gatewise.engine.reference import ACTIVATIONS
from gatewise.inspection.tracing import Call

LOW, HIGH = 0.1, 0.9  # a gate outside is saturated (Karpathy et al. 2015)
STILL = 0.01  # an output with a smaller standard deviation does not change
SAME = 0.99  # units with a higher absolute correlation do the same
SHARE = 0.9  # of the gradient, which the reach of the gradient holds
EPSILON = 1e-6  # of the central difference that differentiates an activation


@dataclass(frozen=True)
class Trace:
    """The gates and states of one call of a layer, each [batch, steps, units] in float64."""

    i: Array  # input gate
    f: Array  # forget gate
    g: Array  # candidate
    o: Array  # output gate
    c: Array  # cell after the step
    h: Array  # output after the step
    mask: Array  # [batch, steps]


def trace(call: Call) -> Trace:
    """Compute the gates and states of a call from its inputs and weights.

    Source: the equations of keras.layers.LSTMCell.
    """
    activation, gate = numeric(call.activation), numeric(call.recurrent_activation)
    projected = call.inputs @ call.kernel + call.bias
    h, c = call.h, call.c
    steps: list[tuple[Array, ...]] = []
    for t in range(call.inputs.shape[1]):
        z = np.split(projected[:, t] + h @ call.recurrent_kernel, 4, axis=-1)
        i, f, g, o = gate(z[0]), gate(z[1]), activation(z[2]), gate(z[3])
        real = call.mask[:, t, None]
        c = np.where(real, f * c + i * g, c)
        h = np.where(real, o * activation(c), h)
        steps.append((i, f, g, o, c, h))
    i, f, g, o, c, h = (np.stack(one, axis=1) for one in zip(*steps, strict=True))
    return Trace(i, f, g, o, c, h, call.mask)


def numeric(activation: Callable[..., Any]) -> Callable[[Array], Array]:
    """An activation of Keras on NumPy arrays; those that the reference lacks are in float32."""
    known = ACTIVATIONS.get(getattr(activation, "__name__", ""))
    if known is not None and activation.__module__.startswith("keras."):
        return known
    return lambda x: np.asarray(ops.convert_to_numpy(activation(ops.convert_to_tensor(x))), float)


def half_lives(forget: Array, mask: Array) -> Array:
    """The steps after which each unit has forgotten half of its cell, [units].

    ln 2 / mean(-ln f), where f is the forget gate, [batch, steps, units], over the real steps. A
    unit that never forgets has an infinite half-life.
    """
    real = np.clip(forget[mask], np.finfo(float).tiny, None)
    rate = np.maximum(-np.log(real).mean(axis=0), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(math.log(2) / rate)


def saturation(values: Array, mask: Array, *, signed: bool = False) -> dict[str, float]:
    """The mean of a gate, and the shares of its values below LOW and above HIGH.

    A candidate is signed: its `low` values are those below -HIGH.
    """
    real = values[mask]
    low = real < (-HIGH if signed else LOW)
    return {
        "mean": float(real.mean()),
        "low": float(low.mean()),
        "high": float((real > HIGH).mean()),
    }


def dead_units(h: Array, mask: Array) -> list[int]:
    """The units whose output, [batch, steps, units], has a standard deviation below STILL."""
    return np.flatnonzero(h[mask].std(axis=0) < STILL).tolist()


def redundant_units(h: Array, mask: Array) -> list[tuple[int, int]]:
    """Pairs of a unit and an earlier one with the same output, up to a factor and an offset.

    Their absolute correlation over all real steps is above SAME. Dead units do not count.
    """
    real = h[mask] - h[mask].mean(axis=0)
    size = real.std(axis=0)
    alive = np.flatnonzero(size >= STILL)
    if not alive.size:
        return []
    scaled = real[:, alive] / size[alive]
    alike = np.abs(scaled.T @ scaled) / len(scaled) > SAME
    pairs: list[tuple[int, int]] = []
    kept: list[int] = []  # places in `alive`
    for k, unit in enumerate(alive.tolist()):
        same = [one for one in kept if alike[k, one]]
        if same:
            pairs.append((unit, int(alive[same[0]])))
        else:
            kept.append(k)
    return pairs


def hidden_gradients(call: Call, traced: Trace, output_gradients: list[Array]) -> Array:
    """The gradient of a scalar by the output h of each step, [batch, steps, units].

    It includes every way through later steps. `output_gradients` are the gradients by what the
    layer returned, in the same order (backpropagation through time, in float64).
    """
    by_output, *by_state = output_gradients
    rows, steps, units = traced.h.shape
    direct = np.zeros_like(traced.h)
    if call.sequences:
        direct += by_output
    else:
        direct[:, -1] += by_output
    by_h, by_c = by_state if by_state else (np.zeros((rows, units)), np.zeros((rows, units)))
    slope, gate_slope = _slope(call.activation), _slope(call.recurrent_activation)
    activation = numeric(call.activation)
    result = np.empty_like(traced.h)
    for t in range(steps - 1, -1, -1):
        before_h = traced.h[:, t - 1] if t else call.h
        before_c = traced.c[:, t - 1] if t else call.c
        i, f, g, o, c = (getattr(traced, name)[:, t] for name in "ifgoc")
        z = call.inputs[:, t] @ call.kernel + call.bias + before_h @ call.recurrent_kernel
        zi, zf, zg, zo = np.split(z, 4, axis=-1)
        total = by_h + direct[:, t]
        result[:, t] = total
        cell = by_c + total * o * slope(c)
        gates = [
            cell * g * gate_slope(zi),
            cell * before_c * gate_slope(zf),
            cell * i * slope(zg),
            total * activation(c) * gate_slope(zo),
        ]
        earlier = np.concatenate(gates, axis=-1) @ call.recurrent_kernel.T
        real = call.mask[:, t, None]
        by_h, by_c = np.where(real, earlier, total), np.where(real, cell * f, by_c)
    return result


def _slope(activation: Callable[..., Any]) -> Callable[[Array], Array]:
    """The derivative of an activation, by a central difference."""
    function = numeric(activation)
    return lambda x: (function(x + EPSILON) - function(x - EPSILON)) / (2 * EPSILON)


def norms_by_lag(gradients: Array, mask: Array) -> Array:
    """The mean norm of the gradient by distance from the last real step, [steps].

    `gradients` is [batch, steps, units].
    """
    norms = np.linalg.norm(gradients, axis=-1)
    most = int(mask.sum(axis=1).max())
    aligned = np.full((len(norms), most), np.nan)
    for row, (values, real) in enumerate(zip(norms, mask, strict=True)):
        aligned[row, : real.sum()] = values[real][::-1]
    known = np.isfinite(aligned)
    total = np.where(known, aligned, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(known.sum(axis=0), 1))


def reach(norms: Array) -> int:
    """The number of last steps that hold SHARE of the gradient, summed over the steps."""
    total = np.cumsum(norms)
    return int(np.searchsorted(total, SHARE * total[-1])) + 1 if total[-1] > 0 else 0


def describe(call: Call, gradients: list[Array], model_steps: int) -> dict[str, Any]:
    """Everything about one call of a layer, ready for JSON.

    `model_steps` is the number of steps that the model reads; a layer behind a convolution reads
    fewer.
    """
    traced = trace(call)
    lives = half_lives(traced.f, traced.mask)
    dead = dead_units(traced.h, traced.mask)
    alive = np.delete(lives, dead) if len(dead) < len(lives) else lives
    norms = norms_by_lag(hidden_gradients(call, traced, gradients), traced.mask)
    steps = call.inputs.shape[1]
    wide = 1 if call.continues else max(1, round(model_steps / steps))
    return {
        "layer": call.name,
        "units": traced.h.shape[-1],
        "steps": int(traced.mask.sum(axis=1).max()),
        "data_steps_per_step": wide,
        "backwards": call.backwards,
        "continues": call.continues,
        "gates": {
            "input": saturation(traced.i, traced.mask),
            "forget": saturation(traced.f, traced.mask),
            "output": saturation(traced.o, traced.mask),
            "candidate": saturation(traced.g, traced.mask, signed=True),
        },
        "memory": {
            "median": float(np.median(alive)),
            "longest": float(alive.max()),
            "half_lives": lives.tolist(),
        },
        "dead": dead,
        "redundant": [list(pair) for pair in redundant_units(traced.h, traced.mask)],
        "gradient": {"norms": norms.tolist(), "reach": reach(norms)},
    }


def path(h: Array) -> tuple[Array, Array]:
    """The two principal components of states h, [states, units], and their shares of variance.

    Returns [states, 2] and [2].
    """
    centred = h - h.mean(axis=0)
    u, size, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(h), 2))
    count = min(2, len(size))
    places[:, :count] = u[:, :count] * size[:count]
    total = float((size**2).sum())
    shares = np.zeros(2)
    if total > 0:
        shares[:count] = size[:count] ** 2 / total
    return places, shares
