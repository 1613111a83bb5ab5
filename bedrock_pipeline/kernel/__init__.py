"""Native code for the two places where Python's strings would cost more than everything else.

What belongs here: C over plain buffers (`ids.c`: record ids that need care, and hashes of ids; `render.c`: rows into
lines; `read.c`: lines into answers), and how it is called. It knows neither files nor threads nor the reasons for anything.
All of it has a second way in `records`, with the same result (but for hashes, which are never kept), which serves where no
kernel was built (`hatch_build.py`) or `BEDROCK_PIPELINE_KERNEL=off` is set.
"""

from bedrock_pipeline.kernel.ids import hashes_of, odd_ids
from bedrock_pipeline.kernel.library import library
from bedrock_pipeline.kernel.read import MOST_BYTES, ResponseReader, Responses
from bedrock_pipeline.kernel.render import render_lines

__all__ = ["MOST_BYTES", "ResponseReader", "Responses", "hashes_of", "library", "odd_ids", "render_lines"]
