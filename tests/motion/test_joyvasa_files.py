"""Published JoyVASA files, made here as upstream makes them, and what is wrong with others."""

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from joyvasa_cases import A, L, P, T, seeded, template, tiny_model

from vasa.checkpoint import CheckpointError
from vasa.motion.joyvasa_files import load_published
from vasa.motion.joyvasa_template import JoyvasaNormalizer
from vasa.safe_pickle import PickleFileError


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.path}'",)


def published(
    folder: Path, old_names: bool = True, args: dict[str, object] | None = None, **changes: object
) -> tuple[Path, Path]:
    """A checkpoint and a template as they are published. changes: tensors in place of the model's, None to
    leave out.
    """
    tensors: dict[str, object] = dict(tiny_model(num_heads=8).state_dict())
    if old_names:
        stem = "audio_encoder.encoder.pos_conv_embed.conv."
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            tensors[stem + old] = tensors.pop(f"{stem}parametrizations.weight.{new}")
    tensors.update(changes)
    given = {"motion_feat_dim": 73, "n_motions": L, "n_prev_motions": P, "feature_dim": A, "n_diff_steps": T}
    names = argparse.Namespace(
        **{**given, "n_layers": 6, "exp_dir": Path("experiments") / "JOYVASA", **(args or {})}
    )
    content = {"args": names, "model": {k: v for k, v in tensors.items() if v is not None}, "iter": 20000}
    torch.save(content, folder / "motion.pt")
    (folder / "template.pkl").write_bytes(pickle.dumps(template(), 4))
    return folder / "motion.pt", folder / "template.pkl"


@pytest.mark.parametrize("old_names", [True, False])
def test_a_published_file_is_the_model_it_was_saved_from(tmp_path: Path, old_names: bool) -> None:
    motion = load_published(*published(tmp_path, old_names))
    wanted = tiny_model(num_heads=8)
    assert motion.model.config == wanted.config
    for (name, got), value in zip(
        motion.model.state_dict().items(), wanted.state_dict().values(), strict=True
    ):
        assert torch.equal(got, value), name
    statistics = JoyvasaNormalizer()
    statistics.set_template(template())
    assert torch.equal(motion.normalizer.spread, statistics.spread)
    assert load_published(*published(tmp_path), position="fixed").model.config.position == "fixed"


def test_other_sizes_are_read_from_the_file(tmp_path: Path) -> None:
    model = tiny_model(motion_dim=70, history_frames=4, num_layers=3, num_steps=9, schedule="linear")
    args = argparse.Namespace(motion_feat_dim=70, n_prev_motions=4, n_motions=L)
    torch.save({"args": args, "model": model.state_dict(), "iter": 1}, tmp_path / "motion.pt")
    template_file = tmp_path / "template.pkl"
    template_file.write_bytes(pickle.dumps(template(), 4))
    got = load_published(tmp_path / "motion.pt", template_file)
    assert got.model.config == model.config
    made = torch.cat(list(got.generate(torch.zeros(3, A), generator=seeded())))
    assert made.shape == (3, 70)


def test_the_step_table_may_be_absent(tmp_path: Path) -> None:
    got = load_published(*published(tmp_path, **{"denoising_net.TE.pe": None}))
    table = "denoising_net.TE.pe"
    assert torch.equal(got.model.state_dict()[table], tiny_model().state_dict()[table])


def test_missing_and_unexpected_tensors_are_named_in_one_sentence(tmp_path: Path) -> None:
    files = published(tmp_path, **{"null_audio_feat": None, "extra.weight": torch.zeros(2)})
    with pytest.raises(
        CheckpointError, match=r"motion.pt.* 1 missing \(null_audio_feat\); 1 unexpected \(extra.weight\)"
    ):
        load_published(*files)


def test_buffers_that_the_folded_window_relies_on_are_checked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another denoising_net.alignment_mask"):
        load_published(
            *published(
                tmp_path, **{"denoising_net.alignment_mask": torch.zeros(P + L, P + L, dtype=torch.bool)}
            )
        )
    with pytest.raises(CheckpointError, match="betas of none of the schedules"):
        load_published(*published(tmp_path, **{"diffusion_sched.betas": torch.full((T + 1,), 0.3)}))


def test_arguments_that_contradict_the_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="n_motions=99, but its tensors are of n_motions=10"):
        load_published(*published(tmp_path, args={"n_motions": 99}))


def test_a_checkpoint_that_would_run_something_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    _, template_file = published(tmp_path)
    proof, bad = tmp_path / "proof", tmp_path / "bad.pt"
    torch.save({"args": Hostile(proof), "model": {}, "iter": 0}, bad)
    with pytest.raises(CheckpointError, match=r"bad.pt cannot be read .*system.*never run"):
        load_published(bad, template_file)
    assert not proof.exists()
    torch.load(bad, weights_only=False)
    assert proof.exists(), "the file was not hostile, so the test proved nothing"


def test_a_template_that_would_run_something_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    checkpoint, _ = published(tmp_path)
    proof, bad = tmp_path / "proof", tmp_path / "bad.pkl"
    bad.write_bytes(pickle.dumps({**template(), "mean_exp": Hostile(proof)}))
    with pytest.raises(PickleFileError, match="bad.pkl"):
        load_published(checkpoint, bad)
    assert not proof.exists()


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    checkpoint, template_file = published(tmp_path)
    with pytest.raises(FileNotFoundError, match="none.pt"):
        load_published(tmp_path / "none.pt", template_file)
    for content in ({"model": {"a": 1}}, [1], {"model": {}}):
        torch.save(content, tmp_path / "odd.pt")
        with pytest.raises(CheckpointError, match="odd.pt has no"):
            load_published(tmp_path / "odd.pt", template_file)
    (tmp_path / "half.pt").write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="half.pt cannot be read"):
        load_published(tmp_path / "half.pt", template_file)
