"""Public checkpoints to ours: one code base a file. Needs numpy and nothing else.

An importer reads what a public code base saved, says which tensors it used and which it left,
fails on any it cannot place, and writes a checkpoint folder with a probe, so that loading
checks itself. What a pickle asks to be executed is never executed.
"""


class ImportFailure(Exception):
    """A sentence for the user: what is wrong, where, and what would be right."""
