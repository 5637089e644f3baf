"""The command dreamd-import: one sub-command a code base.

A source is a module with SOURCE, CODE, FILE_HELP, CONFIG_HELP, EXAMPLE, FLAGS ({flag: help}) and
convert(file, config, out, name, say, **flags). MANY_FILES: it takes a list of files, and needs no config.
"""

import argparse
import pathlib
import re
import sys

from . import ImportFailure, dreamerv3_jax, dreamerv3_torch, sheeprl_dreamerv3, tdmpc2, world_models

SOURCES = {source.SOURCE: source for source in (world_models, dreamerv3_torch, dreamerv3_jax, sheeprl_dreamerv3, tdmpc2)}


def parse(arguments):
    examples = "\n".join(f"  {source.EXAMPLE}" for source in SOURCES.values())
    parser = argparse.ArgumentParser(
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
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
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
        print(f"dreamd-import: {failure}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"dreamd-import: {options.file}: not enough memory", file=sys.stderr)
        return 1
    return 0
