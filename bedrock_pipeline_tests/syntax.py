"""Syntax trees of code, for the tests that read it."""

import ast
import gc
from typing import Final

_MOST_TRIES: Final = 5


def parsed(code: str | bytes) -> ast.Module:
    """The tree of a module.

    Python 3.11 counts the depth of trees for all threads together, and while it collects garbage: one that is made meanwhile
    ends with a SystemError (CPython's issue 106905).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(_MOST_TRIES - 1):
            try:
                return ast.parse(code)
            except SystemError:
                continue
        return ast.parse(code)
    finally:
        if collects:
            gc.enable()
