"""Every frozen network this project can use: name, file, source, licence, who needs it, and where it is
looked for.

Ours ship with the project. Third-party files are never fetched by themselves: a missing one is an error
that says what to put where. A network that no code here loads yet is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

JUDGE_DIR = Path("checkpoints/judges")
OURS = "trained by scripts/train_judges.py on procedural people"


@dataclass(frozen=True, slots=True)
class FrozenNetwork:
    """One frozen network.

    File: its name in the folder it is looked for in. role: aligner, judge, teacher, detector, speech, metric.
    """

    name: str
    file: str
    source: str
    licence: str
    role: str
    needed_by: str

    @property
    def is_ours(self) -> bool:
        return self.source == OURS


def _ours(name: str, role: str, needed_by: str) -> FrozenNetwork:
    return FrozenNetwork(name, f"{name}.safetensors", OURS, "Apache-2.0", role, needed_by)


NETWORKS = {
    network.name: network
    for network in (
        _ours("landmarks", "aligner", "inference and preprocessing where no detector file is given"),
        _ours("judge_pose", "judge", "metrics of pose, distance and jitter; crops of the other judges"),
        _ours("judge_expression", "judge", "metrics of mouth, eyes and gaze"),
        _ours("judge_emotion", "judge", "metrics of the emotion condition"),
        _ours("judge_identity", "judge", "metrics of identity"),
        _ours("judge_sync", "judge", "metrics of lip sync where the published SyncNet is missing"),
        _ours("judge_video", "judge", "FVD and FID where the published networks are missing"),
        _ours("judge_capp", "judge", "metrics of head motion against speech"),
        _ours("teacher_expression", "teacher", "losses of stage 1 on expression and gaze"),
        _ours("teacher_identity", "teacher", "l_cross_id of stage 1"),
        FrozenNetwork(
            "scrfd_2.5g",
            "scrfd_2.5g_kps.onnx",
            "github.com/deepinsight/insightface, model zoo, detection/scrfd",
            "non-commercial research",
            "detector",
            "inference and preprocessing (detector.scrfd=FILE); optional",
        ),
        FrozenNetwork(
            "syncnet_v2",
            "syncnet_v2.model",
            "robots.ox.ac.uk/~vgg/software/lipsync (Chung and Zisserman 2016), data/syncnet_v2.model",
            "not stated with the file; its code MIT",
            "metric",
            "metrics=[sync] with sync.weights=FILE; optional",
        ),
        FrozenNetwork(
            "i3d",
            "i3d_pretrained_400.pt",
            "github.com/wilson1yan/VideoGPT (its FVD), from github.com/google-deepmind/kinetics-i3d",
            "Apache-2.0 (kinetics-i3d)",
            "metric",
            "metrics=[fvd]; optional",
        ),
        FrozenNetwork(
            "inception_fid",
            "weights-inception-2015-12-05-6726825d.pth",
            "github.com/toshas/torch-fidelity, releases (Heusel et al. 2017); pytorch-fid's file is the same",
            "Apache-2.0",
            "metric",
            "FID of reenactment; optional",
        ),
        FrozenNetwork(
            "alexnet",
            "alexnet-owt-7be5be79.pth",
            "torchvision, models.alexnet, IMAGENET1K_V1",
            "BSD-3-Clause (code); ImageNet",
            "metric",
            "LPIPS of reenactment; optional",
        ),
        FrozenNetwork(
            "arcface_w600k_r50",
            "w600k_r50.onnx",
            "github.com/deepinsight/insightface, model zoo, buffalo_l, recognition",
            "non-commercial research",
            "judge",
            "metrics of identity on real people; optional",
        ),
        FrozenNetwork(
            "wav2vec2-base-960h",
            "wav2vec2-base-960h",
            "huggingface.co/facebook/wav2vec2-base-960h (Baevski et al. 2020)",
            "Apache-2.0",
            "speech",
            "speech.kind=wav2vec2; optional",
        ),
        FrozenNetwork(
            "hubert-base-ls960",
            "hubert-base-ls960",
            "huggingface.co/facebook/hubert-base-ls960 (Hsu et al. 2021)",
            "Apache-2.0",
            "speech",
            "speech.kind=hubert; optional",
        ),
    )
}


def path_of(name: str, folder: str | Path | None = None) -> Path:
    """Where a network's file is.

    Raises: ValueError for an unknown name; FileNotFoundError saying what to put where.
    """
    if name not in NETWORKS:
        raise ValueError(f"frozen network {name!r} is unknown; wanted one of {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    path = Path(folder if folder is not None else JUDGE_DIR) / network.file
    if not path.exists():
        train = f"run `python scripts/train_judges.py only=[{name}]`"
        cure = train if network.is_ours else f"get it from {network.source}"
        raise FileNotFoundError(
            f"{path} is missing ({network.role}, needed by {network.needed_by}); {cure} and put it there."
        )
    return path


def markdown() -> str:
    """The table of all frozen networks."""
    lines = ["| name | role | source | licence | needed by |", "|---|---|---|---|---|"]
    for n in NETWORKS.values():
        lines.append(f"| {n.name} | {n.role} | {n.source} | {n.licence} | {n.needed_by} |")
    return "\n".join(lines) + "\n"
