"""Validations decide which weights are kept as the best, and whether a run is doomed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_run import Toy, assert_bitwise, batch_at, final_state, loop_config

from vasa.checkpoint import load_weights
from vasa.training.config import Canary, LoopConfig
from vasa.training.phase import Phase
from vasa.training.verdict import DoomedError

SCORES = {2: 1.0, 4: 3.0, 6: float("nan"), 8: 2.0, 10: 3.0, 12: -1.0}


def validate(step: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
    return {"score": SCORES[step], "other": 0.0}


def best_config(**changes: Any) -> LoopConfig:
    return loop_config(**({"validate_every": 2, "best_metric": "score"} | changes))


def break_at(last: int) -> Any:
    def until(step: int) -> dict[str, Any]:
        if step == last:
            raise OSError("the disk is gone")
        return batch_at(step)

    return until


@pytest.mark.parametrize(("best_is", "step"), [("max", 4), ("min", 12)])
def test_the_best_export_is_kept(tmp_path: Path, best_is: str, step: int) -> None:
    """Of equals the first; what is no number never."""
    weights: dict[int, dict[str, torch.Tensor]] = {}

    def watched(done: int, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        weights[done] = {name: value.clone() for name, value in averages["maker"].state_dict().items()}
        return validate(done, averages)

    Toy().train(tmp_path, best_config(best_is=best_is), validate=watched)
    best = load_weights(tmp_path / "toy.best.safetensors")
    assert best.meta["best"] == {"metric": "score", "value": SCORES[step], "step": step}
    assert best.meta["step"] == step
    assert_bitwise(best.tensors, weights[step])
    assert load_weights(tmp_path / "toy.safetensors").meta["step"] == 12


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    """Also one that stopped after a validation and before the save; a new run in the folder forgets it."""
    with pytest.raises(OSError, match="the disk is gone"):
        Toy().train(tmp_path, best_config(save_every=3), validate=validate, batch_at=break_at(5))
    assert [path.name for path in tmp_path.glob("state_*")] == ["state_00000003.safetensors"]
    Toy().train(tmp_path, best_config(save_every=3), validate=validate)
    assert load_weights(tmp_path / "toy.best.safetensors").meta["best"]["step"] == 4
    state = final_state(tmp_path)
    for path in tmp_path.glob("state_*"):
        path.unlink()
    Toy().train(tmp_path, best_config(steps=12, validate_every=12), validate=validate)
    assert load_weights(tmp_path / "toy.best.safetensors").meta["best"]["step"] == 12
    assert_bitwise(state, final_state(tmp_path))


def test_another_metric_and_a_damaged_file_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = tmp_path / "toy.best.safetensors"
    Toy().train(tmp_path, best_config(steps=4), validate=validate)
    Toy().train(tmp_path, best_config(steps=8, best_metric="other"), validate=validate)
    assert load_weights(best).meta["best"] == {"metric": "other", "value": 0.0, "step": 6}
    best.write_bytes(b"damaged")
    Toy().train(tmp_path, best_config(), validate=validate)
    assert load_weights(best).meta["best"] == {"metric": "score", "value": 3.0, "step": 10}
    assert "The best is chosen anew" in caplog.text


def test_what_cannot_choose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loop.best_metric reads validations; this run has none"):
        Toy().train(tmp_path, best_config())
    with pytest.raises(
        ValueError, match="best_metric names psnr, which is not measured; wanted one of score, other"
    ):
        Toy().train(tmp_path, best_config(best_metric="psnr"), validate=validate)
    with pytest.raises(ValueError, match="needs an export that returns the file it wrote"):
        Toy().train(tmp_path, best_config(), validate=validate, export=lambda step, averages: None)
    canaries = [Canary(metric="psnr", step=9, low=1)]
    with pytest.raises(
        ValueError, match="canaries names psnr, which is not measured; wanted one of score, other"
    ):
        Toy().train(tmp_path, loop_config(validate_every=2, canaries=canaries), validate=validate)
    for cfg, measures in (
        (loop_config(canaries=canaries), None),
        (loop_config(validate_every=0, canaries=canaries), validate),
    ):
        with pytest.raises(
            ValueError, match=r"names psnr, .* none; of training it can name maker/\.\.\., critic/"
        ):
            Toy().train(tmp_path, cfg, validate=measures)


@pytest.mark.parametrize(
    ("canary", "stops_at", "words"),
    [
        (
            Canary(metric="score", step=3, low=3.5),
            4,
            "score is 3, and a healthy run has at least 3.5 by step 3",
        ),
        (Canary(metric="score", step=4, high=2), 4, "score is 3, and a healthy run has at most 2 by step 4"),
        (
            Canary(metric="score", step=5, low=-9, high=9),
            6,
            "score is nan, .* at least -9 and at most 9 by step 5",
        ),
        (Canary(metric="score", step=11, low=0), 12, "score is -1, .* at least 0 by step 11"),
        (Canary(metric="score", step=13, low=0), None, ""),  # a shorter run than it was made for
        (Canary(metric="score", step=2, low=1, high=1), None, ""),
        (Canary(metric="score", step=7, high=2.5), None, ""),  # 3.0 at step 10 is not asked for
    ],
)
def test_a_canary_is_judged_once(tmp_path: Path, canary: Canary, stops_at: int | None, words: str) -> None:
    cfg = loop_config(validate_every=2, canaries=[canary])
    if stops_at is None:
        assert Toy().train(tmp_path, cfg, validate=validate) == 12
        return
    with pytest.raises(
        DoomedError, match=rf"^Stopped at step {stops_at}: validation {words}\. .*docs/training\.md"
    ):
        Toy().train(tmp_path, cfg, validate=validate)
    assert (tmp_path / f"state_{stops_at:08d}.safetensors").is_file()
    assert Toy().train(tmp_path, cfg, validate=validate) == 12 - stops_at  # the same command goes on


class Named(Toy):
    """Scalars of the first phase that are the number of the step; ``late`` begins at step 4."""

    def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        late = {"late": torch.tensor(float(step))} if step >= 4 else {}
        return {**super().maker_loss(batch, step), "number": torch.tensor(float(step)), **late}


class Single(Named):
    """Its log entries name no phase; canaries do."""

    def phases(self) -> list[Phase]:
        return super().phases()[:1]


@pytest.mark.parametrize("toy", [Named, Single])
def test_a_canary_judges_a_mean_of_training_at_the_first_entry_from_its_step_on(
    tmp_path: Path, toy: type[Named]
) -> None:
    """Entries at 4, 8 and 12 have the means of the four steps before them. No validation is needed."""
    at_end = Canary(metric="maker/number", step=9, low=99)
    for canary, stops_at, mean in (
        (Canary(metric="maker/number", step=5, low=6), 8, 5.5),
        (Canary(metric="maker/late", step=8, high=5), 8, 5.5),
        (at_end, 12, 9.5),
    ):
        folder = tmp_path / f"{canary.metric[6:]}{canary.step}"
        cfg = loop_config(canaries=[canary, at_end])
        with pytest.raises(
            DoomedError, match=f"^Stopped at step {stops_at}: the mean {canary.metric} is {mean}, and"
        ):
            toy().train(folder, cfg)
        assert (folder / f"state_{stops_at:08d}.safetensors").is_file()
    passed = [
        Canary(metric="maker/number", step=5, low=5, high=6),
        Canary(metric="maker/number", step=13, low=99),
    ]
    assert toy().train(tmp_path / "passed", loop_config(canaries=passed)) == 12


def test_a_resumed_run_judges_the_same_entries(tmp_path: Path) -> None:
    """Though a mean is taken from where it goes on: here of the steps 5 to 7, not 4 to 7."""
    cfg = loop_config(canaries=[Canary(metric="maker/number", step=5, low=7)])
    with pytest.raises(OSError, match="the disk is gone"):
        Named().train(tmp_path, cfg, batch_at=break_at(6))
    with pytest.raises(DoomedError, match="at step 8: the mean maker/number is 6,"):
        Named().train(tmp_path, cfg)
    assert Named().train(tmp_path, cfg) == 4


def test_a_scalar_that_is_not_logged_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    cfg = loop_config(canaries=[Canary(metric="maker/late", step=3, high=9)])
    with pytest.raises(
        ValueError,
        match="canaries names maker/late, which is not logged at step 4; wanted one of maker/total, ",
    ):
        Named().train(tmp_path, cfg)
