"""Rules of findings: every kind of defect has one name, one title and one usual severity, whoever reports it.

A module that reports a defect of its own declares the rule at its top::

    rule("near-red", "Nearly red pixels", "warning", "Only exact red is outline.", emitter="ingest cluster_nuclei")

Rules that several readers, formats or verbs share are declared here, and a check declares its rule by its `Check`. A
`Finding` with an undeclared rule is refused, so that the same defect has the same name under every verb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from celltable.errors import RuleError
from celltable.words import hint

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of defect.

    Attributes
    ----------
    name
        Kebab-case; the column `rule` of findings.parquet.
    title
        A few words for tables and reports.
    severity
        Severity of its findings unless a finding says otherwise.
    about
        What it means, why it matters and what mends it.
    emitters
        Who reports it: a verb (``check``; ``ingest`` for all readers, ``import`` for all formats), or a verb and the
        one plug-in that does (``ingest bbbc007``).
    """

    name: str
    title: str
    severity: Severity = "warning"
    about: str = ""
    emitters: tuple[str, ...] = ()


_known: dict[str, Rule] = {}
_severities: dict[str, Severity] = {}  # all that a Finding asks for: findings are made by the hundred thousand


def rule(name: str, title: str, severity: Severity = "warning", about: str = "", *, emitter: str) -> Rule:
    """Declare a rule, or add emitters to one that is declared elsewhere with the same title and severity.

    Parameters
    ----------
    name, title, severity, about
        See `Rule`. The first text given as `about` stays.
    emitter
        Emitters, separated by commas.

    Raises
    ------
    RuleError
        If a rule of this name has another title or severity.
    """
    old = _known.get(name)
    if old is not None and (old.title, old.severity) != (title, severity):
        raise RuleError(f"rule {name} is declared twice: '{old.title}' ({old.severity}) and '{title}' ({severity}).")
    old = old or Rule(name, title, severity)
    emitters = dict.fromkeys([*old.emitters, *(e.strip() for e in emitter.split(","))])
    _known[name] = replace(old, about=old.about or about, emitters=tuple(emitters))
    _severities[name] = severity
    return _known[name]


def known(name: str) -> Rule:
    """Return the rule called `name`.

    Raises
    ------
    RuleError
        If no loaded module declares it; the message names the nearest.
    """
    if name not in _known:
        raise RuleError(f"No rule is called '{name}'. {hint(name, _known)} A module declares its rules at its top.")
    return _known[name]


def severity_of(name: str) -> Severity:
    """Return the usual severity of a rule.

    Raises
    ------
    RuleError
        If no loaded module declares the rule.
    """
    try:
        return _severities[name]
    except KeyError:
        return known(name).severity


def all_rules() -> tuple[Rule, ...]:
    """Return every rule that a loaded module declares, by name."""
    return tuple(_known[name] for name in sorted(_known))


# Files that are missing or cannot be read.
rule(
    "unreadable-image",
    "Image file that cannot be read",
    "error",
    "The file of an image, or of one of its channels, is damaged, empty, missing or in an unknown format. The image "
    "stays in the table without what could not be read. Download the file again.",
    emitter="ingest, import, check, predict, tile, merge, split",
)
rule(
    "truncated-image",
    "Image file that ends too early",
    "error",
    "The header is whole but the pixels end early, as after an interrupted download. Download the file again.",
    emitter="ingest",
)
rule(
    "unreadable-mask",
    "Mask file that cannot be read",
    "error",
    "A label map, mask or drawn outline is damaged, empty or in an unknown format. Its cells are missing.",
    emitter="ingest, import",
)
rule(
    "unreadable-annotations",
    "Annotation document that cannot be read",
    "error",
    "A JSON or XML document of annotations is damaged or in another format. Its cells are missing.",
    emitter="ingest, import",
)
rule(
    "unreadable-table",
    "Table that cannot be read",
    "error",
    "A table of image labels or counts has none of the expected rows. The images stay without them.",
    emitter="ingest",
)
rule(
    "missing-image",
    "Annotated image whose file is missing",
    "error",
    "Masks, outlines or a record of an image exist, but its file does not. Complete the release.",
    emitter="ingest, import",
)
rule(
    "unknown-image",
    "Annotations of an unknown image",
    "error",
    "A table or annotation names an image that neither a file nor a record describes; it is left out.",
    emitter="ingest, import",
)
rule(
    "missing-channel",
    "Channel file that is missing",
    "error",
    "The image has fewer channels than the others of its release.",
    emitter="ingest",
)
rule(
    "missing-annotation",
    "Image without annotation",
    "error",
    "No mask, outline or record exists for the image: it is not annotated, which differs from an image without cells. "
    "A note where it was published so or where a format leaves it open.",
    emitter="ingest, import",
)

# Files that do not fit each other.
rule(
    "size-mismatch",
    "Sizes that differ",
    "error",
    "A mask or channel has another height and width than its image, or the image another than its record states. What "
    "does not fit is left out.",
    emitter="ingest, import, check, predict",
)
rule(
    "invalid-size",
    "Image size that is not valid",
    "error",
    "A record states no height and width, or values that are not positive whole numbers.",
    emitter="ingest, import",
)
rule(
    "wrong-extension",
    "File name with the wrong extension",
    "warning",
    "The extension differs from the format of the file, or from the name that a table gives for it.",
    emitter="ingest",
)
rule(
    "unexpected-name",
    "Image name that does not follow the published pattern",
    "warning",
    "What the name encodes (well, patient, cell type) is unknown for this image.",
    emitter="ingest",
)
rule(
    "data-channel",
    "Data in an unexpected colour channel",
    "warning",
    "A grey image or label map is stored as RGB, and not only the documented channel has values.",
    emitter="ingest",
)
rule(
    "image-in-two-splits",
    "Image in two splits",
    "error",
    "The same image is published in two parts, for example in train and in test: scores on the one are too good.",
    emitter="ingest",
)
rule(
    "image-listed-twice",
    "Image listed twice",
    "warning",
    emitter="ingest, import",
)

# Masks and outlines that are not what they should be.
rule(
    "mask-shape",
    "Mask with the wrong number of planes",
    "error",
    "An array has more or fewer dimensions or channels than a mask of its format; its cells are missing.",
    emitter="ingest, import",
)
rule(
    "mask-values",
    "Unexpected values in a mask",
    "error",
    "Values that the format does not define: fractions, negative ids, ids that are too large, or greys between "
    "background and foreground. The message says how they were read.",
    emitter="ingest, import",
)
rule(
    "unassigned-pixels",
    "Pixels that belong to no class",
    "warning",
    "Colours of a class mask that are not in its palette, often blends of two at an edge; read as background.",
    emitter="ingest, import",
)
rule(
    "void-patch",
    "Patch without any mask",
    "warning",
    "All channels of the patch are zero: its pixels are neither nucleus nor background.",
    emitter="ingest, import",
)
rule(
    "invalid-segmentation",
    "Mask or outline that is not valid",
    "error",
    "A polygon with fewer than three vertices, run lengths that describe no mask, or a line that cannot be parsed. "
    "The cell is left out or has an empty mask, as the message says.",
    emitter="ingest, import",
)
rule(
    "unknown-class",
    "Class that is not defined",
    "error",
    "A label or category that the release or file does not define; the cells or images stay without it.",
    emitter="ingest, import",
)
rule("outside-image", "Mask or polygon outside the image", "error", emitter="ingest, import")
rule("several-components", "Several components", "warning", emitter="ingest")
rule("empty-mask", "Empty mask", "error", emitter="import")

# What a verb could not finish.
rule(
    "not-copied",
    "Pixels that were not copied",
    "error",
    "The image stays in the table and points to the release.",
    emitter="ingest",
)
rule(
    "stray-file",
    "Files that do not belong to the release",
    "note",
    "Files of the operating system and the like were ignored. Value: files.",
    emitter="ingest",
)
rule(
    "missing-tiles",
    "Image stitched from some of its tiles",
    "warning",
    "Cells of the missing tiles are missing. Value: tiles.",
    emitter="stitch",
)
