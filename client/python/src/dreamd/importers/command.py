"""The command dreamd-import: one sub-command a code base.

A source is a module with SOURCE, CODE, FILE_HELP, CONFIG_HELP, EXAMPLE, FLAGS ({flag: help}) and
convert(file, config, out, name, say, **flags). MANY_FILES: it takes a list of files, and needs no config.
"""

import argparse
import difflib
import pathlib
import re
import sys

from . import ImportFailure, dreamerv3_jax, dreamerv3_torch, sheeprl_dreamerv3, tdmpc2, world_models

SOURCES = {source.SOURCE: source for source in (world_models, dreamerv3_torch, dreamerv3_jax, sheeprl_dreamerv3, tdmpc2)}


class Parser(argparse.ArgumentParser):
    """Wrong usage ends in one sentence that says where help is."""

    def error(self, message):
        print(f"{self.prog}: {message}; {self.prog} --help has examples", file=sys.stderr)
        sys.exit(2)


def check_source(parser, arguments):
    """The first word is a source, or a sentence names the nearest."""
    word = arguments[0] if arguments else ""
    if word in SOURCES or word.startswith("-"):
        return
    near = difflib.get_close_matches(word, SOURCES, 1, 0.4)
    wrong = f"unknown source {word!r}{f', did you mean {near[0]}?' if near else ';'}" if word else "no source given;"
    parser.error(f"{wrong} there are {', '.join(SOURCES)}")


def parse(arguments):
    examples = "\n".join(f"  {source.EXAMPLE}" for source in SOURCES.values())
    parser = Parser(
        prog="dreamd-import", description="Makes a dreamd checkpoint of a public one. Runs nothing that a file asks for.",
        epilog=f"examples:\n{examples}\n\nThen: dreamctl models register DIR",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, source in SOURCES.items():
        many = getattr(source, "MANY_FILES", False)
        sub = sources.add_parser(name, help=f"of {source.CODE}", description=source.__doc__,
                                 epilog=f"example:\n  {source.EXAMPLE}",
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.add_argument("file", metavar="FILE", nargs="+" if many else None, help=source.FILE_HELP)
        sub.add_argument("--config", required=not many, metavar="FILE", help=source.CONFIG_HELP)
        sub.add_argument("--out", required=True, metavar="DIR", help="the new checkpoint folder")
        sub.add_argument("--name", help="the model's name; default: the folder's")
        for flag, text in source.FLAGS.items():
            sub.add_argument(f"--{flag}", action="store_true", help=text)
    check_source(parser, arguments)
    return parser.parse_args(arguments)


def printable(text):
    """A sentence that may quote a file's names: what is no character of a line is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def main(arguments=None):
    options = parse(sys.argv[1:] if arguments is None else arguments)
    out = pathlib.Path(options.out)
    name = options.name or out.resolve().name
    source = SOURCES[options.source]
    flags = {key: getattr(options, key) for key in (flag.replace("-", "_") for flag in source.FLAGS)}
    try:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name):
            raise ImportFailure(f"name {name!r}: expected 1 to 64 of a-z 0-9 _ . - beginning with a letter or digit; "
                                "give one with --name")
        source.convert(options.file, options.config, out, name, print, **flags)
    except ImportFailure as failure:
        print(f"dreamd-import: {printable(str(failure))}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"dreamd-import: {options.file}: not enough memory", file=sys.stderr)
        return 1
    return 0
