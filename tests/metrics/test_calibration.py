"""Calibration: who sees a fault is said to, who does not is not; and the whole of it on tiny clips."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa.data.synthetic.config import DosesConfig
from vasa.data.synthetic.faults import FAULTS
from vasa.metrics.calibration import LARGEST, Calibration, responses
from vasa.metrics.calibration_clips import FaultRow, fault_rows, write_clips
from vasa.metrics.calibration_page import effect_text, markdown, page, write_report
from vasa.metrics.config import CalibrateRun
from vasa.metrics.evaluation import Evaluation, RowScores
from vasa.metrics.protocol import Unscored
from vasa.metrics.sources import REAL_ROW, read_clip
from vasa.metrics.summary import Cell, ClipScore, summarise

ROWS = [FaultRow("lag", d) for d in (-6.0, -3.0, 3.0, 6.0)] + [FaultRow("blur", d) for d in (1.0, 2.0, 4.0)]
CLIPS = 8


def scored(number) -> list[RowScores]:
    """Rows with the metric ``m``; number: (fault, dose, clip) -> its column ``x``, None where unscored."""
    found = []
    for row in [None, *ROWS]:
        fault, dose = (row.fault, row.dose) if row else (None, 0.0)
        values = [number(fault, dose, clip) for clip in range(CLIPS)]
        scores = [
            ClipScore(clip=str(clip), group=str(clip), values={} if value is None else {"x": value},
                      unscored="no face" if value is None else None)
            for clip, value in enumerate(values)
        ]  # fmt: skip
        cells = {"m.x": summarise(scores, "x", 0)}
        found.append(RowScores(row.name if row else REAL_ROW, [], {"m": scores}, cells))
    return found


def found_by(number) -> dict:
    return {response.fault: response for response in responses(scored(number), ROWS)}


def own(clip: int) -> float:
    """Clips differ by about one."""
    return math.sin(9.0 * clip)


def test_a_metric_that_sees_blur_is_said_to_see_blur_and_nothing_else() -> None:
    found = found_by(lambda fault, dose, clip: own(clip) - (dose if fault == "blur" else 0.0))
    blur, lag = found["blur"], found["lag"]
    assert blur.sees and blur.worst == 4 and blur.change == pytest.approx(-4)
    assert blur.with_dose == pytest.approx(-1) and blur.effect < -3
    assert blur.low == pytest.approx(-4) and [point.dose for point in blur.points] == [0, 1, 2, 4]
    assert lag.sees is False and lag.effect == 0 and lag.with_dose == 0
    calibration = Calibration(list(found.values()), {"m": "a fake"}, {})
    assert "Seen by m.x" in markdown(calibration).split("- blur:")[1]
    assert "Seen by no number" in markdown(calibration).split("- lag:")[1].split("\n")[0]


def test_noise_and_changes_below_the_spread_between_clips_are_not_seen() -> None:
    rng = np.random.default_rng(0)
    seen = [r.sees for _ in range(50) for r in found_by(lambda fault, dose, clip: rng.normal()).values()]
    assert sum(seen) <= 7  # of 100; the rule lets 1 to 5 pass
    small = found_by(lambda fault, dose, clip: own(clip) + 0.01 * abs(dose))["blur"]
    assert small.sees is False and small.with_dose == pytest.approx(1)  # steady, but small
    assert small.low > 0


def test_numbers_that_compare_with_the_faultless_clip_have_a_spread_all_the_same() -> None:
    def ratio(fault, dose, clip):  # 1 everywhere without a fault, as a clip's share of its true self
        return 1.0 + {"lag": 0.1 * abs(dose) * own(clip), "blur": 0.005 * dose}.get(fault, 0.0)

    blur = found_by(ratio)["blur"]
    assert blur.change == pytest.approx(0.02) and blur.low > 0 and blur.with_dose == pytest.approx(1)
    assert 0 < blur.effect < 0.3 and blur.sees is False


def test_faults_that_go_both_ways_are_judged_both_ways() -> None:
    offset = found_by(lambda fault, dose, clip: dose if fault == "lag" else 0.0)["lag"]
    assert offset.with_dose == pytest.approx(1) and offset.effect in (LARGEST, -LARGEST)
    assert offset.sees and abs(offset.along) == pytest.approx(1)
    closeness = found_by(lambda fault, dose, clip: own(clip) - abs(dose) - (dose > 0))["lag"]
    assert closeness.worst == 6 and closeness.sees
    assert closeness.along == pytest.approx(-1) and abs(closeness.with_dose) < 0.5


def test_clips_that_are_lost_are_counted_and_nothing_is_said_without_numbers() -> None:
    lost = found_by(lambda fault, dose, clip: None if fault == "blur" and dose == 4 else own(clip))["blur"]
    assert lost.sees is None and math.isnan(lost.effect) and lost.moves
    assert effect_text(lost) == "0/8"
    half = found_by(lambda f, dose, clip: None if f and dose == 4 and clip % 2 else own(clip) + dose)["blur"]
    assert half.sees and half.change == pytest.approx(4) and effect_text(half).endswith(" 4/8")


def test_numbers_of_sets_are_held_against_their_floor() -> None:
    rows = []
    for row in [None, *ROWS]:
        value = 3.0 * row.dose if row and row.fault == "blur" else 0.0
        cells = {
            "f.fvd": Cell(mean=value, scored=8, total=8),
            "f.fvd_floor": Cell(mean=6.0, scored=8, total=8),
        }
        scores = [ClipScore(clip=str(clip), group=str(clip)) for clip in range(CLIPS)]
        rows.append(RowScores(row.name if row else REAL_ROW, [], {"f": scores}, cells))
    calibration = Calibration(responses(rows, ROWS), {"f": "a fake"}, {})
    blur = calibration.of("blur", "f.fvd")
    assert blur.sees and blur.effect == pytest.approx(2) and blur.with_dose == pytest.approx(1)
    assert calibration.of("lag", "f.fvd").sees is False
    assert calibration.columns == ["f.fvd"] and calibration.still == []
    json.dumps(calibration.as_dict(), allow_nan=False)


def test_the_page_holds_every_fault_and_every_metric() -> None:
    names = ("blind", "keen")
    rows = fault_rows(DosesConfig())
    scores = []
    for row in [None, *rows]:
        by_metric, cells = {}, {}
        for name in names:
            severity = FAULTS[row.fault].severity(row.dose) if row and name == "keen" else 0.0
            by_metric[name] = [
                ClipScore(clip=str(clip), group=str(clip), values={"x": own(clip) + 9 * severity})
                for clip in range(CLIPS)
            ]
            cells[f"{name}.x"] = summarise(by_metric[name], "x", 0)
        scores.append(RowScores(row.name if row else REAL_ROW, [], by_metric, cells))
    calibration = Calibration(responses(scores, rows), dict.fromkeys(names, "a fake"), {})
    assert calibration.faults == list(FAULTS)
    assert all(calibration.of(fault, "keen.x").sees for fault in FAULTS)
    for text in (page(calibration), markdown(calibration)):
        assert all(name in text for name in (*FAULTS, "keen.x", "blind: a fake"))
        assert "Moved by no fault at any dose: blind.x." in text
    assert page(calibration).count("<img") == len(FAULTS)


class Detail:
    """Mean difference of neighbouring pixels."""

    name, label, identity = "detail", "neighbouring pixels & <more>", {"version": 1}
    calls = 0

    def measure(self, clip) -> dict[str, float]:
        self.calls += 1
        return {"mean": float(np.abs(np.diff(clip.frames.astype(float), axis=2)).mean())}


class Onset:
    """First frame with sound."""

    name, label, identity = "onset", "when the sound begins", {"version": 1}

    def measure(self, clip) -> dict[str, float]:
        loud = np.flatnonzero(np.abs(clip.audio) > 0.01)
        if not len(loud):
            raise Unscored("silence")
        return {"frames": loud[0] / 640}


class Brightness:
    """A set metric: how far mean colours are apart."""

    name, label, identity = "brightness", "mean colours", {"version": 1}

    def features(self, clip) -> torch.Tensor:
        return torch.from_numpy(clip.frames.mean((0, 1, 2), dtype=np.float64)).float()[None]

    def score(self, made, real) -> dict[str, float]:
        means = [torch.cat(some).mean(0) for some in (made, real)]
        return {"distance": float((means[0] - means[1]).norm()), "distance_floor": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> CalibrateRun:
    used = {"lag": [-3, 3], "blur": [1.0, 3.0], "stiff_lips": [1.0], "dropped_frames": [0.4]}
    doses = DosesConfig(**{fault: used.get(fault, []) for fault in FAULTS})
    folder = tmp_path_factory.mktemp("calibration")
    return CalibrateRun(out=folder, num_clips=2, seconds=1.0, size=64, quality="draft", doses=doses)


@pytest.fixture(scope="module")
def written(run):
    return write_clips(run)


def test_videos_hold_the_frames_they_were_given(run, written) -> None:
    assert list(written) == [REAL_ROW, *(row.name for row in fault_rows(run.doses))]
    real = read_clip(written[REAL_ROW][0])
    assert len(real.frames) == 25 and len(real.audio) == 16000 and real.portrait.shape == (64, 64, 3)
    np.testing.assert_array_equal(real.frames, real.reference)
    dropped = read_clip(written["dropped_frames_0.4"][0])
    repeats = [i for i in range(1, 25) if np.array_equal(dropped.frames[i], dropped.frames[i - 1])]
    assert len(repeats) == round(0.4 * 24)  # exactly: coding changes nothing
    kept = [i for i in range(25) if i not in repeats]
    np.testing.assert_array_equal(dropped.frames[kept], real.frames[kept])
    late = read_clip(written["lag_3"][0])
    np.testing.assert_array_equal(late.audio[3 * 640 :], real.audio[: -3 * 640])
    assert late.asked["fault"] == {"name": "lag", "dose": 3.0}
    assert set(late.asked) >= {"truth", "gaze_yaw", "distance", "emotion"}


def test_what_is_there_stays_and_other_options_are_refused(run, written) -> None:
    victim = written["blur_3"][1]
    before = {clip.video: clip.video.stat().st_mtime_ns for clips in written.values() for clip in clips}
    content = victim.video.read_bytes()
    victim.job.unlink()  # as if killed before the job file
    again = write_clips(run)
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [victim.video] and victim.video.read_bytes() == content
    assert again == written
    fewer = write_clips(replace(run, num_clips=2, doses=replace(run.doses, lag=[3])))
    assert "lag_-3" not in fewer and set(fewer) < set(written)
    with pytest.raises(ValueError, match="seconds"):
        write_clips(replace(run, seconds=1.2))


def test_tiny_calibration_end_to_end(run, written, tmp_path: Path) -> None:
    metrics = [Detail(), Onset()]
    evaluation = Evaluation(metrics, [Brightness()], run.out / "cache", run.seed)
    found = responses(evaluation.run(written), fault_rows(run.doses), run.seed)
    calls = metrics[0].calls
    evaluation.run(written)
    assert metrics[0].calls == calls  # the evaluation's cache
    labels = {m.name: m.label for m in [*metrics, Brightness()]}
    calibration = Calibration(found, labels, {"config": {"seed": 0}})
    assert calibration.faults == ["lag", "blur", "stiff_lips", "dropped_frames"]
    assert calibration.of("blur", "detail.mean").effect < -1
    assert calibration.of("lag", "detail.mean").effect == 0
    onset = calibration.of("lag", "onset.frames")
    assert onset.with_dose > 0.9 and [p.dose for p in onset.points] == [-3, 0, 3]
    assert calibration.of("blur", "onset.frames").effect == 0
    paths = write_report(calibration, tmp_path)
    assert [path.name for path in paths] == ["calibration.html", "calibration.md", "calibration.json"]
    shown, text = paths[0].read_text(), paths[1].read_text()
    for name in (*calibration.faults, "detail", "onset", "brightness", "detail.mean"):
        assert name in shown and name in text
    assert "&amp; &lt;more&gt;" in shown and shown.count("data:image/svg+xml") >= 1
    assert "http" not in shown.replace("http://www.w3.org", "")  # needs no other file
    content = json.loads(paths[2].read_text())
    assert len(content["responses"]) == len(found) and list(content["faults"]) == calibration.faults
    assert page(calibration) == shown  # the same data make the same page


def test_a_run_without_doses_or_with_one_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="doses has none"):
        CalibrateRun(doses=DosesConfig(**{fault: [] for fault in FAULTS}))
    with pytest.raises(ValueError, match="num_clips is 1"):
        CalibrateRun(num_clips=1)
    with pytest.raises(ValueError, match="metrics="):
        CalibrateRun(metrics=["fog"])
