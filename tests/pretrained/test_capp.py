"""CAPP's network: batches agree, levels do not matter, wav2vec 2.0 is where it starts from, and the trained
file keeps the shape that VASA-1 shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from vasa.checkpoint import load_weights
from vasa.pretrained.capp import WINDOW, CappNet
from vasa.pretrained.config import CappNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS
from vasa.records import SAMPLES_PER_FRAME

SMALL = {"width": 8, "num_heads": 2, "feedforward": 8, "pose_layers": 2, "sound_layers": 1, "code_dim": 2}
FILE = JUDGE_DIR / NETWORKS["judge_capp"].file


def sound(num_frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0, 0.3, num_frames), SAMPLES_PER_FRAME)
    return (loud * rng.standard_normal(len(loud))).astype(np.float32)


def track(num_frames: int) -> torch.Tensor:
    return 0.05 * torch.randn(num_frames, 6, generator=torch.Generator().manual_seed(1)).cumsum(0)


def test_a_clip_is_scored_window_by_window_whatever_the_batch() -> None:
    network = CappNet(CappNetConfig(**SMALL)).eval()
    heard, pose = network.hear(sound(200), 200), track(200)
    whole = network.score(heard, pose, hop=20)
    assert whole.shape == (7,) and float(whole.abs().max()) <= 1
    for batch in (1, 8, 64):
        torch.testing.assert_close(network.score(heard, pose, 20, batch), whole, atol=1e-5, rtol=0)
    alone = network.score(heard[40 : 40 + WINDOW], pose[40 : 40 + WINDOW], 20)
    torch.testing.assert_close(alone, whole[2:3], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="at least 75"):
        network.score(heard[:74], pose[:74], 20)
    with pytest.raises(ValueError, match="equally many"):
        network.score(heard, pose[:100], 20)


def test_where_a_head_stands_and_how_loud_a_recording_is_do_not_matter() -> None:
    network = CappNet(CappNetConfig(**SMALL)).eval()
    pose, wave = track(WINDOW), sound(WINDOW)
    moved = pose + torch.tensor([0.3, -0.1, 0.05, 0.2, 0.2, 0.4])
    torch.testing.assert_close(
        network.embed_pose(moved[None]), network.embed_pose(pose[None]), atol=1e-4, rtol=0
    )
    quiet, loud = (network.embed_sound(network.hear(w, WINDOW)[None]) for w in (0.2 * wave, wave))
    torch.testing.assert_close(quiet, loud, atol=2e-2, rtol=0)  # the floor of the log-mel energies moves


def test_wav2vec2_is_where_it_starts_from_and_its_file_needs_no_folder(tmp_path: Path) -> None:
    tiny = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=8,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, conv_dim=(8,) * 7,
    )  # fmt: skip
    model = Wav2Vec2Model(tiny)
    model.save_pretrained(tmp_path / "wav2vec2")
    config = CappNetConfig(audio="wav2vec2", wav2vec2=tmp_path / "wav2vec2", **SMALL)
    network = CappNet.fresh(config).eval()
    started = network.listener.model.state_dict()
    assert all(torch.equal(value, started[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in network.listener.model.feature_extractor.parameters())
    assert all(p.requires_grad for p in network.listener.model.encoder.parameters())
    heard = network.hear(sound(WINDOW), WINDOW)
    assert heard.shape == (WINDOW, SAMPLES_PER_FRAME) and abs(float(heard.var()) - 1) < 1e-2
    save_network(network, tmp_path / "capp.safetensors", {})
    for file in (tmp_path / "wav2vec2").iterdir():
        file.unlink()
    again = CappNet.from_pretrained(tmp_path / "capp.safetensors")
    both = [one.score(heard, track(WINDOW), 1) for one in (network, again)]
    torch.testing.assert_close(*both, atol=1e-2, rtol=0)  # stored as fp16
    with pytest.raises(FileNotFoundError, match="speech.path"):
        CappNet.fresh(CappNetConfig(audio="wav2vec2", wav2vec2=tmp_path / "nowhere", **SMALL))
    with pytest.raises(ValueError, match="capp.wav2vec2"):
        CappNetConfig(audio="wav2vec2")


@pytest.mark.skipif(
    not FILE.is_file(), reason="judge_capp is not trained yet: scripts/train_judges.py target=capp"
)
def test_the_trained_file_falls_with_shifts_and_is_best_at_the_true_scale_on_clips_held_out() -> None:
    assert FILE.stat().st_size <= 1e6
    scores = load_weights(FILE).meta["scores"]
    shifted = [scores[f"held_out/shift {shift} frames"] for shift in (0, 1, 2, 4, 8)]
    assert shifted == sorted(shifted, reverse=True) and len(set(shifted)) == 5
    by_scale = {scale: scores[f"held_out/motion x{scale}"] for scale in (0.2, 0.5, 1.0, 1.5, 3.0)}
    assert max(by_scale, key=by_scale.__getitem__) == 1.0
    strangers = scores["held_out/another clip's head"]
    assert strangers < 0.5 * shifted[0]
    assert scores["held_out/another clip's head, this mouth"] < strangers + 0.02  # good lips earn nothing
