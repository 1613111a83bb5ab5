"""Count the input tokens of a sample of requests with Bedrock's CountTokens, before they are submitted."""

from typing import Final

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.models.catalog import card_of
from bedrock_pipeline.models.model_ids import bare_model
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.pricing.token_counts import NotCountableError, TokenCounter
from bedrock_pipeline.records.wire_line import body_of

_NOT_COUNTED: Final = (
    "Bedrock does not count the tokens of {} (`bedrock-pipeline models` shows for which it does)"
)


def token_counter(runtime: BedrockRuntime, pipeline: BasePipeline) -> TokenCounter:
    """A counter of the input tokens of a pipeline's requests.

    What cannot be counted is no error: the estimate from the text stays, and the counter says why.
    """
    # Profiles are not counted; the model behind them is, and has the same tokenizer.
    model, converse = bare_model(pipeline.model_id), pipeline.invocation == "Converse"
    card = card_of(pipeline.model_id)

    def count(line: bytes) -> int:
        if pipeline.check_model and card is not None and not card.counts_tokens:
            raise NotCountableError(_NOT_COUNTED.format(model))
        try:
            return runtime.count_tokens(model, body_of(line), converse=converse)
        except AwsError as error:
            raise NotCountableError(str(error.classification)) from error

    return TokenCounter(count)
