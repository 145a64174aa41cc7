"""The metrics that ``metrics=[...]`` names, built with the networks they need; each network is loaded once.

Published weights are used where their file is given; where it is not, our stand-ins, labelled as such.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vasa.checkpoint import content_hash, plain, versions
from vasa.device import choose_device
from vasa.metrics.capp import CappMetric
from vasa.metrics.config import MeasureConfig
from vasa.metrics.controls import ControlsMetric
from vasa.metrics.face_tracks import find_by_detector, find_by_landmarks
from vasa.metrics.fid import FidMetric, FrameFeatures, InceptionFeatures, StandInFrames
from vasa.metrics.fvd import FvdMetric, I3DFeatures, StandInFeatures, VideoFeatures
from vasa.metrics.identity import IdentityMetric, by_arcface, by_judge
from vasa.metrics.liveliness import LivelinessMetric, SeedSpread
from vasa.metrics.picture import LandmarkBoxes, PictureMetric
from vasa.metrics.pose_statistics import PoseMetric
from vasa.metrics.protocol import ClipMetric, SampleMetric, SetMetric, Unscored
from vasa.metrics.seen import Seen
from vasa.metrics.syncnet import SyncMetric
from vasa.metrics.truth import TruthMetric
from vasa.pretrained.arcface import ArcFace
from vasa.pretrained.capp import CappNet
from vasa.pretrained.detector import build_detector
from vasa.pretrained.judges import Judges
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import path_of
from vasa.pretrained.syncnet import SyncNet
from vasa.pretrained.third_party import file_hash

JUDGES = ("judge_pose", "judge_expression", "judge_emotion", "judge_identity")
Cut = Callable[[np.ndarray], np.ndarray]


class Catalogue:
    """Builds metrics of a run. cut: preprocess.framing.ClipFramer, or another way to cut faces."""

    def __init__(self, run: MeasureConfig, cut: Cut) -> None:
        self.run, self._cut = run, cut
        self.device = choose_device(run.device)

    def build(self) -> tuple[list[ClipMetric], list[SetMetric | SampleMetric]]:
        """The clip metrics and the set metrics that the run names.

        Raises: FileNotFoundError for weights that are missing, with what to put where.
        """
        clip_builders: dict[str, Callable[[], ClipMetric]] = {
            "sync": self._sync,
            "capp": self._capp,
            "pose": lambda: PoseMetric(self._seen),
            "identity": self._identity,
            "quality": self._picture,
            "liveliness": lambda: LivelinessMetric(self._seen),
            "controls": lambda: ControlsMetric(self._seen, self._uncut),
            "truth": lambda: TruthMetric(self._seen),
        }
        names = self.run.metrics
        clip_metrics = [clip_builders[name]() for name in names if name in clip_builders]
        set_metrics: list[SetMetric | SampleMetric] = [self._fvd()] if "fvd" in names else []
        if "quality" in names:
            set_metrics.append(self._fid())
        if "liveliness" in names:
            set_metrics.append(SeedSpread(self._seen))
        return clip_metrics, set_metrics

    # What metrics share

    def _framed(self, frames: np.ndarray) -> np.ndarray:
        try:
            return self._cut(frames)
        except ValueError as error:
            raise Unscored(str(error)) from error

    @cached_property
    def _judges(self) -> Judges:
        return Judges.from_pretrained(self.run.judges, self.device)

    @cached_property
    def _judges_hash(self) -> str:
        hashes = [content_hash(path_of(name, self.run.judges)) for name in JUDGES]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    @cached_property
    def _seen(self) -> Seen:
        finder = {"judges": self._judges_hash, "detector": self._detector_name}
        return Seen(self._judges, self._framed, finder)

    @cached_property
    def _uncut(self) -> Seen:
        return Seen(self._judges, lambda frames: frames, {"judges": self._judges_hash, "detector": "none"})

    @property
    def _detector_name(self) -> str:
        scrfd = self.run.detector.scrfd
        return f"scrfd {file_hash(scrfd)[:12]}" if scrfd is not None else "cascade, landmarks, or either"

    # Metrics

    def _sync(self) -> ClipMetric:
        config = self.run.sync
        path = config.weights or path_of("judge_sync", self.run.judges)
        if config.weights is not None:
            network, digest = SyncNet.from_published(path), file_hash(path)
            origin = "published weights"
        else:
            network, digest = SyncNet.from_pretrained(path), content_hash(path)
            origin = "quarter width, trained on synthetic clips: compare within this table only"
        detector = build_detector(self.run.detector)
        if detector.is_exact:
            find = find_by_detector(detector)
        else:
            aligner = path_of("landmarks", self.run.judges)
            find = find_by_landmarks(
                self._judges.pose,
                detector,
                self.run.detector.min_confidence,
                knower=LandmarkNet.from_pretrained(aligner).to(self.device),
            )
        finder = self._detector_name
        if not detector.is_exact:
            paths = [path_of(name, self.run.judges) for name in ("judge_pose", "landmarks")]
            finder += f" {' '.join(content_hash(path)[:12] for path in paths)}"
        return SyncMetric(
            network.to(self.device), config, find, origin=origin, weights_hash=digest, finder=finder
        )

    def _capp(self) -> ClipMetric:
        path = path_of("judge_capp", self.run.judges)
        identity = {"weights": content_hash(path), **self._seen.identity}
        network = CappNet.from_pretrained(path).to(self.device)
        return CappMetric(network, lambda frames: self._seen(frames).pose, identity)

    def _identity(self) -> ClipMetric:
        if self.run.arcface is not None:
            embed = by_arcface(self._seen, ArcFace(self.run.arcface))
            identity = {"weights": file_hash(self.run.arcface), **self._seen.identity}
            return IdentityMetric(embed, "ArcFace", identity)
        return IdentityMetric(by_judge(self._seen), "our identity judge", self._seen.identity)

    def _picture(self) -> ClipMetric:
        faces = LandmarkBoxes.from_pretrained(self.run.judges, self.device)
        return PictureMetric(faces, self.run.alexnet, self.device)

    def _fid(self) -> SetMetric:
        network: FrameFeatures = (
            InceptionFeatures(self.run.inception, self.device)
            if self.run.inception is not None
            else StandInFrames(StandInFeatures(self.run.judges, self.device))
        )
        return FidMetric(network, min_frames=self.run.min_frames, seed=self.run.seed)

    def _fvd(self) -> SetMetric:
        network: VideoFeatures = (
            I3DFeatures(self.run.i3d, self.device)
            if self.run.i3d is not None
            else StandInFeatures(self.run.judges, self.device)
        )
        return FvdMetric(network, self.run.min_windows, seed=self.run.seed)


def context_of(run: MeasureConfig, metrics: list[Any], job_list: Path | None = None) -> dict[str, Any]:
    """What a table was measured with, as plain data: options, versions, every metric's identity, and the hash
    of the list that the videos were made from, where there is one.
    """
    config = plain(run)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return {
        "config": config,
        "config_sha256": digest,
        "list_sha256": file_hash(job_list) if job_list is not None and job_list.is_file() else None,
        "versions": versions(),
        "metrics": {metric.name: metric.identity for metric in metrics},
    }
