"""The base of what users define: pydantic models whose errors name the definition and each wrong field."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from bedrock_pipeline.errors import ConfigurationError


class UserModel(BaseModel):
    """A definition that a user writes, whose errors name it and each wrong field.

    Raises:
        ConfigurationError: it is not valid.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _validated(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        """Collect the errors in one ConfigurationError, which pydantic passes on since it is not a ValueError."""
        try:
            built = build(values)
            built._check()
        except ValidationError as error:
            problems = "; ".join(cls._problem(one["loc"], one["type"], one["msg"]) for one in error.errors())
        except ValueError as error:
            problems = " ".join(filter(None, (getattr(error, "what", str(error)), getattr(error, "fix", ""))))
        else:
            return built
        name = values.get("name") if isinstance(values, dict) else None
        raise ConfigurationError(
            f"{cls.__name__}{f' {name!r}' if name else ''}: {problems.rstrip('.')}.",
            "Correct its arguments (docs/reference/pipeline.md).",
        ) from None

    @classmethod
    def _problem(cls, location: tuple[int | str, ...], kind: str, message: str) -> str:
        field = ".".join(map(str, location))
        if kind == "extra_forbidden":
            message = cls._unknown_field(field)
        return f"{field}: {message.removeprefix('Value error, ').rstrip('.')}"

    @classmethod
    def _unknown_field(cls, field: str) -> str:  # noqa: ARG003  # a queue's message depends on it
        return "there is no such field"

    def _check(self) -> None:
        """Raise a ValueError if fields contradict each other."""
