"""What a video says of its origin, and whether that is true of these pictures and this sound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasa.inference.provenance import ENDING, TAG, file_hash, read_sidecar, sidecar_of
from vasa.video import Content, content_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """is_as_made: the pictures and the sound are those that a claim was made for. text: a paragraph."""

    is_as_made: bool
    text: str


def verify(video: Path, sidecars: Path | None = None) -> Verdict:
    """Reads the claims inside and beside a video and holds its content against them.

    sidecars: folder in which, and below which, a sidecar is searched by hash, where none of the video's own
    name fits; None: the video's own folder alone. Raises: FileNotFoundError; ValueError where it is no video.
    """
    content, whole = content_of(video), file_hash(video)
    inside = _inside(content.tags)
    beside, path = _beside(video, content, whole, sidecars)
    named = repr(video.name)
    if inside is None and beside is None:
        return Verdict(
            False,
            f"{named} says nothing of its origin: there is no claim of vasa inside it and no sidecar beside "
            "it that fits. That proves neither that it is real nor that it is generated.",
        )
    claim = beside if beside is not None else inside
    assert claim is not None
    describes = f"its sidecar {path.name} describes" if path else "the text inside it describes"
    origin, lost = _origin(claim, content), [what for what, kept in _kept(claim, content).items() if not kept]
    if lost:
        return Verdict(
            False,
            f"{named} was ALTERED after it was made: {' and '.join(lost)} not what {describes} (encoded "
            f"anew, cut or exchanged). This is said of the original only: {origin}",
        )
    if beside is None:
        known = "No sidecar was found, so the names and the settings of its inputs are not known."
    elif inside is None:
        known = "The text inside it was taken away."
    else:
        agrees = _bound(inside) == _bound(claim)
        known = f"The text inside it {'agrees' if agrees else 'names other pictures or another sound'}."
    if beside is not None and beside["video"].get("sha256") == whole:
        return Verdict(True, f"{origin} {named} is, to the byte, the file that {describes}. {known}")
    return Verdict(
        True,
        f"{origin} {named} shows the same pictures and has the same sound as the file that {describes}, in a "
        f"container or with texts of its own. {known}",
    )


def _inside(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """The claim in the file's own texts."""
    try:
        claim = json.loads(tags.get(TAG, ""))
    except ValueError:
        return None
    return claim if _is_claim(claim) else None


def _is_claim(content: Any) -> bool:
    """Whether what a file says has the form of a claim: anybody may have written it."""
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        return False
    named, inputs = content.get("inputs", {}), content.get("inputs_sha256", {})
    if not isinstance(named, dict) or not isinstance(inputs, dict) or _bound(content)[0] is None:
        return False
    return all(isinstance(known, dict) and "sha256" in known for known in named.values())


def _beside(
    video: Path, content: Content, whole: str, folder: Path | None
) -> tuple[dict[str, Any] | None, Path | None]:
    """The sidecar that fits best: by the file's hash, then by its pictures; else the one of its name, which
    an altered video no longer fits.
    """
    by_name: tuple[dict[str, Any] | None, Path | None] = (None, None)
    by_pictures = by_name
    for path in _candidates(video, folder):
        known = read_sidecar(path)
        if known is None or not _is_claim(known):
            continue
        if known["video"].get("sha256") == whole:
            return known, path
        if known["video"].get("pictures_sha256") == content.pictures_sha256 and by_pictures[0] is None:
            by_pictures = known, path
        if path == sidecar_of(video):
            by_name = known, path
    return by_pictures if by_pictures[0] is not None else by_name


def _candidates(video: Path, folder: Path | None) -> Iterator[Path]:
    own = sidecar_of(video)
    if own.is_file():
        yield own
    others = video.parent.glob(f"*{ENDING}") if folder is None else folder.rglob(f"*{ENDING}")
    yield from (path for path in sorted(others) if path != own)


def _bound(claim: Mapping[str, Any]) -> tuple[Any, Any]:
    held = claim.get("video", claim)
    return held.get("pictures_sha256"), held.get("sound_sha256")


def _kept(claim: Mapping[str, Any], content: Content) -> dict[str, bool]:
    """Whether what a claim was made for is still there, as the subject of a sentence."""
    pictures, sound = _bound(claim)
    return {
        "its pictures are": pictures == content.pictures_sha256,
        "its sound is": sound == content.sound_sha256,
    }


def _origin(claim: Mapping[str, Any], content: Content) -> str:
    """Who made it of what, in a sentence."""
    model = dict(claim.get("model", {}))
    name, hashes = model.pop("name", "unnamed"), [str(value)[:12] for value in model.values()]
    inputs = claim.get("inputs") or {
        option: {"sha256": digest} for option, digest in claim.get("inputs_sha256", {}).items()
    }
    made_of = [
        " ".join([option, *(str(k[key])[:40] for key in ("name", "made") if key in k), str(k["sha256"])[:12]])
        for option, k in inputs.items()
    ]
    return (
        f"AI-generated, {content.num_frames} frames, made by {claim.get('made_with')} with checkpoint {name} "
        f"({', '.join(hashes) or 'no hash'}) and seed {claim.get('seed')} of "
        f"{', '.join(made_of) or 'nothing named'}."
    )
