"""Writes the seeds of fuzz_requests: a good request of every method, and scripts of several.

    .venv/bin/python tests/fuzz/make_requests.py     into tests/fuzz/corpus/requests
"""

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client/python/src"))

# ruff: noqa: E402
from dreamd._proto import registry_pb2 as registry
from dreamd._proto import simulation_pb2 as simulation
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

NO_WAIT, MORE, RESET = 1, 2, 4
HOME = {"health_pb2": "grpc.health.v1.Health", "reflection_pb2": "grpc.reflection.v1.ServerReflection",
        "registry_pb2": "dreamd.v1.Registry", "simulation_pb2": "dreamd.v1.Simulation"}
NAMES = {"HealthCheck": "Check", "ServerReflection": "ServerReflectionInfo"}


def path_of(request):
    kind = type(request)
    name = kind.__name__.removesuffix("Request")
    return f"/{HOME[kind.__module__.split('.')[-1]]}/{NAMES.get(name, name)}"


def number_of(path):
    value = 2166136261
    for byte in path.encode():
        value = (value ^ byte) * 16777619 & 0xffffffff
    return (value ^ value >> 16) & 0xffff


def step(request, how=0):
    packed = request.SerializeToString()
    return number_of(path_of(request)).to_bytes(2, "big") + bytes([how]) + len(packed).to_bytes(2, "big") + packed


def put(request, **tensors):
    names = {"<f4": "FP32", "|u1": "UINT8", "<i8": "INT64"}
    for name, array in tensors.items():
        array = np.asarray(array, "<f4") if not isinstance(array, np.ndarray) else array
        request.tensors.add(name=name.replace("__", "."), datatype=names[array.dtype.str], shape=array.shape)
        request.raw_contents.append(array.tobytes())
    return request


def rows(request, *chosen):
    request.rows.rows.extend(chosen)
    return request


S = {"session_id": "S"}
ACTIONS = np.full((3, 2), 0.25, "<f4")
STEP = put(simulation.StepRequest(**S, outputs=["reward", "continue", "observation", "state"]), action=ACTIONS)
OBSERVE = put(simulation.ObserveRequest(**S), observation__state=np.ones((3, 3), "<f4"),
              observation__angle=np.ones(3, "<f4"))
ENCODE = put(simulation.EncodeRequest(**S), observation__state=np.ones((3, 3), "<f4"),
             observation__angle=np.ones(3, "<f4"))
PLAN = simulation.PlanRequest(**S, settings=simulation.PlannerSettings(
    method="cem", horizon=3, candidates=8, iterations=2, elites=2, seed=1))
SMALL = simulation.PlannerSettings(method="mppi", horizon=2, candidates=4, iterations=1)

ONE = {
    "open": simulation.OpenSessionRequest(model="tiny@latest", rows=2, seed=7, horizon=5, history=2, ttl_ms=1000,
                                          latent_mode=1, autoreset=1, label="x", request_id="r"),
    "open_state": put(simulation.OpenSessionRequest(model="tiny", rows=1, start_source=3),
                      state__deter=np.zeros((1, 16), "<f4")),
    "open_ending": simulation.OpenSessionRequest(model="tiny", rows=1, temperature=0.5, persist=True, ending={
        "rule": 2, "threshold": 0.9}),
    "get": simulation.GetSessionRequest(**S), "list": simulation.ListSessionsRequest(page_size=2),
    "close": simulation.CloseSessionRequest(**S),
    "reset": simulation.ResetRequest(**S, step_id=1, seeds=[1, 2, 3], outputs=["state"], raw=True),
    "observe": OBSERVE, "step": STEP, "encode": ENCODE,
    "step_rows": rows(put(simulation.StepRequest(**S, step_id=1, outputs=["reward"]),
                          action=np.zeros((2, 2), "<f4")), 2, 0),
    "decode": simulation.DecodeRequest(**S, outputs=["observation.angle", "state.deter"], raw=True),
    "act": simulation.ActRequest(**S, action_mode=1), "plan": PLAN,
    "plan_anytime": simulation.PlanRequest(**S, anytime=True, settings=simulation.PlannerSettings(
        preset="tdmpc2", horizon=2, candidates=6, iterations=1, warm_start=True, terminal_value=True)),
    "fork": simulation.ForkRequest(**S, copies=2, reseed=5, label="f", ttl_ms=500),
    "fork_into": rows(simulation.ForkRequest(**S, into={"rows": [0, 1]}), 2, 1),
    "get_state": simulation.GetStateRequest(**S),
    "set_state": put(simulation.SetStateRequest(**S, format=1, layout_hash="x", checksum=1),
                     state__deter=np.zeros((3, 16), "<f4")),
    "imagine": put(simulation.ImagineRequest(**S, outputs=["reward", "state"]), action=np.zeros((3, 4, 2), "<f4")),
    "imagine_random": simulation.ImagineRequest(**S, policy=3, horizon=6, candidates=2, outputs=["reward"]),
    "imagine_actor": simulation.ImagineRequest(**S, policy=1, horizon=4),
    "imagine_plan": simulation.ImagineRequest(**S, policy=4, horizon=2, settings=SMALL),
    "models": registry.ListModelsRequest(page_size=1), "model": registry.GetModelRequest(model="tiny@1"),
    "alias": registry.SetAliasRequest(name="tiny", alias="best", version=1),
    "alias_remove": registry.SetAliasRequest(name="tiny", alias="best", remove=True),
    "load": registry.LoadModelRequest(model="tiny"), "unload": registry.UnloadModelRequest(model="tiny"),
    "info": registry.GetServerInfoRequest(), "delete": registry.DeleteCheckpointRequest(model="tiny@7"),
    "health": health_pb2.HealthCheckRequest(service="model/tiny"),
    "reflection": reflection_pb2.ServerReflectionRequest(file_containing_symbol="dreamd.v1.Simulation"),
}


def interact(*wrapped):
    steps = []
    for i, (field, request) in enumerate(wrapped):
        message = simulation.InteractRequest(id=i + 1)
        getattr(message, field).CopyFrom(request)
        steps.append(step(message, MORE if i + 1 < len(wrapped) else 0))
    return b"".join(steps)


HEADER = registry.RegisterCheckpointRequest(header=registry.RegisterHeader(
    manifest_json=b'{"format": 1, "family": "rssm", "name": "n", "config": {}}', name="n", aliases=["a"],
    files=[registry.CheckpointFile(name="weights.safetensors", bytes=4)]))
CHUNK = registry.RegisterCheckpointRequest(chunk=registry.RegisterChunk(name="weights.safetensors", bytes=b"abcd"))
FINISH = registry.RegisterCheckpointRequest(finish=registry.RegisterFinish())
SERVER_PATH = registry.RegisterCheckpointRequest(header=registry.RegisterHeader(server_path="/no/such/folder"))

SCRIPTS = {
    "episode": step(OBSERVE) + step(ONE["act"]) + step(STEP) + step(PLAN) + step(STEP) + step(ONE["decode"]),
    "repeated_step_id": step(ONE["step_rows"]) * 2 + step(ONE["get"]),
    "busy": step(PLAN, NO_WAIT) + step(STEP, NO_WAIT) + step(ONE["get"], NO_WAIT) + step(ONE["close"]),
    "reset_calls": step(PLAN, RESET) + step(STEP, NO_WAIT | RESET) + step(ONE["imagine_random"], RESET),
    "interact": interact(("step", STEP), ("observe", OBSERVE), ("plan", PLAN), ("get_session", ONE["get"])),
    "interact_cut": interact(("plan", PLAN), ("step", STEP))[:-4],
    "register": step(HEADER, MORE) + step(CHUNK, MORE) + step(FINISH),
    "register_cut": step(HEADER, MORE) + step(CHUNK, RESET), "register_path": step(SERVER_PATH, MORE) + step(FINISH),
    "history": step(STEP) * 3 + step(simulation.ForkRequest(**S, steps_back=2)),
    "unload_in_use": step(PLAN, NO_WAIT) + step(ONE["unload"], NO_WAIT) + step(ONE["load"], NO_WAIT) + step(STEP),
}


def main():
    folder = ROOT / "tests/fuzz/corpus/requests"
    folder.mkdir(parents=True, exist_ok=True)
    for name, request in ONE.items():
        (folder / name).write_bytes(step(request))
    for name, script in SCRIPTS.items():
        (folder / name).write_bytes(script)


if __name__ == "__main__":
    main()
