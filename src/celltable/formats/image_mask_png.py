"""Colour-coded semantic masks in images/ and masks/ of train, valid and test, as in PanNuke's ImageMask sets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry.masks import Masks, from_label_map
from celltable.notation.pannuke import CLASS_NAMES, FIRST, Colour, classify, palette_of
from celltable.plugins.format import About, ConversionReport, Format, Limits, Reading, Recognition, Strength
from celltable.plugins.losses import (
    COVERED,
    DIVIDED,
    HIDDEN,
    IDENTITY,
    MOVED,
    NOT_DRAWN,
    PIXELS_CHANGED,
    drop_empty,
    tally,
    visible,
)
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, spread

from ._files import Files, Load, image_of, open_files
from ._out import new_folder
from ._pixels import encode_png, write_bytes

KEEPS: Final = frozenset({"holes", "components", "classes", "exact-mask", "image-size", "empty-images", "pixels"})
PALETTE: Final = Option("palette", "v1", "v1, v2, binary or Class=#RRGGBB,…")
LOST_IDS: Final = 10  # the published generator drew only pixels with larger instance ids
LOST: Final = f"as published: cells with ids up to {LOST_IDS} not drawn"
MIXED: Final = "as published: pixels of two classes whose colours were added"
_SPLITS: Final = ("train", "valid", "test")
_FILE = re.compile(r"^(?:.*?/)??(?:(train|valid|test)/)?(images|masks)/([^/]+)\.(png|jpe?g|tiff?|bmp)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Settings for writing the files."""

    palette: Mapping[str, Colour]
    size: int
    as_published: bool
    jpeg: bool


@dataclass(slots=True)
class _Done:
    """The images written so far, and the part that each one goes to."""

    images: list[Image] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def own(self) -> list[str]:
        """Return the stated part of each image; train if it is not one of the three."""
        return [{"val": "valid", "valid": "valid", "test": "test"}.get(i.split or "", "train") for i in self.images]

    def table(self) -> bytes:
        """Return the rows of ids.csv."""
        rows = enumerate(zip(self.places, self.images, strict=True), FIRST)
        return _csv(("number", "split", "image_id"), [(n, place, i.image_id) for n, (place, i) in rows])

    def state(self, report: ConversionReport) -> None:
        """Report where each image went, and what happened to their own splits and groups."""
        groups: dict[str, set[str]] = {}
        for place, image in zip(self.places, self.images, strict=True):
            report.parts[image.image_id] = place
            groups.setdefault(image.leakage_group or f"image {image.image_id}", set()).add(place)
            report.add(MOVED, int(image.split not in (None, {"valid": "val"}.get(place, place))))
        report.add(DIVIDED, sum(len(places) > 1 for places in groups.values()))


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    palette: str = "v1",
    size: int = 0,
    split: str = "80/15/5",
    seed: int = 0,
    as_published: bool = False,
    overwrite: bool = False,
) -> ConversionReport:
    """Write ``{train,valid,test}/{images,masks}/<N>.png``, ``ids.csv`` and ``classes.csv``.

    ``ids.csv`` lists the image of each number, ``classes.csv`` the colour of each class.

    Parameters
    ----------
    palette
        ``v1``, ``v2``, ``binary`` or ``Class=#RRGGBB,…``; ``*`` stands for all other classes. Cells of other
        classes are not drawn, which is reported as a loss.
    size
        Edge of the written images (512 in the published sets); 0 keeps their size. Images are interpolated bilinearly,
        masks by the nearest pixel.
    split
        Shares of train, valid and test of the images, shuffled by `seed`; ``keep`` takes each image's own split.
        Images that are moved and leakage groups that are divided are reported as losses.
    as_published
        Reproduce the defects of the published generator (ImageMaskDatasetGenerator.py): cells whose published id is
        at most 10 are missing, red and blue of the images are swapped, classes that share a pixel add up their
        colours, masks are interpolated like images and, in V1, images and masks are stored as JPEG. Its shuffle had no
        seed; this one has.
    """
    plan = _Plan(palette_of(palette), size, as_published, as_published and palette == "v1")
    shares = None if split == "keep" else _shares(split)
    report, done = ConversionReport(), _Done()
    ending = ".jpg" if plan.jpeg else ".png"
    with new_folder(out, overwrite) as folder:
        waiting = folder / ".waiting"
        for k, given in enumerate(samples):
            mask, sample = _mask(report, drop_empty(report, given), plan)
            write_bytes(waiting / "masks" / f"{FIRST + k}{ending}", _encode(_resized(mask, plan, True), plan))
            if sample.load_pixels is not None:
                picture = _resized(_picture(report, sample, plan), plan, False)
                write_bytes(waiting / "images" / f"{FIRST + k}{ending}", _encode(picture, plan))
            report.written["files"] += 1 + (sample.load_pixels is not None)
            if gone := np.setdiff1d(given.instances.ids, sample.instances.ids).tolist():
                report.left_out[given.image.image_id] = gone
            done.images.append(given.image)
        done.places = done.own() if shares is None else shuffled_places(len(done.images), shares, seed)
        for k, place in enumerate(done.places):
            _move(waiting, folder / place, f"{FIRST + k}{ending}")
        for kind in waiting.iterdir() if done.images else ():
            kind.rmdir()
        if done.images:
            waiting.rmdir()
        if shares is not None:
            _complete(folder)
        write_bytes(folder / "ids.csv", done.table())
        write_bytes(folder / "classes.csv", _colours(plan.palette))
    done.state(report)
    return report


def _shares(text: str) -> list[float]:
    try:
        shares = [float(p) for p in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 100) > 1e-9:
        raise InputError(f"split is '{text}'; expected three shares that add up to 100, such as 80/15/5, or keep")
    return shares


def shuffled_places(n: int, shares: Sequence[float], seed: int) -> list[str]:
    """Assign `n` images to splits: shares rounded down, the rest to test, so that 2,656 give 2,124, 398 and 134."""
    order = np.random.default_rng(seed).permutation(n)
    train, valid = (int(n * share / 100) for share in shares[:2])
    places = np.array([""] * n, dtype="U5")
    places[order[:train]], places[order[train : train + valid]], places[order[train + valid :]] = _SPLITS
    return [str(p) for p in places]


def _move(waiting: Path, place: Path, name: str) -> None:
    for kind in ("images", "masks"):
        if (waiting / kind / name).exists():
            (place / kind).mkdir(parents=True, exist_ok=True)
            (waiting / kind / name).rename(place / kind / name)


def _complete(folder: Path) -> None:
    """Create all six folders, even those that get no images."""
    for split in _SPLITS:
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)


def _colours(palette: Mapping[str, Colour]) -> bytes:
    return _csv(("class", "red", "green", "blue"), [(name, *colour) for name, colour in palette.items()])


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogateescape")


def _mask(report: ConversionReport, sample: Sample, plan: _Plan) -> tuple[NDArray[np.uint8], Sample]:
    """Draw the colour mask of an image, and return it with the sample of the cells drawn."""
    cells = sample.instances
    rest = "*" if "*" in plan.palette else None
    names = np.array([n if n in plan.palette else rest for n in cells.column("class_name")], dtype=object)
    coloured = np.array([n is not None for n in names], bool)
    report.add(NOT_DRAWN, int(np.count_nonzero(~coloured)))
    drawn = coloured & (_published_ids(cells) > LOST_IDS) if plan.as_published else coloured
    report.add(LOST, int(np.count_nonzero(coloured & ~drawn)))
    cells, names = cells.take(drawn), names[drawn]
    if plan.as_published:
        canvas = _added_up(report, cells, names, plan.palette)
    else:
        flat = cells.label_map("last-wins")
        report.add(HIDDEN, int(flat.lost_pixels))
        seen = visible(flat, cells)
        report.add(COVERED, int(np.count_nonzero(~seen)))
        table = np.zeros((int(cells.ids.max(initial=0)) + 1, 3), np.uint8)
        table[cells.ids] = np.array([plan.palette[n] for n in names], np.uint8).reshape(-1, 3)
        canvas, cells = table[flat.label_map], cells.take(seen)
    left = replace(sample, instances=cells)
    report.add(IDENTITY, len(cells))
    keeps = (KEEPS | {"ids"}) - (set() if rest is None else {"classes"})
    tally(report, left, keeps, ("split",))  # the split is counted once all images have their parts
    return canvas, left


def _published_ids(cells: Instances) -> NDArray[np.int64]:
    """Return the ids in PanNuke's masks, which its reader keeps as ``channel:id``; otherwise the instance ids."""
    hits = [re.fullmatch(r"\d:(\d+)", source or "") for source in cells.column("source_id")]
    return np.array([int(h[1]) if h else i for h, i in zip(hits, cells.ids.tolist(), strict=True)], np.int64)


def _added_up(
    report: ConversionReport, cells: Instances, names: NDArray[Any], palette: Mapping[str, Colour]
) -> NDArray[np.uint8]:
    """Add the colours of the classes in 8 bits, where 255 + 255 gives 254, as the generator did."""
    canvas = np.zeros((*cells.size, 3), np.uint8)
    claimed = np.zeros(cells.size, np.uint8)
    for name, colour in palette.items():
        inside = np.zeros(cells.size, bool)
        for k in np.flatnonzero(names == name).tolist():
            inside |= cells.rle.decode(k)
        canvas += inside[..., None] * np.array(colour, np.uint8)
        claimed += inside
    report.add(MIXED, int(np.count_nonzero(claimed > 1)))
    return canvas


def _picture(report: ConversionReport, sample: Sample, plan: _Plan) -> NDArray[np.uint8]:
    pixels = sample.pixels()
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rgb = np.repeat(rgb[..., :1], 3, axis=2) if rgb.shape[2] < 3 else rgb[..., :3]
    rgb, scaled = _eight_bit(rgb)
    changed = scaled or plan.as_published or (plan.size and sample.image.size != (plan.size, plan.size))
    report.add(PIXELS_CHANGED, int(bool(changed) or rgb.shape != pixels.shape))
    return np.ascontiguousarray(rgb[..., ::-1] if plan.as_published else rgb)


def _eight_bit(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
    """Convert pixels to 8 bits, and say whether they had to be scaled; PanNuke's float64 holds integers up to 255."""
    if pixels.dtype == np.uint8:
        return pixels, False
    low, top = float(pixels.min(initial=0)), float(pixels.max(initial=0))
    if low >= 0 and top <= 255:
        whole = pixels.astype(np.uint8)
        if np.array_equal(whole, pixels):
            return whole, False
    return np.clip(pixels / max(top, 1.0) * 255 + 0.5, 0, 255).astype(np.uint8), True


def _resized(pixels: NDArray[np.uint8], plan: _Plan, mask: bool) -> NDArray[np.uint8]:
    if not plan.size or pixels.shape[:2] == (plan.size, plan.size):
        return pixels
    from PIL import Image as Pillow

    smooth = plan.as_published or not mask
    how = Pillow.Resampling.BILINEAR if smooth else Pillow.Resampling.NEAREST
    return np.asarray(Pillow.fromarray(pixels).resize((plan.size, plan.size), how))


def _encode(pixels: NDArray[np.uint8], plan: _Plan) -> bytes:
    if not plan.jpeg:
        return encode_png(pixels)
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=95))  # what OpenCV writes by default


def read(
    path: Path,
    images: Mapping[str, Image] | None = None,
    *,
    palette: str | None = None,
    tolerance: int = 0,
    swap_rb: bool = False,
) -> Reading:
    """Read a set of this layout: cells are 8-connected components of one colour, so touching cells are merged.

    Parameters
    ----------
    palette
        As for `write`. None takes the colours of the ``classes.csv`` of the set, or v1 where it has none.
    tolerance
        A pixel belongs to the nearest colour of the palette if no channel differs by more; interpolated and JPEG masks
        need about 64. Other pixels that are not near black are counted in a finding.
    swap_rb
        Swap red and blue of the images, which are the wrong way round in the published sets.
    """
    with open_files(path) as files:
        colours = _own_palette(files) if palette is None else palette_of(palette)
        found: dict[str, dict[str, tuple[str, str]]] = {"images": {}, "masks": {}}
        for member in files.names:
            if hit := _FILE.match(member):
                found[hit[2].lower()][hit[3]] = (member, (hit[1] or "").lower())
        files.expect(found["masks"], "{train,valid,test}/{images,masks}/<N>.png")
        ids = _read_ids(files)
        for name in sorted(set(found["images"]) | set(found["masks"])):
            picture, mask = found["images"].get(name), found["masks"].get(name)
            where = (mask or picture or ("", ""))[1]
            known = images or {}
            image_id = ids.get(name, name)
            findings: list[Finding] = []
            image, load = image_of(files, image_id, picture[0] if picture else None, known, None, findings)
            cells = Instances.empty(image.size)
            if mask is None:
                findings.append(Finding("missing-annotation", "no mask; the image is not annotated", "note", image_id))
                image = replace(image, annotated=False)
            else:
                image, cells = _cells(files, mask[0], image, colours, tolerance, findings)
            if image_id not in known:
                image = replace(image, split={"valid": "val"}.get(where, where or None))
            sample = Sample(image, cells, tuple(findings), load)
            yield _swapped(sample, load, image_id in known) if swap_rb and load else sample
    return About(classes=tuple(name for name in colours if name != "*"))


def _own_palette(files: Files) -> Mapping[str, Colour]:
    """Read the colour of each class from classes.csv; v1 where there is no such file."""
    rows = _table(files, "classes.csv")
    if not rows:
        return palette_of("v1")
    try:
        return {name: (int(red), int(green), int(blue)) for name, red, green, blue in rows[1:]}
    except ValueError as exc:
        raise InputError(
            "classes.csv: expected the columns class, red, green and blue with whole numbers. Correct it, or name the "
            "colours with the option palette."
        ) from exc


def _read_ids(files: Files) -> dict[str, str]:
    return {row[0]: row[2] for row in _table(files, "ids.csv") if len(row) == 3}


def _table(files: Files, name: str) -> list[list[str]]:
    """Read the rows of a CSV file of the set; none where it is missing."""
    member = next((m for m in files.names if m.rpartition("/")[2] == name), None)
    if member is None:
        return []
    text = files.read(member).decode("utf-8-sig", "surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


def _swapped(sample: Sample, load: Load, known: bool) -> Sample:
    """Exchange red and blue of a sample and, unless the image is known, of its recorded pixel locations."""
    image = sample.image
    if not known:
        picks = [(where, *pick) for where in image.pixels for pick in (("red", 2), ("green", 1), ("blue", 0))]
        pixels = tuple(replace(where, role=role, channel=c) for where, role, c in picks)
        image = replace(image, pixels=pixels, channels=("red", "green", "blue"))
    return replace(sample, image=image, load_pixels=lambda: np.ascontiguousarray(load()[..., ::-1]))


def _cells(
    files: Files, member: str, image: Image, colours: Mapping[str, Colour], tolerance: int, findings: list[Finding]
) -> tuple[Image, Instances]:
    try:
        mask = files.pixels(member)
    except InputError as exc:
        findings.append(Finding("unreadable-mask", f"{member}: {exc}", "error", image.image_id))
        return image, Instances.empty(image.size)
    size = int(mask.shape[0]), int(mask.shape[1])
    if not min(image.size):
        image = replace(image, height=size[0], width=size[1])
    if mask.ndim != 3 or mask.shape[2] < 3:
        message = f"{member} has shape {mask.shape}; expected three colour channels"
        findings.append(Finding("mask-shape", message, "error", image.image_id))
        return image, Instances.empty(image.size)
    if size != image.size:
        message = f"the mask is {size[0]} × {size[1]} px, the image {image.height} × {image.width}"
        findings.append(Finding("size-mismatch", message, "error", image.image_id))
        return image, Instances.empty(image.size)
    classes, odd = classify(mask[..., :3], list(colours.values()), tolerance)
    if odd:
        message = f"{odd:,} pixels have a colour that is not in the palette; taken as background"
        findings.append(Finding("unassigned-pixels", message, "warning", image.image_id, value=odd))
    return image, _components(classes, list(colours), size)


def _components(classes: NDArray[np.uint8], names: Sequence[str], size: tuple[int, int]) -> Instances:
    from scipy import ndimage

    parts = [Masks.of([], size)]
    found: list[str | None] = []
    for k, name in enumerate(names, 1):
        labels, n = ndimage.label(classes == k, structure=np.ones((3, 3)))
        if n:
            parts.append(from_label_map(labels.astype(np.int32)).masks)
            found += [None if name == "*" else name] * n
    return Instances(Masks.concat(parts), class_name=found, annotator="components")


def recognise(peek: Peek) -> Recognition | None:
    """Recognise folders images and masks with files of the same names, the masks in a few colours."""
    found: dict[str, set[str]] = {"images": set(), "masks": set()}
    masks = []
    for hit in peek.matches(_FILE):
        found[hit[2].lower()].add(hit[3])
        masks += [hit[0]] if hit[2].lower() == "masks" else []
    beside = {name.rpartition("/")[2] for name in peek.names} >= {"ids.csv", "classes.csv"}
    if not masks or not (beside or found["images"] & found["masks"]):
        return None
    if beside or all(_few_colours(peek.picture(name)) for name in spread(masks, 4)):
        return Recognition(Strength.LAYOUT, "folders images and masks, the masks in a few colours on black")
    return None


def _few_colours(mask: NDArray[Any] | None) -> bool:
    """Whether a mask has only colours of full or no intensity in each channel; blurred edges do not count."""
    if mask is None or mask.ndim != 3 or mask.dtype != np.uint8:
        return False
    rgb = mask[..., :3]
    brightest = rgb.max(axis=-1)
    extreme = ((rgb < 64) | (rgb > 191)).all(axis=-1)
    coloured, bright = np.count_nonzero(brightest), np.count_nonzero(brightest > 191)
    return bool(extreme.mean() > 0.9 and (brightest < 64).any() and 2 * bright >= coloured)


FORMAT = Format(
    name="image-mask-png",
    title="ImageMask (colour-coded PNG)",
    description=(
        "{train,valid,test}/{images,masks}/<N>.png with a colour per class, like the ImageMask-Dataset-PanNuke sets "
        "(https://github.com/sarah-antillia/ImageMask-Dataset-PanNuke), with ids.csv, classes.csv and the figure "
        "statistics.svg. Semantic: touching cells of a class are one. The data set pannuke_imagemask reads the "
        "published sets, whose red and blue are exchanged; read one made without --as-published by this format."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    read_options=(
        Option("palette", None, f"{PALETTE.about}; by default that of classes.csv, or v1", type=str),
        Option("tolerance", 0, "how far a channel may be from the colour; interpolated masks need 64", low=0, high=255),
        Option("swap_rb", False, "swap red and blue of the images"),
    ),
    write_options=(
        PALETTE,
        Option("size", 0, "edge of the written images; 0 keeps their size", low=0, unit="px"),
        Option("split", "80/15/5", "shares of train, valid and test, or keep"),
        Option("seed", 0, "seed of the shuffle", low=0),
        Option(
            "as_published",
            False,
            "with the defects of the published generator: ids up to 10 missing, red and blue "
            "swapped, colours of classes that share pixels added, masks interpolated, JPEG in v1",
        ),
    ),
    limits=Limits(semantic=True, divides=True, classes=CLASS_NAMES),
    figure=True,
)
