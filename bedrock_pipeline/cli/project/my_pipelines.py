"""The pipelines of this project. `bedrock-pipeline dev -m my_pipelines` runs them on this machine."""

from bedrock_pipeline import Pipeline, build_definitions

pipeline = Pipeline(
    name="$name",
    model_id="anthropic.claude-3-haiku-20240307-v1:0",
    source="inputs/{dataset}.jsonl",  # a file for each dataset
    record_id="id",
    prompt="Is this review positive, negative or mixed? One word.\n\n{{ text }}",
    parameters={"max_tokens": 64, "temperature": 0},
    carry=("product",),  # columns of the input that stand beside the responses
)
defs = build_definitions([pipeline])
