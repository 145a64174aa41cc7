"""A face space that knows one person: their own portrait is rendered from the frames that are kept of them,
every other as the face space beside it renders it. Where eyes shall look or close farther than they ever did
in the person's video, the face space says what changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.checkpoint import CheckpointError, plain
from vasa.face.delegated import DelegatedFace
from vasa.face.volumetric.appearance import Appearance
from vasa.face.volumetric.autoencoder import FaceAutoencoder, at_rest
from vasa.face.volumetric.composition import freedom
from vasa.face.volumetric.person import PERSON_FILE, Person, PersonPixels, enlarged, resized

TINY = 1e-3
FULL_CHANGE = 0.25
"""Of a pixel, from which on the face space's is shown in place of the person's."""


def with_person(space: FaceAutoencoder, folder: Path) -> FaceAutoencoder | PersonalFace:
    """The face space of a checkpoint folder, with the person that the folder holds, if it does.

    Raises: CheckpointError for a person of another face space.
    """
    path = folder / PERSON_FILE
    if not path.is_file():
        return space
    person = Person.from_pretrained(path)
    if plain(person.face) != plain(space.config):
        raise CheckpointError(
            f"{path} was made for a face space of {person.size} px with other options than those of "
            f"face.safetensors beside it, of {space.size} px; personalise anew."
        )
    return PersonalFace(space, person.to(next(space.parameters()).device))


@dataclass(slots=True)
class PersonAppearance:
    """The person at one size of frames. motion (1, E): the portrait's. rest (1, 11): controls of the portrait
    that count as how this face looks at rest, which are added to what a motion says. plain: the portrait as
    the face space shows it. held (1, 3, H, H): the portrait, where frames must keep to it at their edges.
    """

    pixels: PersonPixels
    motion: Tensor
    rest: Tensor
    plain: Appearance
    held: Tensor | None = None


class PersonalFace(DelegatedFace):
    """A FaceSpace (face/space.py): ``space``, and beside it a person."""

    space: FaceAutoencoder

    def __init__(self, space: FaceAutoencoder, person: Person) -> None:
        super().__init__(space)
        self.person = person

    @property
    def portrait(self) -> np.ndarray:
        """The frame that stands for the person, uint8 (H, H, 3)."""
        return self.person.picture

    def is_portrait(self, picture: np.ndarray) -> bool:
        """Whether a picture (H, W, 3) is the person's own portrait, pixel by pixel."""
        return picture.shape == self.portrait.shape and bool((picture == self.portrait).all())

    def encode_person(self, size: int, resting: float = 0.0) -> PersonAppearance:
        """The person, for frames of ``size`` px or of what is kept of them if that is less. resting: as of
        ``encode``.
        """
        person = self.person
        index = int(person.portrait)
        motion, said = person.motion[index][None], person.controls[index][None]
        rest = said - at_rest(said, resting)
        shown = self.space.set_controls(motion, said - rest)
        pixels = person.pixels_at(max(min(size, person.side), self.size))
        small = pixels.small[index][None]
        plain = self.space.encode_with(small, small, motion[:, :6], motion[:, self.layout.dynamics])
        plain.photograph = torch.ones_like(plain.photograph)
        return PersonAppearance(pixels, shown, rest, plain)

    def own_motion(self, appearance: Any) -> Tensor:
        if isinstance(appearance, PersonAppearance):
            return appearance.motion
        return self.space.own_motion(appearance)

    def hold_edges(self, appearance: Any) -> Any:
        if not isinstance(appearance, PersonAppearance):
            return self.space.hold_edges(appearance)
        still = self.person.frames[int(self.person.portrait)][None].float() / 127.5 - 1
        return replace(appearance, held=resized(still, appearance.pixels.side))

    def ready(self, appearance: Any) -> Any:
        if not isinstance(appearance, PersonAppearance):
            return self.space.ready(appearance)
        return replace(appearance, plain=self.space.ready(appearance.plain))

    def replayable(self, appearance: Any) -> bool:
        return not isinstance(appearance, PersonAppearance) and self.space.replayable(appearance)

    def motion(self, images: Tensor) -> Tensor:
        """As the person's own encoders see it."""
        return self.person.read(resized(images, self.size))

    def render(self, appearance: Any, motion: Tensor) -> Tensor:
        if not isinstance(appearance, PersonAppearance):
            return self.space.render(appearance, motion)
        person = self.person
        asked = self.space.controls(motion) + appearance.rest
        within = torch.where(person.of_eyes, asked.clamp(person.least, person.most), asked)
        looks = torch.where(person.of_lids, within, asked)
        with torch.autocast(motion.device.type, enabled=False):
            near, aside, far = (
                self.space.set_controls(motion.float(), said) for said in (within, looks, asked)
            )
        made = person(appearance.pixels, near, within)
        if bool(((asked - within).abs() > TINY).any()):
            made = self._beyond(appearance, made, near, aside, far)
        return made if appearance.held is None else torch.lerp(appearance.held, made, freedom(made))

    def _beyond(
        self, appearance: PersonAppearance, made: Tensor, near: Tensor, aside: Tensor, far: Tensor
    ) -> Tensor:
        """``made`` (B, 3, H, H) with what the face space, which has seen many people, knows: what changes as
        eyes go on from motion ``near``, that the video shows, to ``aside`` is added, and where lids then go
        on to ``far`` its own picture is shown, because lids hide what was there.
        """
        shown = [self.space.render(appearance.plain, motion).float() for motion in (near, aside, far)]
        side = appearance.pixels.side
        made = (made + enlarged(shown[1] - shown[0], side)).clamp(-1, 1)
        share = ((shown[2] - shown[1]).abs().amax(1, keepdim=True) / FULL_CHANGE).clamp(max=1)
        share = F.avg_pool2d(F.max_pool2d(share, 3, 1, 1), 3, 1, 1)
        return torch.lerp(made, enlarged(shown[2], side), enlarged(share, side))
