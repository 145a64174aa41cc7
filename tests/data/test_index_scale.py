"""An index of 1.2 million made-up clips: opened in time and memory, and read for long without growing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clip_folders import clip, write_folder

from vasa.data.manifest import MANIFEST, kept_clips, read_table

CLIPS, SPEAKERS, BATCHES = 1_200_000, 6_000, 10_000
CHILD = """
import resource, sys, time
from pathlib import Path
import torch
from vasa.data.clip_pairs import ClipPairs
from vasa.data.config import ClipPairsConfig

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20

torch.set_num_threads(1)
before, begun = resident(), time.monotonic()
pairs = ClipPairs(ClipPairsConfig(root=Path(sys.argv[1]), size=96))
pairs.prepare()
opened = time.monotonic() - begun
told, num_batches = [], int(sys.argv[2])
for step in range(num_batches):
    pairs.batch_at(step, 2)
    if step in (num_batches // 10, num_batches - 1):
        told.append(resident())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
print(len(pairs), opened, before, peak, *told)
"""


def made_up(folder: Path, count: int) -> None:
    """A manifest of ``count`` rows of clips that lie in a few real shards, of made-up speakers and scores."""
    write_folder(folder, [clip(number, f"id{number:05d}") for number in range(4)])
    real = kept_clips(folder / MANIFEST, read_table(folder / MANIFEST).column_names)
    rng = np.random.default_rng(0)
    chosen = real.take(pa.array(rng.integers(0, len(real), count)))
    made = {
        "speaker": pa.array([f"id{n:05d}" for n in rng.integers(0, SPEAKERS, count)]),
        "file": pa.array([f"dev/mp4/id{n % SPEAKERS:05d}/{n:011x}/00001.mp4" for n in range(count)]),
        **{name: pa.array(rng.normal(100, 20, count)) for name in ("blur", "brightness", "side_px", "drift")},
    }
    for name, values in made.items():
        chosen = chosen.set_column(chosen.column_names.index(name), name, values)
    pq.write_table(chosen, folder / MANIFEST, compression="zstd", row_group_size=100_000)


def opened(folder: Path, num_batches: int) -> list[float]:
    """clips, seconds to open, MiB before, at the peak, after a tenth of the batches, and after all."""
    command = [sys.executable, "-c", CHILD, str(folder), str(num_batches)]
    return [float(word) for word in subprocess.check_output(command, text=True).split()]


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_an_index_of_a_million_clips_opens_quickly_and_memory_stays_flat(tmp_path: Path) -> None:
    made_up(tmp_path, CLIPS)
    clips, seconds, before, peak, early, late = opened(tmp_path, BATCHES)
    told = f"{seconds:.1f} s, {before:.0f} MiB before, {peak:.0f} at the peak, {early:.0f} then {late:.0f}"
    sys.stdout.write(f"{CLIPS} clips: {told}\n")
    assert clips == CLIPS
    assert seconds < 60 and peak < 2048, told
    assert late - early < 16, told
