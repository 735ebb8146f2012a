"""The 19 classes of the Human Protein Atlas single-cell challenge, and the class of each location of the atlas."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

CLASSES: Final = (
    "Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies",
    "Endoplasmic reticulum", "Golgi apparatus", "Intermediate filaments", "Actin filaments", "Microtubules",
    "Mitotic spindle", "Centrosome", "Plasma membrane", "Mitochondria", "Aggresome", "Cytosol",
    "Vesicles and punctate cytosolic patterns", "Negative",
)  # fmt: skip
NEGATIVE: Final = 18
CLASSES_OF_2018: Final = (  # class numbers of the image-level challenge of 2018, with the columns Id,Target
    "Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies",
    "Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes", "Intermediate filaments",
    "Actin filaments", "Focal adhesion sites", "Microtubules", "Microtubule ends", "Cytokinetic bridge",
    "Mitotic spindle", "Microtubule organizing center", "Centrosome", "Lipid droplets", "Plasma membrane",
    "Cell junctions", "Mitochondria", "Aggresome", "Cytosol", "Cytoplasmic bodies", "Rods & rings",
)  # fmt: skip
# The organisers' own table: T. Le, "HPA public data download and HPACellSeg", `all_locations`
# (kaggle.com/code/lnhtrang/hpa-public-data-download-and-hpacellseg); names of classes stand for themselves.
MERGED: Final = {
    "Focal adhesion sites": 9, "Centriolar satellite": 12, "Cell junctions": 13, "Vesicles": 17, "Peroxisomes": 17,
    "Endosomes": 17, "Lysosomes": 17, "Lipid droplets": 17, "Cytoplasmic bodies": 17, "No staining": NEGATIVE,
}  # fmt: skip
# Locations of the atlas (proteinatlas.org, versions 18 to 24) that this table leaves out: they do not belong to any
# class of the challenge, and the organisers dropped them instead of calling them Negative.
WITHOUT_CLASS: Final = (
    "Microtubule ends", "Microtubule organizing center", "Cytokinetic bridge", "Rods & rings", "Midbody",
    "Midbody ring", "Cleavage furrow", "Mitotic chromosome", "Kinetochore", "Nucleoli rim", "Nucleus", "Cytoplasm",
    "Basal body", "Primary cilium", "Primary cilium tip", "Primary cilium transition zone", "Acrosome", "Annulus",
    "Calyx", "Connecting piece", "End piece", "Equatorial segment", "Flagellar centriole", "Mid piece",
    "Perinuclear theca", "Principal piece",
)  # fmt: skip
_NUMBERS: Final = {n.casefold(): k for k, n in enumerate(CLASSES)} | {n.casefold(): k for n, k in MERGED.items()}
_KNOWN: Final = frozenset(n.casefold() for n in WITHOUT_CLASS)


class Labels(NamedTuple):
    """A parsed label text: class numbers in its order, locations without a class, and unknown words."""

    numbers: tuple[int, ...]
    without_class: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def class_number(name: str) -> int | None:
    """Return the class of an atlas location, or None if the challenge has none; case does not matter.

    >>> [class_number(n) for n in ("Cytosol", "Cell Junctions", "Peroxisomes", "Rods & Rings")]
    [16, 13, 17, None]
    """
    return _NUMBERS.get(name.strip().casefold())


def parse_labels(text: str, numbered: tuple[str, ...] = CLASSES) -> Labels:
    """Read names or numbers joined by ``|``, ``;`` or ``,`` (numbers also by blanks); `numbered` lists their classes.

    Several locations of the same class count once.

    >>> parse_labels("8|5|0")
    Labels(numbers=(8, 5, 0), without_class=(), unknown=())
    >>> parse_labels("Peroxisomes,Vesicles,Midbody;Nowhere")
    Labels(numbers=(17,), without_class=('Midbody',), unknown=('Nowhere',))
    >>> parse_labels("25 8", CLASSES_OF_2018)
    Labels(numbers=(16, 17), without_class=(), unknown=())
    """
    blank = r"\s" if re.fullmatch(r"[\d\s]*", text.strip()) else ""
    numbers: dict[int, None] = {}
    without: list[str] = []
    unknown: list[str] = []
    for word in filter(None, (w.strip() for w in re.split(rf"[|;,{blank}]", text))):
        name = numbered[int(word)] if word.isascii() and word.isdecimal() and int(word) < len(numbered) else word
        number = class_number(name)
        if number is not None:
            numbers[number] = None
        else:
            (without if name.casefold() in _KNOWN else unknown).append(name)
    return Labels(tuple(numbers), tuple(without), tuple(unknown))
