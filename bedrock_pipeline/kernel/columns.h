/* Columns of text in Arrow's layout.

   What belongs here: where a cell is. */

#ifndef BEDROCK_PIPELINE_COLUMNS_H
#define BEDROCK_PIPELINE_COLUMNS_H

#include <stdint.h>

/* `offsets` begins at the first row. */
struct texts {
  const uint8_t *data;
  const void *offsets;
  int64_t wide; /* 1: offsets of 64 bits, 0: of 32 */
};

static inline const uint8_t *cell(const struct texts *column, int64_t row, int64_t *size) {
  int64_t from, to;
  if (column->wide) {
    const int64_t *offsets = column->offsets;
    from = offsets[row], to = offsets[row + 1];
  } else {
    const int32_t *offsets = column->offsets;
    from = offsets[row], to = offsets[row + 1];
  }
  *size = to - from;
  return column->data + from;
}

#endif
