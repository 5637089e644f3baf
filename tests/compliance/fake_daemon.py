"""A daemon made of the public grpcio, which says what a test tells it to say.

It shows the C client and dreamctl against another gRPC implementation than ours, and answers
that a healthy daemon does not give. Its model: reward = action of the row, continue = 1.
"""

import concurrent.futures
import pathlib
import sys
import time

import grpc
import numpy as np
from google.protobuf import any_pb2, duration_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client/python/src"))

from dreamd._proto import registry_pb2, registry_pb2_grpc, simulation_pb2, simulation_pb2_grpc, tensor_pb2  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_health.v1.health import HealthServicer  # noqa: E402
from grpc_status import rpc_status  # noqa: E402

CHECKPOINT = "sha256:" + "ab" * 32


def fill(reply, **arrays):
    """Adds arrays to a reply as tensors and raw_contents."""
    for name, array in arrays.items():
        datatype = {"float32": "FP32", "bool": "BOOL", "int64": "INT64"}[array.dtype.name]
        reply.tensors.add(name=name, datatype=datatype, shape=array.shape)
        reply.raw_contents.append(array.tobytes())
    return reply


def read(request, name):
    for tensor, raw in zip(request.tensors, request.raw_contents):
        if tensor.name == name:
            assert tensor.datatype == "FP32"
            return np.frombuffer(raw, np.float32).reshape(tensor.shape)
    return None


class Simulation(simulation_pb2_grpc.SimulationServicer):
    def __init__(self):
        self.sessions = {}
        self.closed = []
        self.log = []
        self.fail_next = None  # (code, message, details)
        self.delay_s = 0.0
        self.delay_after_commit_s = 0.0  # once
        self.chunks_sent = 0
        self.stored = {}  # session id -> (request, reply)

    def check(self, context):
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.fail_next:
            code, message, details = self.fail_next
            self.fail_next = None
            status = status_pb2.Status(code=code.value[0], message=message)
            for detail in details:
                packed = any_pb2.Any()
                packed.Pack(detail)
                status.details.append(packed)
            context.abort_with_status(rpc_status.to_status(status))

    def OpenSession(self, request, context):
        self.log.append(request)
        self.check(context)
        if request.model != "pendulum":
            context.abort(grpc.StatusCode.NOT_FOUND, f'model "{request.model}" is not known: pendulum')
        session = simulation_pb2.Session(
            session_id=f"s{len(self.sessions)}", model="pendulum@1", checkpoint=CHECKPOINT, rows=request.rows or 1,
            seed=request.seed, label=request.label, status=simulation_pb2.SESSION_STATUS_READY, time_left_ms=1000,
        )
        box = tensor_pb2.Box(datatype="FP32", shape=[3], low=[-1, -1, -8], high=[1, 1, float("inf")])
        session.observation_space.box.CopyFrom(box)
        session.action_space.box.CopyFrom(tensor_pb2.Box(datatype="FP32", shape=[1], low=[-1], high=[1]))
        self.sessions[session.session_id] = session
        return simulation_pb2.OpenSessionResponse(session=session)

    def find(self, request, context):
        if request.session_id not in self.sessions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"session {request.session_id}: unknown")
        return self.sessions[request.session_id]

    def GetSession(self, request, context):
        return simulation_pb2.GetSessionResponse(session=self.find(request, context))

    def ListSessions(self, request, context):
        reply = simulation_pb2.ListSessionsResponse()
        ids = sorted(self.sessions)
        first = ids.index(request.page_token) if request.page_token else 0
        reply.sessions.extend(self.sessions[i] for i in ids[first:first + 2])
        if first + 2 < len(ids):
            reply.next_page_token = ids[first + 2]
        return reply

    def CloseSession(self, request, context):
        self.find(request, context)
        del self.sessions[request.session_id]
        self.closed.append(request.session_id)
        return simulation_pb2.CloseSessionResponse()

    def commit(self, request, context):
        self.log.append(request)
        self.check(context)
        session = self.find(request, context)
        if request.HasField("step_id") and request.step_id != session.committed_step_id + 1:
            context.abort(grpc.StatusCode.ABORTED, "step id gap")
        session.committed_step_id += 1
        return session

    def stored_reply(self, request):
        """What a repeated step id gets."""
        before, reply = self.stored.get(request.session_id, (None, None))
        return reply if before == request else None

    def Reset(self, request, context):
        session = self.commit(request, context)
        return simulation_pb2.ResetResponse(committed_step_id=session.committed_step_id, checkpoint=CHECKPOINT)

    def Observe(self, request, context):
        session = self.commit(request, context)
        assert read(request, "observation").shape == (session.rows, 3)
        return simulation_pb2.ObserveResponse(committed_step_id=session.committed_step_id, checkpoint=CHECKPOINT)

    def Step(self, request, context):
        stored = self.stored_reply(request)
        if stored:
            self.log.append(request)
            return stored
        session = self.commit(request, context)
        action = read(request, "action")
        reply = simulation_pb2.StepResponse(committed_step_id=session.committed_step_id, checkpoint=CHECKPOINT)
        fill(reply, reward=action[:, 0].copy())
        if "big" in request.outputs:
            fill(reply, big=np.arange(3_000_000, dtype=np.float32))
        self.stored[request.session_id] = (request, reply)
        delay, self.delay_after_commit_s = self.delay_after_commit_s, 0.0
        time.sleep(delay)
        return reply

    def Plan(self, request, context):
        self.log.append(request)
        self.check(context)
        rows = self.find(request, context).rows
        reply = simulation_pb2.PlanResponse(checkpoint=CHECKPOINT, settings=request.settings)
        fill(reply, action=np.full((rows, 1), 0.5, np.float32), **{"return": np.zeros(rows, np.float32)})
        reply.settings.method = "cem"
        reply.stats.iterations = 3
        return reply

    def Imagine(self, request, context):
        """A chunk a step, whose reward is its number."""
        self.log.append(request)
        self.check(context)
        rows = self.find(request, context).rows
        for step in range(request.horizon):
            self.chunks_sent += 1
            reply = simulation_pb2.ImagineResponse(checkpoint=CHECKPOINT, first_step=step, steps=1, trajectories=rows,
                                                   last=step + 1 == request.horizon)
            yield fill(reply, reward=np.full((rows, 1), step, np.float32))
            time.sleep(self.delay_s)


class Registry(registry_pb2_grpc.RegistryServicer):
    def __init__(self):
        self.header = None
        self.files = {}
        self.refuse_after = None

    def RegisterCheckpoint(self, requests, context):
        finished = False
        for request in requests:
            part = request.WhichOneof("part")
            if part == "header":
                self.header = request.header
                if self.refuse_after == "header":
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "manifest.json: family is \"x\"")
            elif part == "chunk":
                self.files[request.chunk.name] = self.files.get(request.chunk.name, b"") + request.chunk.bytes
            else:
                finished = True
        if not finished:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no finish")
        checkpoint = registry_pb2.Checkpoint(name="pendulum", version=4, checkpoint=CHECKPOINT, family="rssm")
        return registry_pb2.RegisterCheckpointResponse(checkpoint=checkpoint, created=True)

    def GetServerInfo(self, request, context):
        return registry_pb2.GetServerInfoResponse(state="SERVING")

    def ListModels(self, request, context):
        model = registry_pb2.Model(name="pendulum")
        model.aliases.add(alias="latest", version=2)
        for version in (2, 1):
            model.checkpoints.add(name="pendulum", version=version, family="rssm", checkpoint=CHECKPOINT)
        return registry_pb2.ListModelsResponse(models=[model])


def retry_info(seconds):
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))


def error_info(reason):
    return error_details_pb2.ErrorInfo(reason=reason, domain="dreamd")


def start(address="127.0.0.1:0", simulation=None):
    """(server, address, simulation, registry)"""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    simulation, registry = simulation or Simulation(), Registry()
    health = HealthServicer()
    health.set("model/pendulum", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    simulation_pb2_grpc.add_SimulationServicer_to_server(simulation, server)
    registry_pb2_grpc.add_RegistryServicer_to_server(registry, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, f"127.0.0.1:{port}", simulation, registry
