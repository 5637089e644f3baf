"""Asks a daemon what it speaks, and steps a dream, with grpcio and reflection: no stubs, no protos.

    pip install grpcio grpcio-reflection numpy
    python reflection.py 127.0.0.1:7733
"""

import sys

import grpc
import numpy as np
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def caller(channel, service):
    """call(method, **fields) of a service, from what the daemon tells about it."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    methods = pool.FindServiceByName(service).methods_by_name

    def call(name, **fields):
        request, reply = GetMessageClass(methods[name].input_type), GetMessageClass(methods[name].output_type)
        ask = channel.unary_unary(f"/{service}/{name}", request.SerializeToString, reply.FromString)
        return ask(request(**fields), timeout=30)

    return call


def main(address):
    with grpc.insecure_channel(address) as channel:
        print(*ProtoReflectionDescriptorDatabase(channel).get_services(), sep="\n")
        call = caller(channel, "dreamd.v1.Simulation")
        session = call("OpenSession", model="pendulum", rows=2, seed=7).session
        for step in range(1, 11):
            action = np.array([[1], [-1]], "<f4")  # two rows, one torque each
            reply = call("Step", session_id=session.session_id, step_id=step,
                         tensors=[dict(name="action", datatype="FP32", shape=action.shape)],
                         raw_contents=[action.tobytes()])
            named = {t.name: raw for t, raw in zip(reply.tensors, reply.raw_contents)}
            print(reply.committed_step_id, np.frombuffer(named["reward"], "<f4"))
        call("CloseSession", session_id=session.session_id)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: reflection.py HOST:PORT")
    main(sys.argv[1])
