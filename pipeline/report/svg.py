"""Charts as SVG in a page: in the page's colours, and described for those who do not see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def element(name: str, text: str = "", /, **attributes: object) -> Markup:
    """Returns an SVG element, with everything escaped that is no Markup.

    Args:
        name: of the element.
        text: or elements that it holds.
        attributes: `_` stands for `-`, and one at the end of a name for nothing; floats are rounded.
    """
    shown = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _rounded(value))
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{shown}>{escape(text)}</{name}>")


def _rounded(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


@dataclass(frozen=True)
class Scale:
    """From values to places on paper.

    Args:
        low: the value at `start`.
        high: the value at `end`; more than `low`.
        start: where it begins on paper.
        end: where it ends; may be less than `start`.
        logarithmic: whether orders of magnitude have equal lengths; both ends are above 0 then.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, logarithmic: bool = False) -> Scale:
        """Returns one that holds all values, with some room around them."""
        low, high = (math.log(f(values)) if logarithmic else f(values) for f in (min, max))
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - room, high + room
        if logarithmic:
            low, high = math.exp(low), math.exp(high)
        return cls(low, high, start, end, logarithmic)

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5, whole: bool = False) -> list[float]:
        """Returns round values on it.

        Args:
            count: about how many.
            whole: whether only whole numbers may be among them.
        """
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                marked = [digit * 10.0**power for power in powers for digit in digits]
                marked = [value for value in marked if self.low <= value <= self.high]
                if len(marked) >= 3:
                    return marked[:: math.ceil(len(marked) / count)]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * step for step in _STEPS if power * step >= rough * (1 - 1e-9))
        if whole:
            step = max(math.ceil(step), 1)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


@dataclass
class Chart:
    """A chart that grows by `add`; its coordinates are those of its `viewBox`.

    Args:
        id: of the element; the only one of its kind in the page.
        title: in a few words.
        description: what is to be seen, in sentences.
        width: of the whole.
        height: of the whole.
        margins: left, top, right and bottom of the plot.
    """

    id: str
    title: str
    description: str
    width: float
    height: float
    margins: tuple[float, float, float, float]
    _elements: list[Markup] = field(default_factory=list)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plot."""
        left, top, right, bottom = self.margins
        return left, top, self.width - right, self.height - bottom

    def add(self, name: str, text: str = "", /, **attributes: object) -> None:
        """Adds an element."""
        self._elements.append(element(name, text, **attributes))

    def text(self, text: str, x: float, y: float, anchor: str = "middle", **attributes: object) -> None:
        """Writes a line of text, at its baseline."""
        self.add("text", text, x=x, y=y, text_anchor=anchor, **attributes)

    def horizontal_axis(self, scale: Scale, title: str, ticks: Sequence[float]) -> None:
        """Draws the axis below the plot, with lines through it."""
        left, top, right, bottom = self.box
        for tick in ticks:
            self.add("line", x1=scale(tick), x2=scale(tick), y1=top, y2=bottom, class_="grid")
            self.text(tick_text(tick), scale(tick), bottom + 18)
        self.text(title, (left + right) / 2, self.height - 6, class_="axis")

    def vertical_axis(self, scale: Scale) -> None:
        """Draws the axis on the left, with lines through the plot."""
        left, _, right, _ = self.box
        for tick in scale.ticks():
            self.add("line", x1=left, x2=right, y1=scale(tick), y2=scale(tick), class_="grid")
            self.text(tick_text(tick), left - 6, scale(tick) + 4, "end")

    def markup(self) -> Markup:
        """Returns the element, with a title and a description."""
        about = element("title", self.title, id=f"{self.id}-title")
        about += element("desc", self.description, id=f"{self.id}-description")
        return element(
            "svg",
            about + Markup("\n").join(self._elements),
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            aria_labelledby=f"{self.id}-title {self.id}-description",
        )


def tick_text(value: float) -> str:
    """Returns a number on an axis."""
    return f"{value:g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-")
