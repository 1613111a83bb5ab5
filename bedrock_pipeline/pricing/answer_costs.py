"""Costs of many responses at once: the arithmetic of `pricing.prices` over columns.

It is exact to the last digit, since it counts in whole numbers of the rates' smallest unit.
"""

from decimal import Decimal

import numpy as np
import pyarrow as pa

from bedrock_pipeline.pricing.prices import Price, PricedMode

# A sum of a block's costs below this fits a 64-bit integer, and each of them a float without rounding.
_EXACT = 2**50


def costs_of(
    price: Price | None, input_tokens: pa.Array, output_tokens: pa.Array, mode: PricedMode
) -> tuple[pa.Array, Decimal | None]:
    """US dollars of each response, null if unknown; and their sum, None if one is unknown."""
    count = len(input_tokens)
    if price is None:
        return pa.nulls(count, pa.float64()), None
    known = (input_tokens.is_valid().to_numpy(False)) & (output_tokens.is_valid().to_numpy(False))  # noqa: FBT003
    inputs, outputs = (np.asarray(column.fill_null(0), np.int64) for column in (input_tokens, output_tokens))
    rates = price.rates(mode)
    tier = np.searchsorted([rate.above for rate in rates[1:]], inputs, side="left")
    places = max(-int(part.as_tuple().exponent) for rate in rates for part in (rate.input, rate.output))
    per_input = [int(rate.input.scaleb(places)) for rate in rates]
    per_output = [int(rate.output.scaleb(places)) for rate in rates]
    largest = int(inputs.max(initial=0)) * max(per_input) + int(outputs.max(initial=0)) * max(per_output)
    if not 0 <= places <= 22 or largest >= _EXACT:
        return _one_by_one(price, inputs.tolist(), outputs.tolist(), known.tolist(), mode)
    units = inputs * np.array(per_input)[tier] + outputs * np.array(per_output)[tier]
    costs = pa.array(units / 10.0**places, mask=~known)
    return costs, Decimal(int(units.sum())).scaleb(-places) if known.all() else None


def _one_by_one(
    price: Price, inputs: list[int], outputs: list[int], known: list[bool], mode: PricedMode
) -> tuple[pa.Array, Decimal | None]:
    costs = [
        price.cost(read, written, mode) if is_known else None
        for read, written, is_known in zip(inputs, outputs, known, strict=True)
    ]
    every = [cost for cost in costs if cost is not None]
    floats = pa.array([None if cost is None else float(cost) for cost in costs], pa.float64())
    return floats, sum(every, Decimal(0)) if len(every) == len(costs) else None
