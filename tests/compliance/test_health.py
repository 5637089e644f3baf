"""Health by name: the daemon, its services, each of its models; what watchers hear."""

import signal
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import checkpoints
from dreamd_stubs import Client, make_zoo, registry

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("source"), tiny=1) / "tiny"


@pytest.fixture
def daemon(start_daemon, source):
    return start_daemon("--zoo", source.parent)


@pytest.fixture
def channel(daemon):
    with daemon.channel() as channel:
        yield channel


def status(channel, service):
    try:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service),
                                                         timeout=60).status
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND
        return UNKNOWN


class Watch:
    """Collects what a watcher hears."""

    def __init__(self, channel, service):
        self.heard = []
        self.stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        try:
            for message in self.stream:
                self.heard.append(message.status)
        except grpc.RpcError:
            pass

    def until(self, *expected):
        give_up = time.monotonic() + 60
        while self.heard != list(expected):
            assert time.monotonic() < give_up, self.heard
            time.sleep(0.01)


def test_services_and_models_have_names(channel):
    for service in ("", "dreamd.v1.Simulation", "dreamd.v1.Registry", "dm_env_rpc.v1.Environment", "grpc.health.v1.Health",
                    "model/tiny"):
        assert status(channel, service) == SERVING, service
    for service in ("model/", "model/none", "tiny", "dreamd.v1"):
        assert status(channel, service) == UNKNOWN, service


def test_a_model_comes_and_goes(channel, source, tmp_path):
    client = Client(channel).registry
    watch = Watch(channel, "model/new")
    watch.until(UNKNOWN)
    for seed in (5, 6):
        folder = make_zoo(tmp_path / str(seed), new=seed) / "new"
        checkpoints.register(Client(channel), folder, name="new")
    watch.until(UNKNOWN, SERVING)
    client.DeleteCheckpoint(registry.DeleteCheckpointRequest(model="new@1"))
    assert status(channel, "model/new") == SERVING
    client.DeleteCheckpoint(registry.DeleteCheckpointRequest(model="new@2"))
    watch.until(UNKNOWN, SERVING, UNKNOWN)
    assert status(channel, "model/new") == UNKNOWN and status(channel, "model/tiny") == SERVING


def test_a_model_that_is_damaged_is_not_served(daemon, channel, source, tmp_path):
    client = Client(channel).registry
    watch = Watch(channel, "model/tiny")
    watch.until(SERVING)
    (weights,) = daemon.folder.glob("data/checkpoints/*/weights.safetensors")
    weights.chmod(0o600)
    content = bytearray(weights.read_bytes())
    content[-5] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(grpc.RpcError):
        client.LoadModel(registry.LoadModelRequest(model="tiny"))
    watch.until(SERVING, NOT_SERVING)
    assert status(channel, "") == SERVING
    folder = make_zoo(tmp_path / "good", tiny=9) / "tiny"
    checkpoints.register(Client(channel), folder, name="tiny")
    client.LoadModel(registry.LoadModelRequest(model="tiny@2"))
    watch.until(SERVING, NOT_SERVING, SERVING)


def test_nothing_is_served_while_the_daemon_drains(daemon, channel):
    watches = [Watch(channel, service) for service in ("", "dreamd.v1.Simulation", "model/tiny")]
    for watch in watches:
        watch.until(SERVING)
    daemon.process.send_signal(signal.SIGTERM)
    for watch in watches:
        watch.until(SERVING, NOT_SERVING)
    assert daemon.process.wait(timeout=60) == 0
