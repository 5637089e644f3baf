"""dm_env_rpc beyond the public suites: what is wrong is said in band, order, agents beside each other, seeds, ends."""

import re
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from dm_env_rpc.v1 import dm_env_rpc_pb2 as pb
from dm_env_rpc.v1 import tensor_utils
from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import dm_env_worlds
from conftest import BUILD, ROOT
from dm_env_worlds import Stream, pack, sessions
from dreamd_stubs import Client, arrays, put, simulation
from test_metrics import Scrape

sys.path.insert(0, str(ROOT / "tests/torture"))
from daemon import Daemon as FailingDaemon  # noqa: E402

FILE, INVALID, NOT_FOUND, FULL, PRECONDITION, UNIMPLEMENTED = simulation.START_SOURCE_FILE, 3, 5, 8, 9, 12
WORLDS_MAX = 10000


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    daemon = dm_env_worlds.serve(tmp_path_factory.mktemp("dm_env"))
    yield daemon
    daemon.stop()


@pytest.fixture
def channel(served):
    with served.channel() as channel:
        yield channel
        wait_for(lambda: not sessions(channel))  # whatever a test leaves is gone with its streams


@pytest.fixture
def stream(channel):
    one = Stream(channel)
    yield one
    assert one.end() == []


def wait_for(condition):
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def joined(stream, model="pendulum", **settings):
    world = stream.create(model=model, **settings)
    stream.join(world)
    return world


def torque(value):
    return pack(np.array([value], "f4"))


def settings(**values):
    return {name: pack(value) for name, value in values.items()}


def create(**values):
    return dict(create_world=pb.CreateWorldRequest(settings=settings(**values)))


# ---- the protocol itself ----


def plain(file):
    """What is on the wire: names and numbers, without what only generators look at."""
    file = descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString())
    for kept in ("options", "source_code_info", "dependency"):
        file.ClearField(kept)
    for message in file.message_type:
        message.nested_type.sort(key=lambda nested: nested.name)
        for part in (message, *message.nested_type):
            for field in part.field:
                field.ClearField("json_name")
    parts = {"message": {m.name: m for m in file.message_type}, "enum": {e.name: e for e in file.enum_type}}
    return file.package, parts, [(s.name, [(m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
                                           for m in s.method]) for s in file.service]


def public_file():
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return file


def test_the_declaration_agrees_with_the_public_one():
    files = descriptor_pb2.FileDescriptorSet.FromString((BUILD / "gen/dreamd.desc").read_bytes()).file
    ours = next(file for file in files if file.name == "dm_env_rpc/v1/dm_env_rpc.proto")
    assert plain(ours) == plain(public_file())


def test_reflection_tells_of_the_service_and_its_maps(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "dm_env_rpc.v1.Environment" in list(database.get_services())
    method = DescriptorPool(database).FindServiceByName("dm_env_rpc.v1.Environment").methods_by_name["Process"]
    assert method.client_streaming and method.server_streaming
    create_world = method.input_type.fields_by_name["create_world"].message_type
    assert create_world.fields_by_name["settings"].message_type.GetOptions().map_entry


# ---- what is wrong is said in band, by a sentence, and the stream goes on ----

WRONG = {
    "nothing": (dict(), INVALID, "no payload"),
    "an extension": (dict(extension=any_pb2.Any(type_url="a/b.Properties")), UNIMPLEMENTED, '"a/b.Properties"'),
    "no model": (create(seed=1), INVALID, 'setting "model" is missing'),
    "an unknown model": (create(model="pendulun"), NOT_FOUND, '"pendulum"'),
    "a setting with a typo": (create(model="pendulum", sede=1), INVALID,
                              r'setting "sede" is unknown, those of CreateWorld are: model, seed, .*horizon'),
    "a text for a number": (create(model="pendulum", horizon="long"), INVALID,
                            'setting "horizon" is a tensor of 1 strings, expected one whole number from 0 to'),
    "a number below": (create(model="pendulum", seed=-1), INVALID, "from 0 to 18446744073709551615"),
    "a list": (create(model="pendulum", seed=[1, 2]), INVALID, "2 int64s"),
    "no value": (dict(create_world=pb.CreateWorldRequest(settings={"model": pb.Tensor()})), INVALID, "has no value, expected one string"),
    "a word": (create(model="pendulum", ending="happy"), INVALID, 'is "happy", expected "threshold", "sampled", "never"'),
    "a long text": (create(model="pendulum", task="x" * 1000), INVALID, "has 1000 bytes, at most 127"),
    "a threshold above": (create(model="pendulum", threshold=1.5), INVALID, "threshold is 1.5"),
    "a threshold of another ending": (create(model="pendulum", ending="never", threshold=0.5), INVALID, "belongs to ending"),
    "a temperature": (create(model="pendulum", temperature=1.0), PRECONDITION, "temperature"),
    "starts that are not there": (create(model="tiny", start="file"), PRECONDITION, "starts"),
    "a task": (create(model="pendulum", task="walk"), PRECONDITION, "task"),
    "a world that is not there": (dict(join_world=pb.JoinWorldRequest(world_name="foo")), NOT_FOUND, 'no world "foo"'),
    "a world destroyed": (dict(destroy_world=pb.DestroyWorldRequest(world_name="foo")), NOT_FOUND, 'no world "foo"'),
    "a world reset": (dict(reset_world=pb.ResetWorldRequest(world_name="foo")), NOT_FOUND, 'no world "foo"'),
    "a step": (dict(step=pb.StepRequest()), PRECONDITION, "JoinWorld comes first"),
    "a reset": (dict(reset=pb.ResetRequest()), PRECONDITION, "JoinWorld comes first"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_answered_by_a_sentence(stream, name):
    payload, code, words = WRONG[name]
    for _ in range(2):
        status = stream.fail(**payload)
        assert status.code == code and re.search(words, status.message), status
    stream.leave()


NUMBERS = pack(np.array([0.5], "f4"))
WRONG_ACTIONS = {
    "doubles": (pack(np.array([0.5])), "the payload is doubles, expected floats"),
    "nothing": (pb.Tensor(), "the payload is nothing, expected floats"),
    "strings": (pack(["left"]), "the payload is strings"),
    "NaN": (torque(np.nan), "element 0 is nan, expected -2 to 2"),
    "infinite": (torque(np.inf), "element 0 is inf"),
    "above": (torque(2.1), "element 0 is 2.0999999, expected -2 to 2"),
    "below": (torque(-3), "element 0 is -3"),
    "too many": (pb.Tensor(floats=pb.Tensor.FloatArray(array=[1, 1]), shape=[1]), "2 elements, expected 1"),
    "none": (pb.Tensor(floats=pb.Tensor.FloatArray(), shape=[1]), "0 elements, expected 1"),
    "a scalar": (pb.Tensor(floats=pb.Tensor.FloatArray(array=[1])), r"shape is \[\], expected \[1\]"),
    "rank": (pb.Tensor(floats=pb.Tensor.FloatArray(array=[1]), shape=[1, 1]), r"shape is \[1, 1\], expected \[1\]"),
    "a long shape": (pb.Tensor(floats=pb.Tensor.FloatArray(array=[1]), shape=[1] * 1000), "and so on, expected"),
    "two open dimensions": (pb.Tensor(floats=pb.Tensor.FloatArray(array=[1]), shape=[-1, -1]), "one dimension may be -1"),
}


@pytest.mark.parametrize("name", WRONG_ACTIONS)
def test_a_wrong_action_is_named_and_changes_nothing(stream, name):
    tensor, words = WRONG_ACTIONS[name]
    world = joined(stream, seed=1)
    assert stream.step(tensor)[0] == "RUNNING"  # ignored: it begins a sequence
    for _ in range(3):
        status = stream.fail(step=pb.StepRequest(actions={1: tensor}, requested_observations=[1]))
        assert status.code == INVALID and status.message.startswith('action 1 ("action"): '), status
        assert re.search(words, status.message), status
        detail = error_details_pb2.BadRequest()
        assert status.details[0].Unpack(detail) and detail.field_violations[0].field == "actions[1]"
    found = stream.step(NUMBERS, ["observation", "reward"])[1]
    stream.reset(seed=1)
    stream.step()
    again = stream.step(NUMBERS, ["observation", "reward"])[1]
    assert found["reward"] == again["reward"] and np.array_equal(found["observation"], again["observation"])
    stream.leave()
    stream.destroy(world)


def test_unknown_uids_are_named_and_the_first_step_ignores_actions_alone(stream):
    world = joined(stream)
    for first in (True, False):
        for uid in (0, 3, 2**64 - 1):
            status = stream.fail(step=pb.StepRequest(requested_observations=[uid]))
            assert status.code == INVALID and f"observation {uid} is unknown, the specs have UIDs 1 to 2" in status.message
        if first:
            stream.step(NUMBERS)
    for uid in (0, 2, 2**64 - 1):
        assert f"action {uid} is unknown" in stream.fail(step=pb.StepRequest(actions={uid: NUMBERS})).message
    many = stream.fail(step=pb.StepRequest(requested_observations=[1] * 5000))
    assert many.code == INVALID and "at most 4096" in many.message
    stream.leave()
    stream.destroy(world)


def test_one_number_stands_for_all_and_a_dimension_may_be_open(stream):
    """tiny has two actions: -2..2 and -1..1."""
    world = joined(stream, "tiny", ending="never")
    spec = stream.specs.actions[1]
    assert (list(spec.min.floats.array), list(spec.max.floats.array)) == ([-2, -1], [2, 1])

    def after(shape, values, seed=3):
        stream.reset(seed=seed)
        stream.step()
        return stream.step(pb.Tensor(floats=pb.Tensor.FloatArray(array=values), shape=shape), ["reward", "state"])[1]

    def same(one, other):
        return one["reward"] == other["reward"] and np.array_equal(one["state"], other["state"])

    assert same(after([2], [0.5, 0.5]), after([2], [0.5]))
    assert same(after([2], [0.5, -0.25]), after([-1], [0.5, -0.25]))
    assert not same(after([2], [0.5, -0.25]), after([2], [0.5, 0.25]))
    stream.reset(seed=3)
    stream.step()
    nothing = stream.step(None, ["reward", "state"])[1]
    assert same(nothing, after([2], [0, 0]))  # what is not said is 0
    one = stream.fail(step=pb.StepRequest(actions={1: pb.Tensor(floats=pb.Tensor.FloatArray(array=[0.5]), shape=[-1])}))
    assert "shape is [-1], expected [2]" in one.message
    assert "element 1 is 1.5, expected -1 to 1" in stream.fail(step=pb.StepRequest(
        actions={1: pb.Tensor(floats=pb.Tensor.FloatArray(array=[1.5]), shape=[2])})).message
    stream.leave()
    stream.destroy(world)


def test_actions_without_bounds_get_some_that_a_model_bears(stream):
    world = joined(stream, "free", ending="never")
    spec = stream.specs.actions[1]
    assert list(spec.min.floats.array) == [-1e6] and list(spec.max.floats.array) == [1e6]
    assert not any(spec.HasField("min") for spec in stream.specs.observations.values())
    stream.step()
    for value in (-1e6, 1e6, -1e6):
        found = stream.step(pb.Tensor(floats=pb.Tensor.FloatArray(array=[value]), shape=[2]), ["state", "angle", "reward"])[1]
        assert all(np.all(np.isfinite(array)) for array in found.values())
    lowest = pb.Tensor(floats=pb.Tensor.FloatArray(array=[np.finfo("f4").min]), shape=[2])
    assert stream.fail(step=pb.StepRequest(actions={1: lowest})).code == INVALID
    stream.leave()
    stream.destroy(world)


# ---- order ----


def test_pipelined_requests_are_answered_one_by_one_in_order(stream):
    world = stream.create(model="pendulum", seed=1, horizon=100)
    wanted = dict(requested_observations=[1, 2])
    payloads = [dict(join_world=pb.JoinWorldRequest(world_name=world)), dict(step=pb.StepRequest(**wanted))]
    for k in range(2000):
        payloads += [dict(step=pb.StepRequest(actions={1: torque(k % 3 - 1)}, **wanted))]
        payloads += [dict(step=pb.StepRequest(requested_observations=[99]))] if k % 100 == 50 else []
        payloads += [dict(reset=pb.ResetRequest())] if k % 300 == 250 else []
    payloads += [dict(leave_world=pb.LeaveWorldRequest()), dict(step=pb.StepRequest()),
                 dict(destroy_world=pb.DestroyWorldRequest(world_name=world))]
    for payload in payloads:
        stream.put(**payload)
    answers = [stream.get() for _ in payloads]
    for k, (payload, answer) in enumerate(zip(payloads, answers, strict=True)):
        fails = payload.get("step") == pb.StepRequest() or payload.get("step") == pb.StepRequest(requested_observations=[99])
        assert answer.WhichOneof("payload") == ("error" if fails else next(iter(payload))), (k, answer)
    states = [answer.step.state for answer in answers if answer.WhichOneof("payload") == "step"]
    assert states[0] == states[1] == pb.RUNNING and states[100] == pb.INTERRUPTED and states[101] == pb.RUNNING
    assert set(states) == {pb.RUNNING, pb.INTERRUPTED}


def test_requests_before_a_half_close_are_answered(channel):
    stream = Stream(channel)
    world = stream.create(model="pendulum")
    for payload in (dict(join_world=pb.JoinWorldRequest(world_name=world)), dict(step=pb.StepRequest()), dict(step=pb.StepRequest())):
        stream.put(**payload)
    assert [answer.WhichOneof("payload") for answer in stream.end()] == ["join_world", "step", "step"]
    other = Stream(channel)
    other.destroy(world)  # the end of the stream was a leave
    other.end()


# ---- agents ----


def test_a_broken_stream_leaves_its_world(served, channel):
    world = None
    for during in ("idle", "step", "join"):
        with served.channel() as own:
            stream = Stream(own)
            world = stream.create(model="pendulum")
            if during != "join":
                stream.join(world)
                assert [s.label for s in sessions(channel)] == [world]
                stream.step()
            for _ in range(50):
                if during == "step":
                    stream.put(step=pb.StepRequest(actions={1: torque(1)}))
            if during == "join":
                stream.put(join_world=pb.JoinWorldRequest(world_name=world))
        wait_for(lambda: not sessions(channel))
        other = Stream(channel)
        other.destroy(world)
        other.end()


def test_a_cancelled_creation_leaves_nothing(channel, stream):
    for _ in range(20):
        other = Stream(channel)
        other.put(**create(model="pendulum"))
        other.responses.cancel()
    joined(stream)
    stream.leave()


def test_worlds_and_their_agents_are_counted(served, channel, stream):
    def counted():
        scrape = Scrape(served)
        return scrape.value("dreamd_dm_env_worlds"), scrape.value("dreamd_dm_env_agents")

    worlds, agents = counted()
    world = joined(stream)
    other = Stream(channel)
    other.join(world)
    assert counted() == (worlds + 1, agents + 2)
    other.leave()
    stream.leave()
    assert counted() == (worlds + 1, agents)
    stream.ask(destroy_world=pb.DestroyWorldRequest(world_name=world))
    assert counted() == (worlds, agents)


def test_two_agents_of_one_world_have_sessions_of_their_own(channel, stream):
    other = Stream(channel)
    world = stream.create(model="pendulum", seed=9)
    stream.join(world)
    other.join(world)
    assert len(sessions(channel)) == 2
    one = [stream.step(torque(1), ["reward"])[1]["reward"] for _ in range(5)]
    two = [other.step(torque(1), ["reward"])[1]["reward"] for _ in range(5)]
    assert one == two  # the same seed, the same actions, and neither moves the other
    for agent in (stream, other):
        status = agent.fail(destroy_world=pb.DestroyWorldRequest(world_name=world))
        assert status.code == PRECONDITION and "2 agents are joined" in status.message
    other.leave()
    assert "1 agent is joined" in other.fail(destroy_world=pb.DestroyWorldRequest(world_name=world)).message
    again = stream.fail(join_world=pb.JoinWorldRequest(world_name=world))
    assert again.code == PRECONDITION and f'this stream has joined world "{world}"' in again.message
    assert stream.step(torque(1))[0] == "RUNNING"
    stream.leave()
    other.destroy(world)
    assert other.end() == []


def test_a_reset_world_interrupts_the_others(channel, stream):
    """The caller begins anew at once; another's sequence ends with its next step; who has none is left alone."""
    other, fresh, outside = Stream(channel), Stream(channel), Stream(channel)
    world = stream.create(model="pendulum", seed=1)
    for agent in (stream, other, fresh):
        agent.join(world)
    for agent in (stream, other):
        assert agent.step()[0] == agent.step(torque(1))[0] == "RUNNING"
    stream.reset_world(world)
    state, found = stream.step(None, ["reward"])
    assert state == "RUNNING" and found["reward"] == 0
    state, found = other.step(torque(1), ["reward"])
    assert state == "INTERRUPTED" and found["reward"] != 0
    state, found = other.step(torque(1), ["reward"])
    assert state == "RUNNING" and found["reward"] == 0
    assert fresh.step()[0] == fresh.step()[0] == "RUNNING"
    outside.reset_world(world)
    assert [agent.step()[0] for agent in (stream, other, fresh)] == ["INTERRUPTED"] * 3
    for agent in (stream, other, fresh):
        agent.leave()
    outside.destroy(world)
    for agent in (other, fresh, outside):
        assert agent.end() == []


# ---- seeds, starts, ends ----


def episode(stream, steps=6):
    wanted = ["observation", "reward"]
    return [stream.step(torque(np.sin(k)), wanted)[1] for k in range(steps)]


def same(one, other):
    return all(a["reward"] == b["reward"] and np.array_equal(a["observation"], b["observation"])
               for a, b in zip(one, other, strict=True))


def test_a_seed_says_what_follows_wherever_it_is_said(channel, stream):
    world = joined(stream, seed=21)
    first = episode(stream)
    assert not same(first, (stream.reset(), episode(stream))[1])  # without one the noise goes on
    assert same(first, (stream.reset(seed=21), episode(stream))[1])
    assert same(first, (stream.reset_world(world, seed=np.uint64(21)), episode(stream))[1])
    stream.leave()
    stream.join(world)
    assert same(first, episode(stream))
    stream.leave()
    stream.destroy(world)
    world = stream.create(model="pendulum")
    stream.join(world, seed=21)
    assert same(first, episode(stream))
    stream.leave()
    stream.join(world)
    assert not same(first, episode(stream))
    stream.leave()
    stream.destroy(world)


def test_a_world_is_a_session_to_the_bit(channel, stream):
    """And its first observation is a recorded one, as the environment gave it."""
    world = joined(stream, seed=4)
    found = episode(stream)
    client = Client(channel)
    session = client.open("pendulum", seed=4, start_source=FILE).session_id
    first = arrays(client.reset(session, seeds=[4], outputs=["observation"]))
    assert np.array_equal(found[0]["observation"], first["observation"][0]) and found[0]["reward"] == 0
    for k in range(1, len(found)):
        reply = client.simulation.Step(put(simulation.StepRequest(
            session_id=session, outputs=["reward", "observation"]), action=np.array([[np.sin(k)]], "<f4")))
        wanted = arrays(reply)
        assert found[k]["reward"] == wanted["reward"][0]
        assert np.array_equal(found[k]["observation"], wanted["observation"][0])
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    stream.leave()
    stream.destroy(world)


@pytest.mark.parametrize("ending, states", [
    (dict(threshold=1.0), ["RUNNING", "TERMINATED"] * 3),
    (dict(ending="threshold", threshold=0.0, horizon=2), ["RUNNING", "RUNNING", "INTERRUPTED"] * 2),
    (dict(ending="never", horizon=1), ["RUNNING", "INTERRUPTED"] * 3),
    (dict(ending="sampled", horizon=0, latents="mode", start="initial"), ["RUNNING"] * 6),
])
def test_episodes_end_as_the_world_says(stream, ending, states):
    world = joined(stream, seed=1, **ending)
    assert [stream.step(torque(0))[0] for _ in states] == states
    stream.leave()
    stream.destroy(world)


def test_continue_is_an_observation_where_it_is_asked_for(stream):
    world = joined(stream, seed=1)
    assert sorted(stream.names.values()) == ["observation", "reward"]
    stream.leave()
    stream.join(world, **{"continue": True})
    assert sorted(stream.names.values()) == ["continue", "observation", "reward"]
    assert stream.step(None, ["continue", "reward"])[1] == {"continue": 1, "reward": 0}
    assert 0.9 < stream.step(torque(0), ["continue"])[1]["continue"] <= 1
    stream.leave()
    stream.destroy(world)


def test_a_world_stays_with_the_version_that_it_was_made_of(channel, stream):
    world = joined(stream, "pendulum@1")
    assert world.startswith("pendulum-") and [s.model for s in sessions(channel)] == ["pendulum@1"]
    stream.leave()
    stream.destroy(world)


def test_a_picture_is_bytes_within_its_bounds(stream):
    world = joined(stream, "images", ending="never", seed=2)
    spec = next(spec for spec in stream.specs.observations.values() if spec.name == "view")
    assert spec.dtype == pb.UINT8 and list(spec.shape) == [48, 48, 3]
    seen = []
    for _ in range(3):
        found = stream.step(None, ["view"])[1]
        assert found["view"].dtype == np.uint8 and found["view"].shape == (48, 48, 3)
        seen.append(found["view"].copy())
    assert not np.array_equal(seen[1], seen[2])
    stream.leave()
    stream.destroy(world)


# ---- bounds, the end ----


def test_there_are_only_so_many_worlds(start_daemon):
    with start_daemon("--zoo", ROOT / "models/zoo").channel() as channel:
        stream, request = Stream(channel), create(model="pendulum")
        threading.Thread(target=lambda: [stream.put(**request) for _ in range(WORLDS_MAX + 1)]).start()
        *made, refused = [stream.get() for _ in range(WORLDS_MAX + 1)]
        names = {answer.create_world.world_name for answer in made}
        assert len(names) == WORLDS_MAX and "" not in names
        assert refused.error.code == FULL and "10000 worlds" in refused.error.message
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in refused.error.details)
        for name in names:
            stream.put(destroy_world=pb.DestroyWorldRequest(world_name=name))
        assert {stream.get().WhichOneof("payload") for _ in names} == {"destroy_world"}
        stream.destroy(stream.create(model="pendulum"))
        assert stream.end() == []


def test_a_daemon_that_shuts_down_answers_and_ends_the_stream(start_daemon):
    daemon = start_daemon("--zoo", ROOT / "models/zoo", "--drain-grace", "60s")
    with daemon.channel() as channel:
        stream = Stream(channel)
        joined(stream)
        stream.step()
        daemon.process.terminate()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream.responses)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        began = time.monotonic()
        daemon.process.wait(timeout=60)
        assert time.monotonic() - began < 50, "an idle stream kept the daemon from leaving"


def test_a_session_that_is_gone_is_said_and_the_world_can_be_joined_again(channel, stream):
    world = joined(stream)
    stream.step()
    client = Client(channel)
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=sessions(channel)[0].session_id))
    assert stream.fail(step=pb.StepRequest()).code == NOT_FOUND
    stream.leave()
    stream.join(world)
    assert stream.step()[0] == "RUNNING"
    stream.leave()
    stream.destroy(world)


def test_tensor_utils_reads_what_is_sent(stream):
    world = joined(stream, "choices", ending="never")
    response = stream.ask(step=pb.StepRequest(requested_observations=list(stream.names)))
    for uid, tensor in response.observations.items():
        spec = stream.specs.observations[uid]
        assert tensor_utils.get_tensor_type(tensor) == tensor_utils.data_type_to_np_type(spec.dtype)
    stream.leave()
    stream.destroy(world)


def play(address):
    """All that an agent does. False: an answer says that there is no memory, or the connection had none."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stream = Stream(channel)
        try:
            world = stream.create(model="pendulum")
            stream.join(world)
            for _ in range(3):
                stream.step(torque(1), ["observation", "reward"])
            stream.reset()
            stream.step()
            stream.leave()
            stream.destroy(world)
            return stream.end() == []
        except AssertionError as failed:  # of ask(), with the response
            assert f"code: {FULL}" in str(failed) and "memory" in str(failed), failed
        except grpc.RpcError as ended:
            assert ended.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE), ended
    return False


def test_each_allocation_may_fail_and_the_next_agent_notices_nothing(tmp_path):
    """In band where the stream has come to be; where nothing can be sent the connection ends."""
    failing = FailingDaemon(BUILD, tmp_path, ROOT / "models/zoo", "--compute-threads", "1")
    failing.start()
    try:
        assert all(play(failing.address) for _ in range(3))
        blocks, failures = int(failing.tell("blocks").split()[0]), 0
        for n in range(1, 80):
            failing.tell(f"memory {n}")
            failures += not play(failing.address)
            failing.tell("memory 0")
            assert play(failing.address), n
        assert failures > 20, failures
        wait_for(lambda: int(failing.tell("blocks").split()[0]) <= blocks + failures + 20)
        with grpc.insecure_channel(failing.address) as channel:
            assert not sessions(channel)
    finally:
        assert failing.stop() == 0
