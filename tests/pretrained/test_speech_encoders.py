"""Speech encoders: 25 features a second that know when, whatever the level, and the same in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from vasa.audio import align_features
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import (
    NUM_MELS,
    Reference,
    SpeechEncoder,
    build_speech_encoder,
    features_as_heard_live,
    mel_filters,
)
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME

TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 8, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "conv_dim": (8,) * 7,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small random models of both kinds on disk, one with and one without normalisation over time."""
    torch.manual_seed(0)
    made = {
        "wav2vec2": Wav2Vec2Model(
            Wav2Vec2Config(**TINY, feat_extract_norm="layer", do_stable_layer_norm=True)
        ),
        "hubert": HubertModel(HubertConfig(**TINY, feat_extract_norm="group")),
    }
    paths = {}
    for kind, model in made.items():
        paths[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(paths[kind])
    return paths


def encoder(kind: str, folders: dict[str, Path], **fields: object) -> SpeechEncoder:
    path = None if kind == "logmel" else str(folders[kind])
    return build_speech_encoder(SpeechConfig(kind=kind, path=path, **fields))


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    num = round(seconds * AUDIO_HZ)
    loud = np.repeat(rng.uniform(0, 1, num // 1600 + 1), 1600)[:num] ** 2
    return (0.2 * rng.standard_normal(num) * loud).astype(np.float32)


@pytest.mark.parametrize("kind", ["logmel", "wav2vec2", "hubert"])
@pytest.mark.parametrize("num_frames", [1, 2, 51])
def test_features_have_one_row_a_frame(kind: str, num_frames: int, folders: dict[str, Path]) -> None:
    model = encoder(kind, folders)
    features = model.features(sound(num_frames / 25), num_frames)
    assert features.shape == (num_frames, model.dim)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert not features.requires_grad
    assert model.dim == {"logmel": 2 * NUM_MELS}.get(kind, 16)
    assert torch.equal(features, model.features(torch.from_numpy(sound(num_frames / 25)), num_frames))


@pytest.mark.parametrize("kind", ["logmel", "wav2vec2", "hubert"])
def test_recording_level_does_not_matter(kind: str, folders: dict[str, Path]) -> None:
    model, wave = encoder(kind, folders), sound(2.0)
    torch.testing.assert_close(model.features(wave * 0.1, 50), model.features(wave, 50), atol=2e-3, rtol=0)


@pytest.mark.parametrize("kind", ["logmel", "wav2vec2", "hubert"])
def test_empty_digital_silence_is_finite(kind: str, folders: dict[str, Path]) -> None:
    features = encoder(kind, folders).features(np.zeros(AUDIO_HZ, np.float32), 25)
    assert torch.isfinite(features).all()


def test_log_mel_frames_are_where_their_sound_is() -> None:
    model = build_speech_encoder(SpeechConfig())
    wave = np.zeros(2 * AUDIO_HZ, np.float32)
    # The second half of frame 30.
    wave[30 * SAMPLES_PER_FRAME + 380 : 31 * SAMPLES_PER_FRAME - 60] = 0.3 * np.random.default_rng(
        0
    ).standard_normal(200)
    features = model.features(wave, 50).reshape(100, NUM_MELS).mean(1)
    assert int(features.argmax()) == 61
    quiet = features.min()
    assert (features[:60] < quiet + 1e-4).all()
    assert (features[63:] < quiet + 1e-4).all()


def test_log_mel_bands_are_where_their_frequency_is() -> None:
    model = build_speech_encoder(SpeechConfig())
    strongest = []
    for hz in (200, 500, 1200, 3000, 6000):
        wave = 0.1 * np.sin(2 * np.pi * hz * np.arange(AUDIO_HZ) / AUDIO_HZ).astype(np.float32)
        strongest.append(int(model.features(wave, 25)[12, :NUM_MELS].argmax()))
    assert strongest == sorted(set(strongest))
    filters = mel_filters()
    assert filters.shape == (NUM_MELS, 257)
    assert (filters.sum(1) > 0).all()


def test_white_noise_has_the_same_power_in_every_band() -> None:
    model = build_speech_encoder(SpeechConfig())
    wave = np.random.default_rng(0).standard_normal(8 * AUDIO_HZ).astype(np.float32)
    assert model.reference([wave]).scale == pytest.approx(1, rel=0.03)
    spread = model.features(wave, 200)[:, :NUM_MELS].mean(0)
    assert float(spread.std()) < 0.1


def test_silence_around_speech_does_not_change_its_level() -> None:
    model, wave = build_speech_encoder(SpeechConfig()), sound(3.0)
    alone = model.reference([wave]).scale
    padded = np.concatenate([np.zeros(10 * AUDIO_HZ, np.float32), wave, np.zeros(10 * AUDIO_HZ, np.float32)])
    assert model.reference([padded]).scale == pytest.approx(alone, rel=0.02)


@pytest.mark.parametrize("kind", ["logmel", "wav2vec2"])
def test_reference_of_blocks_is_the_reference_of_the_whole(kind: str, folders: dict[str, Path]) -> None:
    model, wave = encoder(kind, folders), sound(4.0)
    blocks = np.split(wave, [16_000, 35_200])
    whole, pieces = model.reference([wave]), model.reference(blocks)
    assert pieces.scale == pytest.approx(whole.scale, rel=1e-3)
    assert pieces.offset == pytest.approx(whole.offset, abs=1e-6)
    half = Reference(whole.offset, whole.scale / 2)
    assert not torch.allclose(model.features(wave, 100, half), model.features(wave, 100), atol=1e-3)


def test_log_mel_in_chunks_equals_the_whole() -> None:
    wave = sound(7.3)
    whole = build_speech_encoder(SpeechConfig()).features(wave, 183)
    chunked = build_speech_encoder(SpeechConfig(chunk_s=1.0)).features(wave, 183)
    torch.testing.assert_close(chunked, whole, atol=1e-4, rtol=0)  # reduction order in the FFT


def test_a_transformer_hears_chunks_as_it_hears_the_whole(folders: dict[str, Path]) -> None:
    """Same places in time, and the same numbers but for what lies beyond the context."""
    wave = sound(8.0)
    whole = encoder("wav2vec2", folders).features(wave, 200)
    chunked = encoder("wav2vec2", folders, chunk_s=2.0, context_s=1.5).features(wave, 200)
    spread = whole.std(0).mean()
    assert (chunked - whole).abs().mean() < 0.1 * spread
    shifted = (chunked[1:] - whole[:-1]).abs().mean()
    assert shifted > 3 * (chunked - whole).abs().mean()


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_a_short_clip_is_the_model_itself_interpolated(kind: str, folders: dict[str, Path]) -> None:
    wave = sound(2.0)
    network = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel}[kind].from_pretrained(folders[kind]).eval()
    normalised = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.no_grad():
        out = network(torch.from_numpy(normalised)[None], output_hidden_states=True)
    expected = align_features(out.last_hidden_state[0], 50)
    torch.testing.assert_close(encoder(kind, folders).features(wave, 50), expected, atol=1e-4, rtol=1e-4)
    first = align_features(out.hidden_states[1][0], 50)
    torch.testing.assert_close(
        encoder(kind, folders, layer=1).features(wave, 50), first, atol=1e-4, rtol=1e-4
    )


def test_missing_and_mistaken_models_are_explained(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no hubert model at .*download facebook/hubert-base-ls960.*speech.path"
    ):
        build_speech_encoder(SpeechConfig(kind="hubert", path=str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="holds a wav2vec2 model; wanted hubert"):
        build_speech_encoder(SpeechConfig(kind="hubert", path=str(folders["wav2vec2"])))
    with pytest.raises(ValueError, match="speech.layer is 9; wanted 0 to 2"):
        encoder("wav2vec2", folders, layer=9)
    with pytest.raises(ValueError, match="speech.kind is 'mfcc'"):
        SpeechConfig(kind="mfcc")
    with pytest.raises(ValueError, match="logmel loads nothing"):
        SpeechConfig(kind="logmel", path="somewhere")


def test_stereo_is_refused(folders: dict[str, Path]) -> None:
    for kind in ("logmel", "wav2vec2"):
        with pytest.raises(ValueError, match=r"wanted mono \(N,\)"):
            encoder(kind, folders).features(np.zeros((2, 16_000), np.float32), 25)


def test_live_speech_differs_from_the_whole_only_where_its_encoder_looks_ahead(
    folders: dict[str, Path],
) -> None:
    wave = sound(2.0)
    mels = encoder("logmel", folders)
    live = features_as_heard_live(mels, wave, 50, piece=7, left=5, right=1)
    torch.testing.assert_close(live, mels.features(wave, 50), rtol=1e-4, atol=1e-4)
    attending = encoder("wav2vec2", folders)
    whole = attending.features(wave, 50, attending.reference([wave]))
    assert torch.equal(features_as_heard_live(attending, wave, 50, piece=50, left=0, right=0), whole)
    live = features_as_heard_live(attending, wave, 50, piece=7, left=5, right=1)
    assert live.shape == whole.shape and not torch.allclose(live, whole, atol=1e-3)


def test_live_speech_is_not_changed_by_what_comes_later(folders: dict[str, Path]) -> None:
    model = encoder("wav2vec2", folders)
    wave = sound(2.0)
    later = wave.copy()
    later[20 * SAMPLES_PER_FRAME :] *= np.float32(-1)

    def live(heard: np.ndarray) -> torch.Tensor:
        return features_as_heard_live(
            model, heard, 50, piece=10, left=5, right=0, reference=Reference(0.0, 1.0)
        )

    assert torch.equal(live(wave)[:20], live(later)[:20])
    assert not torch.equal(live(wave)[20:], live(later)[20:])
