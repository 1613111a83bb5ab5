"""Templates: columns and fields, literal braces, and other languages' syntax that is rejected by its name."""

import contextlib

import pytest

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prompts.template import Template, TemplateError

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.mark.parametrize(
    ("text", "literals", "paths"),
    [
        ("Hello.", ("Hello.",), []),
        ("{{a}}, {{ b }}", ("", ", ", ""), [("a",), ("b",)]),
        ("{{ a.b.c }}", ("", ""), [("a", "b", "c")]),
        ("{{ `a.b`.`c d` }}", ("", ""), [("a.b", "c d")]),
        ("{{ ` text` }} {{ `a|b` }}", ("", " ", ""), [(" text",), ("a|b",)]),
        ("{{ Price (USD) }} {{ größe }}", ("", " ", ""), [("Price (USD)",), ("größe",)]),
        ('{{ "{{" }} {{ "}}" }} {{ "{% x %}" }}', ("{{ }} {% x %}",), []),
        ('{{ "{" }}{{ a }}{{ "}" }}', ("{", "}"), [("a",)]),
        (r'\frac{a}{b} {x} }} {"a": {{ a }}}', ('\\frac{a}{b} {x} }} {"a": ', "}"), [("a",)]),
        ("{%", ("{%",), []),
    ],
)
def test_a_template_is_text_around_fields(
    text: str, literals: tuple[str, ...], paths: list[tuple[str, ...]]
) -> None:
    template = Template(text)
    assert template.literals == literals
    assert [field.path for field in template.fields] == paths


@pytest.mark.parametrize(
    ("text", "named", "instead"),
    [
        ("{% if a %}x{% endif %}", "has {% … %}", r'write \{\{ "\{%" \}\}'),
        ("{%- for x in y -%}", "has {% … %}", "render"),
        ("{# a comment #}", "has {# … #}", "leave comments out"),
        ("{{{ a }}}", "has {{{", 'write {{ "{" }}{{ column }}'),
        ("{{- a -}}", "has {{- … -}}", "without the sign"),
        ("{{ a -}}", "has the sign of", "leave it out"),
        ("{{a~}}", "has the sign of", "leave it out"),
        ("{{ a or 'x' }}", "has a condition", "render"),
        ("{{ a if b }}", "has a condition", "render"),
        ("{{ a + 1 }}", "has an operator", "backticks"),
        ("{{ a == b }}", "has an operator", "render"),
        ("{{ 'x' }}", "has a text in single quotes", 'write {{ "text" }}'),
        ("{{ a|upper }}", "has a filter", "render"),
        ("{{ f(a) }}", "has a function call", "render"),
        ("{{ a[0] }}", "has an index", "backticks"),
        ("{{#if a}}x{{/if}}", "has a section", "render"),
        ("{{ }}", "has an empty {{ }}", "name a column"),
        ("{{ a", "has a {{ that names no column", 'write {{ "{{" }}'),
        ('{{"a": 1}}', "has a {{ that names no column", 'write {{ "{{" }}'),
        ("{{ a..b }}", "has a {{ }} that names no column", "column.field"),
    ],
)
@pytest.mark.parametrize("setting", ["prompt", "system", "examples"])
def test_other_syntax_is_an_error_where_the_pipeline_is_defined(
    setting: str, text: str, named: str, instead: str
) -> None:
    value = [[text, "answer"]] if setting == "examples" else text
    with pytest.raises(ConfigurationError) as raised:
        Pipeline.model_validate({"name": "p", "model_id": CLAUDE, "prompt": "{{ a }}", setting: value})
    assert named in raised.value.what
    assert instead.replace("\\", "").lower() in raised.value.what.lower()
    assert ("The prompt " if setting == "prompt" else f"The template in {setting} ") in raised.value.what


def test_columns_that_do_not_exist_are_named_with_what_to_write() -> None:
    with pytest.raises(TemplateError, match=r"'b'.*columns are: a, c"):
        Template("{{a}} {{ b }}").check(["a", "c"])
    with pytest.raises(TemplateError, match=r"names 'user'.*Write \{\{ `user.name` \}\} for the column"):
        Template("{{ user.name }}").check(["user.name"])


@pytest.mark.parametrize("repeated", ["{{", "{{ ", "{{ a", "{{ `", '{{ "', "{%", "{#", "{{ a.", " "])
def test_the_time_is_linear_in_the_length(repeated: str) -> None:
    """Where it were not, this would take hours."""
    for text in (repeated * 300_000, "{{" + repeated * 300_000, "{{" + repeated * 300_000 + "}}"):
        with contextlib.suppress(TemplateError):
            Template(text)
