"""The description of a store: dataset.json as a typed, frozen struct, and what derived stores inherit.

Keys that this version does not know (a newer celltable or a user wrote them) are kept in `extra` and written back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from celltable import schema
from celltable.errors import StoreError

StoreKind = Literal["annotations", "predictions"]
FILE: Final = "dataset.json"


class _Open(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A struct that keeps unknown keys in its field `extra`."""

    extra: dict[str, Any] = {}  # msgspec copies an empty default for each instance

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values; unknown keys go to `extra`.

        Raises
        ------
        msgspec.ValidationError
            If a known key has a value of another type.
        """
        known = {k: v for k, v in values.items() if k in cls.__struct_fields__ and k != "extra"}
        rest = {k: v for k, v in values.items() if k not in known}
        return msgspec.convert({**known, "extra": rest}, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, leaving out defaults; the inverse of `from_dict`."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        rest = made.pop("extra", {})
        return {**made, **rest}

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; names that are not fields go to `extra`."""
        known = {k: v for k, v in changes.items() if k in self.__struct_fields__}
        rest = {k: v for k, v in changes.items() if k not in known}
        return msgspec.structs.replace(self, **known, extra={**self.extra, **rest})


class Source(_Open, frozen=True, kw_only=True):
    """A source of a store's pixels: one archive or folder.

    Attributes
    ----------
    path, relative
        Absolute path when the store was written, and the path relative to the folder that holds the store.
    size, sha256
        Bytes and digest of an archive, if known (see the guide for large loose files).
    """

    path: str
    relative: str | None = None
    size: int | None = None
    sha256: str | None = None

    @classmethod
    def at(cls, path: str | Path, out: str | Path, *, size: int | None = None, sha256: str | None = None) -> Source:
        """Describe `path` as a source of a store at `out`."""
        place = Path(path).resolve()
        return cls(path=str(place), relative=_relative(place, out), size=size, sha256=sha256)

    def moved(self, path: str | Path, out: str | Path) -> Source:
        """Describe the same source, now at `path`, for a store at `out`."""
        return msgspec.structs.replace(self, path=str(path), relative=_relative(Path(path), out))


def _relative(path: Path, out: str | Path) -> str:
    return os.path.relpath(path, Path(out).resolve().parent)


class TableFile(_Open, frozen=True, kw_only=True):
    """One table of a generation: number of rows and SHA-256 of its file."""

    rows: int
    sha256: str


class Overlay(_Open, frozen=True, kw_only=True):
    """One pending change of cells: a small file of edits beside instances.parquet.

    Attributes
    ----------
    file
        Path in the store, for example ``overlay/000007.parquet``; rows of the edits table.
    edits
        Number of rows.
    undo, undone
        The batch that the rows undo, and the counter of its generation; None if they are a new batch.
    """

    file: str
    edits: int
    undo: int | None = None
    undone: int = 0


class Description(_Open, frozen=True, kw_only=True):
    """The content of dataset.json.

    Attributes
    ----------
    name, title
        Name of the data set, and its title for people.
    kind
        "annotations", or "predictions" of a model.
    licence, non_commercial, citation, doi, source
        Terms of use, how to cite, and where the release is published.
    licences
        Data set → licence, for a merged store (`licence` is then the strictest).
    modality, target, classes, channels, protocols
        Microscopy modalities, what is outlined, classes in published order, channels, and the official metrics.
    leakage_group
        What forms a leakage group: patient, well, slide, plate, fold.
    published_counts
        (part, "images" or "instances", number) as the publisher states them.
    reader
        The reader of the release (name, parts, version), or the format of an import.
    model
        The model that made the predictions: name, title, options, version.
    of
        The store that the predictions were made for: name and content.
    tiles
        How the tiles of a store of tiles were cut.
    split
        The certificate of the last split.
    sources
        Where the pixels are: key of a source in images.parquet → source.
    history
        What was done, one line per command.
    generation
        Identifies the last write: a counter and a digest, ``7-3f2a9c01d2e4b5a6``.
    content
        Digest of images and cells only; findings and scores do not change it.
    cells
        Counter of the generation that last changed images or cells.
    before
        Batch of edits → `content` before it, so that undo restores it.
    tables
        Table → rows and SHA-256 of its file.
    overlay
        Changes of cells that are not in instances.parquet yet, in the order they are applied.
    """

    name: str = ""
    title: str = ""
    kind: StoreKind = "annotations"
    licence: str | None = None
    licences: dict[str, str | None] = {}
    non_commercial: bool = False
    citation: str = ""
    doi: str = ""
    source: str = ""
    modality: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    leakage_group: str | None = None
    published_counts: tuple[tuple[str | None, str, float], ...] = ()
    reader: dict[str, Any] = {}
    model: dict[str, Any] | str | None = None
    of: dict[str, Any] = {}
    tiles: dict[str, Any] = {}
    split: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    history: tuple[str, ...] = ()
    generation: str = ""
    content: str = ""
    cells: int = 0
    before: dict[str, str] = {}
    tables: dict[str, TableFile] = {}
    overlay: tuple[Overlay, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Description:
        """Read plain values, including nested ones; unknown keys go to `extra`.

        Raises
        ------
        msgspec.ValidationError
            If a known key has a value of another type.
        """
        kept = {k: v for k, v in values.items() if k not in ("format", "schema_version")}
        for key, kind in _NESTED.items():
            given = kept.get(key)
            if isinstance(given, Mapping):
                kept[key] = {k: _read(kind, v) for k, v in given.items()}
            elif isinstance(given, list | tuple):
                kept[key] = [_read(kind, v) for v in given]
        return super().from_dict(kept)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: fields that differ from their default, and those that readers expect."""
        made = super().to_dict()
        for key in _NESTED:
            value = getattr(self, key)
            if value:
                each = {k: v.to_dict() for k, v in value.items()} if isinstance(value, dict) else None
                made[key] = [v.to_dict() for v in value] if each is None else each
        first = {key: getattr(self, key) for key in ("name", "title", "kind", "licence", "non_commercial")}
        return {**first, "sources": {}, **made, "history": list(self.history)}

    @property
    def number(self) -> int:
        """The counter of `generation`; 0 for a store of version 1."""
        return int(self.generation.partition("-")[0] or 0)


_NESTED: Final[Mapping[str, type[_Open]]] = {"sources": Source, "tables": TableFile, "overlay": Overlay}


def _read(kind: type[_Open], value: Any) -> Any:
    """Read a nested struct; convert reports what is not a mapping."""
    return kind.from_dict(value) if isinstance(value, Mapping) else value


def described(info: Description | Mapping[str, Any]) -> Description:
    """Return a description as it is, or make one from plain values.

    Raises
    ------
    StoreError
        If a key has a value of another type.
    """
    if isinstance(info, Description):
        return info
    try:
        return Description.from_dict(info)
    except msgspec.ValidationError as exc:
        raise StoreError(f"{FILE}: {_plainly(exc)}.") from exc


def _plainly(exc: msgspec.ValidationError) -> str:
    """Rephrase a message of msgspec.

    >>> _plainly(msgspec.ValidationError("Expected `array`, got `int` - at `$.classes`"))
    'classes: expected array, found int'
    """
    text, _, place = str(exc).replace("`", "").replace(", got ", ", found ").partition(" - at $")
    where = place.lstrip(".")
    return f"{where}: {text[:1].lower()}{text[1:]}" if where else text


def parse(text: str, folder: Path) -> Description:
    """Read the text of dataset.json.

    Raises
    ------
    StoreError
        If it is damaged, or was written by a newer celltable.
    """
    path = folder / FILE
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise StoreError(f"{path} is not JSON ({exc}). Make the store again from its release.") from exc
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{path} has no schema_version; expected a dataset.json written by celltable.")
    if version > schema.VERSION:
        raise StoreError(
            f"{folder} has schema version {version}; this celltable reads up to {schema.VERSION}. Upgrade celltable."
        )
    try:
        return Description.from_dict(values)
    except msgspec.ValidationError as exc:
        raise StoreError(f"{path} is damaged: {_plainly(exc)}. Correct it, or make the store again.") from exc


def encode(description: Description) -> str:
    """Return the text of dataset.json, identical for identical content."""
    values = {**description.to_dict(), "format": "celltable", "schema_version": schema.VERSION}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


# What a derived store inherits: always the terms and nature of the data; its history and the keys of users only if
# annotations remain annotations and predictions remain predictions.
