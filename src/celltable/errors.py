"""Every deliberate exception of celltable.

::

    CelltableError              a request that cannot be served; its message says what was found, expected, to be done
    ├── NotFoundError           a name, path, image or column that does not exist (also a LookupError)
    │   └── UnknownPluginError  no plug-in of that name; suggests the nearest one
    ├── PluginError             a plug-in that cannot be loaded, or does not keep to the contract of its family
    ├── InputError              a file or value that cannot be read as what it claims to be (also a ValueError)
    │   ├── ArchiveError        a zip or tar that is damaged or unsafe
    │   ├── ImageFileError      an image file that is damaged or in an unknown format
    │   ├── MaskError           an RLE, polygon or label map that is not valid
    │   ├── OptionError         an option that does not exist, or a value that it does not take
    │   └── ReleaseError        a folder or archive that is not the release it was said to be
    ├── StoreError              a store that is missing, damaged, locked or written by a newer version
    ├── MetricError             a metric that cannot be computed on the given pair
    ├── RuleError               a finding whose rule nobody declared, or a rule declared twice
    ├── WorkerError             work for other processes that cannot be sent, or whose worker died or cannot be reached
    └── MissingExtraError       an optional dependency that is not installed (also an ImportError)

Defects of the data themselves are not exceptions: they are rows of the findings table.
"""

from __future__ import annotations


class CelltableError(Exception):
    """A request that cannot be served."""


class NotFoundError(CelltableError, LookupError):
    """A name, path, image or column that does not exist."""


class UnknownPluginError(NotFoundError):
    """No plug-in has that name."""


class PluginError(CelltableError):
    """A plug-in that cannot be loaded, or does not keep to the contract of its family."""


class InputError(CelltableError, ValueError):
    """A file or value that cannot be read as what it claims to be."""


class ArchiveError(InputError):
    """A zip or tar that is damaged or unsafe."""


class ImageFileError(InputError):
    """An image file that is damaged or in an unknown format."""


class MaskError(InputError):
    """An RLE, polygon or label map that is not valid."""


class OptionError(InputError):
    """An option that does not exist, or a value that it does not take."""


class ReleaseError(InputError):
    """A folder or archive that is not the release it was said to be."""


class StoreError(CelltableError):
    """A store that is missing, damaged, locked or written by a newer version."""


class MetricError(CelltableError):
    """A metric that cannot be computed on the given pair."""


class RuleError(CelltableError):
    """A finding whose rule nobody declared, or a rule declared twice with different words."""


class WorkerError(CelltableError):
    """Work for other processes that cannot be sent, or whose worker died or cannot be reached."""


class MissingExtraError(CelltableError, ImportError):
    """An optional dependency that is not installed."""
