"""What the estimators of preprocessing get wrong on rendered truth: ``python scripts/check_signals.py``.

Shows errors and cost, as in docs/data.md, by our own networks. With published files: ``python
scripts/check_signals.py signals.gaze=FILE signals.landmarks=FILE signals.emotion=FILE``.
"""

import sys

from vasa.config import main
from vasa.preprocess.signals_config import CheckSignalsRun


@main("check_signals")
def run(cfg: CheckSignalsRun) -> None:
    from vasa.preprocess.signal_errors import check_signals  # torch: after the command line is right

    sys.stdout.write(check_signals(cfg))


if __name__ == "__main__":
    run()
