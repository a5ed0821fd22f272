"""Elements of SVG, as text: https://www.w3.org/TR/SVG2/.

Colours and fonts come from the stylesheet, by the elements' classes: the pages' content security
policy allows no inline styles.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

# How wide a letter is in a drawing, about.
LETTER: Final = 6.2
# How wide a fluid drawing is at least, in pixels: in wide windows, and on a telephone.
BROAD: Final = 640
SLIM: Final = 280
# What Python cannot have as the name of an argument, or by another name.
_NAMES: Final = {
    "class_": "class",
    "view_box": "viewBox",
    "preserve_aspect_ratio": "preserveAspectRatio",
}


class Svg(str):
    """A drawing or a part of one, which templates do not escape."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup, which tells templates not to escape it."""
        return self


def element(name: str, *inside: str, **attributes: object) -> Svg:
    """Write an element.

    Args:
        inside: elements, or text.
        attributes: by their names, with underscores for hyphens; None is left out, and numbers are
            written to a tenth.
    """
    written = "".join(
        f' {_NAMES.get(key, key.replace("_", "-"))}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(each if isinstance(each, Svg) else escape(each) for each in inside)
    return Svg(f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>")


def drawing(width: float, height: float, label: str, *inside: str, class_: str) -> Svg:
    """Assemble a drawing.

    Args:
        label: its description, for screen readers.
    """
    return element(
        "svg",
        *inside,
        class_=class_,
        view_box=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img" if "<a " not in "".join(inside) else "group",
        aria_label=label,
    )


def fluid(kind: str, height: int, label: str, *inside: str) -> Svg:
    """Assemble a drawing that is as wide as there is room, in which letters keep their size.

    A pixel is a pixel in it, and what has its place in time stands at a `percent` of the width.

    Args:
        kind: its class; its padding is what numbers beside the drawing need.
        label: its description, for screen readers.
    """
    return element(
        "svg",
        *inside,
        class_=f"chart {kind}",
        height=height,
        role="img" if "<a " not in "".join(inside) else "group",
        aria_label=label,
    )


def stretched(width: int, height: int, *inside: str, **attributes: object) -> Svg:
    """Stretch shapes to the width of the drawing that they are in; only letters cannot be."""
    return element(
        "svg",
        *inside,
        view_box=f"0 0 {width} {height}",
        preserve_aspect_ratio="none",
        height=height,
        **attributes,
    )


def percent(share: float) -> str:
    """Write a share of the width.

    >>> [percent(each) for each in (0, 0.12345, 1)]
    ['0%', '12.35%', '100%']
    """
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def either(broad: Sequence[Svg], slim: Sequence[Svg]) -> Sequence[Svg]:
    """Return text for wide windows and for telephones; only once if it is the same."""
    if broad == slim:
        return broad
    return [element("g", *broad, class_="broad"), element("g", *slim, class_="slim")]


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(str(value))
