"""The small image classifier in float64 NumPy, from its definition."""

import math

import numpy as np

from tests.oracles import unet


def image_classifier(params, x, groups):
    """Logits and features of images [b, h, w, c]."""
    for _, stage in sorted(params["stages"].items(), key=lambda item: int(item[0])):
        for _, block in sorted(stage.items(), key=lambda item: int(item[0])):
            x = unet.conv(x, block["conv"]["kernel"])
            scale, offset = block["norm"]["scale"], block["norm"]["offset"]
            x = unet.group_norm(x, scale, offset, math.gcd(x.shape[-1], groups))
            x = unet.swish(x)
        if x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0:
            x = unet.pool(x)
    hidden, out = params["hidden"], params["out"]
    mean = x.reshape(x.shape[0], -1, x.shape[-1]).sum(1) / np.prod(x.shape[1:3])
    features = unet.swish(mean @ hidden["kernel"] + hidden["bias"])
    return features @ out["kernel"] + out["bias"], features
