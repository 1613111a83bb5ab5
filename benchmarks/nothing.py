"""A code location with nothing in it: what Dagster takes by itself."""

import dagster as dg

defs = dg.Definitions()
