"""What the Python package costs: a step beside one by hand, and imagined worlds beside Gymnasium's real ones."""

import pathlib
import statistics
import sys
import time

import gymnasium
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client/python/src"))

import dreamd  # noqa: E402
from dreamd._proto import simulation_pb2  # noqa: E402

ROUNDS, STUB_BAR, WORLDS_BAR, SESSIONS = 5, 1.25, 1.0, 64


def median_us(call, seconds=0.3):
    times = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def beside_the_stub(report, client):
    """One row, by turns: Session.step against what one would write by hand with the generated stub."""
    with client.open("pendulum", seed=0) as session:
        action = np.zeros((1, 1), np.float32)
        stub = client._runner.wire.method(client.addresses[0], "Simulation/Step")

        def by_hand():
            request = simulation_pb2.StepRequest(session_id=session.session_id, raw_contents=[action.tobytes()])
            request.tensors.add(name="action", datatype="FP32", shape=action.shape)
            reply = stub(request, timeout=10)
            return {one.name: np.frombuffer(raw, "?" if one.datatype == "BOOL" else "<f4").reshape(one.shape)
                    for one, raw in zip(reply.tensors, reply.raw_contents)}

        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(median_us(by_hand))
            session.refresh()
            ours.append(median_us(lambda: session.step(action)))
    mine, bare = statistics.median(ours), statistics.median(theirs)
    report.say(f"Python, one row: Session.step {mine:.0f} us, by hand with grpcio's stub {bare:.0f} us, ratio {mine / bare:.2f}: "
               f"{report.bar(mine / bare <= STUB_BAR)} (<= {STUB_BAR})")


def steps_a_second(*vectors):
    """Of each vector of environments, by turns."""
    rates = {envs: [] for envs in vectors}
    actions = {envs: (envs.reset(seed=0), envs.action_space.sample())[1] for envs in vectors}
    for _ in range(ROUNDS):
        for envs in vectors:
            rates[envs].append(envs.num_envs / median_us(lambda: envs.step(actions[envs])) * 1e6)
    for envs in vectors:
        envs.close()
    return [statistics.median(rates[envs]) for envs in vectors]


def worlds(report, address):
    with dreamd.connect(address) as client:
        beside_the_stub(report, client)
    report.say()
    report.say("| worlds in one vector | imagined steps/s | Gymnasium's Pendulum-v1 steps/s |")
    report.say("| --- | --- | --- |")
    for count in (1, 64, 1024):
        imagined, real = steps_a_second(gymnasium.make_vec("dreamd/pendulum-v0", num_envs=count, address=address),
                                        gymnasium.make_vec("Pendulum-v1", num_envs=count))
        report.say(f"| {count} | {imagined:,.0f} | {real:,.0f} |")
    report.say(f"\nimagined steps/s of {count} worlds beside as many real ones: {imagined / real:.2f}: "
               f"{report.bar(imagined / real >= WORLDS_BAR)} (>= {WORLDS_BAR:g})")
    report.say()
    in_a_stream(report, address)


def in_a_stream(report, address):
    """Many sessions of one blocking program: a call each, against one stream for all."""
    with dreamd.connect(address) as client:
        sessions = [client.open("pendulum", seed=seed) for seed in range(SESSIONS)]
        action = np.zeros((1, 1), np.float32)
        alone = SESSIONS / median_us(lambda: [session.step(action) for session in sessions]) * 1e6
        with client.interact() as stream:
            together = SESSIONS / median_us(
                lambda: [one.result() for one in [stream.step(session, action) for session in sessions]]) * 1e6
        for session in sessions:
            session.close()
    report.say(f"{SESSIONS} sessions of one blocking program: {alone:,.0f} steps/s by calls, {together:,.0f} in one stream")
