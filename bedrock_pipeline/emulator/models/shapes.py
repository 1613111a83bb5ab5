"""Types of the members of a body.

What belongs here: finding a member that is not of its type, before the families read a body. A shape is a Python
type; a tuple of shapes that are taken; a list of the shape of its items; a dictionary of members, each of which may
be left out.
"""

from typing import Any

Shape = Any
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "dictionary", list: "list"}


def wrong_type(shape: Shape, value: Any) -> tuple[str, str] | None:
    """The first member that is not of its type.

    Returns:
        Its path, with dots, and the name of the type that it should have.
    """
    kind = type(shape)
    if kind is tuple:
        shape = next((one for one in shape if _is(_outer(one), value)), shape[0])
        kind = type(shape)
    if not _is(_outer(shape), value):
        return "", _NAMES[_outer(shape)]
    if kind is dict:
        for name, one in shape.items():
            member = value.get(name)
            if member is not None and (found := wrong_type(one, member)):
                return _within(name, found)
    elif kind is list:
        for number, item in enumerate(value):
            if found := wrong_type(shape[0], item):
                return _within(str(number), found)
    return None


def _outer(shape: Shape) -> type:
    return shape if isinstance(shape, type) else type(shape)


def _is(outer: type, value: Any) -> bool:
    if type(value) is outer:
        return True
    return outer is float and type(value) is int


def _within(name: str, found: tuple[str, str]) -> tuple[str, str]:
    return (f"{name}.{found[0]}" if found[0] else name), found[1]
