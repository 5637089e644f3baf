"""Tortures a daemon, and checks that what it promised held.

Clients open, change, read, fork, save and leave sessions in random order while they are cut off, cancelled, late and
wrong; beside them allocations fail, the disk is full, SQLite is locked, sockets stay half-open, and the daemon is
ended, politely and by kill -9. Then:

* every acknowledged change was committed once: step ids have no holes, a repeat gives the stored reply;
* the numbers of every reply are those of an undisturbed daemon, to the last bit;
* the daemon did not crash, leak (LeakSanitizer), race (ThreadSanitizer) or answer INTERNAL or UNKNOWN.

    make torture OPS=100000 SEED=1 [SANITIZER=address|thread]
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import sockets
import twin
from daemon import Daemon, resident_mib
from stubs import ROOT, reg, registry_pb2_grpc
from worker import Worker
from world import Broken


STUCK_SECONDS = 300


class Turns:
    """How many operations are left, for all workers together."""

    def __init__(self, ops):
        self.left, self.done, self.lock = ops, 0, threading.Lock()

    def take(self):
        with self.lock:
            if self.left == 0:
                return False
            self.left -= 1
            self.done += 1
            return True

    def end(self):
        with self.lock:
            self.left = 0


class Faults(threading.Thread):
    """What goes wrong around the clients."""

    def __init__(self, seed, daemon, turns, kill_every):
        super().__init__(name="faults", daemon=True)
        self.rng = random.Random(f"{seed}/faults")
        self.daemon_, self.turns, self.kill_every = daemon, turns, kill_every
        self.counts, self.broken, self.kept = {}, None, []

    def fail_memory(self):
        self.daemon_.tell(f"memory {self.rng.randrange(1, 300)}")

    def fill_disk(self):
        self.daemon_.tell("disk full")
        time.sleep(self.rng.uniform(0.01, 0.2))
        self.daemon_.tell("disk ok")

    def lock_catalogue(self):
        with contextlib.suppress(sqlite3.Error):
            other = sqlite3.connect(self.daemon_.folder / "data/catalogue.sqlite", timeout=0.5, isolation_level=None)
            with contextlib.closing(other):
                other.execute("BEGIN IMMEDIATE")
                time.sleep(self.rng.uniform(0.01, 0.3))
                other.execute("ROLLBACK")

    def torment_sockets(self):
        for _ in range(self.rng.randrange(1, 8)):
            with contextlib.suppress(OSError):
                sockets.torment(self.daemon_.port, self.rng, self.kept)

    def move_models(self):
        """A version more, an alias moved: nobody else may notice."""
        with grpc.insecure_channel(self.daemon_.address) as channel, contextlib.suppress(grpc.RpcError):
            registry = registry_pb2_grpc.RegistryStub(channel)
            registry.SetAlias(reg.SetAliasRequest(name="cartpole", alias="best", version=1), timeout=10)
            registry.LoadModel(reg.LoadModelRequest(model="cartpole"), timeout=10)
            registry.UnloadModel(reg.UnloadModelRequest(model="cartpole"), timeout=10)

    FAULTS = [(fail_memory, 40), (torment_sockets, 30), (fill_disk, 8), (lock_catalogue, 6), (move_models, 6)]

    def end_daemon(self):
        polite = self.rng.random() < 0.4
        self.daemon_.restarting = True
        if polite:
            code = self.daemon_.stop(again=True)
            if code != 0:
                raise Broken(f"exit code {code} after SIGTERM")
        else:
            self.daemon_.kill()
        self.daemon_.restarting = False
        return "SIGTERM" if polite else "kill -9"

    def run(self):
        next_kill = self.kill_every
        try:
            while self.turns.left:
                time.sleep(self.rng.uniform(0.005, 0.05))
                if not self.daemon_.alive():
                    raise Broken(f"the daemon is gone: exit code {self.daemon_.process.poll()}")
                if self.turns.done >= next_kill:
                    next_kill = self.turns.done + self.kill_every
                    name = self.end_daemon()
                else:
                    fault = self.rng.choices([row[0] for row in self.FAULTS], [row[1] for row in self.FAULTS])[0]
                    fault(self)
                    name = fault.__name__
                self.counts[name] = self.counts.get(name, 0) + 1
        except BaseException as error:  # noqa: BLE001: told by the driver
            self.broken = error
            self.turns.end()
        finally:
            for peer in self.kept:
                peer.close()


def make_zoo(build, folder):
    subprocess.run([build / "tests/model_write", folder / "tiny", "1"], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(ROOT / "models/zoo/cartpole", folder / "cartpole")
    return folder


def server_info(daemon):
    with grpc.insecure_channel(daemon.address) as channel:
        return registry_pb2_grpc.RegistryStub(channel).GetServerInfo(reg.GetServerInfoRequest(), timeout=60)


def methods_of(info):
    return {path.rpartition("/")[2] for path in info.methods}


def run(arguments, folder):
    build = pathlib.Path(arguments.build).resolve()
    (folder / "zoo").mkdir()
    zoo = make_zoo(build, folder / "zoo")
    options = ["--log-level", "error", "--session-ttl", "1h", "--drain-grace", "5s"]
    text = subprocess.run([build / "dreamd", "serve", "--help"], capture_output=True, text=True).stdout
    persists = "--persist-sessions" in text
    if persists:
        options.append("--persist-sessions")
    if "--http-listen" in text:
        options += ["--http-listen", "127.0.0.1:0"]
    daemon = Daemon(build, folder, zoo, *options)
    daemon.restarting = False
    daemon.start()
    methods = methods_of(server_info(daemon))
    turns = Turns(arguments.ops)
    started = time.monotonic()
    faults = Faults(arguments.seed, daemon, turns, max(arguments.ops // 12, 400))
    workers = [Worker(i, arguments.seed, daemon, turns, methods, persists) for i in range(arguments.workers)]
    for thread in [faults, *workers]:
        thread.start()
    seen, since = 0, time.monotonic()
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.1)
        if turns.done != seen:
            seen, since = turns.done, time.monotonic()
        if time.monotonic() - since > STUCK_SECONDS:
            daemon.process.send_signal(signal.SIGABRT)
            raise Broken(f"nothing was answered for {STUCK_SECONDS} s, after {seen} operations")
        if sys.stderr.isatty():
            print(f"\rtorture: {turns.done} of {arguments.ops} operations", end="", file=sys.stderr)
    faults.join()
    broken = next((thread.broken for thread in [faults, *workers] if thread.broken), None)
    if broken:
        print(daemon.read_log()[-6000:])
        raise broken
    resident = resident_mib(daemon.process.pid)
    code = daemon.stop()
    if code != 0:
        print(daemon.read_log()[-6000:])
        raise Broken(f"exit code {code} at the end")
    worlds = [world for worker in workers for world in worker.past + worker.worlds]
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    peer = Daemon(build, undisturbed, zoo, *options)
    peer.start()
    compared = twin.replay(peer.address, worlds)
    peer.stop()
    counts = {}
    for worker in workers:
        for name, count in worker.counts.items():
            counts[name] = counts.get(name, 0) + count
    return {
        "ops": turns.done, "seed": arguments.seed, "sanitizer": arguments.sanitizer or "none", "seconds": round(time.monotonic() - started),
        "operations": counts, "faults": faults.counts, "lives": daemon.lives, "sessions": len(worlds),
        "persisted_sessions": sum(world.persists for world in worlds), "replies_compared": compared,
        "resident_mib": round(resident), "commit": subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True,
                                                                  capture_output=True).stdout.strip(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--ops", type=int, default=100000, help="operations of all clients together (100000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is done, not of when (1)")
    parser.add_argument("--workers", type=int, default=8, help="clients at a time (8)")
    parser.add_argument("--sanitizer", default="", help="what the build was made with")
    parser.add_argument("--report", help="write the figures there as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dreamd-torture-") as name:
        folder = pathlib.Path(name)
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # lost connections are what this is about
        os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1:exitcode=99")
        os.environ.setdefault("TSAN_OPTIONS", "halt_on_error=0:exitcode=99")
        os.environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
        try:
            figures = run(arguments, folder)
        except (Broken, RuntimeError) as broken:
            print(f"torture: BROKEN: {broken}\ntorture: again with --ops {arguments.ops} --seed {arguments.seed}")
            return 1
    print(json.dumps(figures, indent=1))
    if arguments.report:
        pathlib.Path(arguments.report).write_text(json.dumps({"command": f"make torture OPS={arguments.ops} SEED={arguments.seed}"
                                                              + (f" SANITIZER={arguments.sanitizer}" if arguments.sanitizer else ""),
                                                              **figures}, indent=1) + "\n")
    print(f"torture: {figures['ops']} operations, {figures['lives']} lives, {figures['replies_compared']} replies compared: nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main())
