"""``benchmark.py all vs=COMMIT``: is this tree faster than that commit, and by how much, surely?

The commit is checked out into a temporary worktree of git; the caller's files stay as they are. Then each
tree's own code makes the same video of the same portrait, sound and checkpoint, in fresh processes and in
turns (A B, B A, A B ...), because a process may be fast or slow for its whole life. A round is one process of
each tree.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import soundfile
from PIL import Image

from vasa.benchmark.config import BenchmarkAllRun
from vasa.benchmark.everything import context, heading, write
from vasa.benchmark.everything_table import table
from vasa.benchmark.paired import NOTE, Ratio, ratio_of
from vasa.benchmark.startup import ROOT, fresh_environment
from vasa.checkpoint import atomic_path
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.progress import Progress
from vasa.records import AUDIO_HZ

VIDEOS = 3
"""That a process makes for one measurement, whose median counts, after one that is not counted."""
MEASURES = {
    "wall": "a video, seconds of the wall",
    "cpu": "a video, seconds of processors",
    "start": "import, load and a first video, seconds of the wall",
}


@dataclass(slots=True)
class Comparison:
    """seconds: of both trees, by measure, round by round. ratios: the commit's over this tree's, so that 2 is
    twice as fast as it was.
    """

    commit: str
    this: str
    frames: int = 0
    seconds: dict[str, tuple[list[float], list[float]]] = field(
        default_factory=lambda: {name: ([], []) for name in MEASURES}
    )

    @property
    def ratios(self) -> dict[str, Ratio]:
        return {name: ratio_of(*both) for name, both in self.seconds.items()}


def benchmark_revisions(run: BenchmarkAllRun) -> str:
    """Compares, writes vs.json and vs.md, and gives the latter's text.

    Raises: ValueError where this is no clone, the commit is unknown or the clone lacks it; OSError where
    either tree cannot make the video, with its last words.
    """
    assert run.vs is not None
    commit = commit_of(run.vs)
    with tempfile.TemporaryDirectory(prefix="vasa-versus-") as made:
        folder = Path(made)
        options = _options(run, folder)
        with worktree(commit, folder / "tree") as tree:
            trees = (tree, ROOT)
            found = race(
                lambda place: _measured(trees[place], options, folder), run.rounds, commit, _this_tree()
            )
    text = _text(run, found)
    ratios = {name: asdict(ratio) for name, ratio in found.ratios.items()}
    write(run, "vs", {"context": context(run), "ratios": ratios, **asdict(found)}, text)
    return text


def race(measure: Callable[[int], dict[str, Any]], rounds: int, commit: str, this: str) -> Comparison:
    """Measures both in turns, the commit (place 0) and this tree (1); every other round begins with the
    other, so that a machine that grows slower is unfair to neither.
    """
    found = Comparison(commit, this)
    with Progress("processes", 2 * (rounds + 1)) as shown:
        for number in range(rounds + 1):
            for turn, place in enumerate((0, 1) if number % 2 == 0 else (1, 0)):
                one = measure(place)
                shown(2 * number + turn + 1)
                if number == 0:  # fills the caches of the disk and of compiled modules
                    continue
                found.frames = one["frames"]
                for name, seconds in _medians(one).items():
                    found.seconds[name][place].append(seconds)
    return found


def _medians(one: dict[str, Any]) -> dict[str, float]:
    return {"wall": median(one["wall_s"]), "cpu": median(one["cpu_s"]), "start": one["start_s"]}


def commit_of(name: str) -> str:
    """The whole name of a commit. Raises: ValueError where there is no clone, or no such commit in it."""
    if _git("rev-parse", "--show-toplevel").returncode:
        raise ValueError(
            f"vs={name} wants a git clone, and {ROOT} is none (or git is not installed); clone the project "
            "with its history."
        )
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode:
        raise ValueError(
            f"vs={name} is no commit that this clone knows; wanted a hash, branch or tag of `git log --all` "
            "(git fetch --unshallow brings what a shallow clone lacks)."
        )
    return done.stdout.strip()


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """A commit's files in a folder, until the block is left, however it is left.

    Raises: OSError where git cannot check it out.
    """
    try:
        done = _git("worktree", "add", "--detach", "--force", str(folder), commit)
        if done.returncode:
            why = done.stderr.strip() or "it said nothing"
            raise OSError(f"git cannot check out {commit}: {why.splitlines()[-1]}")
        yield folder
    finally:
        # twice: git locks a worktree while it is being made, and may have been stopped in that
        _git("worktree", "remove", "--force", "--force", str(folder))


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    """In a group of its own: Ctrl-C is for us, who then take the worktree away."""
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, process_group=0
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "git is not installed")


def _this_tree() -> str:
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").stdout.strip()


def _options(run: BenchmarkAllRun, folder: Path) -> dict[str, Any]:
    """Of infer.py, the same for both: files, because each tree may draw its own portrait otherwise."""
    image, audio, size = folder / "portrait.png", folder / "speech.wav", run.sizes_px[0]
    if run.image is None:
        with atomic_path(image) as temporary:
            Image.fromarray(demo_portrait(0, size)[0]).save(temporary)
    with atomic_path(audio) as temporary:
        soundfile.write(temporary, demo_speech(0, run.clip_seconds), AUDIO_HZ)
    return {
        "image": str((run.image or image).resolve()),
        "audio": str(audio),
        "checkpoint": str(run.checkpoint.resolve()),
        "device": run.device,
        "threads": run.threads,
        "fast": bool(run.fast),
        "size": size,
        "batch_frames": run.batch_sizes[-1],
        "allow_centre_crop": True,
    }


def _measured(tree: Path, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One process of a tree. Raises: OSError where it fails."""
    program = Path(__file__).with_name("contestant.py")
    # -P: modules beside the program, which are of another tree, are not found by their short names
    command = [sys.executable, "-P", str(program), json.dumps(options), str(VIDEOS), str(folder)]
    environment = fresh_environment(tree, folder / "bytecode")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env=environment)
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode:
        which = "this tree" if tree == ROOT else "the commit of vs"
        raise OSError(f"{which} cannot make the video: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    assert Path(found["from"]).is_relative_to(tree), f"{found['from']} is not of {tree}"
    return found


def _text(run: BenchmarkAllRun, found: Comparison) -> str:
    rows = [
        [
            MEASURES[name],
            *(f"{median(seconds):.3f}" for seconds in found.seconds[name]),
            f"{ratio.value:.3f}",
            f"{ratio.low:.3f} to {ratio.high:.3f}",
        ]
        for name, ratio in found.ratios.items()
    ]
    lines = [
        heading(context(run)),
        f"A: {run.vs} ({found.commit}); B: this tree ({found.this}). {found.frames} frames at "
        f"{run.sizes_px[0]} px, {run.rounds} rounds, a process of each tree in a round, {VIDEOS} videos in a "
        f"process. A/B: how many times as fast B is. {NOTE}",
        "",
        *table(["", "A", "B", "A/B", "95 % interval"], rows),
    ]
    return "\n".join(lines)
