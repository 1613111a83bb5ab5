"""C code for the two loops that touch every byte: rendering rows to lines, and reading responses.

What belongs here: C over plain buffers (`ids.c`: record ids that need care, and hashes of texts; `render.c`: rows to
lines; `read.c`: lines to responses), and how it is called. It has no files and no threads. Everything that it does has
a scalar rule in Python with the same result (except for hashes, which are never stored), for machines where no kernel
was built (`hatch_build.py`), and if `BEDROCK_PIPELINE_KERNEL=off` is set.
"""

from bedrock_pipeline.kernel.ids import hashes_of, odd_ids
from bedrock_pipeline.kernel.library import library
from bedrock_pipeline.kernel.read import MOST_BYTES, ResponseReader, Responses
from bedrock_pipeline.kernel.render import render_lines

__all__ = ["MOST_BYTES", "ResponseReader", "Responses", "hashes_of", "library", "odd_ids", "render_lines"]
