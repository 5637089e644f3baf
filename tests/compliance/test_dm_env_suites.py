"""The public suites as they are: dm_env_rpc's compliance classes, dm_env's EnvironmentTestMixin through the public adaptor.

Each of them against worlds of vectors and of pictures, with continuous and with discrete actions.
"""

import dm_env
import numpy as np
import pytest
from absl.testing import absltest
from dm_env import test_utils
from dm_env_rpc.v1 import connection, dm_env_adaptor, tensor_utils
from dm_env_rpc.v1 import dm_env_rpc_pb2 as pb
from dm_env_rpc.v1.compliance import create_destroy_world, join_leave_world, reset, reset_world, step

import dm_env_worlds

MODELS = ["pendulum", "cartpole", "tiny", "image", "images", "choices", "free"]
SUITES = {"CreateDestroyWorld": 5, "JoinLeaveWorld": 11, "Reset": 3, "ResetWorld": 3, "Step": 18}
ADDRESS = None


@pytest.fixture(scope="module", autouse=True)
def served(tmp_path_factory):
    global ADDRESS
    daemon = dm_env_worlds.serve(tmp_path_factory.mktemp("dm_env"))
    ADDRESS = daemon.address
    yield daemon
    daemon.stop()


class Connected:
    """What the suites ask of a subclass: a connection, and the world of one model."""

    model, creates, joins = None, True, False

    def setUp(self):
        super().setUp()
        self.connection_ = connection.create_secure_channel_and_connect(ADDRESS, timeout=60)
        self.world = self.connection.send(pb.CreateWorldRequest(settings=self.required_world_settings)).world_name \
            if self.creates else None
        if self.joins:
            self.joined = self.join_world()

    def tearDown(self):
        try:
            super().tearDown()
        finally:
            self.connection.send(pb.LeaveWorldRequest())
            if self.world:
                self.connection.send(pb.DestroyWorldRequest(world_name=self.world))
            self.connection_.close()

    @property
    def connection(self):
        return self.connection_

    @property
    def world_name(self):
        return self.world

    @property
    def required_world_settings(self):
        return {"model": tensor_utils.pack_tensor(self.model)}

    def join_world(self):
        return self.connection.send(pb.JoinWorldRequest(world_name=self.world)).specs


class Creates(Connected):
    creates, has_multiple_world_support = False, True

    @property
    def invalid_world_settings(self):
        return {"nothing": tensor_utils.pack_tensor(1), "seed": tensor_utils.pack_tensor(-1),
                "horizon": tensor_utils.pack_tensor("long"), "ending": tensor_utils.pack_tensor("happy")}


class Joins(Connected):
    # the suite's own join_world takes arguments
    join_world = join_leave_world.JoinLeaveWorld.join_world

    @property
    def invalid_join_settings(self):
        return {"nothing": tensor_utils.pack_tensor(1), "seed": tensor_utils.pack_tensor(1.5),
                "continue": tensor_utils.pack_tensor(1)}


class ResetsWorld(Connected):
    join_world = reset_world.ResetWorld.join_world


class Steps(Connected):
    joins = True

    @property
    def specs(self):
        return self.joined


class Environment(test_utils.EnvironmentTestMixin, absltest.TestCase):
    """Episodes are shorter than the sequence of actions, so that their ends are seen."""

    model = None

    def make_object_under_test(self):
        self.connection = connection.create_secure_channel_and_connect(ADDRESS, timeout=60)
        environment, self.world = dm_env_adaptor.create_and_join_world(
            self.connection, {"model": self.model, "horizon": 8, "seed": 5}, {})
        return environment

    def tearDown(self):
        super().tearDown()
        self.connection.send(pb.DestroyWorldRequest(world_name=self.world))
        self.connection.close()


SOURCES = {"CreateDestroyWorld": (Creates, create_destroy_world.CreateDestroyWorld),
           "JoinLeaveWorld": (Joins, join_leave_world.JoinLeaveWorld), "Reset": (Connected, reset.Reset),
           "ResetWorld": (ResetsWorld, reset_world.ResetWorld), "Step": (Steps, step.Step), "Environment": (Environment,)}
for made in [type(f"{name}_{model}", bases, {"model": model}) for model in MODELS for name, bases in SOURCES.items()]:
    globals()[made.__name__] = made
del made, Environment


def test_the_suites_have_as_many_tests_as_are_run():
    for name, count in SUITES.items():
        suite = SOURCES[name][1]
        own = [test for test in dir(suite) if test.startswith("test")]
        assert len(own) == count, f"{name}: another version of the suite, {own}"
        for model in MODELS:
            made = globals()[f"{name}_{model}"]
            assert all(getattr(made, test) is getattr(suite, test) for test in own)


@pytest.mark.parametrize("model", MODELS)
def test_the_adaptor_sees_the_spaces_of_the_model(model):
    with connection.create_secure_channel_and_connect(ADDRESS, timeout=60) as link:
        environment, world = dm_env_adaptor.create_and_join_world(
            link, {"model": model, "seed": 1, "horizon": 4, "ending": "never"}, {})
        seen, actions = environment.observation_spec(), environment.action_spec()
        kinds = {name: (spec.dtype, spec.shape) for name, spec in seen.items()}
        f4, u1 = np.dtype("f4"), np.dtype("u1")
        assert kinds == {
            "pendulum": {"observation": (f4, (3,))}, "cartpole": {"observation": (f4, (4,))},
            "tiny": {"state": (f4, (3,)), "angle": (f4, ())}, "free": {"state": (f4, (3,)), "angle": (f4, ())},
            "image": {"image": (u1, (48, 48, 3)), "state": (f4, (3,))},
            "images": {"view": (u1, (48, 48, 3)), "depth": (u1, (48, 48, 1))},
            "choices": {"tile": (np.dtype("i4"), ()), "height": (f4, ())}}[model]
        is_discrete = isinstance(actions["action"], dm_env.specs.DiscreteArray)
        assert is_discrete == (model in ("cartpole", "image", "choices"))
        kinds = [environment.step({"action": actions["action"].generate_value()}).step_type for _ in range(6)]
        assert kinds == [0, 1, 1, 1, 2, 0]
        environment.close()
        link.send(pb.DestroyWorldRequest(world_name=world))
