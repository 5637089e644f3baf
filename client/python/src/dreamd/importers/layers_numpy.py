"""Layers in numpy, float64: what the independent forward passes of the importers share. Images are [rows, height, width, channels]."""

import numpy as np


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(x, 0.0)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def mish(x):
    return x * np.tanh(softplus(x))


ACTIVATIONS = {"silu": silu, "elu": elu, "relu": lambda x: np.maximum(x, 0.0), "tanh": np.tanh, "mish": mish}


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


def symexp(x):
    return np.sign(x) * np.expm1(np.abs(x))


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def one_hot(logits):
    """The first of the largest, as a one-hot."""
    return np.eye(logits.shape[-1])[logits.argmax(-1)]


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def conv(x, kernel, stride, pad):
    """kernel [height, width, in, out]; the same padding on every side."""
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    out = 0.0
    for i in range(size):
        for j in range(size):
            out = out + x[:, i:i + stride * height:stride, j:j + stride * width:stride][:, :height, :width] @ kernel[i, j]
    return out


def deconv(x, kernel, stride, pad):
    """kernel [height, width, in, out]: every input adds its kernel to the output, whose border of `pad` is cut."""
    size, (rows, height, width, _) = kernel.shape[0], x.shape
    out = np.zeros((rows, stride * (height - 1) + size, stride * (width - 1) + size, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            out[:, i:i + stride * height:stride, j:j + stride * width:stride][:, :height, :width] += x @ kernel[i, j]
    return out[:, pad:out.shape[1] - pad, pad:out.shape[2] - pad]


def max_pool(x):
    rows, height, width, channels = x.shape
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels).max((2, 4))


def upsample(x):
    return x.repeat(2, 1).repeat(2, 2)


def bins_mean(logits, bins):
    """Pairs of opposite bins are added first: their weights may be 5e8 apart from the middle's."""
    weighted, middle = softmax(logits) * bins, len(bins) // 2
    return weighted[..., middle] + (weighted[..., :middle][..., ::-1] + weighted[..., middle + 1:]).sum(-1)
