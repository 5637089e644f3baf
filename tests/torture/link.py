"""A worker's connection: calls that are cut short on purpose, and calls that wait until they are answered."""

import random
import time

import grpc

from stubs import registry_pb2_grpc, simulation_pb2_grpc

Code = grpc.StatusCode
CHAOS = ("deadline", "cancel", "disconnect")
CALL_SECONDS = 60


class Link:
    def __init__(self, daemon):
        self.daemon = daemon
        self.channel = None
        self.open()

    def open(self):
        self.channel = grpc.insecure_channel(self.daemon.address, options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 20),
            ("grpc.max_reconnect_backoff_ms", 200)])
        self.simulation = simulation_pb2_grpc.SimulationStub(self.channel)
        self.registry = registry_pb2_grpc.RegistryStub(self.channel)

    def close(self):
        self.channel.close()

    def renew(self):
        """After a lost connection: once the daemon is up, a new one."""
        self.daemon.up.wait(300)
        self.channel.close()
        time.sleep(0.01)
        self.open()

    def call(self, method, request, chaos, rng: random.Random):
        """One attempt. With chaos it most likely ends before its answer."""
        ask = getattr(self.simulation, method)
        if chaos is None:
            return ask(request, timeout=CALL_SECONDS)
        if chaos == "deadline":
            return ask(request, timeout=rng.choice([1e-4, 1e-3, 3e-3, 1e-2]))
        future = ask.future(request, timeout=CALL_SECONDS)
        time.sleep(rng.choice([0, 0, 1e-4, 1e-3, 5e-3]))
        if chaos == "cancel":
            future.cancel()
            return future.result() if not future.cancelled() else self.raise_cancelled()
        self.channel.close()
        self.open()
        if future.done() and not future.cancelled() and not future.exception():
            return future.result()
        return self.raise_cancelled()

    @staticmethod
    def raise_cancelled():
        raise Lost

    def steady(self, world, method, request):
        """Asked until it is answered; raises what is no passing trouble."""
        for _ in range(1000):
            try:
                return getattr(self.simulation, method)(request, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                if error.code() == Code.ABORTED and "another request" in error.details():
                    time.sleep(0.005)
                elif error.code() in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED, Code.CANCELLED,
                                      Code.NOT_FOUND):
                    world.check_failure(self, error, method)
                else:
                    raise
        raise AssertionError(f"{method} was never answered")


class Lost(grpc.RpcError):
    """The client left before the answer; what became of the request is not known."""

    def code(self):
        return Code.CANCELLED

    def details(self):
        return "the client left"


def drain(stream, most, cancel_after):
    """Reads a stream of answers, leaving early; the number read."""
    count = 0
    for _ in stream:
        count += 1
        if count >= cancel_after or count >= most:
            stream.cancel()
            break
    return count
