"""What a training needs of the machine that does it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.strict import Strict

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:[KMGTP]i?)?B")
_ACCELERATOR = re.compile(r"type:[\w.-]+;count:[1-9]\d*(?:;[\w.-]+(?::[\w.-]+)?)*")


def _size(text: str) -> str:
    match = _SIZE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError(
            f"received {text!r}, expected a number above 0 with a unit of B, KB, MB, GB, TB, PB, KiB, MiB, "
            "GiB, TiB or PiB, such as '8GB'"
        )
    return text


def _accelerator(text: str) -> str:
    if _ACCELERATOR.fullmatch(text) is None:
        raise ValueError(
            f"received {text!r}, expected a type, a count and perhaps options, such as "
            "'type:nvidia-tesla-t4;count:1;install-nvidia-driver'"
        )
    return text


class Resources(Strict):
    """What an engine that rents machines, such as Dataflow, is to give the training and no other stage.

    Who changes it does not train again. Engines that have their machines already ignore it.
    """

    accelerator: Annotated[str, AfterValidator(_accelerator)] | None = None
    """Kind and number of accelerators, as Beam and Dataflow write them:
    `type:nvidia-tesla-t4;count:1;install-nvidia-driver`."""
    min_ram: Annotated[str, AfterValidator(_size)] | None = None
    """Memory that the machine has at the least, such as `8GB` or `30GiB`."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Cores that it has at the least."""

    def hints(self) -> dict[str, str]:
        """Returns the resource hints of Beam, as its `with_resource_hints` takes them."""
        hints = {"accelerator": self.accelerator, "min_ram": self.min_ram, "cpu_count": self.cpus}
        return {name: str(value) for name, value in hints.items() if value is not None}
