"""The generated stubs, and the little that makes tensors of arrays."""

import pathlib
import subprocess
import sys

import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from conftest import BUILD

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client/python/src"))

# ruff: noqa: E402
from dreamd._proto import registry_pb2 as registry
from dreamd._proto import registry_pb2_grpc
from dreamd._proto import simulation_pb2 as simulation
from dreamd._proto import simulation_pb2_grpc
from dreamd._proto import tensor_pb2

__all__ = ["registry", "simulation", "tensor_pb2", "Client", "arrays", "details", "make_zoo", "put"]

NAMES = {"FP32": "<f4", "FP64": "<f8", "FP16": "<f2", "INT64": "<i8", "UINT8": "|u1", "BOOL": "?", "INT32": "<i4",
         "UINT64": "<u8", "UINT32": "<u4"}


def make_zoo(folder, **seeds):
    """A folder of tiny checkpoints with random weights: make_zoo(path, one=1, two=2)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        subprocess.run([BUILD / "tests/model_write", folder / name, str(seed)], check=True)
    return folder


def put(request, **tensors):
    """Adds arrays to a request; `observation__state` is the tensor observation.state."""
    for name, array in tensors.items():
        array = np.asarray(array)
        datatype = next(wire for wire, name_ in NAMES.items() if array.dtype == np.dtype(name_))
        request.tensors.add(name=name.replace("__", "."), datatype=datatype, shape=array.shape)
        request.raw_contents.append(array.tobytes())
    return request


def arrays(reply):
    """The tensors of a reply by name."""
    assert len(reply.tensors) == len(reply.raw_contents)
    return {tensor.name: np.frombuffer(raw, NAMES[tensor.datatype]).reshape(tensor.shape)
            for tensor, raw in zip(reply.tensors, reply.raw_contents)}


def details(error, kind):
    """The google.rpc detail of that kind in a failed call, or None."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        found = getattr(error_details_pb2, kind)()
        if packed.Unpack(found):
            return found
    return None


class Client:
    """Both services over one channel, and the five-line version of a session."""

    def __init__(self, channel):
        self.simulation = simulation_pb2_grpc.SimulationStub(channel)
        self.registry = registry_pb2_grpc.RegistryStub(channel)

    def open(self, model="tiny", **fields):
        request = simulation.OpenSessionRequest(model=model, **fields)
        return self.simulation.OpenSession(request).session

    def step(self, session_id, action, rows=None, **fields):
        request = simulation.StepRequest(session_id=session_id, **fields)
        if rows is not None:
            request.rows.rows.extend(rows)
        return self.simulation.Step(put(request, action=np.asarray(action, "<f4")))

    def observe(self, session_id, state, angle, action=None, **fields):
        request = simulation.ObserveRequest(session_id=session_id, **fields)
        put(request, observation__state=np.asarray(state, "<f4"),
            observation__angle=np.asarray(angle, "<f4"))
        if action is not None:
            put(request, action=np.asarray(action, "<f4"))
        return self.simulation.Observe(request)

    def reset(self, session_id, rows=None, **fields):
        request = simulation.ResetRequest(session_id=session_id, **fields)
        if rows is not None:
            request.rows.rows.extend(rows)
        return self.simulation.Reset(request)

    def state(self, session_id):
        """All latents, as the daemon has them."""
        request = simulation.DecodeRequest(session_id=session_id, outputs=["state"])
        return arrays(self.simulation.Decode(request))
