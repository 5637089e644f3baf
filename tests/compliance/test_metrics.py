"""The HTTP port: what a scraper, a probe and a hostile client get from it."""

import concurrent.futures
import http.client
import json
import re
import socket
import subprocess
import time

import grpc
import numpy as np
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from conftest import BUILD, ROOT
from dreamd_stubs import Client, arrays, make_zoo, put, registry, simulation

ACTION = [[0.0, 0.0]]


def get(daemon, path, method="GET", body=None):
    connection = http.client.HTTPConnection(daemon.http, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


class Scrape:
    """A page of metrics: scrape.value("dreamd_requests_total", method=..., code="OK")"""

    def __init__(self, daemon):
        status, self.headers, self.text = get(daemon, "/metrics")
        assert status == 200
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, key
                self.samples[key] = sample.value

    def value(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())), 0)

    def total(self, name, **labels):
        """Over all labels that are not given."""
        return sum(value for (other, pairs), value in self.samples.items()
                   if other == name and pairs >= set(labels.items()))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"), first=1, second=2)


@pytest.fixture
def daemon(start_daemon, zoo):
    return start_daemon("--zoo", zoo)


@pytest.fixture
def client(daemon):
    with daemon.channel() as channel:
        yield Client(channel)


def until(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


# ---- pages ----


def test_the_pages_and_what_is_none(daemon):
    status, headers, body = get(daemon, "/")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    assert "/metrics" in body and "/healthz" in body and "/readyz" in body and body.count("\n") == 1
    for path in ("/healthz", "/readyz", "/readyz?verbose"):
        assert get(daemon, path)[::2] == (200, "ok\n")
    for path in ("/metrics/", "/x", "/../etc/passwd", "/" + "a" * 1000):
        status, _, body = get(daemon, path)
        assert status == 404 and len(body) < 200, path


def test_metrics_are_what_prometheus_reads(daemon):
    status, headers, body = get(daemon, "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(headers["content-length"]) == len(body)
    names = set()
    for line in body.splitlines():
        if line.startswith("# TYPE"):
            name, kind = line.split()[2:]
            assert name.startswith(("dreamd_", "process_"))
            assert (kind == "counter") == name.endswith("_total"), line
            assert name.removesuffix("_total") not in names, name  # OpenMetrics leaves it out
            names.add(name.removesuffix("_total"))
        elif line.startswith("# HELP"):
            assert line.endswith(".")
    scrape = Scrape(daemon)
    info, = (labels for (name, labels) in scrape.samples if name == "dreamd_build_info")
    said = subprocess.run([BUILD / "dreamd", "--version"], capture_output=True, text=True).stdout
    assert f"dreamd {dict(info)['version']}\n" in said and f"commit {dict(info)['commit']}\n" in said
    assert abs(scrape.value("process_start_time_seconds") - time.time()) < 600
    assert scrape.value("process_resident_memory_bytes") > 1e6
    assert scrape.value("process_open_fds") >= 5
    assert scrape.value("dreamd_state", state="SERVING") == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_reading_is_allowed(daemon, method):
    status, headers, body = get(daemon, "/metrics", method, b"x" * 100 if method in ("POST", "PUT") else None)
    assert status == 405 and headers["allow"] == "GET, HEAD" and "GET" in body
    assert get(daemon, "/healthz")[0] == 200


def test_head_has_the_headers_alone(daemon):
    with socket.create_connection(daemon.http.split(":"), timeout=60) as sock:
        sock.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        while not said.endswith(b"\r\n\r\nok\n"):
            more = sock.recv(4096)
            assert more, said
            said += more
    first, second, body = said.split(b"\r\n\r\n")
    for head in (first, second):
        assert head.startswith(b"HTTP/1.1 200") and b"content-length: 3" in head


def test_one_connection_serves_many_requests(daemon):
    connection = http.client.HTTPConnection(daemon.http, timeout=60)
    for _ in range(50):
        for path in ("/metrics", "/healthz", "/nothing"):
            connection.request("GET", path)
            assert len(connection.getresponse().read()) > 2
    assert connection.sock is not None
    connection.close()


def test_no_port_where_none_is_wanted(start_daemon):
    daemon = start_daemon("--http-listen", "none")
    assert daemon.http is None
    assert "http_port" not in json.loads(daemon.endpoint.read_text())
    with daemon.channel() as channel:
        assert Client(channel).registry.GetServerInfo(registry.GetServerInfoRequest(), timeout=60).state == "SERVING"


def test_a_port_in_use_is_said(daemon, tmp_path):
    done = subprocess.run([BUILD / "dreamd", "serve", "--listen", "127.0.0.1:0", "--http-listen", daemon.http,
                           "--data", tmp_path / "other"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    for word in ("--http-listen", daemon.http, "in use", "port 0"):
        assert word in done.stderr
    assert get(daemon, "/healthz")[0] == 200


# ---- numbers ----


def method(name, service="Simulation"):
    return f"dreamd.v1.{service}/{name}"


def test_requests_are_counted_by_method_and_code(daemon, client):
    before = Scrape(daemon)
    session = client.open(rows=3, seed=1)
    for _ in range(7):
        client.step(session.session_id, ACTION * 3)
    with pytest.raises(grpc.RpcError):
        client.step("nobody", ACTION)
    with pytest.raises(grpc.RpcError):
        client.simulation.GetSession(simulation.GetSessionRequest(session_id="nobody"))
    after = Scrape(daemon)
    for name, code, count in (("OpenSession", "OK", 1), ("Step", "OK", 7), ("Step", "NOT_FOUND", 1),
                              ("GetSession", "NOT_FOUND", 1), ("GetSession", "OK", 0), ("Plan", "OK", 0)):
        labels = {"method": method(name), "code": code}
        moved = after.value("dreamd_requests_total", **labels) - before.value("dreamd_requests_total", **labels)
        assert moved == count, (name, code)
    assert after.value("dreamd_rows_total", method=method("Step")) == 21
    assert after.total("dreamd_model_rows_total", model="tiny") >= 21
    with daemon.channel() as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/no/such")(b"", timeout=60)
    assert Scrape(daemon).value("dreamd_requests_total", method="other", code="UNIMPLEMENTED") == 1


def test_histograms_agree_with_the_counts(daemon, client):
    session = client.open(rows=2, seed=1)
    for _ in range(20):
        client.step(session.session_id, ACTION * 2)
    scrape = Scrape(daemon)
    step = method("Step")
    assert scrape.value("dreamd_request_seconds_count", method=step) == scrape.total(
        "dreamd_requests_total", method=step) == 20
    assert 0 < scrape.value("dreamd_request_seconds_sum", method=step) < 600
    series = {}
    for (name, labels), value in scrape.samples.items():
        if name.endswith("_bucket"):
            labels = dict(labels)
            le = float(labels.pop("le"))
            series.setdefault((name[:-len("_bucket")], frozenset(labels.items())), []).append((le, value))
    assert len(series) >= 12
    for (name, labels), buckets in series.items():
        buckets.sort()
        counts = [count for _, count in buckets]
        assert counts == sorted(counts) and buckets[-1][0] == float("inf")
        assert counts[-1] == scrape.samples[f"{name}_count", labels]
        assert len(buckets) > 8


def test_the_queue_is_told_by_class(daemon, client):
    session = client.open(rows=40, seed=1).session_id
    for _ in range(5):
        client.step(session, ACTION * 40)
    client.simulation.Plan(simulation.PlanRequest(session_id=session), timeout=600)
    scrape = Scrape(daemon)
    for place in ("queue", "compute"):
        assert scrape.value(f"dreamd_{place}_seconds_count", **{"class": "interactive"}) == 5
        assert scrape.value(f"dreamd_{place}_seconds_count", **{"class": "plan"}) > 1
        assert scrape.value(f"dreamd_{place}_seconds_count", **{"class": "batch"}) == 0
    assert scrape.value("dreamd_batch_rows_sum", **{"class": "interactive"}) >= 5 * 40
    assert scrape.value("dreamd_class_rows_total", **{"class": "interactive"}) == 5 * 40
    assert scrape.total("dreamd_queue_rows") == scrape.total("dreamd_queue_works") == 0
    assert scrape.total("dreamd_deadline_drops_total") == 0


def test_a_deadline_that_passes_at_work_is_counted_there(daemon, client):
    session = client.open(rows=64, seed=1).session_id
    slow = simulation.PlanRequest(session_id=session, settings=simulation.PlannerSettings(
        candidates=1024, horizon=50, iterations=50))
    with pytest.raises(grpc.RpcError) as caught:
        client.simulation.Plan(slow, timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: Scrape(daemon).total("dreamd_deadline_drops_total") >= 1)
    scrape = Scrape(daemon)
    assert scrape.total("dreamd_deadline_drops_total", **{"class": "plan"}) >= 1
    assert scrape.value("dreamd_requests_total", method=method("Plan"), code="DEADLINE_EXCEEDED") + scrape.value(
        "dreamd_requests_total", method=method("Plan"), code="CANCELLED") == 1


def test_sessions_come_and_go(daemon, client):
    first = client.open(rows=3)
    client.open(rows=5)
    scrape = Scrape(daemon)
    assert scrape.total("dreamd_sessions") == 2 and scrape.value("dreamd_session_rows") == 8
    assert scrape.value("dreamd_session_bytes") > 0 and scrape.value("dreamd_sessions_opened_total") == 2
    assert scrape.total("dreamd_model_sessions", model="tiny") == 2
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=first.session_id))
    client.open(rows=1, ttl_ms=200)
    until(lambda: Scrape(daemon).value("dreamd_sessions_ended_total", by="expiry") == 1)
    scrape = Scrape(daemon)
    assert scrape.total("dreamd_sessions") == 1 and scrape.value("dreamd_session_rows") == 5
    assert scrape.value("dreamd_sessions_ended_total", by="close") == 1


def test_models_are_loaded_and_unloaded(daemon, client):
    assert Scrape(daemon).value("dreamd_models_loaded") == 0
    for name in ("tiny@1", "tiny@2"):
        client.registry.LoadModel(registry.LoadModelRequest(model=name))
    scrape = Scrape(daemon)
    assert scrape.value("dreamd_models_loaded") == 2 and scrape.value("dreamd_model_loads_total") == 2
    assert len([1 for name, _ in scrape.samples if name == "dreamd_model_bytes"]) == 2
    client.registry.UnloadModel(registry.UnloadModelRequest(model="tiny@1"))
    scrape = Scrape(daemon)
    assert scrape.value("dreamd_models_loaded") == 1 and scrape.value("dreamd_model_unloads_total") == 1
    assert scrape.value("dreamd_storage_seconds_count", thread="storage") >= 4
    assert scrape.value("dreamd_storage_seconds_count", thread="loader") == 2


def test_an_alias_that_moves_while_it_is_in_use_is_a_swap(daemon, client):
    for version, swaps in ((1, 0), (2, 0), (2, 0), (1, 1), (1, 1)):
        client.registry.SetAlias(registry.SetAliasRequest(name="tiny", alias="best", version=version))
        assert Scrape(daemon).value("dreamd_model_swaps_total") == swaps
        if version == 2:
            client.open(model="tiny@best", rows=1)


def test_what_is_registered_again_takes_no_place(daemon, client, zoo):
    def register(folder, alias):
        header = registry.RegisterHeader(aliases=[alias], server_path=str(zoo / folder))
        client.registry.RegisterCheckpoint(iter([registry.RegisterCheckpointRequest(header=header),
                                                 registry.RegisterCheckpointRequest(finish=registry.RegisterFinish())]))

    for folder, swaps in (("first", 0), ("first", 0), ("second", 1), ("second", 1)):
        register(folder, "best")
        assert Scrape(daemon).value("dreamd_model_swaps_total") == swaps
        client.open(model="tiny@best", rows=1)


def test_surprise_is_remembered_by_model(daemon, client):
    session = client.open(rows=3, seed=1).session_id
    rng = np.random.default_rng(0)
    seen = 0.0
    for step in range(4):
        request = simulation.ObserveRequest(session_id=session, outputs=["surprise.kl"] if step else ["reward"])
        reply = arrays(client.simulation.Observe(put(
            request, observation__state=rng.normal(size=(3, 3)).astype("<f4"),
            observation__angle=rng.normal(size=3).astype("<f4"), action=np.zeros((3, 2), "<f4"))))
        seen += float(reply["surprise.kl"].sum()) if step else 0
    scrape = Scrape(daemon)
    assert scrape.total("dreamd_surprise_kl_nats_count", model="tiny") == 9
    assert scrape.total("dreamd_surprise_kl_nats_sum", model="tiny") == pytest.approx(seen, rel=1e-5)
    assert scrape.total("dreamd_surprise_error_count", model="tiny") == 0


def test_labels_of_models_are_bounded(start_daemon, tmp_path):
    count = 70
    daemon = start_daemon("--zoo", make_zoo(tmp_path / "many", **{f"m{i}": i for i in range(count)}))
    with daemon.channel() as channel:
        client = Client(channel)
        for version in range(1, count + 1):
            client.open(model=f"tiny@{version}", rows=1)
    scrape = Scrape(daemon)
    labelled = [dict(labels) for name, labels in scrape.samples if name == "dreamd_model_sessions"]
    assert len(labelled) == 65 and len({one["checkpoint"] for one in labelled}) == 65
    assert scrape.value("dreamd_model_sessions", model="other", checkpoint="") == count - 64
    assert scrape.total("dreamd_model_sessions") == count == scrape.value("dreamd_models_loaded")


def test_plans_are_counted(daemon, client):
    session = client.open(rows=2)
    request = simulation.PlanRequest(session_id=session.session_id)
    reply = client.simulation.Plan(request, timeout=600)
    scrape = Scrape(daemon)
    assert scrape.value("dreamd_plan_iterations_total") == 2 * reply.stats.iterations > 0
    assert scrape.value("dreamd_plan_row_steps_total") == reply.stats.row_steps > 0


def test_what_was_refused_late_or_taken_back(start_daemon, zoo):
    daemon = start_daemon("--zoo", zoo, "--sessions-max", "1")
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=1)
        with pytest.raises(grpc.RpcError):
            client.open(rows=1)
        request = put(simulation.StepRequest(session_id=session.session_id), action=np.zeros((1, 2), "<f4"))
        with pytest.raises(grpc.RpcError):
            client.simulation.Step(request, metadata=[("grpc-timeout", "0n")])
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(watch)
        watch.cancel()
        until(lambda: Scrape(daemon).value("dreamd_cancels_total") == 1)
        scrape = Scrape(daemon)
        assert scrape.value("dreamd_sheds_total", reason="SESSIONS_FULL") == 1
        assert scrape.value("dreamd_requests_total", method="grpc.health.v1.Health/Watch", code="CANCELLED") == 1
        assert scrape.value("dreamd_open_connections") == 1 and scrape.value("dreamd_connections_total") == 1
        assert scrape.value("dreamd_read_bytes_total") > 100 and scrape.value("dreamd_written_bytes_total") > 100


def test_counts_hold_under_many_clients(daemon):
    def work(seed):
        with daemon.channel() as channel:
            client = Client(channel)
            session = client.open(rows=1 + seed, seed=seed).session_id
            for _ in range(25):
                client.step(session, ACTION * (1 + seed))

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        seen = pool.map(work, range(6))
        scrapes = [Scrape(daemon).total("dreamd_requests_total") for _ in range(5)]
        list(seen)
    assert scrapes == sorted(scrapes)
    scrape = Scrape(daemon)
    assert scrape.value("dreamd_requests_total", method=method("Step"), code="OK") == 150
    assert scrape.value("dreamd_rows_total", method=method("Step")) == 25 * (1 + 2 + 3 + 4 + 5 + 6)


# ---- what is shipped for dashboards ----


def expressions(node):
    """Every PromQL text in a dashboard or a file of rules."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr":
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


@pytest.mark.parametrize("name", ["grafana.json", "prometheus.rules.yml"])
def test_dashboards_and_alerts_name_what_exists(daemon, client, name):
    session = client.open(rows=1).session_id
    client.step(session, ACTION)
    with pytest.raises(grpc.RpcError):
        client.open(rows=1_000_000)
    scrape = Scrape(daemon)
    known, labels = {"up"}, {"instance", "job", "reason"}  # a reason comes with its first refusal
    for family in scrape.families.values():
        known.add(family.name + ("_total" if family.type == "counter" else ""))
        known |= {sample.name for sample in family.samples}
    for _, pairs in scrape.samples:
        labels |= {label for label, _ in pairs}
    found = list(expressions(yaml.safe_load((ROOT / "deploy" / name).read_text())))
    assert len(found) >= 7
    for text in found:
        used = set(re.findall(r"\b(?:dreamd|process)_[a-z_]+", text))
        assert used or "up{" in text, text
        assert used <= known, (used - known, text)
        assert set(re.findall(r"[{,]\s*([a-z_]+)\s*=", text)) <= labels, text
        for group in re.findall(r"by \(([^)]*)\)", text):
            assert set(group.replace(" ", "").split(",")) <= labels, text


def test_prometheus_is_told_where_we_are():
    told = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    (job,) = told["scrape_configs"]
    help_ = subprocess.run([BUILD / "dreamd", "serve", "--help"], capture_output=True, text=True).stdout
    (target,) = job["static_configs"][0]["targets"]
    assert job["job_name"] == "dreamd" and target in help_
    for file in told["rule_files"]:
        assert (ROOT / "deploy" / file).exists()


# ---- hostile clients ----


GARBAGE = {
    "noise": bytes(range(256)) * 8,
    "nothing": b"\r\n\r\n\r\n",
    "a method of its own": b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "http/0.9": b"GET /metrics\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "upgrade to websocket": b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "upgrade to http/2": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                         b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "a body that lies": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\nx",
    "a negative body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + b"x" * 5000,
    "tls": bytes.fromhex("160301020001000001fc0303") + b"x" * 500,
    "a proxy's wish": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a whole address": b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("bytes_", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_hurts_nobody(daemon, bytes_):
    host, port = daemon.http.split(":")
    for cut in (len(bytes_), len(bytes_) // 2, 1):
        with socket.create_connection((host, port), timeout=60) as sock:
            try:
                sock.sendall(bytes_[:cut])
                sock.shutdown(socket.SHUT_WR)
                said = b""
                while more := sock.recv(65536):
                    said += more
                    assert len(said) < 1_000_000
            except OSError:  # it was let go in the middle of its speech
                continue
            assert said == b"" or said.startswith(b"HTTP/1.") and b" 101 " not in said[:20], said[:200]
    assert get(daemon, "/healthz")[0] == 200


def test_slow_clients_disturb_nobody(daemon, client):
    """200 connections that say half a request; gRPC goes on, and the port comes back."""
    host, port = daemon.http.split(":")
    slow = [socket.create_connection((host, port), timeout=60) for _ in range(200)]
    for sock in slow:
        try:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        except OSError:
            pass  # one too many
    session = client.open(rows=1).session_id
    for _ in range(100):
        client.step(session, ACTION)

    def is_back():
        try:
            return get(daemon, "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    until(is_back)  # they are let go, although they are still there
    scrape = Scrape(daemon)
    assert scrape.value("dreamd_http_connections_refused_total") >= 200 - 128
    assert scrape.value("dreamd_requests_total", method=method("Step"), code="OK") == 100
    for sock in slow:
        sock.close()


def test_a_client_that_does_not_read_is_let_go(daemon):
    host, port = daemon.http.split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.settimeout(60)
    sock.connect((host, int(port)))
    try:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    except OSError:
        pass
    until(lambda: Scrape(daemon).value("dreamd_http_open_connections") == 1)  # its own
    sock.close()
