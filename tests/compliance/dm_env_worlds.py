"""What tests of dm_env_rpc share: a daemon with models of every kind of space, a stream that is spoken to bit by bit."""

import json
import pathlib
import queue

from dm_env_rpc.v1 import dm_env_rpc_pb2 as pb
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc, tensor_utils

import checkpoints
from conftest import ROOT, Daemon
from dreamd_stubs import Client, make_zoo, simulation
from test_golden_rssm import JAX, jax_checkpoint, load, register

pack = tensor_utils.pack_tensor


def serve(folder):
    """pendulum: a vector. cartpole: discrete actions, starts, ends. tiny: a Dict, no starts. image: pictures and a
    vector, discrete actions. images: two kinds of pictures. choices: a Dict with a Discrete. free: nothing is bounded."""
    zoo = make_zoo(pathlib.Path(folder) / "zoo", tiny=7)
    for name in ("pendulum", "cartpole"):
        (zoo / name).symlink_to(ROOT / "models/zoo" / name)

    def unbound(manifest):
        manifest["name"] = "free"
        for space in (manifest["action_space"], *manifest["observation_space"]["spaces"].values()):
            space.pop("low", None), space.pop("high", None)

    checkpoints.copy(zoo / "tiny", zoo / "free", manifest=unbound, probe=False)
    daemon = Daemon(folder, "--zoo", zoo)
    for name, case in (("image", "image"), ("images", "images"), ("choices", "discrete")):
        golden, metadata = load(JAX / f"{case}.safetensors")
        work = pathlib.Path(folder) / f"made-{name}"
        work.mkdir()
        config = json.loads(metadata["config"])
        register(daemon, work, "dreamerv3-jax", jax_checkpoint(work, golden, config), work / "config.yaml", name)
    return daemon


class Stream:
    """One agent: requests go out as they are, one response is read for each."""

    def __init__(self, channel):
        self.requests = queue.SimpleQueue()
        self.responses = dm_env_rpc_pb2_grpc.EnvironmentStub(channel).Process(iter(self.requests.get, None))

    def put(self, **payload):
        self.requests.put(pb.EnvironmentRequest(**payload))

    def get(self):
        return next(self.responses)

    def ask(self, **payload):
        """The response's own message, which must be of the request's kind."""
        self.put(**payload)
        response = self.get()
        kind = response.WhichOneof("payload")
        assert [kind] == list(payload), response
        return getattr(response, kind)

    def fail(self, **payload):
        """The Status of a request that must fail."""
        self.put(**payload)
        response = self.get()
        assert response.WhichOneof("payload") == "error", response
        return response.error

    def create(self, **settings):
        settings = {name: pack(value) for name, value in settings.items()}
        return self.ask(create_world=pb.CreateWorldRequest(settings=settings)).world_name

    def join(self, world, **settings):
        settings = {name: pack(value) for name, value in settings.items()}
        self.specs = self.ask(join_world=pb.JoinWorldRequest(world_name=world, settings=settings)).specs
        self.names = {uid: spec.name for uid, spec in self.specs.observations.items()}
        return self.specs

    def step(self, action=None, wanted=()):
        """(state, {name: array}); the action, if any, is for UID 1."""
        uids = [uid for uid, name in self.names.items() if name in wanted]
        actions = {} if action is None else {1: action}
        response = self.ask(step=pb.StepRequest(actions=actions, requested_observations=uids))
        found = {self.names[uid]: tensor_utils.unpack_tensor(tensor) for uid, tensor in response.observations.items()}
        return pb.EnvironmentStateType.Name(response.state), found

    def reset(self, **settings):
        return self.ask(reset=pb.ResetRequest(settings={name: pack(value) for name, value in settings.items()})).specs

    def reset_world(self, world, **settings):
        settings = {name: pack(value) for name, value in settings.items()}
        return self.ask(reset_world=pb.ResetWorldRequest(world_name=world, settings=settings))

    def leave(self):
        return self.ask(leave_world=pb.LeaveWorldRequest())

    def destroy(self, world):
        return self.ask(destroy_world=pb.DestroyWorldRequest(world_name=world))

    def end(self):
        """Half-closes: what is left to read."""
        self.requests.put(None)
        return list(self.responses)


def sessions(channel):
    return list(Client(channel).simulation.ListSessions(simulation.ListSessionsRequest()).sessions)
