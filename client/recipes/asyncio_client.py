"""Ten agents at once in one asyncio loop and one channel, each with a session of its own.

    pip install grpcio protobuf numpy       (the stubs are in client/python/src)
    PYTHONPATH=client/python/src python asyncio_client.py 127.0.0.1:7733
"""

import asyncio
import sys

import grpc
import numpy as np

from dreamd._proto import simulation_pb2 as pb
from dreamd._proto import simulation_pb2_grpc, tensor_pb2


async def live(stub, seed, steps=20):
    """One agent: opens a world, acts at random, returns the sum of its rewards."""
    random = np.random.default_rng(seed)
    opened = await stub.OpenSession(pb.OpenSessionRequest(model="pendulum", seed=seed), timeout=30)
    session_id, total = opened.session.session_id, 0.0
    for step in range(1, steps + 1):
        action = random.uniform(-2, 2, (1, 1)).astype("<f4")
        reply = await stub.Step(
            pb.StepRequest(session_id=session_id, step_id=step, outputs=["reward"],
                           tensors=[tensor_pb2.Tensor(name="action", datatype="FP32", shape=[1, 1])],
                           raw_contents=[action.tobytes()]), timeout=30)
        total += float(np.frombuffer(reply.raw_contents[0], "<f4")[0])
    await stub.CloseSession(pb.CloseSessionRequest(session_id=session_id), timeout=30)
    return total


async def main(address, agents=10):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = simulation_pb2_grpc.SimulationStub(channel)
        for seed, total in enumerate(await asyncio.gather(*(live(stub, seed) for seed in range(agents)))):
            print(f"agent {seed}: {total:.2f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: asyncio_client.py HOST:PORT")
    asyncio.run(main(sys.argv[1]))
