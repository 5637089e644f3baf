"""The same contract served as people serve a model today: Python's grpcio, PyTorch, a pool of threads.

    grpcio_server.py CHECKPOINT

Each session has its rows as tensors; a Step of many rows is one forward pass. no_grad, one thread of
torch, one lock around the model, since threads of Python would only fight over it. Interact answers
one request after another. Only what the loads of `make bench` need is there: OpenSession,
CloseSession, Step, Interact. Prints its address; ends with its standard input.
"""

import concurrent.futures
import pathlib
import sys
import threading
import uuid

import grpc
import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "client/python/src"))

from torch_peer import Peer, load  # noqa: E402
from dreamd._proto import simulation_pb2, simulation_pb2_grpc, tensor_pb2  # noqa: E402

THREADS = 16


class Session:
    def __init__(self, peer, rows):
        deter = torch.tanh(peer.w["rssm.initial"]).expand(rows, -1)
        self.state = deter, peer.mode(peer.logits("rssm.prior", deter))
        self.committed = 0


def space(low, high, width):
    box = tensor_pb2.Box(datatype="FP32", shape=[width], low=[low] * width, high=[high] * width)
    return tensor_pb2.Space(box=box)


class Simulation(simulation_pb2_grpc.SimulationServicer):
    def __init__(self, peer):
        self.peer, self.lock, self.sessions = peer, threading.Lock(), {}

    def OpenSession(self, request, context):
        session_id = uuid.uuid4().hex
        rows = request.rows or 1
        with self.lock, torch.no_grad():
            self.sessions[session_id] = Session(self.peer, rows)
        told = simulation_pb2.Session(session_id=session_id, model="pendulum@1", checkpoint="sha256:" + "0" * 64, rows=rows,
                                      observation_space=space(-8, 8, 3), action_space=space(-1, 1, self.peer.actions))
        return simulation_pb2.OpenSessionResponse(session=told)

    def CloseSession(self, request, context):
        return simulation_pb2.CloseSessionResponse(committed_step_id=self.sessions.pop(request.session_id).committed)

    def Step(self, request, context=None):
        session = self.sessions[request.session_id]
        action = np.frombuffer(request.raw_contents[0], np.float32).reshape(tuple(request.tensors[0].shape))
        with self.lock, torch.no_grad():
            session.state, reward, goes_on = self.peer.step(session.state, torch.tensor(action), None)
            session.committed += 1
            arrays = {"reward": reward.numpy(), "continue": goes_on.numpy()}
        rows = len(action)
        arrays["terminated"] = arrays["truncated"] = np.zeros(rows, bool)
        reply = simulation_pb2.StepResponse(committed_step_id=session.committed)
        for name, array in arrays.items():
            reply.tensors.add(name=name, datatype="BOOL" if array.dtype == bool else "FP32", shape=[rows])
            reply.raw_contents.append(array.tobytes())
        return reply

    def Interact(self, requests, context):
        for request in requests:
            yield simulation_pb2.InteractResponse(id=request.id, step=self.Step(request.step))


def main():
    torch.set_num_threads(1)
    peer = Peer(*load(pathlib.Path(sys.argv[1])))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS))
    simulation_pb2_grpc.add_SimulationServicer_to_server(Simulation(peer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
