/* What rendering and reading share: sixteen bytes of JSON text looked at together.

   What belongs here: where a string's special bytes are. `__attribute__((vector_size))` is understood by GCC and
   Clang on every processor. */

#ifndef BEDROCK_PIPELINE_TEXT_H
#define BEDROCK_PIPELINE_TEXT_H

#include <stdint.h>
#include <string.h>

enum { WIDTH = 16 };

typedef uint8_t bytes16 __attribute__((vector_size(WIDTH)));

static inline bytes16 load(const uint8_t *at) {
  bytes16 value;
  memcpy(&value, at, WIDTH);
  return value;
}

static inline void store(uint8_t *at, bytes16 value) { memcpy(at, &value, WIDTH); }

/* Quotes, backslashes and control characters: 255 where there is one, 0 elsewhere. */
static inline bytes16 special(bytes16 value) {
  return (bytes16)((value == '"') | (value == '\\') | (value < 0x20));
}

/* The first of sixteen that is not 0; 16 where there is none. */
static inline int first(bytes16 found) {
  uint64_t halves[2];
  memcpy(halves, &found, WIDTH);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  halves[0] = __builtin_bswap64(halves[0]);
  halves[1] = __builtin_bswap64(halves[1]);
#endif
  if (halves[0]) return __builtin_ctzll(halves[0]) >> 3;
  if (halves[1]) return 8 + (__builtin_ctzll(halves[1]) >> 3);
  return WIDTH;
}

#endif
