"""S_C, S_D and offset: the published numbers, the sign, and clips that cannot be scored."""

from __future__ import annotations

from dataclasses import replace

import metrics_adapter as adapter
import numpy as np
import pytest
import torch
from recipe import FOLDER, filled, noise, speech, video
from torch import Tensor

from vasa.metrics.config import SyncMetricConfig
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.syncnet import SyncMetric, num_windows, sync_scores
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.mfcc import mfcc
from vasa.pretrained.syncnet import SyncNet, sound_windows
from vasa.records import SAMPLES_PER_FRAME

TOLERANCE = 2e-5
"""In units of the golden S_D."""
DEMO = SyncMetricConfig(protocol="demo")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "syncnet.npz") as arrays:
        return dict(arrays)


def assert_scores(found: dict[str, object], golden: dict[str, np.ndarray], case: str) -> None:
    unit = float(golden[f"{case}/dist"])
    assert found["offset"] == int(golden[f"{case}/offset"])
    for name in ("dist", "conf", "mdist", "table", "frame_conf"):
        error = np.abs(np.asarray(found[name], np.float64) - golden[f"{case}/{name}"]).max()
        assert error < TOLERANCE * unit, name


@pytest.mark.parametrize(
    ("case", "count", "delay", "shift"),
    [("lead3", 60, 3, 15), ("lag4_v10", 45, -4, 10), ("short", 12, 2, 15)],
)
def test_scores_are_the_published_ones(
    golden: dict[str, np.ndarray], case: str, count: int, delay: int, shift: int
) -> None:
    lips = noise(f"sync_emb_{case}", (count + 20, 1024))
    grain = 0.5 * noise(f"sync_emb_noise_{case}", (count, 1024))
    sound = lips[10 + delay : 10 + delay + count] + grain
    found = adapter.sync_scores(torch.from_numpy(lips[10 : 10 + count]), torch.from_numpy(sound), shift)
    assert_scores(found, golden, f"sync/{case}")


@pytest.mark.parametrize(
    ("case", "frames", "samples", "shift"),
    [("v10", 24, 20000, 10), pytest.param("short_audio", 60, 30000, 15, marks=pytest.mark.full)],
)
def test_a_clip_scores_as_published_from_pixels_and_samples_on(
    golden: dict[str, np.ndarray], case: str, frames: int, samples: int, shift: int
) -> None:
    network = filled(SyncNet(), "SN")
    assert isinstance(network, SyncNet)
    seen = video(f"sync_video_{case}", frames) // 16
    found = adapter.sync_clip(network, seen, speech(f"sync_audio_{case}", samples), shift)
    assert_scores(found, golden, f"clip/{case}")


class Drawn(SyncNet):
    """Reads the sound out of frames that were painted with it; one random projection for both."""

    def __init__(self) -> None:
        super().__init__(SyncNetConfig(width=0.1, feature_dim=8, embedding_dim=8, image_size=56))
        self.projection = torch.randn(65, 32, generator=torch.Generator().manual_seed(4))

    def embed_lips(self, crops: np.ndarray, batch_size: int) -> Tensor:
        cells = torch.from_numpy(crops[:, 8, 8:216:16, 0].copy()).float()  # (T, 13)
        return cells.unfold(0, 5, 1).flatten(1) @ self.projection

    def embed_sound(self, wave: np.ndarray, batch_size: int) -> Tensor:
        means = sound_windows(wave)[:, 0].unflatten(2, (5, 4)).mean(3)  # (W, 13, 5)
        return grey(means).flatten(1) @ self.projection


def grey(cepstra: Tensor) -> Tensor:
    return (cepstra * 4 + 100).round().clamp(0, 255)


def painted(wave: np.ndarray) -> np.ndarray:
    """Frames (T, 224, 224, 3) whose columns of 16 px have the grey of the cepstra heard meanwhile."""
    columns = torch.from_numpy(mfcc(np.concatenate([wave, np.zeros(640, np.int16)]))).float()
    count = len(wave) // SAMPLES_PER_FRAME
    cells = grey(columns[:, : 4 * count].unflatten(1, (count, 4)).mean(2)).T.byte().numpy()  # (T, 13)
    frames = np.zeros((count, 224, 224, 3), np.uint8)
    frames[:, :, : 13 * 16] = np.repeat(cells, 16, 1)[:, None, :, None]
    return frames


WAVE = speech("sync_wave", 60 * SAMPLES_PER_FRAME)


def clip(wave: np.ndarray = WAVE, **changed: object) -> EvalClip:
    made = EvalClip(name="clip", frames=painted(WAVE), audio=wave.astype(np.float32) / 32768)
    return replace(made, **changed)


def metric(config: SyncMetricConfig = DEMO, network: SyncNet | None = None) -> SyncMetric:
    return SyncMetric(network or Drawn(), config, None, origin="drawn", weights_hash="0")


@pytest.mark.parametrize("frames", [-3, 0, 3])
def test_moving_the_sound_moves_the_offset_as_far(frames: int) -> None:
    """Sound that comes 3 frames early has offset 3, whatever the embeddings are."""
    moved = np.roll(WAVE, -frames * SAMPLES_PER_FRAME)
    found = metric().measure(clip(moved))
    assert found["offset"] == frames
    still = metric().measure(clip())
    assert abs(found["s_c"] - still["s_c"]) < 0.2 * still["s_c"]


def test_another_clips_sound_takes_the_confidence_away() -> None:
    own, other = (metric().measure(clip(w))["s_c"] for w in (WAVE, speech("another", len(WAVE))))
    assert own > 3 * other  # both voices are harmonics of a wandering pitch, so chance is not 0


def test_scores_do_not_depend_on_the_batch_size_nor_does_their_identity() -> None:
    network = SyncNet(SyncNetConfig(width=0.1, feature_dim=8, embedding_dim=8, image_size=56)).eval()
    found = []
    for size in (1, 8, 64):
        one = metric(SyncMetricConfig(protocol="demo", batch_size=size), network)
        found.append(one.measure(clip()))
        assert one.identity == metric(DEMO, network).identity
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5, abs=1e-5)


def test_lengths_are_made_equal_and_told() -> None:
    shorter = metric().measure(clip(WAVE[: 50 * SAMPLES_PER_FRAME + 100]))
    assert shorter["num_windows"] == 45 and shorter["sound_longer_frames"] == pytest.approx(-10 + 100 / 640)
    longer = metric().measure(clip(np.concatenate([WAVE, WAVE[:6400]])))
    assert longer["num_windows"] == 55 and longer["sound_longer_frames"] == 10
    plain = metric().measure(clip())
    assert longer["s_d"] == pytest.approx(plain["s_d"], rel=0.02)
    first = metric(SyncMetricConfig(protocol="demo", num_frames=40))
    assert first.measure(clip())["num_windows"] == 35
    with pytest.raises(Unscored, match="too short"):
        first.measure(clip(WAVE[: 39 * SAMPLES_PER_FRAME]))


def test_what_cannot_be_scored_says_why() -> None:
    with pytest.raises(Unscored, match="no sound"):
        metric().measure(clip(audio=None))
    with pytest.raises(Unscored, match="too short: 5 frames"):
        metric().measure(clip(frames=painted(WAVE)[:5]))
    assert metric().measure(clip(frames=painted(WAVE)[:6]))["num_windows"] == 1
    small = clip().frames[:, ::2, ::2]
    with pytest.raises(Unscored, match="112x112, wanted 224x224; sync.resize=true"):
        metric().measure(clip(frames=small))
    with pytest.raises(Unscored, match="not a face crop: 224x112"):
        metric(SyncMetricConfig(protocol="demo", resize=True)).measure(clip(frames=clip().frames[:, ::2]))
    scaled = metric(SyncMetricConfig(protocol="demo", resize=True)).measure(clip(frames=small))
    assert scaled["offset"] == 0
    assert num_windows(100, 64000) == 95 and num_windows(100, 30000) == 41


def test_the_pipeline_scores_the_part_with_a_face() -> None:
    """A box in frames 10 to 59 only: the sound is cut with them, so the offset stays."""
    frames = painted(WAVE)
    canvas = np.full((60, 400, 400, 3), 30, np.uint8)
    canvas[:, 100:324, 80:304] = frames
    # A crop of 224 px at (80, 100): 2.8 half sides of 80 px, its middle 0.4 half sides below the box's.
    box = np.array([[80 + 112 - 80, 100 + 112 - 32 - 80, 80 + 112 + 80, 100 + 112 - 32 + 80]], float)

    def find(seen: np.ndarray) -> list[np.ndarray]:
        return [box if i >= 10 else np.zeros((0, 4)) for i in range(len(seen))]

    config = SyncMetricConfig(min_track=40)
    one = SyncMetric(Drawn(), config, find, origin="drawn", weights_hash="0", finder="boxes")
    found = one.measure(clip(frames=canvas))
    # The median filter's zeros lower the first and last boxes by nothing where the box stands still.
    assert found["offset"] == 0 and found["num_windows"] == 45 and found["s_d"] < 0.2 * found["s_c"]
    assert "pipeline: faces by boxes, over 40 frames" in one.label
    with pytest.raises(ValueError, match="find_faces is None"):
        SyncMetric(Drawn(), config, None, origin="", weights_hash="")


def test_padding_counts_more_in_short_clips() -> None:
    """Why only equally long clips compare: one signal, cut shorter, loses confidence."""
    z = torch.from_numpy(noise("padding", (400, 64)))
    grain = 0.5 * torch.from_numpy(noise("padding grain", (400, 64)))
    scores = [sync_scores(z[:n], (z + grain)[:n], 15).s_c for n in (25, 50, 125, 400)]
    assert scores == sorted(scores) and scores[0] < 0.9 * scores[-1]
    with pytest.raises(ValueError, match="wanted equal"):
        sync_scores(z[:10], z[:9], 15)
