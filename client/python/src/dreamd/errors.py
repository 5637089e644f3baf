"""The one way in which a call fails: `dreamd.Error`."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

NO_DAEMON = "no daemon answers at {address}; `dreamd serve --listen {address}` starts one (from the source tree: `make run`)"
NOT_GRPC = "what answers at {address} does not speak gRPC: is it the daemon's gRPC port (7733 by default, where 7734 is HTTP)?"
TOO_LATE = "no answer from {address} within {seconds:.3g} s: give it more `timeout=`, or less to do"
FOREIGN = ("http1.x server", "Failed parsing HTTP/2", "Received http2 header with status")  # gRPC's words for it


class Error(Exception):
    """A call that failed, or an argument that cannot be sent.

    Attributes:
        code: the gRPC status code, for example `grpc.StatusCode.NOT_FOUND`.
        details: what was wrong, where, and what would be right.
        reason: a word for programs, for example "SESSION_EXPIRED", or "".
        field: the field of the request that was wrong, for example "tensors.action.shape", or "".
        retry_after: seconds after which it makes sense to try again, or None.
        committed_step_id: where a step id did not fit, the id that the session has committed, or None.
    """

    code: grpc.StatusCode
    details: str
    reason: str
    field: str
    retry_after: float | None
    committed_step_id: int | None

    def __init__(self, code: grpc.StatusCode, details: str, *, reason: str = "", field: str = "",
                 retry_after: float | None = None, committed_step_id: int | None = None) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details
        self.reason = reason
        self.field = field
        self.retry_after = retry_after
        self.committed_step_id = committed_step_id

    def __reduce__(self) -> tuple[Any, ...]:  # environments in other processes send theirs home
        return _restore, (self.code.name, self.details, self.reason, self.field, self.retry_after,
                          self.committed_step_id)


def _restore(code: str, details: str, reason: str, field: str, retry_after: float | None,
             committed_step_id: int | None) -> Error:
    return Error(grpc.StatusCode[code], details, reason=reason, field=field, retry_after=retry_after,
                 committed_step_id=committed_step_id)


def invalid(field: str, details: str) -> Error:
    """An argument that is wrong before anything is sent."""
    return Error(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {details}", field=field)


def from_rpc(failure: Any, address: str, seconds: float | None = None) -> Error:
    """Makes an Error of grpc's (grpc.RpcError of a call that had `seconds`, or grpc.aio.AioRpcError)."""
    code: grpc.StatusCode = failure.code()
    error = Error(code, failure.details() or code.name.lower().replace("_", " "))
    packed = next((value for key, value in failure.trailing_metadata() or () if key == "grpc-status-details-bin"), None)
    if packed:
        _read_details(error, packed)
        return error
    words = ""
    if any(word in error.details for word in FOREIGN):
        words = NOT_GRPC.format(address=address)
    elif code is grpc.StatusCode.UNAVAILABLE:
        words = NO_DAEMON.format(address=address)
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED and seconds is not None:
        words = TOO_LATE.format(address=address, seconds=seconds)
    return Error(code, f"{words} ({error.details})") if words else error


def from_status(status: Any) -> Error:
    """Makes an Error of a Status inside a message."""
    return Error(next(code for code in grpc.StatusCode if code.value[0] == status.code), status.message, reason=status.reason,
                 field=status.field, retry_after=status.retry_after_ms / 1e3 if status.retry_after_ms else None,
                 committed_step_id=status.committed_step_id if status.HasField("committed_step_id") else None)


def _read_details(error: Error, packed: bytes) -> None:
    for detail in status_pb2.Status.FromString(packed).details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            error.reason = info.reason
            committed = info.metadata.get("committed_step_id", "")
            error.committed_step_id = int(committed) if committed.isdecimal() else None
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            error.retry_after = delay.seconds + delay.nanos / 1e9
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            error.field = bad.field_violations[0].field if bad.field_violations else ""
        elif detail.Is(error_details_pb2.PreconditionFailure.DESCRIPTOR):
            failure = error_details_pb2.PreconditionFailure.FromString(detail.value)
            error.field = failure.violations[0].subject if failure.violations else ""
        elif detail.Is(error_details_pb2.ResourceInfo.DESCRIPTOR):
            error.field = error_details_pb2.ResourceInfo.FromString(detail.value).resource_type
