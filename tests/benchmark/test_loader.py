"""The loader's rates: both kinds of workers are measured on a folder of clips, and what fails is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from clip_folders import clip, write_folder

from vasa.benchmark.config import LoaderBenchmark
from vasa.benchmark.loader import loader_markdown, measure_loader
from vasa.data.config import ClipPairsConfig


@pytest.mark.timeout(600)  # two processes that import torch
def test_processes_and_threads_are_measured(tmp_path: Path) -> None:
    write_folder(tmp_path, [clip(number, f"id{number}") for number in range(3)])
    clips = ClipPairsConfig(root=tmp_path, size=64)
    rates = measure_loader(LoaderBenchmark(clips=clips, workers="2", batch_size=2, seconds=0.3))
    assert [(rate.kind, rate.workers) for rate in rates] == [("processes", 2), ("threads", 2)]
    assert all(1 < rate.samples_per_s < 10_000 and 0.05 < rate.cpu_ms < 1000 for rate in rates)
    for rate in rates:
        assert rate.samples_per_s * rate.cpu_ms / 1000 < 1.2 * rate.workers + 0.5, "no more than they have"
    assert loader_markdown(rates).count("\n") == 2 + len(rates)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wanted numbers from 1"):
        LoaderBenchmark(workers="1,many")
    with pytest.raises(ValueError, match="wanted at least 1, and above 0"):
        LoaderBenchmark(seconds=0)
    with pytest.raises(FileNotFoundError, match=r"scripts/preprocess\.py"):
        measure_loader(LoaderBenchmark(clips=ClipPairsConfig(root=tmp_path)))
