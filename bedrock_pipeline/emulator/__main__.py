"""`python -m bedrock_pipeline.emulator`."""

import sys

from bedrock_pipeline.emulator.server import main

sys.exit(main(sys.argv[1:]))
