"""Plays stories over gRPC: many at once, hasty ones, with streams and calls that break off and are asked again."""

import collections
import concurrent.futures
import itertools
import queue
import random
import time

import grpc

from dreamd_stubs import details, simulation, simulation_pb2_grpc
from stories import Failure

# What says nothing about the session: ask again.
PASSING = {"ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
LASTING = {"FAILED_PRECONDITION"}
CODES = {code.value[0]: code.name for code in grpc.StatusCode}
FIELDS = {field.message_type.name: field.name for field in simulation.InteractRequest.DESCRIPTOR.oneofs[0].fields}
ANSWER_S = 300
TRIES = 3000


class Calls:
    """Unary calls, all at once; `done` gets the answer in another thread."""

    def __init__(self, channel):
        self.stub = simulation_pb2_grpc.SimulationStub(channel)
        self.readers = concurrent.futures.ThreadPoolExecutor(4)

    def send(self, method, request, timeout_ms, broken_off, done):
        if method == "Imagine":
            self.readers.submit(lambda: done(self.read(request)))
            return
        future = getattr(self.stub, method).future(request, timeout=timeout_ms / 1000 if timeout_ms else None)
        if broken_off:
            future.cancel()
        future.add_done_callback(lambda ended: done(answer_of(ended)))

    def read(self, request):
        try:
            return list(self.stub.Imagine(request))
        except grpc.RpcError as error:
            return failure(error)

    def close(self):
        self.readers.shutdown()


class Streams:
    """One Interact stream at a time; one that is lost leaves what was not answered to be asked again."""

    def __init__(self, channel):
        self.calls = Calls(channel)
        self.stub = self.calls.stub
        self.ids = itertools.count(1)
        self.reader = concurrent.futures.ThreadPoolExecutor(1)
        self.open()

    def open(self):
        self.requests, self.waiting = queue.SimpleQueue(), collections.deque()
        self.replies = self.stub.Interact(iter(self.requests.get, None))
        self.reader.submit(self.read, self.replies, self.waiting)

    @staticmethod
    def read(replies, waiting):
        try:
            for reply in replies:
                number, done = waiting.popleft()
                kind = reply.WhichOneof("response")
                answer = getattr(reply, kind)
                done(Failure("DATA_LOSS", "out of order") if reply.id != number else
                     Failure(CODES[answer.code], answer.reason, answer.message) if kind == "error" else answer)
        except grpc.RpcError as error:
            while waiting:
                waiting.popleft()[1](failure(error))

    def send(self, method, request, timeout_ms, broken_off, done):
        if method == "Imagine":
            self.calls.send(method, request, timeout_ms, broken_off, done)
            return
        number = next(self.ids)
        self.waiting.append((number, done))
        field = FIELDS[type(request).DESCRIPTOR.name]
        self.requests.put(simulation.InteractRequest(id=number, timeout_ms=timeout_ms, **{field: request}))
        if broken_off:
            self.replies.cancel()
            self.requests.put(None)
            self.open()

    def close(self):
        self.requests.put(None)
        self.reader.shutdown()
        self.calls.close()


def failure(error):
    said = details(error, "ErrorInfo")
    return Failure(error.code().name, said.reason if said else "", error.details())


def answer_of(future):
    if future.cancelled():
        return Failure("CANCELLED")
    return failure(future.exception()) if future.exception() else future.result()


def play(lives, way, hasty=0.0, broken_off=0.0, ahead=False, seed=0):
    """Plays generators over one way (Calls, Streams) to the end of their chapter, all at once. Of its requests the
    share `hasty` comes with a deadline of a few ms, the share `broken_off` is cancelled (or its stream is); they
    are asked again: how often is returned. `ahead`: what a story yields together is sent together."""
    dice, answers = random.Random(seed), queue.SimpleQueue()
    again = 0
    left = {}  # of each story: requests, answers, how many are under way, tries

    def send(number):
        story = left[number]
        for place in [i for i, answer in enumerate(story["answers"]) if answer is None][:None if ahead else 1]:
            method, request = story["requests"][place]
            risk = method != "CloseSession" and story["tries"] < 3
            timeout = dice.choice([1, 3, 10]) if risk and dice.random() < hasty else 0
            story["under way"] += 1
            way.send(method, request, timeout, risk and dice.random() < broken_off,
                     lambda answer, place=place: answers.put((number, place, answer)))

    def go_on(number, told):
        requests = next(lives[number]) if told is None else lives[number].send(told)
        left.pop(number, None)
        if requests is not None:
            left[number] = {"requests": requests, "answers": [None] * len(requests), "under way": 0, "tries": 0}
            send(number)

    for number in range(len(lives)):
        go_on(number, None)
    while left:
        number, place, answer = answers.get(timeout=ANSWER_S)
        story = left[number]
        story["under way"] -= 1
        assert not isinstance(answer, Failure) or answer.code in PASSING | LASTING, (story["requests"][place], answer)
        if not (isinstance(answer, Failure) and answer.code in PASSING):
            story["answers"][place] = answer
        else:
            again += 1
        if story["under way"]:
            continue
        if None not in story["answers"]:
            try:
                go_on(number, story["answers"])
            except StopIteration:
                del left[number]
            continue
        if isinstance(answer, Failure):
            story["tries"] += 1
            assert story["tries"] < TRIES, (story["requests"], story["answers"], answer)
            time.sleep(0.001)
        send(number)
    return again
