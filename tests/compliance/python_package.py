"""What the tests of the Python package share: the package from the tree, daemons that may be killed, a link that loses replies."""

import pathlib
import socket
import sys
import threading
import time

from conftest import ROOT, Daemon

sys.path.insert(0, str(ROOT / "client/python/src"))

ZOO = ROOT / "models/zoo"


def zoo_daemon(folder, *options):
    """A daemon with the shipped models."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    return Daemon(folder, "--zoo", ZOO, *options)


def kill(daemon):
    """As power loss would."""
    daemon.process.kill()
    daemon.process.wait(timeout=60)
    daemon.log.close()


def wait_for(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


class Link:
    """A TCP link to a daemon. `hold` keeps replies back, `cut` ends its connections; both can happen to any client."""

    def __init__(self, daemon):
        self.target = (daemon.host, daemon.port)
        self.flowing = threading.Event()
        self.flowing.set()
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self):
        self.flowing.clear()

    def release(self):
        self.flowing.set()

    def cut(self):
        sockets, self.sockets = self.sockets, []
        for one in sockets:
            one.close() if one.fileno() < 0 else _end(one)

    def close(self):
        self.listener.close()
        self.cut()
        self.release()

    def _accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
                outer = socket.create_connection(self.target)
            except OSError:
                return
            self.sockets += [inner, outer]
            for source, sink, held in ((inner, outer, False), (outer, inner, True)):
                threading.Thread(target=self._pump, args=(source, sink, held), daemon=True).start()

    def _pump(self, source, sink, held):
        try:
            while part := source.recv(65536):
                if held:
                    self.flowing.wait()
                sink.sendall(part)
        except OSError:
            pass
        _end(sink)


def _end(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
