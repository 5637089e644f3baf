"""make lint: the layers, the banned calls, the form of the code, the links of the pages. Each message names the way out."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Who may include whom: the first pattern that a file matches decides.
# folder pattern -> our headers it may include, third-party headers it may include
PROTO = r"(dreamd/v1|dm_env_rpc/v1|grpc|google)/.*\.pb-c\.h|protobuf-c/.*"
LAYERS = [
    (r"models/base/", r"models/base/", r""),
    (r"models/format/json\.[ch]", r"models/(base|format|tensor)/", r"jansson\.h"),
    (r"models/format/digest\.c", r"models/(base|format)/", r"openssl/evp\.h"),
    (r"models/format/", r"models/(base|format|tensor/tensor\.h)", r""),
    (r"models/tensor/gemm\.c", r"models/(base|tensor)/", r"cblas\.h|openblas.*"),
    (r"models/tensor/kernels_avx2[^/]*\.[ch]", r"models/(base|tensor)/", r"immintrin\.h"),
    (r"models/tensor/", r"models/(base|tensor)/", r""),
    (r"models/graph/", r"models/(base|tensor|graph)/", r""),
    (r"models/(family|planner|learner)/", r"models/", r""),
    (r"storage/", r"models/(base|format)/|storage/|migrations\.h", r"sqlite3\.h"),
    (r"server/grpc_compress\.c", r"(models/base|server)/", r"zlib\.h"),
    (r"server/http2(_\w+)?\.c|server/http2_impl\.h", r"(models/base|server)/", r"nghttp2/nghttp2\.h"),
    (r"server/web\.c", r"(models/base|server)/", r"libwebsockets\.h|uv\.h"),
    (r"server/cmd_learn\.c", r"models/|server/|client/envs/", r""),
    (r"server/cmd_fsck\.c", r"models/|server/|storage/", r""),
    (r"server/(main|loop|listener|conn|compute|tls|jobs|web|server|store_thread|cmd_serve|call|version)[^/]*\.[ch]",
     r"models/|server/|storage/", r"uv\.h|nghttp2/nghttp2ver\.h|sqlite3\.h|jansson\.h|openssl/.*|" + PROTO),
    (r"server/options[^/]*\.c", r"models/|server/", r"ini\.h"),
    (r"server/", r"models/|server/|storage/", PROTO),
    (r"client/envs/", r"client/envs/", r""),
    (r"client/c/dreamd\.h", r"", r""),
    (r"client/recipes/", r"dreamd\.h", r""),
    (r"client/(c|ctl)/", r"client/", r"uv\.h|nghttp2/.*|jansson\.h|" + PROTO),
    (r"tests/", r".*", r".*"),
]
LIBC = set("""assert complex ctype errno fenv float inttypes limits locale malloc math setjmp signal stdalign stdarg
 stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time wchar fcntl
 unistd poll pthread dirent netdb getopt sched libgen syslog termios ftw glob pwd spawn
 sys/types sys/stat sys/socket sys/un sys/mman sys/file sys/random sys/resource sys/time sys/wait sys/ioctl
 sys/utsname sys/statvfs sys/uio sys/auxv sys/select sys/prctl sys/eventfd netinet/in netinet/tcp arpa/inet""".split())

BANNED = [
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strncpy|strncat)\s*\(", "snprintf, or dr_buf_printf", r"a^"),
    (r"\b(malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign)\s*\(", "dr_mem_alloc and its like (models/base/mem.h)",
     r"models/base/mem\.c|client/|tests/"),
    (r"\b(rand|srand|random|drand48)\s*\(", "dr_noise_uniform (models/tensor/philox.h)", r"tests/|client/envs/"),
    (r"\b(atoi|atol|atof)\s*\(", "strtol and its like, with the end checked", r"a^"),
    (r"\balloca\s*\(|\bsetjmp\s*\(", "an arena (models/base/arena.h)", r"a^"),
    (r"\bassert\s*\(", "DR_ASSERT (models/base/check.h)", r"tests/|client/"),
    (r"\bexit\s*\(", "a dr_code on its way up; only main decides", r"server/(main|cmd_\w+)\.c|client/(ctl|envs)/|tests/"),
    (r"\bprintf\s*\(", "dr_log, or an error; only commands print", r"server/(main|cmd_\w+|learn_\w+|options\w*|version)\.c|client/(ctl|recipes)/|tests/"),
    (r"-ffast-math|-Ofast", "nothing: the order of summation is a promise", r"a^"),
    (r"\b(usleep|sleep|nanosleep)\s*\(", "a timer of the loop", r"tests/|client/"),
]
WORDS = [(r"\b(TODO|FIXME|XXX|HACK)\b", "do it, or write down in the README what is missing")]
LINES_MAX = 700


def strip_comments_and_strings(text):
    """Blanks what is not code, keeping line numbers."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.S)


def check_includes(path, text, complain):
    rule = next((rule for rule in LAYERS if re.match(rule[0], path)), None)
    if rule is None:
        complain(path, 1, "belongs to no layer: put it into server, client, models, storage or tests")
        return
    _, ours, foreign = rule
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if not quoted and (name.removesuffix(".h") in LIBC):
            continue
        if quoted and (ROOT / name).exists():
            if not (ours and re.match(ours, name)):
                complain(path, number, f"includes {name}: its layer may include {ours or 'nothing of ours'} (models/README.md has the table)")
            elif name.endswith("_impl.h") and pathlib.PurePath(name).parent != pathlib.PurePath(path).parent and not path.startswith("tests/"):
                complain(path, number, f"includes {name}, private to its folder: use the public header")
        elif not ((foreign and re.match(f"(?:{foreign})$", name)) or (ours and quoted and re.match(ours, name))):
            complain(path, number, f"includes {name}: its layer may include {foreign or 'libc only'}")


def check_text(path, text, complain):
    code = strip_comments_and_strings(text)
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, instead, allowed in BANNED:
            match = re.search(pattern, line)
            if match and not re.match(allowed, path):
                complain(path, number, f"calls {match.group().rstrip('( ')}: use {instead}")
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in WORDS:
            if re.search(pattern, line):
                complain(path, number, f"{line.strip()[:60]}: {instead}")
        if len(line) > 100 and path.endswith((".c", ".h")):
            complain(path, number, f"{len(line)} columns, at most 100: make format")
    if text.count("\n") > LINES_MAX and path.endswith((".c", ".h", ".py")):
        complain(path, 1, f"{text.count(chr(10))} lines, at most {LINES_MAX}: split it by what changes together")
    if path.endswith((".c", ".h")) and not text.startswith("/*"):
        complain(path, 1, "opens without its idea: begin with /* name: what it is for. */")
    if path.endswith(".h") and "#ifndef DR" not in text and "#ifndef" not in text:
        complain(path, 1, "has no include guard")


def check_stubs(complain):
    """The committed Python stubs are those of the protos."""
    script = ROOT / "client/python/generate.sh"
    if script.exists() and subprocess.run([str(script), "--check"], cwd=ROOT).returncode:
        complain("client/python/src/dreamd/_proto", 1, "is not what the protos say: run client/python/generate.sh")


def check_package(complain):
    """The Python package: form by ruff, types by mypy (client/python/pyproject.toml has the rules)."""
    package = ROOT / "client/python"
    for command in (["ruff", "check", "--quiet", "--no-cache", "--output-format=concise", "."],
                    ["mypy", "--no-error-summary", f"--cache-dir={ROOT}/build/mypy", "-p", "dreamd"]):
        result = subprocess.run([sys.executable, "-m", *command], cwd=package, text=True, capture_output=True)
        for line in (result.stdout + result.stderr).splitlines() if result.returncode else []:
            match = re.match(r"(\S+?):(\d+):(?:\d+:)? ?(.*)", line)
            complain(f"client/python/{match.group(1)}" if match else "client/python", int(match.group(2)) if match else 1,
                     match.group(3) if match else line)


def check_links(pages, complain):
    """What a page links to inside the tree is there, headings too."""
    for path in pages:
        text = (ROOT / path).read_text()
        for number, line in enumerate(text.splitlines(), 1):
            for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", line):
                if "://" in target:
                    continue
                file = (ROOT / path).parent / target if target else ROOT / path
                if not file.exists():
                    complain(path, number, f"links to {target}, which is not there")
                elif heading and heading not in headings_of(file.read_text()):
                    complain(path, number, f"links to the heading #{heading}, which {target or path} does not have")


def headings_of(text):
    """As a page's readers see them: lower case, words joined by hyphens."""
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def check_form(files, complain):
    result = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=ROOT, text=True, capture_output=True)
    for line in result.stderr.splitlines():
        match = re.match(r"(\S+?):(\d+):\d+: error:", line)
        if match:
            complain(match.group(1), int(match.group(2)), "is out of form: make format")


def main():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split("\n")
    sources = [path for path in tracked if path.endswith((".c", ".h")) and (ROOT / path).exists()]
    scripts = [path for path in tracked if path.endswith((".py", ".sh", ".sql", ".proto", "Makefile")) and (ROOT / path).exists()
               and "/_proto/" not in path and not path.startswith("tests/lint/")]
    complaints = []
    seen = set()

    def complain(path, line, message):
        if (path, line, message) not in seen:
            seen.add((path, line, message))
            complaints.append(f"{path}:{line}: {message}")

    for path in sources:
        text = (ROOT / path).read_text()
        check_includes(path, text, complain)
        check_text(path, text, complain)
    for path in scripts:
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            for pattern, instead in WORDS:
                if re.search(pattern, line):
                    complain(path, number, f"{line.strip()[:60]}: {instead}")
    check_links([path for path in tracked if path.endswith(".md") and (ROOT / path).exists()], complain)
    check_form(sources, complain)
    check_stubs(complain)
    check_package(complain)
    print("\n".join(complaints[:200]))
    if complaints:
        print(f"lint: {len(complaints)} complaints in {len(sources)} files")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
