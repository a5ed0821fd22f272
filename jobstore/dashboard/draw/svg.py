"""Elements of SVG, as text: https://www.w3.org/TR/SVG2/.

Colours and fonts are the stylesheet's, by the classes of the elements: the policy of the pages
allows no style in them.
"""

from html import escape
from typing import Final

# What Python cannot have as the name of an argument, or by another name.
_NAMES: Final = {"class_": "class", "view_box": "viewBox"}


class Svg(str):
    """A drawing, or a piece of one: a template takes it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tell a template that it is written in its own language already."""
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


def drawing(width: float, height: float, label: str, *inside: str, class_: str = "chart") -> Svg:
    """Put a drawing together.

    Args:
        width: how wide it is; it may be shown larger or smaller.
        label: what it says in words, for who cannot see it.
    """
    return element(
        "svg",
        *inside,
        class_=class_,
        view_box=f"0 0 {_value(width)} {_value(height)}",
        width=width if class_ != "chart" else None,
        height=height if class_ != "chart" else None,
        role="img" if "<a " not in "".join(inside) else "group",
        aria_label=label,
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(str(value))
