"""COCO files as data: loading and checking their structure, numbering, and the keys beyond those of COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from celltable.cells import Image
from celltable.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from celltable._native.cocojson import CocoFile

RESERVED: Final = frozenset({"id", "file_name", "height", "width", "celltable_id"})
_OWN: Final = {"image_id", "height", "width", "pixels", "dataset", "channels", "dtype", "metadata"}


class Numbers:
    """Hands out distinct numbers: the published one if it is a new integer and large enough, else the next free one.

    >>> numbers = Numbers(); [numbers.take(t) for t in ("7", "", "7", "0")]
    [7, 8, 9, 10]
    """

    def __init__(self, top: int = 0) -> None:
        self._used: set[int] = set()
        self._run = range(0)  # consecutive numbers given, which are not in `_used`
        self._top = top

    def take(self, published: str | None, lowest: int = 1) -> int:
        """Return a number that was not given before."""
        number = int(published) if published and published.isascii() and published.isdecimal() else -1
        if number < lowest or number in self._used or number in self._run:
            number = self._top + 1
        self._used.add(number)
        self._top = max(self._top, number)
        return number

    def take_many(self, published: Sequence[str | None] | None, n: int, lowest: int = 1) -> list[int]:
        """Like `take`, for `n` texts in order, or without texts.

        >>> numbers = Numbers(); numbers.take_many(["7", None, "7"], 3), numbers.take_many(None, 2)
        ([7, 8, 9], [10, 11])
        """
        if published is None:
            return list(self._following(n))
        found = [int(t) for t in published if t and t.isascii() and t.isdecimal()]
        new = set(found)
        if len(new) < n or min(found, default=lowest) < lowest or not self._are_new(new):
            return [self.take(t, lowest) for t in published]
        self._used |= new
        self._top = max([self._top, *new])
        return found

    def _are_new(self, found: set[int]) -> bool:
        run = self._run
        return found.isdisjoint(self._used) and not any(run.start <= n < run.stop for n in found if run)

    def _following(self, n: int) -> range:
        following = range(self._top + 1, self._top + 1 + n)
        if self._run.stop == following.start and self._run:
            self._run = range(self._run.start, following.stop)
        else:
            self._used.update(self._run)
            self._run = following
        self._top += n
        return following


@dataclass(frozen=True, slots=True)
class Document:
    """A COCO file: its image and category records, its other top-level keys, and its annotations as columns."""

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    head: dict[str, Any]
    file: CocoFile

    @property
    def results(self) -> bool:
        """Whether the file is a list of predictions."""
        return self.file.results


def load(path: Path) -> Document:
    """Read a COCO file of instances (an object) or results (a list); outlines are read from the file on demand.

    Raises
    ------
    NotFoundError, InputError
        If the file does not exist; if it is not JSON, or not COCO.
    """
    from celltable._native.cocojson import CocoFile

    if not path.is_file():
        raise NotFoundError(f"{path} does not exist.")
    file = CocoFile.open(str(path))
    if not file.results and "images" not in file.members:
        found = ", ".join(list(file.members)[:5])
        raise InputError(
            f"{path.name} is not COCO: expected images, annotations, categories; found {found or 'nothing'}"
        )
    members = {k: msgspec.json.decode(v) for k, v in file.members.items()}
    images, categories = members.pop("images", []), members.pop("categories", [])
    return Document(_records(images, "images", path), _records(categories, "categories", path), members, file)


def _records(values: Any, what: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise InputError(f"{path.name}: {what} is not a list of objects, as COCO requires")
    return values


def kind_of(category: Mapping[str, Any]) -> str:
    """Return nucleus or cell according to a category's name or supercategory; nucleus if neither says.

    >>> kind_of({"name": "cell", "id": 1}), kind_of({"name": "Neoplastic"})
    ('cell', 'nucleus')
    """
    words = [str(category.get(key, "")) for key in ("name", "supercategory")]
    return next((w for w in words if w in ("nucleus", "cell")), "nucleus")


def class_names(document: Document) -> tuple[str, ...]:
    """List the categories that are classes, in file order; nucleus and cell only state the kind."""
    names = (str(category.get("name", category.get("id"))) for category in document.categories)
    return tuple(dict.fromkeys(name for name in names if name not in ("nucleus", "cell")))


def extra_keys(image: Image) -> dict[str, Any]:
    """Return the details of an image as additional keys of its COCO record, without empty ones.

    >>> extra_keys(Image("a", 1, 1, tissue="Colon", metadata={"plate": "3", "coco_id": "9"}))
    {'tissue': 'Colon', 'plate': 3}
    """
    found: dict[str, Any] = {}
    for name, default in _DETAILS.items():
        value = getattr(image, name)
        if value != default:
            found[name] = value
    if image.metadata.get("nuclei_class") == image.image_class:
        found.pop("image_class", None)
    found.update((k, decode_text(v)) for k, v in image.metadata.items() if k not in RESERVED and k != "coco_id")
    return found


def image_of(record: Mapping[str, Any], image_id: str, size: tuple[int, int]) -> Image:
    """Invert `extra_keys`: keys named like fields of an image, with values of the right type, fill these fields."""
    values: dict[str, Any] = {}
    metadata = {"coco_id": as_text(record["id"])} if "id" in record else {}
    for key, value in record.items():
        if key == "file_name" and isinstance(value, str):
            metadata[key] = value
        elif key not in RESERVED and key not in _OWN and key in _KINDS and _fits(key, value):
            values[key] = tuple(value) if key == "labels" else value
        elif key not in RESERVED:
            metadata[key] = as_text(value)
    if isinstance(record.get("nuclei_class"), str):
        values.setdefault("image_class", record["nuclei_class"])
    return Image(image_id, *size, metadata=metadata, **values)


_DETAILS: Final = {f.name: f.default for f in fields(Image) if f.name not in _OWN}
_KINDS: Final = {f.name: str(f.type) for f in fields(Image)}


def _fits(key: str, value: Any) -> bool:
    kind = _KINDS[key]
    if kind.startswith("str"):
        return isinstance(value, str)
    if kind.startswith("float"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "bool":
        return isinstance(value, bool)
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def as_text(value: Any) -> str:
    """Convert a JSON value to metadata text: strings are unchanged unless they parse as JSON themselves.

    >>> as_text("purple"), as_text(5), as_text("5"), decode_text(as_text("5"))
    ('purple', '5', '"5"', '5')
    """
    if isinstance(value, str) and decode_text(value) == value:
        return value
    return msgspec.json.encode(value).decode()


def decode_text(text: str) -> Any:
    """Return the JSON value that `as_text` wrote."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
