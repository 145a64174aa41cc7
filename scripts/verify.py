"""Tells where a video comes from: ``python scripts/verify.py video=me.mp4``.

Reads what is written in the file and in the ``.provenance.json`` beside it (or found by hash in
``sidecars=FOLDER``), and checks both against the pictures and the sound. Exit code 0: as it was made; 1:
altered, or of unknown origin.
"""

import sys

from vasa.config import main
from vasa.inference.config import VerifyRun


@main("verify")
def run(cfg: VerifyRun) -> None:
    from vasa.inference.verification import verify

    verdict = verify(cfg.video, cfg.sidecars)
    sys.stdout.write(f"{verdict.text}\n")
    raise SystemExit(0 if verdict.is_as_made else 1)


if __name__ == "__main__":
    run()
