"""celltable: every cell is a row, every number names its protocol.

>>> import celltable as ct
>>> ct.list_datasets()[:2]
('bbbc006', 'bbbc007')

The names below are the public API; each is imported when it is first used, so ``import celltable`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__

_WHERE = {
    "CelltableError": "errors",
    "Finding": "cells",
    "Image": "cells",
    "Instances": "cells",
    "Sample": "cells",
    "Store": "store",
    "check": "pipelines.check",
    "compare": "pipelines.evaluate",
    "demo": "pipelines.demo",
    "evaluate": "pipelines.evaluate",
    "export": "pipelines.convert",
    "generate": "synthetic",
    "get": "pipelines.get",
    "import_annotations": "pipelines.convert",
    "coco_scores": "scoring.coco.files",
    "ingest": "pipelines.ingest",
    "list_datasets": "pipelines.datasets",
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
    "training_items": "pipelines.torch_dataset",
    "undo": "pipelines.repair",
}
__all__ = [*sorted(_WHERE), "__version__"]

if TYPE_CHECKING:
    from celltable.cells import Finding as Finding
    from celltable.cells import Image as Image
    from celltable.cells import Instances as Instances
    from celltable.cells import Sample as Sample
    from celltable.scoring.coco.files import coco_scores as coco_scores

    from .errors import CelltableError as CelltableError
    from .pipelines.check import check as check
    from .pipelines.convert import export as export
    from .pipelines.convert import import_annotations as import_annotations
    from .pipelines.datasets import list_datasets as list_datasets
    from .pipelines.demo import demo as demo
    from .pipelines.evaluate import compare as compare
    from .pipelines.evaluate import evaluate as evaluate
    from .pipelines.evaluate import parity as parity
    from .pipelines.get import get as get
    from .pipelines.ingest import ingest as ingest
    from .pipelines.merge import merge as merge
    from .pipelines.predict import predict as predict
    from .pipelines.preprocess import preprocess as preprocess
    from .pipelines.repair import repair as repair
    from .pipelines.repair import undo as undo
    from .pipelines.report import report as report
    from .pipelines.sample import sample as sample
    from .pipelines.split import split as split
    from .pipelines.tile import stitch as stitch
    from .pipelines.tile import tile as tile
    from .pipelines.torch_dataset import torch_dataset as torch_dataset
    from .pipelines.torch_dataset import training_items as training_items
    from .store import Store as Store
    from .store import open_store as open  # noqa: F401
    from .synthetic import generate as generate


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'celltable' has no attribute '{name}'")
    module = import_module(f"celltable.{_WHERE[name]}")
    value = getattr(module, "open_store" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
