"""One file a model, one folder a family. A block's `model: autoencoders/vae` names the file; there is no registry."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generative.errors import UsageError
from generative.params import Training, closest, shown

if TYPE_CHECKING:
    from generative.models.model import Model

FOLDER = Path(__file__).parent


def find(model: str, where: str) -> tuple[type[Training], type[Model]]:
    """The `Params` and the one `Model` of a model's file.

    Args:
        where: file and key that name the model, for the message.

    Raises:
        UsageError: no such model.
    """
    known = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/[a-z]*.py"))
    if model not in known:
        raise UsageError(f"{where}: no model {shown(model, plain=False)} in src/generative/models{closest(model, known)}")
    module = importlib.import_module(f"generative.models.{model.replace('/', '.')}")
    from generative.models.model import Model

    def is_model(value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__

    (kind,) = filter(is_model, vars(module).values())
    return module.Params, kind
