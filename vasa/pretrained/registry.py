"""Every frozen network this project can use: name, file, source, licence, who needs it, and where it is
looked for.

Ours ship with the project, but for teacher_identity, which scripts/train_judges.py trains. Third-party files
are never fetched by themselves: a missing one is an error that says what to put where (``scripts/weights.py
action=fetch`` gets those with a direct address). A network that no code here loads yet is not listed.
No file runs code when it is read: all are safetensors, ONNX, or PyTorch files read with torch's
``weights_only``. For vgg_face, syncnet_v2 and i3d no hash is listed: that alone makes them safe to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

JUDGE_DIR = Path("checkpoints/judges")
OURS = "trained by scripts/train_judges.py on procedural people"


LICENCE_POLICIES = ("any", "commercial_ok")
OXFORD = "https://www.robots.ox.ac.uk"


@dataclass(frozen=True, slots=True)
class FrozenNetwork:
    """One frozen network.

    file: its name in the folder it is looked for in. role: aligner, judge, teacher, detector, signal, matte,
    speech, metric. commercial: whether its licence allows commercial use; what is not stated is not allowed.
    place: where it is looked for, see store.py; "" where an option must name it. url: its direct address,
    with ``#member`` where it lies in an archive. sha256: hexadecimal digits its own begins with, only where
    somebody who has the file says so (hash_source); md5 likewise. "": the first use records it on this
    machine. instead: the option that does without it.
    """

    name: str
    file: str
    source: str
    licence: str
    role: str
    needed_by: str
    commercial: bool = False
    place: str = ""
    url: str = ""
    sha256: str = ""
    md5: str = ""
    hash_source: str = ""
    instead: str = ""

    @property
    def is_ours(self) -> bool:
        return self.source == OURS


def _ours(name: str, role: str, needed_by: str) -> FrozenNetwork:
    return FrozenNetwork(
        name, f"{name}.safetensors", OURS, "Apache-2.0", role, needed_by, commercial=True, place="judges"
    )


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
        _ours("matte", "matte", "infer.py background=plate where no MODNet file is given"),
        _ours(
            "teacher_expression",
            "teacher",
            "gaze, blinks and emotion of clips; losses.expression; losses.gaze with teachers.gaze=standin",
        ),
        _ours("teacher_emotion", "teacher", "the emotion of clips where signals.emotion names no file"),
        _ours(
            "teacher_identity",
            "teacher",
            "teachers.face=standin, teachers.identity=standin, signals.identity=standin",
        ),
        FrozenNetwork(
            "vgg19",
            "vgg19-dcbb9e9d.pth",
            "torchvision, models.vgg19, IMAGENET1K_V1 (Simonyan and Zisserman 2015)",
            "BSD-3-Clause (torchvision); ImageNet",
            "teacher",
            "losses.perceptual of stage 1",
            commercial=True,
            place="torch",
            url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            sha256="dcbb9e9d",
            hash_source="its file name, as torchvision names files",
            instead="teachers.perceptual=standin",
        ),
        FrozenNetwork(
            "vgg_face",
            "vgg_face_dag.pth",
            "robots.ox.ac.uk/~albanie/pytorch-models.html, VGG Face (Parkhi et al. 2015)",
            "non-commercial research (VGG Face descriptor)",
            "teacher",
            "losses.face of stage 1",
            place="torch",
            url=f"{OXFORD}/~albanie/models/pytorch-mcn/vgg_face_dag.pth",
            instead="teachers.face=standin",
        ),
        FrozenNetwork(
            "rt_gene",
            "gaze_model_pytorch_vgg16_prl_mpii_allsubjects1.model",
            "github.com/Tobias-Fischer/rt_gene (Fischer et al. 2018), download_tools.py",
            "CC BY-NC-SA 4.0",
            "teacher",
            "losses.gaze of stage 1",
            place="torch",
            url="https://imperialcollegelondon.box.com/shared/static/6rvctw7wmkpl7a9bw9hm1b9b7dwntfut.model",
            md5="ae435739673411940eed18c98c29bfb1",
            hash_source="its project's download_tools.py",
            instead="teachers.gaze=standin",
        ),
        FrozenNetwork(
            "scrfd_2.5g",
            "scrfd_2.5g_kps.onnx",
            "github.com/deepinsight/insightface, model zoo, detection/scrfd",
            "non-commercial research",
            "detector",
            "inference and preprocessing (detector.scrfd=FILE); optional",
        ),
        FrozenNetwork(
            "fan_3d",
            "3DFAN4-7835d9f11d.pth.tar",
            "github.com/1adrianb/face-alignment (Bulat and Tzimiropoulos 2017)",
            "BSD-3-Clause (code); not stated with the file",
            "signal",
            "landmarks and head pose of clips (signals.landmarks=FILE); landmarks.points68=FILE; optional",
            place="torch",
            url="https://www.adrianbulat.com/downloads/python-fan/3DFAN4-7835d9f11d.pth.tar",
            sha256="7835d9f11d",
            hash_source="its file name, as torch.hub names files",
            instead="signals.landmarks=standin",
        ),
        FrozenNetwork(
            "landmarks_203",
            "liveportrait/landmark.onnx",
            "huggingface.co/KwaiVGI/LivePortrait",
            "MIT (hub page)",
            "signal",
            "openings of eyes and lips in keypoint spaces (landmarks.points203=FILE); optional",
            commercial=True,
            place="published",
            url="https://huggingface.co/KwaiVGI/LivePortrait/resolve/main/liveportrait/landmark.onnx",
        ),
        FrozenNetwork(
            "landmarks_106",
            "2d106det.onnx",
            "github.com/deepinsight/insightface, model zoo, buffalo_l, alignment",
            "non-commercial research",
            "signal",
            "framing in keypoint spaces (landmarks.points106=FILE); optional",
            place="insightface",
            url="https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
            "#2d106det.onnx",
        ),
        FrozenNetwork(
            "l2cs_gaze360",
            "L2CSNet_gaze360.pkl",
            "github.com/Ahmednull/L2CS-Net (Abdelrahman et al. 2022), the Gaze360 model of its README",
            "MIT (code); Gaze360 is for research only",
            "signal",
            "gaze of clips (signals.gaze=FILE); optional",
            place="torch",
            sha256="8a7f3480d868dd48261e1d59f915b0ef0bb33ea12ea00938fb2168f212080665",
            hash_source="huggingface.co/spaces/FocusGuard/final_v2, commit a8d94d8",
            instead="signals.gaze=standin",
        ),
        FrozenNetwork(
            "hsemotion",
            "enet_b0_8_best_afew.onnx",
            "github.com/av-savchenko/face-emotion-recognition, affectnet_emotions/onnx (Savchenko 2021)",
            "Apache-2.0",
            "signal",
            "emotion of clips (signals.emotion=FILE); optional",
            commercial=True,
            place="hsemotion",
            url="https://github.com/av-savchenko/face-emotion-recognition/raw/main/models/affectnet_emotions/"
            "onnx/enet_b0_8_best_afew.onnx",
            instead="signals.emotion=standin",
        ),
        FrozenNetwork(
            "modnet",
            "modnet_photographic_portrait_matting.onnx",
            "github.com/ZHKKKe/MODNet (Ke et al. 2022), the ONNX file its onnx/README.md links",
            "Apache-2.0",
            "matte",
            "infer.py background=plate matte.modnet=FILE; optional",
            commercial=True,
        ),
        FrozenNetwork(
            "syncnet_v2",
            "syncnet_v2.model",
            "robots.ox.ac.uk/~vgg/software/lipsync (Chung and Zisserman 2016), data/syncnet_v2.model",
            "not stated with the file; its code MIT",
            "metric",
            "metrics=[sync] and the offset of clips (sync.weights=FILE); optional",
            place="torch",
            url=f"{OXFORD}/~vgg/software/lipsync/data/syncnet_v2.model",
        ),
        FrozenNetwork(
            "i3d",
            "i3d_pretrained_400.pt",
            "github.com/wilson1yan/VideoGPT (its FVD), from github.com/google-deepmind/kinetics-i3d",
            "Apache-2.0 (kinetics-i3d)",
            "metric",
            "metrics=[fvd]; optional",
            commercial=True,
        ),
        FrozenNetwork(
            "inception_fid",
            "weights-inception-2015-12-05-6726825d.pth",
            "github.com/toshas/torch-fidelity, releases (Heusel et al. 2017); pytorch-fid's file is the same",
            "Apache-2.0",
            "metric",
            "FID of reenactment; optional",
            commercial=True,
            place="torch",
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            sha256="6726825d",
            hash_source="its file name, as torch.hub names files",
        ),
        FrozenNetwork(
            "alexnet",
            "alexnet-owt-7be5be79.pth",
            "torchvision, models.alexnet, IMAGENET1K_V1",
            "BSD-3-Clause (code); ImageNet",
            "metric",
            "LPIPS of reenactment; optional",
            commercial=True,
            place="torch",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            sha256="7be5be79",
            hash_source="its file name, as torchvision names files",
        ),
        FrozenNetwork(
            "arcface_w600k_r50",
            "w600k_r50.onnx",
            "github.com/deepinsight/insightface, model zoo, buffalo_l, recognition",
            "non-commercial research",
            "teacher",
            "losses.cross_identity of stage 1; metrics of identity on real people where no loss used it",
            place="insightface",
            url="https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
            "#w600k_r50.onnx",
            sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
            hash_source="github.com/yakhyo/uniface, uniface/constants.py",
            instead="teachers.identity=standin",
        ),
        FrozenNetwork(
            "wav2vec2-base-960h",
            "wav2vec2-base-960h",
            "huggingface.co/facebook/wav2vec2-base-960h (Baevski et al. 2020)",
            "Apache-2.0",
            "speech",
            "speech.kind=wav2vec2; optional",
            commercial=True,
            place="huggingface",
        ),
        FrozenNetwork(
            "hubert-base-ls960",
            "hubert-base-ls960",
            "huggingface.co/facebook/hubert-base-ls960 (Hsu et al. 2021)",
            "Apache-2.0",
            "speech",
            "speech.kind=hubert; optional",
            commercial=True,
            place="huggingface",
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


def check_licence(names: Iterable[str], policy: str) -> None:
    """Refuses networks whose licence forbids what the policy asks for.

    names: in NETWORKS. policy: of LICENCE_POLICIES. Raises: ValueError naming each with the way without it.
    """
    if policy not in LICENCE_POLICIES:
        raise ValueError(f"licence is {policy!r}; wanted one of {', '.join(LICENCE_POLICIES)}.")
    forbidden = [NETWORKS[name] for name in names if not NETWORKS[name].commercial]
    if policy == "any" or not forbidden:
        return
    said = "; ".join(f"{n.name} ({n.licence}), without it: {n.instead or 'nothing'}" for n in forbidden)
    raise ValueError(f"licence=commercial_ok forbids {said}.")
