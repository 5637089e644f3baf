"""The command dreamd-import: one sub-command a code base."""

import argparse
import pathlib
import re
import sys

from . import ImportFailure, dreamerv3_torch, tdmpc2, world_models


def parse(arguments):
    parser = argparse.ArgumentParser(prog="dreamd-import", description="Makes a dreamd checkpoint of a public one.")
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    torch = sources.add_parser("dreamerv3-torch", help=f"latest.pt of {dreamerv3_torch.CODE}")
    torch.add_argument("file", metavar="FILE", help="latest.pt")
    torch.add_argument("--config", required=True, metavar="FILE", help="the run's config as JSON")
    torch.add_argument("--out", required=True, metavar="DIR", help="the new checkpoint folder")
    torch.add_argument("--name", help="the model's name; default: the folder's")
    td = sources.add_parser("tdmpc2", help=f"a checkpoint of {tdmpc2.CODE}, of either layout")
    td.add_argument("file", metavar="FILE", help="step.pt, final.pt")
    td.add_argument("--config", required=True, metavar="FILE", help="the run's config as JSON")
    td.add_argument("--out", required=True, metavar="DIR", help="the new checkpoint folder")
    td.add_argument("--name", help="the model's name; default: the folder's")
    td.add_argument("--target-heads", action="store_true", help="serve the target heads of Q, which follow the others slowly")
    world = sources.add_parser("world-models", help=f"rnn.json and what else there is of {world_models.CODE}")
    world.add_argument("files", nargs="+", metavar="FILE", help="rnn.json, vae.json, controller.json, initial_z.json in any order")
    world.add_argument("--config", metavar="FILE", help="JSON or YAML: controller, temperature, double_step, num_mixture, sizes")
    world.add_argument("--out", required=True, metavar="DIR", help="the new checkpoint folder")
    world.add_argument("--name", help="the model's name; default: the folder's")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    out = pathlib.Path(options.out)
    name = options.name or out.resolve().name
    try:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name):
            raise ImportFailure(f"name {name!r}: expected 1 to 64 of a-z 0-9 _ . - beginning with a letter or digit; "
                                "give one with --name")
        if options.source == "tdmpc2":
            tdmpc2.convert(options.file, options.config, out, name, print, options.target_heads)
        elif options.source == "world-models":
            world_models.convert(options.files, options.config, out, name, print)
        else:
            dreamerv3_torch.convert(options.file, options.config, out, name, print)
    except ImportFailure as failure:
        print(f"dreamd-import: {failure}", file=sys.stderr)
        return 1
    return 0
