"""Runs every test of the tree and ends in one line: `check: N passed, N failed, N skipped`.

Unit tests are Criterion binaries, fuzz corpora are replayed, and tests/compliance is driven by
pytest against a live daemon. A test that cannot run here prints a line `SKIPPED: why`.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEAKS_OF_CRITERION = "leak:cri_assert_node_add\nleak:cri_fmt_vbprintf\n"


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def add(self, name, passed, failed, skipped, seconds):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        mark = "FAILED" if failed else "ok"
        print(f"{mark:6} {name}: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.1f} s)", flush=True)


def environment(arguments, folder):
    """Sanitizers write what they find into `folder`, so that no test can lose it."""
    suppressions = folder / "lsan.supp"
    suppressions.write_text(LEAKS_OF_CRITERION)
    env = dict(os.environ)
    env.update(
        DREAMD_BUILD=str(pathlib.Path(arguments.build).resolve()),
        DREAMD_FIXTURES=os.environ.get("DREAMD_FIXTURES", str(ROOT / "../shared/fixtures")),
        DREAMD_SANITIZER=arguments.sanitizer,
        OPENBLAS_NUM_THREADS="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    if arguments.sanitizer:
        env["CRITERION_JOBS"] = "1"  # with more, Criterion's runner now and then leaks 48 bytes of its own
        env["ASAN_OPTIONS"] = f"log_path={folder}/asan:detect_leaks=1:allocator_may_return_null=1"
        env["LSAN_OPTIONS"] = f"suppressions={suppressions}:print_suppressions=0"
        env["UBSAN_OPTIONS"] = f"log_path={folder}/ubsan:halt_on_error=1:print_stacktrace=1"
        env["TSAN_OPTIONS"] = f"log_path={folder}/tsan:halt_on_error=0:second_deadlock_stack=1"
    return env


def run(command, env, timeout):
    start = time.monotonic()
    try:
        result = subprocess.run(command, env=env, cwd=ROOT, timeout=timeout, text=True, errors="replace",
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        code, output = result.returncode, result.stdout
    except subprocess.TimeoutExpired as late:
        code, output = 124, (late.stdout or b"").decode(errors="replace") + f"\nno end after {timeout} s\n"
    return code, output, time.monotonic() - start


def run_unit(binary, env, totals):
    code, output, seconds = run([str(binary)], env, 900)
    synthesis = re.search(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)", output)
    own_main = re.search(r"tests: (\d+) failing: (\d+)", output)
    if synthesis:
        tested, passed, failed = map(int, synthesis.groups())
    elif own_main:
        tested, failed = map(int, own_main.groups())
        passed = tested - failed
    else:
        tested = passed = failed = 0
    if code != 0 and failed == 0 or tested == 0:
        failed += 1
    skipped = len(set(re.findall(r"SKIPPED: .*", output)))
    totals.notes += sorted(set(re.findall(r"(?:parity: .*|SKIPPED: .*)", output)))
    if failed:
        print(output)
    totals.add(binary.name, passed, failed, skipped, seconds)


def run_replay(binary, env, totals):
    corpus = ROOT / "tests/fuzz/corpus" / binary.name.removeprefix("fuzz_")
    inputs = sorted(str(path) for path in corpus.iterdir()) if corpus.is_dir() else []
    code, output, seconds = run([str(binary), *inputs], env, 300)
    failed = int(code != 0 or not inputs)
    if failed:
        print(output or f"{corpus}: no corpus")
    totals.add(f"{binary.name} ({len(inputs)} inputs)", 1 - failed, failed, 0, seconds)


def run_pytest(folder, files, env, totals, report, timeout):
    command = [sys.executable, "-m", "pytest", "-q", "-x" if os.environ.get("FIRST") else "-q", "-p", "no:cacheprovider",
               "--timeout=300", "-rs", f"--junitxml={report}", *(str(path.relative_to(ROOT)) for path in files)]
    code, output, seconds = run(command, env, timeout)
    passed = failed = skipped = 0
    if report.exists():
        for suite in ElementTree.parse(report).iter("testsuite"):
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
            passed += int(suite.get("tests", 0))
        passed -= failed + skipped
    if code != 0 and failed == 0:
        failed = 1
    if failed:
        print(output)
    totals.notes += re.findall(r"^(?:SKIPPED|measured:) .*", output, re.M)
    totals.add(str(folder.relative_to(ROOT)), passed, failed, skipped, seconds)


def read_sanitizer_logs(folder, totals):
    logs = sorted(path for path in folder.iterdir() if path.suffix != ".supp" and path.is_file() and path.stat().st_size)
    for path in logs[:5]:
        print(f"---- {path.name}\n{path.read_text(errors='replace')[:6000]}")
    if logs:
        totals.add("sanitizer reports", 0, len(logs), 0, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--sanitizer", default="")
    parser.add_argument("--ecosystem", action="store_true", help="the slower tests, with torch")
    parser.add_argument("--only", default="", help="only what has one of these words, between commas, in its name")
    arguments = parser.parse_args()
    tests = pathlib.Path(arguments.build).resolve() / "tests"
    totals = Totals()
    with tempfile.TemporaryDirectory(prefix="dreamd-check-") as name:
        logs = pathlib.Path(name) / "sanitizer"
        logs.mkdir()
        env = environment(arguments, logs)
        words = arguments.only.split(",")
        wanted = lambda path: any(word in str(path.relative_to(path.parents[1])) for word in words)
        if not arguments.ecosystem:
            for binary in filter(wanted, sorted(tests.glob("unit_*"))):
                if os.access(binary, os.X_OK) and binary.is_file():
                    run_unit(binary, env, totals)
            for binary in filter(wanted, sorted(tests.glob("fuzz_*"))):
                run_replay(binary, env, totals)
        folders = ["tests/ecosystem"] if arguments.ecosystem else ["tests/compliance"]
        for folder in (ROOT / folder for folder in folders):
            files = [path for path in sorted(folder.glob("test_*.py")) if wanted(path)]
            if files:
                run_pytest(folder, files, env, totals, pathlib.Path(name) / "report.xml", 3000)
        read_sanitizer_logs(logs, totals)
    for note in totals.notes:
        print(note)
    print(f"check: {totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed or totals.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
