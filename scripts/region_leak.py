"""How much of one region's motion is seen in the others: ``python scripts/region_leak.py``.

Shows the table of docs/editing.md, measured on synthetic people of the test split by judges.
"""

import sys

from vasa.config import main
from vasa.inference.config import RegionLeakRun


@main("region_leak")
def run(cfg: RegionLeakRun) -> None:
    from vasa.inference.region_leak import region_leak  # torch: after the command line is right

    sys.stdout.write(region_leak(cfg))


if __name__ == "__main__":
    run()
