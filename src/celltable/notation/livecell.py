"""Parse LIVECell's file names, the only source of cell type, well, location, time and crop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

TYPES: Final = ("A172", "BT474", "BV2", "Huh7", "MCF7", "SHSY5Y", "SkBr3", "SKOV3")
PIXEL_UM: Final = 1.24  # Incucyte S3 at 10x
_NAME: Final = re.compile(
    r"(?P<type>[A-Za-z0-9]+)_Phase_(?P<well>[A-H]\d{1,2})_(?P<location>\d)_"
    r"(?P<time>\d\dd\d\dh\d\dm)(?:_(?P<crop>[1-4]))?"
)


@dataclass(frozen=True, slots=True)
class Name:
    """The fields of a file name; `time` is as published, for example ``01d08h00m``."""

    cell_type: str
    well: str
    location: str
    time: str
    crop: str

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata for the image record; `frame` identifies the field that four crops were cut from."""
        frame = f"{self.cell_type}_{self.well}_{self.location}_{self.time}"
        values = {"well": self.well, "location": self.location, "time": self.time, "crop": self.crop, "frame": frame}
        return {k: v for k, v in values.items() if v}


def parse(stem: str) -> Name | None:
    """Parse a file name without its extension; None if it does not follow the pattern.

    >>> parse("SkBr3_Phase_H3_2_00d00h00m_1").well
    'H3'
    """
    match = _NAME.fullmatch(stem)
    return Name(match["type"], match["well"], match["location"], match["time"], match["crop"] or "") if match else None
