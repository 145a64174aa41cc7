"""Long audio in windows: each window is drawn given the last frames of the one before, in constant memory.

Raw motion comes out as soon as W frames of audio features are there, so streaming is iterating. Knows no
audio files, speech encoder or face: features come in, raw motion goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, Weights, from_plain, load_into, load_weights, plain, save_weights
from vasa.motion.conditions import WindowConditions, from_controls, without
from vasa.motion.config import GUIDED, GuidanceConfig, MotionConfig, SamplerConfig, check_window
from vasa.motion.diffusion import MotionDiffusion
from vasa.records import Conditions, MotionLayout

KIND = "motion"
ConditionTrack = Callable[[int, int], Conditions]
"""(first, stop) -> the controls (1, ...) of frames first .. stop - 1, for controls that change with time."""
GuidanceTrack = Callable[[int, int], Mapping[str, float]]
"""(first, stop) -> strengths by condition of the window that gives out frames first .. stop - 1."""
NoiseTrack = Callable[[int, int], torch.Generator]
"""(first, stop) -> what draws that window's new noise: the same generator while its noise shall go on."""


class MotionGenerator:
    """A trained motion model together with what it must be used with.

    layout: the face space's. audio: the speech encoder's config as plain data. face_hash: content hash of the
    face checkpoint whose motion it was trained on. defaults: conditions where the user says nothing (VASA-1:
    forward gaze, mean distance).
    """

    def __init__(self, model: MotionDiffusion, audio: Mapping[str, Any], face_hash: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.layout, self.audio, self.face_hash = model.layout, dict(audio), face_hash
        self.config = model.config
        self.defaults = model.normalizer.default_conditions(neutral=self.config.sampler.neutral)
        self.unlearned = [c for c in (*GUIDED, "history") if getattr(self.config.dropout, c) >= 1]

    @property
    def device(self) -> torch.device:
        return self.model.normalizer.motion_mean.device

    @staticmethod
    def from_pretrained(path: str | Path, device: torch.device | str = "cpu") -> MotionGenerator:
        """Loads ``motion.safetensors`` (or the folder that holds it), strictly.

        Raises: FileNotFoundError, CheckpointError.
        """
        path = Path(path)
        weights = load_weights(path / "motion.safetensors" if path.is_dir() else path)
        if weights.meta.get("model") != KIND:
            raise CheckpointError(
                f"{weights.path} holds a {weights.meta.get('model')!r} model; wanted a {KIND} model."
            )
        return _build(weights, device)

    def generate(
        self,
        features: Tensor | Iterable[Tensor],
        conditions: Conditions | ConditionTrack | None = None,
        *,
        generator: torch.Generator | NoiseTrack,
        num_frames: int | None = None,
        steps: int | None = None,
        guidance: Mapping[str, float] | GuidanceTrack | None = None,
        sampler: str | None = None,
        window_frames: int | None = None,
        lookahead_frames: int | None = None,
        unheard_frames: int | None = None,
    ) -> Iterator[Tensor]:
        """Raw motion of one clip, in chunks (t, E), t <= W; nothing is kept but one window and the K frames
        before it.

        features: (T, A) raw audio features at 25 fps, or an iterator of such chunks of any lengths: how they
        are cut does not change the result. conditions: controls (1, ...) for the whole call, or asked anew
        for every window; None of a field is its null condition. generator: the one source of randomness, on
        the CPU so that a seed means the same motion on every device; or asked anew for every window, whose
        new noise it draws: frames that are drawn again keep the noise that they had. guidance: strengths, 0
        of what is not named; or asked anew for every window. num_frames: how many frames to make (default:
        as many as there are features); beyond the features the model hears nothing, features beyond it are
        ignored. steps, guidance, sampler, window_frames, lookahead_frames, unheard_frames: see
        ``SamplerConfig``; default to the checkpoint's. Shorter windows answer sooner and cost more. Of an
        iterator no more is asked than the next window waits for.

        Raises: ValueError; of guidance that is asked anew when its window is drawn.
        """
        if num_frames is not None and num_frames < 1:
            raise ValueError(f"num_frames={num_frames}; wanted at least 1.")
        chunks = [features] if isinstance(features, Tensor) else features
        batched = (chunk[None] for chunk in chunks)
        drawing = self._drawing(steps, guidance, sampler, window_frames, lookahead_frames, unheard_frames)
        track = guidance if callable(guidance) else None
        return (m[0] for m in self._windows(batched, conditions, [generator], num_frames, drawing, track))

    def generate_many(
        self,
        features: Tensor,
        conditions: Conditions | None = None,
        *,
        generators: list[torch.Generator],
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
        sampler: str | None = None,
        window_frames: int | None = None,
        lookahead_frames: int | None = None,
    ) -> Tensor:
        """Raw motion (B, T, E) of B clips of equal length from features (B, T, A), one generator and one row
        of controls each.

        Row i is what ``generate`` makes of it alone, up to rounding.
        """
        if len(generators) != len(features):
            raise ValueError(f"{len(generators)} generators for {len(features)} clips; wanted one each.")
        drawing = self._drawing(steps, guidance, sampler, window_frames, lookahead_frames)
        return torch.cat(list(self._windows([features], conditions, generators, None, drawing)), 1)

    def _drawing(
        self,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
        sampler: str | None,
        window_frames: int | None,
        lookahead_frames: int | None,
        unheard_frames: int | None = None,
    ) -> SamplerConfig:
        """The checkpoint's settings with what is asked for in their place, but for guidance that changes.
        Raises: ValueError.
        """
        own = self.config.sampler
        if own.baked and not (
            steps in (None, own.steps) and guidance is None and sampler in (None, own.name)
        ):
            said = "a track" if callable(guidance) else guidance
            raise ValueError(
                f"steps={steps}, guidance={said} are asked of a motion model that learned to make in "
                f"{own.steps} steps what {own.guidance.as_dict()} made of its teacher; leave them out, "
                "or use the teacher."
            )
        drawing = SamplerConfig(
            name=own.name if sampler is None else sampler,
            steps=own.steps if steps is None else steps,
            guidance=own.guidance if guidance is None or callable(guidance) else _strengths(guidance),
            window_frames=window_frames or own.window_frames,
            lookahead_frames=own.lookahead_frames if lookahead_frames is None else lookahead_frames,
            unheard_frames=own.unheard_frames if unheard_frames is None else unheard_frames,
            neutral=own.neutral,
            baked=own.baked,
        )
        W = self.config.window_frames
        check_window(drawing.window_frames or W, drawing.lookahead_frames, W)
        return drawing

    @torch.no_grad()
    def _windows(
        self,
        chunks: Iterable[Tensor],
        controls: Conditions | ConditionTrack | None,
        generators: Sequence[torch.Generator | NoiseTrack],
        num_frames: int | None,
        drawing: SamplerConfig,
        guidance: GuidanceTrack | None = None,
    ) -> Iterator[Tensor]:
        """Raw motion (B, t, E), window by window."""
        model, device, batch = self.model, self.device, len(generators)
        W, K, E = (
            drawing.window_frames or self.config.window_frames,
            self.config.history_frames,
            self.layout.width,
        )
        past = torch.zeros(batch, K, E, device=device)
        past_audio = torch.zeros(batch, K, model.audio_dim, device=device)
        noise, made = torch.zeros(batch, 0, E), 0
        for audio, heard, count in self._feature_windows(chunks, batch, num_frames, drawing):
            frames = (made, made + count)
            asked = controls(*frames) if callable(controls) else controls or self.defaults
            drawn_by = [g if isinstance(g, torch.Generator) else g(*frames) for g in generators]
            strengths = drawing.guidance if guidance is None else _strengths(guidance(*frames))
            window = WindowConditions(
                audio=audio,
                has_audio=(torch.arange(W, device=device) < heard).expand(batch, W),
                history=past,
                history_audio=past_audio,
                has_history=torch.full((batch,), made > 0, device=device),
                **from_controls(model.normalizer.normalise_conditions(asked.to(device)), batch, device),
            )
            fresh = [torch.randn(W - noise.shape[1], E, generator=g) for g in drawn_by]
            noise = torch.cat([noise, torch.stack(fresh)], 1)  # frames drawn again start from the same noise
            for name in self.unlearned:
                window = without(window, name)
            motion = model.sample(
                noise.to(device),
                window,
                steps=drawing.steps,
                guidance={} if drawing.baked else strengths.as_dict(),
                sampler=drawing.name,
                generators=drawn_by,
            )[:, :count]
            noise = noise[:, count:]
            known = min(made + count, K)
            past = torch.cat([past, motion], 1)[:, -known:]
            past_audio = torch.cat([past_audio, audio[:, :count]], 1)[:, -known:]
            made += count
            yield model.normalizer.denormalise(motion)

    def _feature_windows(
        self, chunks: Iterable[Tensor], batch: int, num_frames: int | None, drawing: SamplerConfig
    ) -> Iterator[tuple[Tensor, int, int]]:
        """(normalised audio (B, W, A), how many frames are sound, how many to give out) per window."""
        W = drawing.window_frames or self.config.window_frames
        most = W - drawing.unheard_frames
        pending = torch.zeros(batch, 0, self.model.audio_dim, device=self.device)
        source, made, ended = iter(chunks), 0, False
        while num_frames is None or made < num_frames:
            while pending.shape[1] < most and not ended:
                chunk = next(source, None)
                if chunk is None:
                    ended = True
                else:
                    pending = torch.cat([pending, self._checked(chunk, batch)], 1)
            heard = min(pending.shape[1], most)
            left = heard if num_frames is None else num_frames - made
            count = left if left < most else W - drawing.lookahead_frames
            if count == 0:
                break
            audio = pending[:, :most]
            if heard < W:
                audio = torch.cat([audio, audio.new_zeros(batch, W - heard, audio.shape[2])], 1)
            yield audio, heard, count
            pending, made = pending[:, count:], made + count
        if made == 0:
            raise ValueError("There are no audio features; wanted at least one frame (40 ms of sound).")

    def _checked(self, chunk: Tensor, batch: int) -> Tensor:
        if chunk.ndim != 3 or chunk.shape[2] != self.model.audio_dim:
            raise ValueError(
                f"audio features have shape {tuple(chunk.shape[1:])}; this motion model wants "
                f"(T, {self.model.audio_dim}), of the speech encoder it was trained with ({self.audio})."
            )
        if not bool(torch.isfinite(chunk).all()):
            raise ValueError(
                "audio features hold NaN or infinite values; wanted finite ones: check the recording."
            )
        return self.model.normalizer.normalise_audio(chunk.to(self.device))


def _strengths(given: Mapping[str, float]) -> GuidanceConfig:
    """Guidance by condition; 0 of what is not named. Raises: ValueError."""
    if unknown := sorted(set(given) - set(GUIDED)):
        raise ValueError(f"guidance names {unknown}; wanted some of {list(GUIDED)}.")
    return GuidanceConfig(**(dict.fromkeys(GUIDED, 0.0) | dict(given)))


def save_motion(
    path: str | Path,
    model: MotionDiffusion,
    tensors: Mapping[str, Tensor],
    audio: Mapping[str, Any],
    face_hash: str,
    meta: Mapping[str, Any],
) -> str:
    """Writes ``motion.safetensors``: everything ``MotionGenerator`` needs. tensors: the state to store,
    usually the EMA's.

    Returns the file's content hash.
    """
    config = {
        "motion": plain(model.config),
        "dynamics_dim": model.layout.width - model.layout.dynamics.start,
        "audio_dim": model.audio_dim,
        "audio": dict(audio),
        "face_hash": face_hash,
    }
    return save_weights(path, tensors, config, {**meta, "model": KIND})


def _build(weights: Weights, device: torch.device | str) -> MotionGenerator:
    config = weights.config
    layout = MotionLayout.volumetric(config["dynamics_dim"])
    model = MotionDiffusion(from_plain(MotionConfig, config["motion"], "motion"), layout, config["audio_dim"])
    load_into(model, weights, "the motion model")
    return MotionGenerator(model.to(device).float(), config["audio"], config["face_hash"])
