"""What a snapshot holds of its input, and whether the input has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.stored_columns import RECORD_ID


class ColumnError(InvalidInputError):
    """A named column does not exist."""


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What a snapshot holds.

    Attributes:
        template: the request; its columns are kept.
        record_id: column with the ids; None derives them from the content.
        carry: columns to carry along.
        ask_identical_once: whether rows with the same request share one response.
    """

    template: RequestTemplate
    record_id: str | None
    carry: tuple[str, ...]
    ask_identical_once: bool = True

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The snapshot of a pipeline's input."""
        template = RequestTemplate.of(pipeline)
        return cls(template, pipeline.record_id, pipeline.carry, pipeline.ask_identical_once)

    @property
    def shares_responses(self) -> bool:
        """Whether records with the same request share a response; with the id in it, all requests differ."""
        contents = self.template.contents
        columns = {*self.template.columns, *contents.columns}
        differ = bool(columns) or contents.conversing
        return self.ask_identical_once and differ and self.record_id not in columns

    @property
    def digests_long_ids(self) -> bool:
        """Whether an id that is too long is replaced by a digest: its column is carried along, so that it can be joined."""
        return self.record_id in self.carried

    @property
    def kept(self) -> tuple[str, ...]:
        """The input's columns that the snapshot keeps."""
        return tuple(dict.fromkeys((*self.template.columns, *self.carried)))

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns that the results get from the input, beside the record ids."""
        return tuple(name for name in self.carry if name != RECORD_ID)

    def needed(self, available: Sequence[str]) -> tuple[str, ...]:
        """The input's columns that make the record; a function gets all of them."""
        contents = self.template.contents
        return tuple(dict.fromkeys((*self.kept, *contents.columns, *(available if contents.render else ()))))

    @property
    def named(self) -> tuple[str, ...]:
        """The input's columns that the settings name."""
        own = [self.record_id] if self.record_id is not None else []
        return tuple(dict.fromkeys((*self.kept, *self.template.contents.columns, *own)))

    def read(self, available: Sequence[str]) -> tuple[str, ...]:
        """The input's columns that are read."""
        return tuple(dict.fromkeys((*self.needed(available), *self.named)))

    def check(self, available: Sequence[str]) -> None:
        """Check that the input has the named columns.

        Raises:
            ColumnError: the message names the columns that are missing, and those of the input.
        """
        for template in self.template.templates:
            template.check(available)
        read = self.read(available)
        if missing := [name for name in read if name not in available]:
            raise ColumnError(
                f"The input has no column {', '.join(map(repr, missing))}.",
                f"Its columns are: {', '.join(available)}.",
            )
        if not read:
            raise ColumnError(
                "Neither prompt nor record id names a column, so every record would be the same.",
                f"Its columns are: {', '.join(available)}.",
            )
