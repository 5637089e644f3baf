"""A run's config: JSON or YAML, and the questions that importers ask of it.

A config may say less than it could: what it does not say, the tensors or the published default do. What it says
must be served, or the import ends with the option's name.
"""

import json
import pathlib

from . import ImportFailure

BYTES_MAX = 4 << 20
ABSENT = object()


def _parse_yaml(path, text):
    try:
        import yaml
    except ImportError:
        raise ImportFailure(f"{path}: reading YAML needs PyYAML (pip install pyyaml); JSON needs nothing") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ImportFailure(f"{path}: neither JSON nor YAML: {' '.join(str(error).split())[:200]}") from None


def read(path):
    """A Config of the file's content."""
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ImportFailure(f"{path}: {error.strerror or error}") from None
    if len(data) > BYTES_MAX:
        raise ImportFailure(f"{path}: {len(data)} bytes, expected at most {BYTES_MAX}")
    try:
        text = data.decode()
        try:
            content = json.loads(text)
        except ValueError as error:
            if str(path).endswith(".json") or text.lstrip()[:1] in "{[":
                raise ImportFailure(f"{path}: not JSON: {error}") from None
            content = _parse_yaml(path, text)
    except UnicodeDecodeError as error:
        raise ImportFailure(f"{path}: not UTF-8: {error}") from None
    except RecursionError:
        raise ImportFailure(f"{path}: nested too deeply") from None
    if not isinstance(content, dict):
        raise ImportFailure(f"{path}: a {type(content).__name__}, expected names with values")
    return Config(content, str(path))


class Config:
    """`config.get("actor.dist", "normal")`; every failure names file and option."""

    def __init__(self, content, path="config", prefix=""):
        self.content, self.path, self.prefix = content, path, prefix

    def get(self, key, default=None):
        value, above = self.content, []
        for part in key.split("."):
            if value is not None and not isinstance(value, dict):
                raise ImportFailure(f"{self.path}: {'.'.join(above)} is {value!r:.120}, expected names with values")
            if not value or part not in value:
                return default
            value = value[part]
            above.append(part)
        return value

    def has(self, key):
        return self.get(key, ABSENT) is not ABSENT

    def fail(self, key, expected):
        raise ImportFailure(f"{self.path}: {key} is {self.get(key)!r:.120}, expected {expected}")

    def must_be(self, key, *allowed):
        """Where the config says it, it says one of these."""
        value = self.get(key, allowed[0])
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            only = "the only one that is served" if len(allowed) == 1 else "those that are served"
            self.fail(key, f"{' or '.join(repr(one) for one in allowed)}: {only}")
        return value

    def number(self, key, default, lowest, highest):
        """YAML 1.1 takes 1e-4 for text, so text that is a number is one."""
        value = self.get(key, default)
        try:
            number = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not lowest <= number <= highest:
            self.fail(key, f"a number from {lowest} to {highest}")
        return number

    def integer(self, key, lowest, default=None):
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= 1 << 20:
            self.fail(key, f"an integer from {lowest}")
        return value

    def names(self, key):
        """A list of texts; absent and null are none."""
        value = self.get(key)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.fail(key, "a list of names")
        return value

    def spaces(self):
        """{key: sizes} of the observations, which no run saves and a user may add; None where nobody did."""
        spaces = self.get("spaces")
        if spaces is None:
            return None
        if not isinstance(spaces, dict) or not all(
                isinstance(shape, list) and all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 1 << 20 for n in shape)
                for shape in spaces.values()):
            self.fail("spaces", "{key: [sizes]}")
        return {str(key): shape for key, shape in spaces.items()}

    def agree_latent(self, stoch, classes, name, numbers):
        """The options of the latent's split; `numbers` is what the tensor called `name` gives."""
        count = self.get(stoch) * (self.get(classes) or 2)  # Gaussian: mean and std
        if count != numbers:
            raise ImportFailure(f"{self.path}: {stoch} is {self.get(stoch)!r} and {classes} is {self.get(classes)!r}: {count} numbers, "
                                f"{name} gives {numbers}; expected the same")

    def agree(self, key, found):
        """Where config and tensors speak of the same thing they must agree."""
        said = self.get(key, found)
        if said != found or isinstance(said, bool) != isinstance(found, bool):
            raise ImportFailure(f"{self.path}: {key} is {said!r:.120}, the tensors say {found!r}; expected the same")
