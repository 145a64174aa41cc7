"""What is done with one input: read, cut, told about, and put into its fragment with a row for everything.

An input is read once (cut_input.py); each clip that comes of it gets its signals, its sound's offset and its
masks. Nothing here knows of shards, of other inputs, or which process it runs in.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import cv2
import numpy as np
import torch

from vasa.data.manifest import KEPT, ManifestRow
from vasa.data.shards import FragmentWriter, Sample, make_sample
from vasa.preprocess.config import PreprocessRun
from vasa.preprocess.container import stop_if_machines
from vasa.preprocess.cut_input import InputCutter, Outcome, Piece
from vasa.preprocess.masks import masks_of
from vasa.preprocess.quality import pose_range, why_turned
from vasa.preprocess.shard_work import Job, JobDone, note_failure
from vasa.preprocess.signals import ClipSignals, SignalEstimator
from vasa.preprocess.sources import as_text
from vasa.preprocess.step_times import ENCODE, MASKS, OFFSET, SIGNALS, StepTimes
from vasa.preprocess.sync import OffsetMeter, build_meter
from vasa.pretrained.matte import build_matte
from vasa.pretrained.third_party import file_hash

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What an input that nobody foresaw may make of the code: a row, not the end of the run."""
_log = logging.getLogger(__name__)


def prepare(run: PreprocessRun) -> Callable[[Job], JobDone]:
    """What a process does with a job, once its networks are read."""
    torch.set_num_threads(run.threads)
    cv2.setNumThreads(run.threads if run.threads > 1 else 0)
    if not run.data.root.is_dir():
        raise FileNotFoundError(f"data.root={run.data.root} is not seen here; every worker must see it.")
    return InputMaker(run)


class InputMaker:
    """``maker(job)`` -> what became of the input; its fragment is then there.

    used: the networks that clips depend on, name -> SHA-256. Raises: OSError where the fragment cannot be
    written; nothing that is the input's fault.
    """

    def __init__(self, run: PreprocessRun) -> None:
        self.run = run
        self._device = device = _device() if run.device == "auto" else run.device
        self._times = times = StepTimes()
        needs_sound = run.data.need_audio
        self._cutter = InputCutter(run.detector, run.size, run.segments, run.quality, needs_sound, times)
        self._signals = SignalEstimator(run.signals, device)
        self._meter: OffsetMeter | None
        self._meter, meter = build_meter(run.sync, device)
        self._matte = build_matte(run.matte, device) if run.masks else None
        files = {
            "detector": run.detector.scrfd or run.detector.landmarks,
            "iqa": run.quality.iqa,
            "matte": (run.matte.modnet or run.matte.weights) if run.masks else None,
        }
        hashes = {name: file_hash(path) for name, path in files.items() if path and path.is_file()}
        self.used = {**self._signals.used, **hashes, **({"syncnet": meter} if meter else {})}

    def __call__(self, job: Job) -> JobDone:
        try:
            return self._make(job)
        except FAULTS as error:
            stop_if_machines(error)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            _log.debug("%s", job.input.file, exc_info=True)
            note_failure(job, self.run.data.name, "failed", reason)
            return JobDone("failed", seconds=self._times.taken())

    def _make(self, job: Job) -> JobDone:
        found = self._cutter.cut(job.input)
        kept, poor = 0, ManifestRow(id="", kind="clip")
        with FragmentWriter(job.fragment) as fragment:
            for number, piece in enumerate(found):
                if isinstance(piece, Outcome):
                    row = _input_row(self.run, job, piece, kept, poor)
                    fragment.note(row)
                    continue
                made = self._made(job, piece, number)
                if isinstance(made, Sample):
                    fragment.add(made)
                    kept += 1
                else:
                    fragment.note(made)
                    poor = made
        return JobDone(row.status, kept, row.seconds, self._times.taken())

    def _made(self, job: Job, piece: Piece, number: int) -> Sample | ManifestRow:
        """A clip, or the row that says why a stretch is none."""
        row = _clip_row(self.run, job, piece, number)
        if piece.status != KEPT:
            return row
        assert piece.frames is not None
        step = self._times.step
        with step(SIGNALS):
            signals = self._signals(piece.frames)
        wrong = self._add_signals(row, signals)
        if wrong is None:
            with step(OFFSET):
                sound, wrong = self._in_step(row, piece, signals)
        if wrong:
            row.status, row.reason = wrong
            return row
        with step(MASKS):
            masks = self._masks(piece.frames)
        with step(ENCODE):
            arrays = {name: value.float().numpy() for name, value in signals.tensors().items()}
            return make_sample(row, piece.frames, sound, arrays, self.run.encode, masks)

    def _masks(self, frames: np.ndarray) -> np.ndarray | None:
        if self._matte is None:
            return None
        return masks_of(frames, self._matte, self.run.mask_stride, self._device)

    def _add_signals(self, row: ManifestRow, signals: ClipSignals) -> tuple[str, str] | None:
        """The clip's conditions and ranges into its row; (status, sentence) where a rule stops it."""
        row.yaw_range, row.pitch_range = (pose_range(signals.pose[:, axis].numpy()) for axis in (0, 1))
        row.gaze_yaw, row.gaze_pitch = signals.main_gaze.tolist()
        row.distance = float(signals.mean_distance)
        row.emotion = signals.mean_emotion.tolist()
        who, least = signals.identity, self.run.min_agreement
        if who is not None and who.agreement < least:
            return "two_people", f"looks agree on who it is by {who.agreement:.2f}; wanted at least {least:g}"
        return why_turned(row.yaw_range, row.pitch_range, self.run.quality)

    def _in_step(
        self, row: ManifestRow, piece: Piece, signals: ClipSignals
    ) -> tuple[np.ndarray, tuple[str, str] | None]:
        """The clip's sound, moved into step with its lips where that was measured and is believed."""
        sound = piece.sound_at(0)
        if self._meter is None:
            return sound, None
        assert piece.frames is not None
        found, least = self._meter(piece.frames, signals.landmarks, sound), self.run.min_sync_confidence
        if found is None:
            words = f"{piece.seconds:.2f} s are too short to tell whether lips and sound are in step"
            return sound, ("out_of_step", words) if least > 0 else None
        row.sync_confidence = found.confidence
        row.sync_offset_frames = float(found.frames if found.believed else 0)
        if found.confidence < least:
            words = f"lips and sound are in step with a confidence of {found.confidence:.2f}"
            return sound, ("out_of_step", f"{words}; wanted at least {least:g}")
        return piece.sound_at(-int(row.sync_offset_frames)), None


def _device() -> str:
    """Processes of one machine are spread over its GPUs."""
    count = torch.cuda.device_count()
    return f"cuda:{os.getpid() % count}" if count else "cpu"


def _clip_row(run: PreprocessRun, job: Job, piece: Piece, number: int) -> ManifestRow:
    """The row of a stretch, as far as it came. Its number counts all stretches of the input."""
    row = ManifestRow(
        id=f"{job.input.id}-{number:04d}",
        kind="clip",
        source=run.data.name,
        file=job.input.file,
        speaker=as_text(job.input.speaker),
        split=job.split,
        status=piece.status,
        reason=piece.reason,
        start_s=round(piece.start_s, 3),
        seconds=round(piece.seconds, 3),
    )
    if piece.placement is not None:
        row.side_px = round(piece.placement.crop.side, 1)
        row.drift = round(piece.placement.drift, 4)
        row.stability_px = round(piece.placement.stability_px, 3)
    if piece.quality is not None:
        row.blur, row.brightness = round(piece.quality.blur, 5), round(piece.quality.brightness, 4)
        row.iqa = piece.quality.iqa
    return row


def _input_row(run: PreprocessRun, job: Job, outcome: Outcome, kept: int, poor: ManifestRow) -> ManifestRow:
    """The row of an input. poor: its last stretch that was rejected, the reason where none is left."""
    status, reason = outcome.status, outcome.reason
    if status == KEPT and not kept:
        status, reason = poor.status, poor.reason
    return ManifestRow(
        id=job.input.id,
        kind="input",
        source=run.data.name,
        file=job.input.file,
        speaker=as_text(job.input.speaker),
        split=job.split,
        status=status,
        reason=reason,
        seconds=round(outcome.seconds, 3),
        fps=outcome.fps,
        width=outcome.width,
        height=outcome.height,
    )
