"""Frozen networks, ours and others': ``python scripts/weights.py``.

Shows of each its role, licence, where it is looked for, whether it is there, and what is known of its hash.
``action=verify`` compares the files with their hashes, ``action=fetch names=[vgg19]`` downloads those that
have a direct address. ``python scripts/weights.py joyvasa`` and ``liveportrait`` do the same for a system's
files, and ``action=bundle`` makes a checkpoint of them that infer.py takes.
"""

import sys
from collections.abc import Sequence

from vasa.config import main
from vasa.inference.config import PublishedRun
from vasa.pretrained.config import WeightsRun


@main("weights")
def networks(cfg: WeightsRun) -> None:
    from vasa.pretrained.store import weights  # torch: after the command line is known to be right

    sys.stdout.write(weights(cfg))


@main("weights_system")
def system(cfg: PublishedRun) -> None:
    from vasa.inference.published import published

    sys.stdout.write(published(cfg))


def run(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["joyvasa"], ["liveportrait"]):
        system([f"system={given[0]}", *given[1:]])
    else:
        networks(given)


if __name__ == "__main__":
    run()
