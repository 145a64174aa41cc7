"""Frozen networks, ours and others': ``python scripts/weights.py``.

Shows of each its role, licence, where it is looked for, whether it is there, and what is known of its hash.
``action=verify`` compares the files with their hashes, ``action=fetch names=[vgg19]`` downloads those that
have a direct address.
"""

import sys

from vasa.config import main
from vasa.pretrained.config import WeightsRun


@main("weights")
def run(cfg: WeightsRun) -> None:
    from vasa.pretrained.store import weights  # torch: after the command line is known to be right

    sys.stdout.write(weights(cfg))


if __name__ == "__main__":
    run()
