"""What a metric of ``scripts/eval.py`` is: a clip goes in, named numbers or a reason come out.

A clip metric scores one clip at a time; a set metric takes features of each clip and scores two sets of them.
Neither knows where videos come from, and what it cannot score it says with ``Unscored``: the table counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor


class Unscored(Exception):  # noqa: N818  (a result that the table counts, no defect)
    """This clip cannot be scored by this metric; the text says why, in a few words, for the table."""


@dataclass(slots=True, kw_only=True)
class EvalClip:
    """One video to measure, brought to 25 fps and 16 kHz.

    frames: uint8 (T, H, W, 3) RGB. audio: float32 (N,) in [-1, 1] at AUDIO_HZ, or None for a silent file.
    name: its file's stem. reference: frames of the true video of the same moment, uint8 (T, H', W', 3), or
    None. portrait: the picture it was made from, uint8 (H'', W'', 3), or None. asked: the job file's content
    (inference/jobs.py), empty where there is none. source_fps: the file's own rate.
    """

    name: str
    frames: np.ndarray
    audio: np.ndarray | None = None
    reference: np.ndarray | None = None
    portrait: np.ndarray | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    source_fps: float = 25.0


class ClipMetric(Protocol):
    """Scores one clip. name: as in ``metrics=[...]``. identity: everything a score depends on beside the clip
    (weights' hashes, protocol, options), as plain data: caches are keyed by it. label: which network measures
    and what its numbers may be compared with, for the table.
    """

    name: str

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def label(self) -> str: ...

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """Numbers by column. Raises: Unscored."""
        ...


@runtime_checkable
class RowMetric(Protocol):
    """What a ClipMetric also is that can say more of a whole row than means: how far videos follow what was
    asked.
    """

    def of_row(
        self,
        asked: Sequence[Mapping[str, Any]],
        columns: Sequence[Mapping[str, float]],
        true: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, float]]] | None = None,
    ) -> dict[str, float]:
        """Numbers by column, of the job files' contents and ``measure``'s numbers of the clips scored. true:
        the same of the row of true renders (sources.TRUE_ROW), where there is one and this is another.
        """
        ...


class FeatureMetric(Protocol):
    """Scores sets of clips by features that are computed once per clip."""

    name: str

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def label(self) -> str: ...

    def features(self, clip: EvalClip) -> Tensor:
        """Features (n, D) of a clip, float32 on the CPU. Raises: Unscored."""
        ...


@runtime_checkable
class SampleMetric(FeatureMetric, Protocol):
    """Compares samples of one job with each other (other seeds, same sound)."""

    def spread(self, samples: list[Tensor]) -> dict[str, float]:
        """Numbers by column of at least two samples of one job."""
        ...


class SetMetric(FeatureMetric, Protocol):
    """Scores a set of clips against a reference set."""

    def score(self, made: list[Tensor], real: list[Tensor]) -> dict[str, float]:
        """Numbers by column for two sets of clips' features, NaN where there are too few (see ``label``)."""
        ...
