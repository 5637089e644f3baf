"""With reflection alone, and no generated code, a client can list and call everything."""

import base64

import grpc
import numpy as np
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from conftest import Daemon
from dreamd_stubs import make_zoo

SIMULATION, REGISTRY = "dreamd.v1.Simulation", "dreamd.v1.Registry"
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


class Reflected:
    """A client that knows an address, and what it is told there."""

    def __init__(self, channel):
        self.channel = channel
        database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(database)
        self.methods = {f"{service}/{method.name}": method for service in database.get_services()
                        for method in self.pool.FindServiceByName(service).methods}

    def call(self, path, *requests):
        """Calls with dicts; the reply, or the first of a stream, as a dict."""
        method = self.methods[path]
        request = message_factory.GetMessageClass(method.input_type)
        reply = message_factory.GetMessageClass(method.output_type)
        kind = "_".join("stream" if streams else "unary"
                        for streams in (method.client_streaming, method.server_streaming))
        call = getattr(self.channel, kind)(f"/{path}", request.SerializeToString, reply.FromString)
        messages = [json_format.ParseDict(r, request()) for r in requests]
        answer = call(iter(messages) if method.client_streaming else messages[0], timeout=30)
        if method.server_streaming:
            stream, answer = answer, next(answer)
            stream.cancel()
        return json_format.MessageToDict(answer, preserving_proto_field_name=True)


def tensor(name, array):
    array = np.asarray(array, "<f4")
    return {"tensors": [{"name": name, "datatype": "FP32", "shape": list(array.shape)}],
            "raw_contents": [base64.b64encode(array.tobytes()).decode()]}


def both(one, other):
    return {key: one[key] + other[key] for key in one}


@pytest.fixture(scope="module")
def reflected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reflection")
    zoo = make_zoo(folder / "zoo", tiny=7)
    make_zoo(folder / "more", other=8)
    daemon = Daemon(folder, "--zoo", zoo)
    with daemon.channel() as channel:
        client = Reflected(channel)
        client.more = folder / "more" / "other"
        yield client
    daemon.stop()


def test_every_method_is_called_and_answered(reflected):
    """One valid call of each method; what is not built in says UNIMPLEMENTED and nothing else is."""
    call, called = reflected.call, set()

    def ok(path, *requests):
        called.add(path)
        return call(path, *requests)

    info = ok(f"{REGISTRY}/GetServerInfo", {})
    built_in = set(info["methods"])
    assert {library["name"] for library in info["libraries"]} >= {"nghttp2", "sqlite", "libuv"}

    # Registry
    assert ok(f"{REGISTRY}/ListModels", {})["models"][0]["name"] == "tiny"
    registered = ok(f"{REGISTRY}/RegisterCheckpoint",
                    {"header": {"server_path": str(reflected.more), "name": "other"}}, {"finish": {}})
    assert registered["created"] is True
    ok(f"{REGISTRY}/SetAlias", {"name": "other", "alias": "best", "version": 1})
    ok(f"{REGISTRY}/SetAlias", {"name": "other", "alias": "best", "remove": True})
    assert ok(f"{REGISTRY}/GetModel", {"model": "other@1"})["checkpoint"]["family"] == "rssm"
    assert ok(f"{REGISTRY}/LoadModel", {"model": "other"})["checkpoint"]["loaded"] is True
    ok(f"{REGISTRY}/UnloadModel", {"model": "other"})
    ok(f"{REGISTRY}/DeleteCheckpoint", {"model": "other@1"})

    # Simulation
    session = ok(f"{SIMULATION}/OpenSession", {"model": "tiny", "rows": 2, "seed": 1})["session"]
    one = {"session_id": session["session_id"]}
    seen = both(tensor("observation.state", np.ones((2, 3))), tensor("observation.angle", np.ones(2)))
    action = tensor("action", np.zeros((2, 2)))
    assert ok(f"{SIMULATION}/GetSession", one)["session"]["rows"] == 2
    assert ok(f"{SIMULATION}/ListSessions", {})["sessions"]
    ok(f"{SIMULATION}/Reset", one)
    ok(f"{SIMULATION}/Observe", {**one, **both(seen, action)})
    assert ok(f"{SIMULATION}/Step", {**one, **action})["tensors"][0]["name"] == "reward"
    assert ok(f"{SIMULATION}/Encode", {**one, **seen})["tensors"][0]["name"] == "embedding"
    assert ok(f"{SIMULATION}/Decode", one)["tensors"]
    assert ok(f"{SIMULATION}/Act", one)["tensors"][0]["name"] == "action"
    assert ok(f"{SIMULATION}/Plan", one)["stats"]["iterations"] == 2
    assert ok(f"{SIMULATION}/Imagine", {**one, "horizon": 3})["tensors"][0]["name"] == "action"
    ok(f"{SIMULATION}/Fork", {**one, "rows": {"rows": [0]}, "into": {"rows": [1]}})
    saved = ok(f"{SIMULATION}/GetState", one)
    del saved["committed_step_id"]
    ok(f"{SIMULATION}/SetState", {**one, **saved})
    assert ok(f"{SIMULATION}/Interact", {"id": 7, "step": {**one, **action}})["step"]["committed_step_id"]
    ok(f"{SIMULATION}/CloseSession", one)

    # Others'
    assert ok("grpc.health.v1.Health/Check", {})["status"] == "SERVING"
    assert ok("grpc.health.v1.Health/List", {})["statuses"]
    assert ok("grpc.health.v1.Health/Watch", {})["status"] == "SERVING"
    for version in ("v1", "v1alpha"):
        ok(f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", {"list_services": ""})
    tiny = {"create_world": {"settings": {"model": {"strings": {"array": ["tiny"]}}}}}
    assert ok("dm_env_rpc.v1.Environment/Process", tiny)["create_world"]["world_name"].startswith("tiny-")

    ours = {path for path in reflected.methods if path.startswith("dreamd.")}
    assert {path for path in called if path.startswith("dreamd.")} == built_in
    for path in set(reflected.methods) - called:
        with pytest.raises(grpc.RpcError) as caught:
            call(path, {})
        assert caught.value.code() == UNIMPLEMENTED, path
        assert path in ours - built_in
