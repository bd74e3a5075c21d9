"""Float64 NumPy forms of the image layers and networks, written from the method card.

Parameters come as nested dicts of arrays; images are [b, h, w, c]. Everything is a loop
where a loop is the plainest statement.
"""

import math

import numpy as np


def swish(x):
    return x / (1 + np.exp(-x))


def conv(x, kernel, stride=1):
    """A 3x3 convolution by its definition; zeros outside, as many as "same" needs."""
    b, h, w, _ = x.shape
    before = 1 if stride == 1 else 0
    padded = np.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0)))
    out = np.zeros((b, h // stride, w // stride, kernel.shape[-1]))
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            top, left = row * stride, column * stride
            window = padded[:, top : top + 3, left : left + 3, :]
            out[:, row, column] = np.einsum("bijc,ijcd->bd", window, kernel)
    return out


def group_norm(x, scale, offset, groups, epsilon=1e-6):
    """Group g holds channels g, g + groups, g + 2 groups, ..."""
    out = np.empty_like(x)
    for example in range(x.shape[0]):
        for group in range(groups):
            part = x[example, :, :, group::groups]
            normal = (part - part.mean()) / np.sqrt(part.var() + epsilon)
            out[example, :, :, group::groups] = normal
    return out * scale + offset


def sinusoidal(position, width):
    half = width // 2
    angles = [position * 10_000.0 ** (-i / half) for i in range(half)]
    return np.stack([*map(np.sin, angles), *map(np.cos, angles)], -1)


def embed(table, index):
    """Rows of the table, linear between them, constant beyond its ends."""
    rows = np.arange(len(table))
    columns = [np.interp(index, rows, column) for column in table.T]
    return np.stack(columns, -1)


def pool(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def upsample(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _norm(x, params, groups):
    groups = math.gcd(x.shape[-1], groups)
    return group_norm(x, params["scale"], params["offset"], groups)


def _dense(x, params):
    return x @ params["kernel"] + params.get("bias", 0.0)


def _conv(x, params, stride=1):
    return conv(x, params["kernel"], stride) + params.get("bias", 0.0)


def _in_order(params):
    return [params[name] for name in sorted(params, key=int)]


def small_block(x, condition, params, groups):
    skip = _dense(x, params["skip"]) if "skip" in params else x
    h = x + _dense(condition, params["condition"])[:, None, None, :]
    h = swish(_conv(swish(_conv(h, params["conv1"])), params["conv2"]))
    return _norm(h + skip, params["norm"], groups)


def unet_small(params, x, t, groups, min_side=4, y=None):
    """The author's network, steps t = 1..T."""
    condition = embed(params["step"]["table"], t - 1.0)
    if y is not None:
        condition = condition + params["label"]["table"][y]
    h = _conv(x, params["stem"])
    skips, unpooled = [h], 0
    for stage in _in_order(params["down"]):
        for block in _in_order(stage):
            h = small_block(h, condition, block, groups)
            skips.append(h)
        if min(h.shape[1:3]) > min_side:
            h = pool(h)
            skips.append(h)
        else:
            unpooled += 1
    h = small_block(h, condition, params["middle"], groups)
    skips.pop()
    for index, stage in enumerate(_in_order(params["up"])):
        if index >= unpooled:
            h = upsample(h) + skips.pop()
        for block in _in_order(stage):
            h = small_block(h, condition, block, groups) + skips.pop()
    return _conv(_norm(h, params["norm"], groups), params["head"])


def attention(x, params, groups):
    b, height, width, c = x.shape
    h = _norm(x, params["norm"], groups).reshape(b, height * width, c)
    q, k, v = (_dense(h, params[name]) for name in ("query", "key", "value"))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(c)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return x + _dense(weights @ v, params["out"]).reshape(x.shape)


def paper_block(x, condition, params, groups):
    skip = _dense(x, params["skip"]) if "skip" in params else x
    h = _conv(swish(_norm(x, params["norm1"], groups)), params["conv1"])
    h = h + _dense(condition, params["condition"])[:, None, None, :]
    h = skip + _conv(swish(_norm(h, params["norm2"], groups)), params["conv2"])
    return attention(h, params["attention"], groups) if "attention" in params else h


def unet_paper(params, x, t, groups, width, y=None):
    """The paper's network, with the options that are seen in ``params``."""
    wave = sinusoidal(t - 1.0, width)
    condition = _dense(swish(_dense(wave, params["step1"])), params["step2"])
    if y is not None:
        condition = condition + params["label"]["table"][y]
    condition = swish(condition)
    h = _conv(x, params["stem"])
    skips = [h]
    down = _in_order(params["down"])
    for index, stage in enumerate(down):
        for block in _in_order(stage["blocks"]):
            h = paper_block(h, condition, block, groups)
            skips.append(h)
        if index < len(down) - 1:
            h = _conv(h, stage["end"]["conv"], 2) if "end" in stage else pool(h)
            skips.append(h)
    for block in _in_order(params["middle"]["blocks"]):
        h = paper_block(h, condition, block, groups)
    for index, stage in enumerate(_in_order(params["up"])):
        for block in _in_order(stage["blocks"]):
            h = np.concatenate([h, skips.pop()], -1)
            h = paper_block(h, condition, block, groups)
        if index < len(down) - 1:
            h = upsample(h)
            h = _conv(h, stage["end"]["conv"]) if "end" in stage else h
    return _conv(swish(_norm(h, params["norm"], groups)), params["head"])
