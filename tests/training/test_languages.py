"""What a language that was never heard costs, by configs/experiment/study_motion/languages.yaml."""

import json
from pathlib import Path

import pytest

from vasa.config import load
from vasa.data.synthetic import espeak
from vasa.training.study_motion import study_motion


@pytest.mark.timeout(3600)  # a training; others may keep the core busy
@pytest.mark.full
@pytest.mark.skipif(not espeak.installed(), reason=espeak.MISSING)
def test_languages_unseen_in_training_lose_at_most_a_tenth_of_lip_correlation(tmp_path: Path) -> None:
    arguments = ["experiment=languages", f"run_dir={tmp_path}", "seeds=[0]", "only=[four_languages]"]
    study_motion(load("study_motion", arguments), load)
    found = json.loads((tmp_path / "four_languages" / "0" / "probe.json").read_text(encoding="utf-8"))
    seen, unseen = (found["scores"][name]["lip_r"] for name in ("seen", "unseen"))
    assert seen > 0.7
    assert unseen > seen - 0.1
