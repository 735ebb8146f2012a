"""COCO JSON as columns, without a Python object per annotation.

`CocoFile.open` reads the file once, in a sliding window, validates every byte, and keeps the scalars of the annotations
as columns; outlines stay in the file and are read only for the requested rows, so memory does not grow with them
(about 90 bytes per annotation). All methods may be called from several threads; reading releases the GIL.

Typical use, image by image with bounded memory::

    file = CocoFile.open("livecell_coco_test.json")
    images = msgspec.json.decode(file.members["images"])
    order, starts = file.by_image()
    for k, key in enumerate(file.image_keys):
        rows = order[starts[k] : starts[k + 1]]
        xy, parts, cells = file.polygons(rows)
        # cell i: parts cells[i]:cells[i + 1]; part j: numbers xy[parts[j]:parts[j + 1]]
"""

import numpy as np
from numpy.typing import NDArray

_Texts = tuple[NDArray[np.uint8], NDArray[np.int64]]  # concatenated, and n + 1 offsets

class CocoFile:
    """The annotations of a COCO file (an object with images, annotations, categories) or of results (a list).

    Rows are in file order; annotations given as an object are ordered by the number in their key. Columns without any
    values are None. If a key occurs twice in an object, the last value counts, as in `json.loads`.

    Attributes
    ----------
    name : str
        File name for messages.
    results : bool
        The document is a list of results: there are no `members`.
    has_annotations, annotations_were_a_dict : bool
        The document has the key annotations; they were an object instead of a list.
    members : dict of bytes
        Raw JSON text of each other top-level key (images, categories, info, …).
    image_keys, category_keys : list of int or str
        The distinct ids, in the order in which annotations name them.
    image, category : int32 (n,)
        Index into `image_keys` and `category_keys`; -1 without one.
    ids : int64 (n,)
        Annotation ids; -1 where `odd_ids` (row → text, or None for a missing one) says otherwise.
    area, score, mask_score : float64 (n,)
        NaN where missing or not a number. score and mask_score may be None.
    bbox : float64 (n, 4) or None
        x, y, width, height; NaN where missing or not four numbers.
    iscrowd, ignore : uint8 (n,)
        1 where true or not zero.
    shape : uint8 (n,)
        Of the segmentation: 0 none or empty, 1 polygons, 2 compressed run lengths, 3 uncompressed run lengths, 4
        anything else (see `texts`).
    rle_size : int32 (n, 2) or None
        Stated height and width of run lengths; 0 without a size, -1 where it is not two whole numbers.
    extra_names : list of str
        Other keys of annotations.
    """

    name: str
    results: bool
    has_annotations: bool
    annotations_were_a_dict: bool
    members: dict[str, bytes]
    image_keys: list[int | str]
    category_keys: list[int | str]
    image: NDArray[np.int32]
    category: NDArray[np.int32]
    ids: NDArray[np.int64]
    odd_ids: dict[int, str | None]
    area: NDArray[np.float64]
    score: NDArray[np.float64] | None
    mask_score: NDArray[np.float64] | None
    bbox: NDArray[np.float64] | None
    iscrowd: NDArray[np.uint8]
    ignore: NDArray[np.uint8]
    shape: NDArray[np.uint8]
    rle_size: NDArray[np.int32] | None
    extra_names: list[str]

    @staticmethod
    def open(path: str, window: int = 4194304) -> CocoFile:
        """Read a file. Raises InputError, with the byte, where it is not JSON or not COCO."""

    @staticmethod
    def parse(text: bytes, name: str = "the text", window: int = 4194304) -> CocoFile:
        """Read text in memory."""

    def __len__(self) -> int: ...
    def by_image(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Order rows by image: (rows, starts), image k having ``rows[starts[k]:starts[k + 1]]``.

        Rows without an image are left out.
        """

    def polygons(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Read the polygons of rows: coordinates x, y, x, y, …, starts of parts, first part per row.

        A row whose shape is not 1 has no parts. Parts are as published, even if empty, odd or shorter than six numbers.
        """

    def cells(
        self, rows: NDArray[np.int64], height: int, width: int
    ) -> tuple[_Texts, _Texts, NDArray[np.int64], NDArray[np.int32], dict[int, str]]:
        """Draw rows of polygons as masks of one size: compressed counts, packed polygons, areas (n,) and boxes (n, 4).

        The last item maps positions in `rows` to the reason why their polygons cannot be drawn; their counts and
        polygon are empty.
        """

    def rles(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]:
        """Read compressed counts of rows: one array of bytes, starts (n + 1), and 1 for each row that has counts.

        Uncompressed counts are compressed; 0 marks a row of another shape or with a count that is not a whole number.
        The text itself is not checked.
        """

    def counts(
        self, used: NDArray[np.uint8], sizes: NDArray[np.int32], threads: int = 1
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Convert every row to compressed counts; polygons are drawn by COCO's rule on (height, width) `sizes`.

        Returns one array of bytes and starts (n + 1); rows whose `used` is 0 are empty. Raises InputError, naming the
        annotation, for a polygon of fewer than three points or a row without an outline. Run lengths are not checked.
        """

    def texts(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Read the raw JSON of segmentations; empty where a row has none."""

    def extra(self, name: str) -> tuple[NDArray[np.int64], list[bytes]]:
        """Return the rows that have the key `name`, ascending, and the raw JSON of its values. Raises NotFoundError."""
