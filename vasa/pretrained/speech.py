"""What a motion model hears: log-mel energies, wav2vec 2.0 or HuBERT, behind one interface, at 25 fps.

Sound is brought to a reference before anything else, (waveform - offset) / scale, so that recording levels do
not matter. The reference is measured over the whole clip. Where sound comes in pieces (long files, live
speech) it is measured over what is known, with ``reference``, and handed to every call of ``features``: the
pieces then agree with the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vasa.pretrained.config import SpeechConfig
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

NUM_MELS = 40
MEL_HOP = SAMPLES_PER_FRAME // 2
MEL_WINDOW = 400  # 25 ms
MEL_FFT = 512
MEL_RANGE_HZ = (60.0, 7600.0)
# Quieter than this share of the reference power counts as silence: below it live rooms and codecs, not
# speech.
MEL_FLOOR = 1e-5
# Mean and spread of the result over synthetic clips under augmentation; fixed, so that every model means the
# same numbers.
MEL_MEAN, MEL_STD = -5.8, 3.8
# Softer than this (-66 dB of full scale) is not amplified to the level of speech.
LOWEST_SCALE = 5e-4
DEFAULT_PATHS = {"wav2vec2": "facebook/wav2vec2-base-960h", "hubert": "facebook/hubert-base-ls960"}


@dataclass(frozen=True, slots=True)
class Reference:
    """Level of a clip: features are taken of (waveform - offset) / scale."""

    offset: float
    scale: float


class SpeechEncoder(Protocol):
    """Sound to features. dim: width of a feature. name: what to call it in a card."""

    dim: int
    name: str

    def reference(self, blocks: Iterable[np.ndarray]) -> Reference:
        """The level of a clip given as consecutive blocks (N,) float32 at AUDIO_HZ."""

    def features(
        self, waveform: np.ndarray | Tensor, num_frames: int, reference: Reference | None = None
    ) -> Tensor:
        """(num_frames, dim) float32 of sound (N,) at AUDIO_HZ. reference: None measures this sound's own."""


def build_speech_encoder(config: SpeechConfig, device: torch.device | str = "cpu") -> SpeechEncoder:
    """The encoder of ``config.kind``.

    Raises: FileNotFoundError where weights are missing, in a sentence that says what to fetch and where to
    put it.
    """
    if config.kind == "logmel":
        return LogMelSpeech(config, device)
    return TransformerSpeech(config, device)


def features_as_heard_live(
    encoder: SpeechEncoder,
    waveform: np.ndarray,
    num_frames: int,
    *,
    piece: int,
    left: int,
    right: int,
    reference: Reference | None = None,
) -> Tensor:
    """Features (num_frames, dim) as live speech gives them: of ``piece`` frames at a time, each heard with at
    most ``left`` frames before it and ``right`` after it. reference: None takes the level of the whole.

    Encoders that attend to everything, wav2vec 2.0 and HuBERT, say something else at the end of what they
    have heard than in the middle of it; a motion model that is to answer live must have learned from that.
    """
    reference = reference or encoder.reference([waveform])
    parts = []
    for start in range(0, num_frames, piece):
        stop = min(start + piece, num_frames)
        first, last = max(start - left, 0), min(stop + right, num_frames)
        heard = waveform[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
        features = encoder.features(heard, last - first, reference)
        parts.append(features[start - first : stop - first])
    return torch.cat(parts)


class LogMelSpeech:
    """Log-mel energies (T, 2 * NUM_MELS): NUM_MELS bands at 50 Hz, the halves of each video frame together.

    Scale is the amplitude-weighted mean amplitude of the clip's frames (within the bands), which silence
    before, between and after speech does not change. A frame sees its own 40 ms and 4 ms on both sides.
    """

    name = "logmel"
    dim = 2 * NUM_MELS

    def __init__(self, config: SpeechConfig, device: torch.device | str = "cpu") -> None:
        self.chunk_frames = max(1, round(config.chunk_s * VIDEO_FPS))
        self.device = torch.device(device)
        self._filters = mel_filters().to(self.device)
        self._window = torch.hann_window(MEL_WINDOW, device=self.device)

    def reference(self, blocks: Iterable[np.ndarray]) -> Reference:
        power, amplitude = 0.0, 0.0
        for block in blocks:
            for start in range(0, len(block), self.chunk_frames * SAMPLES_PER_FRAME):
                mels = self._mels(
                    _tensor(block[start : start + self.chunk_frames * SAMPLES_PER_FRAME], self.device)
                )
                level = mels.mean(1)
                power, amplitude = power + float(level.sum()), amplitude + float(level.sqrt().sum())
        return Reference(0.0, max(power / max(amplitude, 1e-12), LOWEST_SCALE))

    @torch.no_grad()
    def features(
        self, waveform: np.ndarray | Tensor, num_frames: int, reference: Reference | None = None
    ) -> Tensor:
        sound = _tensor(waveform, torch.device("cpu"))
        reference = reference or self.reference([sound.numpy()])
        sound = nn.functional.pad(sound, (0, max(0, num_frames * SAMPLES_PER_FRAME - len(sound))))
        parts = []
        margin = MEL_FFT
        for start in range(0, num_frames, self.chunk_frames):
            stop = min(start + self.chunk_frames, num_frames)
            first, last = start * SAMPLES_PER_FRAME - margin, stop * SAMPLES_PER_FRAME + margin
            piece = sound[max(first, 0) : last]
            piece = nn.functional.pad(piece, (max(-first, 0), max(last - len(sound), 0))).to(self.device)
            mels = self._mels((piece - reference.offset) / reference.scale, margin)
            parts.append((torch.log(mels + MEL_FLOOR) - MEL_MEAN) / MEL_STD)
        return torch.cat(parts).reshape(num_frames, self.dim)

    def _mels(self, sound: Tensor, margin: int = 0) -> Tensor:
        """Band powers (2 T', NUM_MELS) of half frames, of which ``margin`` samples lie on both sides of
        ``sound`` already.
        """
        num = max(1, ceil((len(sound) - 2 * margin) / MEL_HOP))
        # Half frame k is centred on sample (k + 1/2) * MEL_HOP of what lies between the margins.
        left = MEL_FFT // 2 - MEL_HOP // 2 - margin
        right = (num - 1) * MEL_HOP + MEL_FFT - left - len(sound)
        padded = nn.functional.pad(sound, (left, right))  # a negative pad cuts
        spectrum = torch.stft(
            padded[None], MEL_FFT, MEL_HOP, MEL_WINDOW, self._window, center=False, return_complex=True
        )[0]
        power = spectrum.real**2 + spectrum.imag**2
        return (self._filters @ power).T


def mel_filters() -> Tensor:
    """Triangular filters (NUM_MELS, MEL_FFT / 2 + 1), evenly spaced in mel (2595 log10(1 + f / 700)), scaled
    so that white noise of unit power has unit power in every band.
    """
    low, high = (2595 * np.log10(1 + hz / 700) for hz in MEL_RANGE_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, NUM_MELS + 2) / 2595) - 1)
    frequency = np.fft.rfftfreq(MEL_FFT, 1 / AUDIO_HZ)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(rising, falling), 0, None)
    window_power = float((torch.hann_window(MEL_WINDOW) ** 2).sum())
    return torch.from_numpy(filters / filters.sum(axis=1, keepdims=True) / window_power).float()


class TransformerSpeech:
    """Hidden states of wav2vec 2.0 (Baevski et al. 2020) or HuBERT (Hsu et al. 2021) through transformers,
    fp32, in eval mode.

    About 49.95 features a second become ``num_frames`` by linear interpolation, first on first and last on
    last. Sound longer than ``chunk_s`` is heard in chunks with ``context_s`` on both sides; models whose
    first layer is normalised over time (group norm: the base sizes) then hear slightly different statistics
    from chunk to chunk.
    """

    def __init__(self, config: SpeechConfig, device: torch.device | str = "cpu") -> None:
        self.path = config.path or DEFAULT_PATHS[config.kind]
        self.model, self.normalise = load_transformer(config.kind, self.path)
        self.device = torch.device(device)
        self.model.to(self.device)
        self.layer = config.layer
        if self.layer is not None and not 0 <= self.layer <= self.model.config.num_hidden_layers:
            layers = self.model.config.num_hidden_layers
            raise ValueError(
                f"speech.layer is {self.layer}; wanted 0 to {layers}, the layers of {self.path}."
            )
        self.dim: int = self.model.config.hidden_size
        self.name = f"{config.kind}:{Path(self.path).name}"
        strides, kernels = self.model.config.conv_stride, self.model.config.conv_kernel
        self.hop = int(np.prod(strides))
        self.field = 1 + sum((kernel - 1) * int(np.prod(strides[:i])) for i, kernel in enumerate(kernels))
        self.chunk_frames = max(1, round(config.chunk_s * VIDEO_FPS))
        self.context = round(config.context_s * AUDIO_HZ / self.hop)

    def reference(self, blocks: Iterable[np.ndarray]) -> Reference:
        """Mean and standard deviation of the waveform, as the models were trained (none where they were
        trained without).
        """
        if not self.normalise:
            return Reference(0.0, 1.0)
        num, total, squares = 0, 0.0, 0.0
        for block in blocks:
            num += len(block)
            total += float(np.sum(block, dtype=np.float64))
            squares += float(np.sum(np.square(block, dtype=np.float64)))
        mean = total / max(num, 1)
        return Reference(mean, float(np.sqrt(max(squares / max(num, 1) - mean**2, 0.0) + 1e-7)))

    @torch.no_grad()
    def features(
        self, waveform: np.ndarray | Tensor, num_frames: int, reference: Reference | None = None
    ) -> Tensor:
        sound = _tensor(waveform, torch.device("cpu"))
        reference = reference or self.reference([sound.numpy()])
        sound = nn.functional.pad(sound, (0, max(0, self.field - len(sound))))
        length = (len(sound) - self.field) // self.hop + 1
        position = torch.linspace(0, length - 1, num_frames, dtype=torch.float64)
        parts = []
        for start in range(0, num_frames, self.chunk_frames):
            wanted = position[start : start + self.chunk_frames]
            first = max(floor(wanted[0]) - self.context, 0)
            last = min(ceil(wanted[-1]) + self.context, length - 1)
            # The last chunk keeps the samples after its last feature: a layer normalised over time hears
            # them.
            end = len(sound) if last == length - 1 else last * self.hop + self.field
            piece = sound[first * self.hop : end].to(self.device)
            parts.append(_at(self._hidden((piece - reference.offset) / reference.scale), wanted - first))
        return torch.cat(parts)

    def _hidden(self, sound: Tensor) -> Tensor:
        """(L, E) of sound (N,)."""
        if self.layer is None:
            return self.model(sound[None]).last_hidden_state[0].float()
        return self.model(sound[None], output_hidden_states=True).hidden_states[self.layer][0].float()


def _at(values: Tensor, position: Tensor) -> Tensor:
    """Rows of values (L, E) at fractional positions (T,), linearly."""
    below = position.floor().long().clamp(0, len(values) - 1)
    above = (below + 1).clamp(max=len(values) - 1)
    share = (position - below).to(values)[:, None]
    return values[below] * (1 - share) + values[above] * share


def _tensor(waveform: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """float32 (N,) on a device; refuses what is not mono, which a transformer would take for a batch of
    two-sample clips.
    """
    sound = torch.as_tensor(waveform)
    if sound.ndim != 1 or len(sound) == 0:
        raise ValueError(
            f"waveform has shape {tuple(sound.shape)}; wanted mono (N,) at {AUDIO_HZ} Hz, N > 0."
        )
    return sound.detach().to(device, torch.float32)


def load_transformer(kind: str, path: str) -> tuple[Any, bool]:
    """The model of transformers, frozen, and whether it was trained on normalised waveforms
    (preprocessor_config.json; yes where there is none).

    Raises: FileNotFoundError; ValueError for a model of another kind.
    """
    from transformers import HubertModel, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    try:
        found = transformer_kind(path)
        if found != kind:
            raise ValueError(
                f"speech.path {path!r} holds a {found} model; wanted {kind} (or set speech.kind={found})."
            )
        network: Any = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel}[kind]
        model = network.from_pretrained(path, dtype=torch.float32, local_files_only=True)
    except OSError as error:
        raise FileNotFoundError(
            f"no {kind} model at {path!r}, neither a folder nor in the Hugging Face cache: download "
            f"{DEFAULT_PATHS[kind]} (config.json and its weights) into a folder and set speech.path to it, "
            f"or use speech.kind=logmel, which needs no file."
        ) from error
    try:
        settings, _ = Wav2Vec2FeatureExtractor.get_feature_extractor_dict(path, local_files_only=True)
    except OSError:
        settings = {}
    return model.eval().requires_grad_(False), bool(settings.get("do_normalize", True))


def transformer_kind(path: str) -> str:
    """The kind of a transformers model in a folder or the Hugging Face cache. Raises: OSError."""
    from transformers import AutoConfig

    kind: str = AutoConfig.from_pretrained(path, local_files_only=True).model_type
    return kind
