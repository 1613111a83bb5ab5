"""C code for the two loops that touch every byte: rendering rows to lines, and reading responses.

`ids.c` has record ids that need care and hashes of texts, `render.c` rows to lines, `read.c` lines to responses. The C
code has no files and no threads. Everything that it does has a scalar rule in Python with the same result (except for
hashes, which are never stored), for machines where no kernel was built (`hatch_build.py`), and if
`BEDROCK_PIPELINE_KERNEL=off` is set.
"""

from bedrock_pipeline.kernel.library import hashes_of, library, odd_ids, render_lines
from bedrock_pipeline.kernel.read import MOST_BYTES, ResponseReader, Responses

__all__ = ["MOST_BYTES", "ResponseReader", "Responses", "hashes_of", "library", "odd_ids", "render_lines"]
