"""gRPC's side: channels and the methods of the generated stubs by name. Shared by client.py and aio.py."""

from __future__ import annotations

from typing import Any

import grpc

from ._proto import registry_pb2_grpc, simulation_pb2_grpc
from .errors import invalid

REPLY_BYTES_MAX = 1 << 30

OPTIONS = [
    ("grpc.max_send_message_length", -1),  # the daemon has a limit, and says so
    ("grpc.max_receive_message_length", REPLY_BYTES_MAX),
    ("grpc.use_local_subchannel_pool", 1),  # a connection a client
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),  # time to connect, in spite of the name
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # repeats are made here, where step ids make them safe
]
LOOPBACK = ("127.", "localhost:", "[::1]:")


class Wire:
    """Channels by address, made when first used. `module` is grpc or grpc.aio."""

    def __init__(self, module: Any, credentials: grpc.ChannelCredentials | None) -> None:
        if credentials is not None and not isinstance(credentials, grpc.ChannelCredentials):
            raise invalid("credentials", f"is of type {type(credentials).__name__}, expected what "
                                         "grpc.ssl_channel_credentials() gives")
        self._module = module
        self._credentials = credentials
        self._channels: dict[str, Any] = {}
        self._methods: dict[tuple[str, str], Any] = {}

    def __reduce__(self) -> Any:  # all that makes calls has a Wire: clients, sessions, environments
        raise TypeError("what holds connections to a daemon cannot be copied or pickled: connect, or make the environment, where "
                        "it is used; `get_state()` says where a session or a world is, and can be pickled")

    def method(self, address: str, name: str) -> Any:
        """The callable of "Service/Method"."""
        found = self._methods.get((address, name))
        if found is None:
            channel = self._channel(address)
            for service, stub in (("Simulation", simulation_pb2_grpc.SimulationStub(channel)),  # type: ignore[no-untyped-call]
                                  ("Registry", registry_pb2_grpc.RegistryStub(channel))):  # type: ignore[no-untyped-call]
                for key, callable_ in vars(stub).items():
                    self._methods[address, f"{service}/{key}"] = callable_
            found = self._methods[address, name]
        return found

    def _channel(self, address: str) -> Any:
        if address not in self._channels:
            # This machine is not asked for through $http_proxy, whether or not $no_proxy says so.
            options = [*OPTIONS, ("grpc.enable_http_proxy", 0)] if address.startswith(LOOPBACK) else OPTIONS
            self._channels[address] = (
                self._module.insecure_channel(address, options) if self._credentials is None
                else self._module.secure_channel(address, self._credentials, options))
        return self._channels[address]

    def renew(self, address: str, used: Any) -> None:
        """Forgets a channel that could not connect, so that the next call connects at once.

        A blocking gRPC channel makes progress only inside calls; between calls that fail at once its attempts to connect
        starve, and it would not notice a daemon that is back. `used` is the callable that failed.
        """
        if used in self._methods.values():
            self._methods = {key: value for key, value in self._methods.items() if key[0] != address}
            self._channels.pop(address, None)

    def take_channels(self) -> list[Any]:
        """All channels, to be closed; later calls make new ones."""
        channels = list(self._channels.values())
        self._channels.clear()
        self._methods.clear()
        return channels
