"""JoyVASA's motion of any length of sound: windows of L frames, each drawn given the P frames before it.

Two ways. Ours: as many frames as there is sound, frame i at sample 640 i; noise of its own for every window;
no smoothing. Upstream's (``compat="upstream"``, ``joyvasa_upstream``): as published, with its delay of two
frames, one x_T for all windows and a head that an average of four seconds holds still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vasa.checkpoint import (
    CheckpointError,
    Weights,
    from_plain,
    load_into,
    load_weights,
    plain,
    save_weights,
)
from vasa.motion.config import GuidanceConfig, MotionConfig, SamplerConfig
from vasa.motion.joyvasa import JoyvasaModel
from vasa.motion.joyvasa_config import JoyvasaConfig
from vasa.motion.joyvasa_folded import window_estimates
from vasa.motion.joyvasa_sampler import Noise, ancestral_sample, visited_steps
from vasa.motion.joyvasa_speech import JoyvasaSpeech
from vasa.motion.joyvasa_template import JoyvasaNormalizer
from vasa.motion.windows import ConditionTrack, GuidanceTrack, NoiseTrack
from vasa.records import SAMPLES_PER_FRAME, Conditions

KIND = "joyvasa motion"
STRUCTURAL = ("denoising_net.alignment_mask", "denoising_net.PE.", "denoising_net.TE.", "diffusion_sched.")
"""Beginnings of names of buffers that follow from the config; our files leave them out."""


class JoyvasaMotion:
    """A JoyVASA model with its motion statistics: features of sound in, raw keypoint motion out.

    A frame's 70 entries are those of ``joyvasa_template``. All randomness comes from the caller, on the
    CPU.
    """

    def __init__(self, model: JoyvasaModel, normalizer: JoyvasaNormalizer, face_hash: str = "") -> None:
        """face_hash: content hash of the motion encoders that it learned from; empty where nobody said."""
        self.model = model.eval().requires_grad_(False)
        self.normalizer, self.face_hash = normalizer, face_hash
        self.precision = torch.float32  # of the denoiser's matrix products
        self.speech = JoyvasaSpeech(self.model)

    @property
    def device(self) -> torch.device:
        return self.normalizer.offset.device

    @cached_property
    def config(self) -> MotionConfig:
        """What the pipeline reads of a motion model, in the terms of ours."""
        own = self.model.config
        guidance = GuidanceConfig(audio=own.guidance_scale - 1, gaze=0.0)
        sampler = SamplerConfig(name="ancestral", steps=own.num_steps, guidance=guidance)
        return MotionConfig(
            window_frames=own.window_frames, history_frames=own.history_frames, sampler=sampler
        )

    @cached_property
    def silence(self) -> Tensor:
        """Features (L, A) of a window without sound: what is heard where features end within a window."""
        return self.speech.hear(torch.zeros(self.model.config.window_frames * SAMPLES_PER_FRAME))

    def generate(
        self,
        features: Tensor | Iterable[Tensor],
        conditions: Conditions | ConditionTrack | None = None,
        *,
        generator: torch.Generator | NoiseTrack,
        num_frames: int | None = None,
        steps: int | None = None,
        guidance: Mapping[str, float] | GuidanceTrack | None = None,
    ) -> Iterator[Tensor]:
        """Raw keypoint motion of one clip in chunks (t, 70), t <= L, one a window; nothing is kept but the P
        frames before it.

        features: (T, A) of ``JoyvasaSpeech``, or an iterator of such chunks of any lengths. generator: the
        one source of randomness; or asked anew for every window. num_frames: how many to make (default: as
        many as there are features); beyond the features the model hears silence. steps: 1 to T (default T).
        guidance: {"audio": strength}, x_0 = (1 + strength) x_0(audio) - strength x_0(null); default the
        checkpoint's; or asked anew for every window. conditions: JoyVASA has none, so gaze and emotion are
        refused when they say anything; distance is the face space's to obey.

        Raises: ValueError; of what is asked anew when its window is drawn.
        """
        if num_frames is not None and num_frames < 1:
            raise ValueError(f"num_frames={num_frames}; wanted at least 1.")
        visited_steps(self.model.config.num_steps, steps)
        if not callable(conditions):
            _check_unconditioned(conditions)
        if not callable(guidance):
            self._scale(guidance)
        chunks = [features] if isinstance(features, Tensor) else features
        return self._windows(chunks, conditions, generator, num_frames, steps, guidance)

    def speak(
        self,
        waveform: Tensor,
        *,
        generator: torch.Generator,
        compat: str = "none",
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
    ) -> Iterator[Tensor]:
        """Raw keypoint motion, in chunks (t, 70), of sound (N,) at AUDIO_HZ. compat: "none" gives one frame
        for every 640 samples, the last one rounded; "upstream" see ``joyvasa_upstream.upstream_motion``.
        steps, guidance: as ``generate``.
        """
        if compat == "upstream":
            from vasa.motion.joyvasa_upstream import upstream_motion

            shape = (self.model.config.window_frames, self.model.config.motion_dim)
            x_T, noise = torch.randn(shape, generator=generator), _fresh(shape, generator)
            return upstream_motion(
                self,
                waveform,
                x_T,
                lambda window, t: noise(t),
                guidance_scale=self._scale(guidance),
                steps=steps,
            )
        if compat != "none":
            raise ValueError(f"compat={compat!r}; wanted none or upstream.")
        num_frames = max(1, round(len(waveform) / SAMPLES_PER_FRAME))
        return self.generate(
            self._heard(waveform, num_frames),
            generator=generator,
            num_frames=num_frames,
            steps=steps,
            guidance=guidance,
        )

    def _heard(self, waveform: Tensor, num_frames: int) -> Iterator[Tensor]:
        """Features (t, A), window by window."""
        L = self.model.config.window_frames
        for first in range(0, num_frames, L):
            samples = waveform[first * SAMPLES_PER_FRAME : (first + L) * SAMPLES_PER_FRAME]
            yield self.speech.features(samples, L)

    def _windows(
        self,
        chunks: Iterable[Tensor],
        conditions: Conditions | ConditionTrack | None,
        generator: torch.Generator | NoiseTrack,
        num_frames: int | None,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
    ) -> Iterator[Tensor]:
        own = self.model.config
        shape = (1, own.window_frames, own.motion_dim)
        past, made = self.model.start(1), 0
        for audio, count in self._feature_windows(chunks, num_frames):
            frames = (made, made + count)
            if callable(conditions):
                _check_unconditioned(conditions(*frames))
            scale = self._scale(guidance(*frames) if callable(guidance) else guidance)
            drawn = generator if isinstance(generator, torch.Generator) else generator(*frames)
            x_T = torch.randn(shape, generator=drawn)
            motion, past = self.draw_window(audio, past, x_T, _fresh(shape, drawn), scale, steps)
            made += count
            yield self.normalizer.denormalise(motion[0, :count])
        if made == 0:
            raise ValueError("There are no audio features; wanted at least one frame (40 ms of sound).")

    @torch.no_grad()
    def draw_window(
        self,
        audio: Tensor,
        past: tuple[Tensor, Tensor],
        x_T: Tensor,
        noise: Noise,
        guidance_scale: float,
        steps: int | None = None,
        plain: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One window: normalised motion (1, L, E) for audio (1, L, A) after a past (1, P, .) of motion and
        audio, and the past of the next. plain: by the graph as published.
        """
        model, P = self.model, self.model.config.history_frames
        guided = guidance_scale != 1  # at 1 the null branch cancels
        motion = ancestral_sample(
            window_estimates(model, audio, *past, guided=guided, plain=plain, precision=self.precision),
            x_T.to(self.device),
            noise,
            model.diffusion_sched,
            guidance_scale=guidance_scale if guided else None,
            steps=steps,
            target=model.config.target,
        )
        return motion, (motion[:, -P:], audio[:, -P:])

    def _feature_windows(
        self, chunks: Iterable[Tensor], num_frames: int | None
    ) -> Iterator[tuple[Tensor, int]]:
        """(features (1, L, A), how many frames to give out) per window."""
        L, A = self.model.config.window_frames, self.model.config.width
        pending = torch.zeros(0, A, device=self.device)
        source, made, ended = iter(chunks), 0, False
        while num_frames is None or made < num_frames:
            while len(pending) < L and not ended:
                chunk = next(source, None)
                if chunk is None:
                    ended = True
                else:
                    pending = torch.cat([pending, self._checked(chunk)])
            left = len(pending) if num_frames is None else num_frames - made
            count = min(left, L)
            if count == 0:
                break
            audio = pending[:L]
            if len(audio) < L:
                audio = torch.cat([audio, self.silence[len(audio) :]])
            yield audio[None], count
            pending, made = pending[L:], made + count

    def _checked(self, chunk: Tensor) -> Tensor:
        width = self.model.config.width
        if chunk.ndim != 2 or chunk.shape[1] != width:
            raise ValueError(
                f"audio features have shape {tuple(chunk.shape)}; JoyVASA wants (T, {width}), of the speech "
                "encoder in its own checkpoint (JoyvasaSpeech)."
            )
        if not bool(torch.isfinite(chunk).all()):
            raise ValueError(
                "audio features hold NaN or infinite values; wanted finite ones: check the recording."
            )
        return chunk.to(self.device, torch.float32)

    def _scale(self, guidance: Mapping[str, float] | None) -> float:
        """The factor of x_0(audio) - x_0(null). Raises: ValueError of guidance on what JoyVASA does not
        know.
        """
        if guidance is None:
            return self.model.config.guidance_scale
        if unknown := sorted(name for name, value in guidance.items() if name != "audio" and value != 0):
            raise ValueError(f"guidance names {unknown}; JoyVASA is guided by audio alone: leave them out.")
        return 1 + guidance.get("audio", 0.0)

    def to(self, device: torch.device | str) -> JoyvasaMotion:
        """The same model, where ``device`` says."""
        moved = JoyvasaMotion(self.model.to(device), self.normalizer.to(device), self.face_hash)
        moved.precision = self.precision
        return moved

    def save(self, path: str | Path, meta: Mapping[str, Any] | None = None) -> str:
        """Writes a safetensors file that ``from_pretrained`` reads; returns its content hash."""
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        kept = {key: value for key, value in tensors.items() if not _is_structural(key)}
        statistics = {f"template.{key}": value for key, value in self.normalizer.state_dict().items()}
        config = {"joyvasa": plain(self.model.config), "face_hash": self.face_hash}
        return save_weights(path, {**kept, **statistics}, config, {**(meta or {}), "model": KIND})

    @staticmethod
    def from_pretrained(path: str | Path, device: torch.device | str = "cpu") -> JoyvasaMotion:
        """Loads what ``save`` wrote (or the folder that holds motion.safetensors), strictly.

        Raises: FileNotFoundError, CheckpointError.
        """
        path = Path(path)
        weights = load_weights(path / "motion.safetensors" if path.is_dir() else path)
        if weights.meta.get("model") != KIND:
            raise CheckpointError(
                f"{weights.path} holds a {weights.meta.get('model')!r} model; wanted a {KIND} model."
            )
        model = JoyvasaModel(from_plain(JoyvasaConfig, weights.config["joyvasa"], "joyvasa"))
        computed = {key: value for key, value in model.state_dict().items() if _is_structural(f"model.{key}")}
        load_into(model, _part(weights, "model.", computed), "the JoyVASA model")
        normalizer = JoyvasaNormalizer()
        load_into(normalizer, _part(weights, "template.", {}), "the motion template")
        return JoyvasaMotion(model.float(), normalizer, weights.config.get("face_hash", "")).to(device)


def _is_structural(key: str) -> bool:
    return key.removeprefix("model.").startswith(STRUCTURAL)


def _part(weights: Weights, prefix: str, more: Mapping[str, Tensor]) -> Weights:
    """The tensors under a prefix, without it, and ``more``. What is under neither prefix would be lost, so it
    keeps its name and is refused as unexpected.
    """
    own = {
        key.removeprefix(prefix): value
        for key, value in weights.tensors.items()
        if key.startswith(prefix) or not key.startswith(("model.", "template."))
    }
    return Weights({**own, **more}, weights.config, weights.meta, weights.path)


def _fresh(shape: tuple[int, ...], generator: torch.Generator) -> Callable[[int], Tensor]:
    return lambda t: torch.randn(shape, generator=generator)


def _check_unconditioned(conditions: Conditions | None) -> None:
    """Raises: ValueError where gaze or emotion say something."""
    if conditions is None:
        return
    for name, value in (("gaze", conditions.gaze), ("emotion", conditions.emotion)):
        if value is not None and bool((value != 0).any()):
            raise ValueError(
                f"{name} is asked for as {value.flatten().tolist()}; JoyVASA hears sound and knows no "
                f"{name}: leave it out, or use the volumetric model."
            )
