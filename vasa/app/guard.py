"""What a client may name as a file: what it uploaded here, and nothing else.

Gradio holds paths against its upload folder only in apps that it launches itself. In one that is mounted in
another, as ours, it would copy any file of this machine, and fetch any address, that a request names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr


def guard(blocks: gr.Blocks, uploads: Path) -> None:
    """Looks through every request before gradio opens what it names. uploads: gradio's folder of them."""
    unguarded, folder = blocks.preprocess_data, uploads.resolve()

    async def preprocess_data(block_fn: Any, inputs: list[Any], *rest: Any, **more: Any) -> list[Any]:
        for path in named(inputs):
            if not _is_uploaded(path, folder):
                raise gr.Error("That is no uploaded file; upload it on the page.", print_exception=False)
        return await unguarded(block_fn, inputs, *rest, **more)

    blocks.preprocess_data = preprocess_data  # type: ignore[method-assign, assignment]


def named(value: Any) -> Iterator[Any]:
    """Everything that stands under "path" in a request, however deep."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        for inner in value.values():
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def _is_uploaded(path: Any, folder: Path) -> bool:
    if not isinstance(path, str) or "\0" in path:
        return False
    return Path(path).is_absolute() and Path(path).resolve().is_relative_to(folder)
