"""Generated messages, and tensors in and out of them."""

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client/python/src"))

# ruff: noqa: E402
from dreamd._proto import registry_pb2 as reg
from dreamd._proto import registry_pb2_grpc, simulation_pb2_grpc
from dreamd._proto import simulation_pb2 as pb

__all__ = ["ROOT", "pb", "put", "raw_of", "reg", "registry_pb2_grpc", "simulation_pb2_grpc"]


def put(request, **tensors):
    """Adds float32 arrays to a request; `observation__state` is the tensor observation.state."""
    for name, array in tensors.items():
        array = np.ascontiguousarray(array, "<f4")
        request.tensors.add(name=name.replace("__", "."), datatype="FP32", shape=array.shape)
        request.raw_contents.append(array.tobytes())
    return request


def raw_of(reply):
    """{name: bytes} of a reply's tensors; {} where it has none."""
    if not hasattr(reply, "raw_contents"):
        return {}
    return {tensor.name: bytes(raw) for tensor, raw in zip(reply.tensors, reply.raw_contents)}
