"""The same changes in a daemon that nobody disturbs must give the same bytes."""

import grpc

from stubs import pb, simulation_pb2_grpc
from world import Broken


def replay(address, worlds):
    """Compares every acknowledged reply of every world; returns how many."""
    compared = 0
    with grpc.insecure_channel(address) as channel:
        simulation = simulation_pb2_grpc.SimulationStub(channel)
        for world in worlds:
            options = pb.OpenSessionRequest()
            options.CopyFrom(world.options)
            options.persist = False
            options.request_id = ""
            session_id = simulation.OpenSession(options, timeout=60).session.session_id
            for at, change in enumerate(world.log, 1):
                request = type(change.request)()
                request.CopyFrom(change.request)
                request.session_id = session_id
                reply = getattr(simulation, change.kind)(request, timeout=60)
                again = {tensor.name: bytes(raw) for tensor, raw in zip(reply.tensors, reply.raw_contents)}
                if change.tensors is None:
                    continue  # it was committed, and its answer lost
                if again != change.tensors:
                    raise Broken(f"{world.session_id}: change {at} of {len(world.log)} ({change.kind}) was acknowledged with other "
                                 f"numbers than an undisturbed daemon gives: {sorted(again)} and {sorted(change.tensors)}")
                compared += 1
            simulation.CloseSession(pb.CloseSessionRequest(session_id=session_id), timeout=60)
    return compared
