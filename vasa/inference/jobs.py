"""A list of many videos, CSV or JSON lines: each row holds options of one video, and what an evaluation wants
to know of it.

The columns are the options of ``VideoOptions`` by their dotted names, whatever is added there, and the fields
of ``Job``. A file that is no list is refused as a whole; what is wrong with one row is that row's own reason
and stops no other.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasa.checkpoint import atomic_path
from vasa.inference.config import InferRun, VideoOptions
from vasa.options import Option, nearest, options
from vasa.video import VIDEO_ENDINGS

CLIP_FILES = ("driven_by", "pose_from", "expression_from")
SEPARATORS = ",;\t"
JSON_KINDS = (".jsonl", ".ndjson", ".json")


@dataclass(slots=True, kw_only=True)
class Job:
    """One row of a list. Its paths are relative to the list's folder.

    options: of the video, by dotted name. name, row: the video becomes <row>/<name>.mp4, unless ``output``
    names it; no name: those of the picture and the sound that the row names.
    The rest is what evaluations ask. driven_by: what drives the face, if another sound than the one that is
    heard (a control: lips must then not fit). pose_from, expression_from: videos, cut by the crop rule, whose
    head and whose face the portrait follows instead of speaking; one alone stands for both. learned=False:
    the untrained warp renders. framed: the picture is cut by the crop rule already, no face is searched.
    group: rows of one group are samples of one clip. reference: the true video, truth: what is known of it.
    """

    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    row: str = ""
    driven_by: str | None = None
    pose_from: str | None = None
    expression_from: str | None = None
    learned: bool = True
    framed: bool = False
    group: str = ""
    reference: str | None = None
    truth: dict[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, Any]:
        """What an evaluation asks beyond options: fields that are not at their defaults."""
        blank = Job()
        names = [f.name for f in dataclasses.fields(Job) if f.name not in ("options", "name")]
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(blank, name)}

    @property
    def columns(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"name": self.name, **self.options, **self.asked}

    @property
    def place(self) -> Path:
        """The video, relative to the folder of all."""
        if self.options.get("output") is not None:
            return Path(self.options["output"])
        return Path(self.row) / f"{self.name}.mp4"

    def run(self, config: InferRun, folder: Path, out: Path) -> InferRun:
        """This row's own run: the options of all rows, then its own. Raises: ValueError for a value."""
        paths = {option.name for option in video_columns().values() if option.is_path}
        values = {
            name: folder / Path(value).expanduser() if name in paths and value is not None else value
            for name, value in self.options.items()
        }
        run = dataclasses.replace(config, list=None, out=None)
        return _replaced(run, {**values, "output": out / self.place})


def _replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """A config with some of its options, by dotted names, exchanged, and checked anew."""
    own = {name: value for name, value in values.items() if "." not in name}
    for section in sorted({name.split(".", 1)[0] for name in values if "." in name}):
        inner = {name.split(".", 1)[1]: v for name, v in values.items() if name.startswith(f"{section}.")}
        own[section] = _replaced(getattr(config, section), inner)
    return dataclasses.replace(config, **own)


def video_columns() -> dict[str, Option]:
    """The options of one video by dotted name."""
    return {option.name: option for option in options(VideoOptions)}


def _columns() -> dict[str, Option]:
    """All columns: options of the video, and the fields of a Job."""
    own = {option.name: option for option in options(Job) if option.name != "options"}
    return {**video_columns(), **own}


def job_of(columns: Mapping[str, Any] | None = None, **more: Any) -> Job:
    """A row from its columns, which hold texts (CSV) or values (JSON); None and empty texts count as not
    given. more: columns without a dot in their names.

    Raises: ValueError naming the column, its value and what was wanted.
    """
    known, columns = _columns(), {**(columns or {}), **more}
    unknown = next((name for name in columns if name not in known), None)
    if unknown is not None:
        raise ValueError(_unknown(unknown, known))
    given = {name: _value(known[name], value) for name, value in columns.items() if value not in ("", None)}
    own = {f.name for f in dataclasses.fields(Job)} - {"options"}
    job = Job(**{name: value for name, value in given.items() if name in own})
    job.options = {name: value for name, value in given.items() if name not in own}
    job.name = job.name or _name(job)
    _check_place(job)
    return job


def _name(job: Job) -> str:
    """Of a row that has none: its picture's and its sound's, as far as the row names them."""
    stems = [Path(job.options[name]).stem for name in ("image", "audio") if name in job.options]
    return "_".join(stems) or Path(job.options.get("output", "video")).stem


def _check_place(job: Job) -> None:
    for column in ("row", "name"):
        part = getattr(job, column)
        if Path(part).name != part or part == "..":
            raise ValueError(f"{column} is {part!r}, which cannot name a file; wanted a plain name.")
    output = job.options.get("output")
    if output is None:
        return
    if not Path(output).suffix:
        job.options["output"] = output = f"{output}.mp4"
    if Path(output).is_absolute() or ".." in Path(output).parts:
        raise ValueError(f"output is {output!r}, outside the folder of all videos; wanted a name inside it.")


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    guess = nearest(name, list(known))
    hint = f"did you mean {guess}?" if guess else f"wanted some of {', '.join(known)}."
    return f"column {name!r} does not exist; {hint}"


def _value(option: Option, given: Any) -> Any:
    """A cell's text, or a JSON value, as what the option holds. Raises: ValueError."""
    if isinstance(given, str):
        return _from_text(option, given.strip())
    wanted = {float: (int, float), int: (int,), bool: (bool,)}.get(option.hint, (dict, list))
    if option.is_text or not isinstance(given, wanted) or isinstance(given, bool) != (option.hint is bool):
        raise ValueError(f"{option.name} is {json.dumps(given)}; wanted {option.wanted}.")
    return given


def _from_text(option: Option, text: str) -> Any:
    if option.optional and text == "null":
        return None
    if option.is_text:
        return text
    try:
        if option.hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if option.hint in (int, float):
            return option.hint(text)
        return json.loads(text)
    except (ValueError, KeyError):
        raise ValueError(f"{option.name} is {text!r}; wanted {option.wanted}.") from None


def write_jobs(path: Path, jobs: list[Job]) -> None:
    """The list as JSON lines."""
    with atomic_path(path) as temporary:
        lines = [json.dumps(job.columns, ensure_ascii=False) + "\n" for job in jobs]
        temporary.write_text("".join(lines), encoding="utf-8")


def read_rows(path: Path) -> list[tuple[int, Job | ValueError]]:
    """(line, row or what is wrong with it) of a list.

    Raises: FileNotFoundError; ValueError where the file is no list at all: it is empty, not UTF-8, has an
    unknown or a doubled column, or two rows of one name.
    """
    lines = list(_json_lines(path) if path.suffix.lower() in JSON_KINDS else _csv_lines(path))
    if not lines:
        raise ValueError(f"list={path} holds no row; wanted a row for each video.")
    rows: list[tuple[int, Job | ValueError]] = []
    places: dict[Path, int] = {}
    for number, columns in lines:
        try:
            if isinstance(columns, ValueError):
                raise columns
            job = job_of(columns)
        except ValueError as error:
            rows.append((number, error))
            continue
        place = job.place  # what lies beside a video is named by its stem
        stem = place.with_suffix("") if place.suffix.lower() in VIDEO_ENDINGS else place
        if stem in places:
            raise ValueError(
                f"list={path}: lines {places[stem]} and {number} would both become {stem}; give each row a "
                "name of its own in a column name."
            )
        places[stem] = number
        rows.append((number, job))
    return rows


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"list={path} does not exist; give a CSV file or JSON lines.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"list={path} is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); save it as "
            "CSV UTF-8."
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, ValueError(f"the line is no JSON ({error}); wanted one object a line.")
            continue
        if isinstance(content, dict):
            yield number, content
        else:
            yield number, ValueError(f"the line is {line.strip()[:40]!r}; wanted one JSON object a line.")


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    text = _text(path)
    header = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=header.count)  # the comma where there is none
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = [name.strip().lower() for name in next(reader, [])]
    known = _columns()
    for name in names:
        if name not in known:
            raise ValueError(f"list={path}: {_unknown(name, known)}")
        if names.count(name) > 1:
            raise ValueError(f"list={path}: column {name!r} is there twice; keep one of them.")
    while True:
        begun = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"list={path}, line {reader.line_num}: {error}; save it as CSV again."
            ) from error
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            yield (
                begun,
                ValueError(
                    f"the row has {len(cells)} cells; wanted {len(names)}, as the first line names: put a "
                    f"cell that holds {separator!r} into quotes."
                ),
            )
        else:
            yield begun, dict(zip(names, cells, strict=True))
