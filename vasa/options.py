"""What options a config dataclass has: their names, types, documentation and help text. Knows neither Hydra
nor torch.

The documentation of an option is what its author wrote at the field: the comment behind it, the string
literal below it, or the comment above it. So it is written once, and ``--help`` shows it.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import io
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option. name: dotted, as on the command line. hint: its type without None. doc: may be empty."""

    name: str
    hint: Any
    optional: bool
    doc: str

    @property
    def is_path(self) -> bool:
        return isinstance(self.hint, type) and issubclass(self.hint, Path)

    @property
    def is_text(self) -> bool:
        """Whether a value is taken letter by letter: paths and strings."""
        return self.is_path or self.hint is str

    @property
    def wanted(self) -> str:
        """What a value must look like, in words."""
        origin = typing.get_origin(self.hint) or self.hint
        if isinstance(origin, type) and issubclass(origin, Enum):
            return "one of " + ", ".join(origin.__members__)
        words = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            list: "a list such as [1,2]",
        }
        return words.get(origin, "a file name" if self.is_path else "text")


def options(cls: type, prefix: str = "") -> Iterator[Option]:
    """Every leaf option of a config dataclass in the order of its fields, nested ones after the flat ones."""
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    nested = []
    for field in dataclasses.fields(cls):
        hint, optional = _without_none(hints[field.name])
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            nested.append((hint, f"{prefix}{field.name}."))
        else:
            yield Option(f"{prefix}{field.name}", hint, optional, docs.get(field.name, ""))
    for hint, inner in nested:
        yield from options(hint, inner)


def find(cls: type, name: str) -> Option | None:
    """The option of a dotted name, also inside ``dict[str, ...]`` fields, or None."""
    first, _, rest = name.partition(".")
    hints = typing.get_type_hints(cls)
    if first not in {field.name for field in dataclasses.fields(cls)}:
        return None
    hint, optional = _without_none(hints[first])
    if typing.get_origin(hint) is dict and rest:
        hint, optional = _without_none(typing.get_args(hint)[1])
        _, _, rest = rest.partition(".")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        found = find(hint, rest) if rest else None
        return found and dataclasses.replace(found, name=name)
    return None if rest else Option(name, hint, optional, field_docs(cls).get(first, ""))


def sections(cls: type) -> dict[str, type]:
    """Top-level nested dataclasses by field name."""
    hints = typing.get_type_hints(cls)
    found = {field.name: _without_none(hints[field.name])[0] for field in dataclasses.fields(cls)}
    return {
        name: hint
        for name, hint in found.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
    }


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(hint))
    return hint, False


def nearest(name: str, known: list[str]) -> str | None:
    """The option that a misspelt name most likely means: by its whole name, else by its last part."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    if close:
        return close[0]
    leaves = {option.rsplit(".", 1)[-1]: option for option in reversed(known)}
    leaf = difflib.get_close_matches(name.rsplit(".", 1)[-1], leaves, 1, 0.7)
    return leaves[leaf[0]] if leaf else None


@functools.cache
def field_docs(cls: type) -> Mapping[str, str]:
    """Field name -> documentation of a dataclass and its bases, read from the source."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # no source file, as for generated classes
            continue
        body = ast.parse(source).body[0]
        if isinstance(body, ast.ClassDef):
            docs |= _docs_of_body(body, source)
    return docs


def _docs_of_body(body: ast.ClassDef, source: str) -> dict[str, str]:
    comments = {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {number for number in comments if source.splitlines()[number - 1].lstrip().startswith("#")}
    docs = {}
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        parts = [comments[number] for number in lines if number in comments]
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            parts.append(str(following.value.value))
        if not parts:
            above = node.lineno - 1
            while above in alone:
                parts.insert(0, comments[above])
                above -= 1
        docs[node.target.id] = " ".join(" ".join(parts).split())
    return docs


def help_text(cls: type, values: Mapping[str, Any], choices: Mapping[str, list[str]], usage: str) -> str:
    """The text of ``--help``. values: what each option is now, by dotted name. choices: names per config
    group.
    """
    lines = [usage, "", _paragraph(cls.__doc__ or "", 0), ""]
    for group, names in choices.items():
        lines.append(f"  {group}=  one of: {', '.join(names)}")
    section_docs = {name: (hint.__doc__ or "") for name, hint in sections(cls).items()}
    shown = ""
    for option in options(cls):
        section = option.name.split(".", 1)[0] if "." in option.name else ""
        if section != shown:
            lines += ["", _paragraph(f"{section}: {section_docs[section]}", 0)]
            shown = section
        lines.append(f"  {option.name}={_shown(values.get(option.name))}  ({option.wanted})")
        if option.doc:
            lines.append(_paragraph(option.doc, 6))
    return "\n".join(lines) + "\n"


def _paragraph(text: str, indent: int) -> str:
    first = text.strip().split("\n\n", 1)[0]
    return textwrap.fill(
        " ".join(first.split()), 100, initial_indent=" " * indent, subsequent_indent=" " * indent
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:..." for key in value) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    return "null" if value is None else str(value)
