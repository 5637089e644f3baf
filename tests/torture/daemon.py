"""The daemon under torture: started, made to fail, killed, started again on the same port and data."""

import atexit
import json
import os
import signal
import subprocess
import threading
import time


class Daemon:
    """`torture_daemon serve` (tests/tools). `up` is set while it serves; `lives` counts its starts."""

    def __init__(self, build, folder, zoo, *options):
        self.build, self.folder, self.zoo, self.options = build, folder, zoo, options
        self.port, self.lives, self.up = 0, 0, threading.Event()
        self.lock = threading.Lock()  # of the process and its pipes
        self.process = None
        self.exit_codes = []
        atexit.register(self.end)  # a torture that broke leaves nothing running

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        endpoint = self.folder / "endpoint.json"
        endpoint.unlink(missing_ok=True)
        command = [self.build / "tests/torture_daemon", "serve", "--listen", f"127.0.0.1:{self.port}", "--endpoint-file", endpoint,
                   "--data", self.folder / "data", "--zoo", self.zoo, *self.options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        give_up = time.monotonic() + 120
        while not endpoint.exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the daemon does not start; the end of its log:\n{self.read_log()[-3000:]}")
            time.sleep(0.01)
        self.port = json.loads(endpoint.read_text())["port"]
        self.lives += 1
        self.up.set()

    def read_log(self):
        return (self.folder / "log").read_text(errors="replace")

    def tell(self, command):
        """One line to its control pipe; the answer, or "" where it is gone."""
        with self.lock:
            try:
                self.process.stdin.write(command + "\n")
                self.process.stdin.flush()
                return self.process.stdout.readline().strip()
            except (BrokenPipeError, ValueError, OSError):
                return ""

    def end(self):
        if self.process and self.alive():
            self.process.kill()
            self.process.wait()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9, and up again."""
        with self.lock:
            self.up.clear()
            self.process.kill()
            self.process.wait()
            self.start()

    def stop(self, again=False):
        """SIGTERM, as an operator would; what a sanitizer finds makes the exit code another one."""
        with self.lock:
            self.up.clear()
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGABRT)
                code = f"no end within 120 s of SIGTERM ({self.process.wait()})"
            self.exit_codes.append(code)
            if again:
                self.start()
        return code


def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
