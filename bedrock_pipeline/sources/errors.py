"""Why an input cannot be read."""

from bedrock_pipeline.errors import InvalidInputError


class InputError(InvalidInputError):
    """The input as a whole cannot be read."""


class TypesChangedError(Exception):
    """A column needs a wider type than the rows before had: read again from the beginning.

    It is raised at most once by a source, which then knows the types of all rows.
    """
