"""Identities: who the procedural heads are. Parameters are drawn from seeds; geometry and textures are made
once, when needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vasa.data.synthetic import anatomy, expression, landmarks
from vasa.data.synthetic.parameters import PARAMETER_INDEX, draw_parameters
from vasa.data.synthetic.textures import Painter
from vasa.records import NUM_CONTROLS

KEPT_IDENTITIES = 192
"""Geometry and textures of so many identities are kept; older ones are made again when needed (they are pure
functions)."""


class _Memory:
    """What identities made together share: geometry by row, textures by (row, size)."""

    def __init__(self) -> None:
        self.entries: OrderedDict[tuple, object] = OrderedDict()

    def get(self, keys: list[tuple], make) -> list:
        missing = [key for key in dict.fromkeys(keys) if key not in self.entries]
        if missing:
            self.entries.update(zip(missing, make(missing), strict=True))
        for key in keys:
            self.entries.move_to_end(key)
        found = [self.entries[key] for key in keys]
        while len(self.entries) > 3 * KEPT_IDENTITIES:
            self.entries.popitem(last=False)
        return found


@dataclass(slots=True)
class Identities:
    """B people. values (B, P): parameters in the order of PARAMETER_INDEX; seeds (B,) int64; mode: portrait
    or randomised.

    Indexing and slicing give Identities again; geometry and textures are shared between them.
    """

    values: Tensor
    seeds: Tensor
    mode: str
    memory: _Memory = field(default_factory=_Memory, repr=False)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Identities:
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(-1, None)
        if isinstance(index, Tensor):
            return Identities(
                self.values[index], self.seeds[index.to(self.seeds.device)], self.mode, self.memory
            )
        return Identities(self.values[index], self.seeds[index], self.mode, self.memory)

    def to(self, device: torch.device | str) -> Identities:
        if torch.device(device) == self.values.device:
            return self
        return Identities(self.values.to(device), self.seeds, self.mode)

    @property
    def device(self) -> torch.device:
        return self.values.device

    def parameter(self, name: str) -> Tensor:
        """One identity parameter (B,)."""
        return self.values[:, PARAMETER_INDEX[name]]

    def geometry(self) -> anatomy.Geometry:
        """Neutral geometry of every identity, repeated ones made once."""
        keys = [("geometry", int(seed)) for seed in self.seeds]

        def make(missing: list[tuple]) -> list[anatomy.Geometry]:
            rows = torch.tensor([keys.index(key) for key in missing], device=self.device)
            built = anatomy.build_geometry(self.values[rows])
            return [built.rows(slice(i, i + 1)) for i in range(len(missing))]

        parts = self.memory.get(keys, make)
        if len(parts) == 1:
            return parts[0]
        return anatomy.Geometry(
            *(torch.cat([getattr(p, name) for p in parts]) for name in anatomy.Geometry.__slots__)
        )

    def textures(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Atlases (U, size, 2 size, 4) and backgrounds (U, 3, size, size), uint8, of the distinct identities,
        and their rows (B,)."""
        keys = [("texture", int(seed), size) for seed in self.seeds]
        distinct = list(dict.fromkeys(keys))
        made = self.memory.get(
            distinct, lambda missing: [self._paint(keys.index(key), size) for key in missing]
        )
        rows = torch.tensor([distinct.index(key) for key in keys], device=self.device)
        if len(made) == 1:
            return made[0][0][None], made[0][1][None], rows
        return torch.stack([m[0] for m in made]), torch.stack([m[1] for m in made]), rows

    def _paint(self, row: int, size: int) -> tuple[Tensor, Tensor]:
        painter = Painter(self.values[row], int(self.seeds[row]), self.mode, size)
        background = (painter.background(size) * 255).round().to(torch.uint8)
        return painter.atlas().to(self.device), background.to(self.device)


def make_identities(
    seeds: Sequence[int], mode: str = "portrait", device: torch.device | str = "cpu"
) -> Identities:
    """One identity per seed; the same seed and mode give the same person everywhere.

    Raises:
        ValueError: on an unknown mode or no seeds.
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ValueError("seeds is empty; wanted at least one integer.")
    return Identities(draw_parameters(seeds, mode).to(device), torch.tensor(seeds), mode)


def neutral_landmarks(identities: Identities) -> Tensor:
    """Head-frame landmarks (B, 68, 3) of the neutral face: eyes open, mouth closed."""
    controls = torch.zeros(len(identities), NUM_CONTROLS, device=identities.device)
    return landmarks.landmarks_3d(expression.pose_vertices(identities.geometry(), controls))
