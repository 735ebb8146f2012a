"""celltable: every cell is a row, every number names its protocol.

>>> import celltable as ct
>>> ct.datasets()[:2]
('bbbc006', 'bbbc007')

The names below are the public API; each is imported when it is first used, so ``import celltable`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "CelltableError": "errors",
    "Finding": "records",
    "Image": "records",
    "Instances": "records",
    "Sample": "records",
    "Store": "store",
    "check": "pipelines.check",
    "compare": "pipelines.evaluate",
    "datasets": "pipelines.datasets",
    "demo": "pipelines.demo",
    "evaluate": "pipelines.evaluate",
    "export": "pipelines.convert",
    "generate": "synthetic",
    "get": "pipelines.get",
    "import_annotations": "pipelines.convert",
    "ingest": "pipelines.ingest",
    "merge": "pipelines.merge",
    "open": "store",
    "parity": "pipelines.evaluate",
    "predict": "pipelines.predict",
    "preprocess": "pipelines.preprocess",
    "repair": "pipelines.repair",
    "report": "pipelines.report",
    "sample": "pipelines.sample",
    "split": "pipelines.split",
    "stitch": "pipelines.tile",
    "tile": "pipelines.tile",
    "torch_dataset": "pipelines.torch_dataset",
    "undo": "pipelines.repair",
}
__all__ = [*sorted(_WHERE), "__version__"]

if TYPE_CHECKING:
    from .errors import CelltableError as CelltableError
    from .pipelines.ingest import ingest as ingest
    from .records import Finding as Finding
    from .records import Image as Image
    from .records import Instances as Instances
    from .records import Sample as Sample
    from .store import Store as Store
    from .store import open_store as open  # noqa: F401


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'celltable' has no attribute '{name}'")
    module = import_module(f"celltable.{_WHERE[name]}")
    value = getattr(module, "open_store" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
