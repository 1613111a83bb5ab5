/* Record ids that are their own wire ids, and hashes of texts.

   What belongs here: a rule for ordinary ids that is narrower than the scalar rule; and a hash that distinguishes
   texts and is never stored. */

#include <string.h>

#include "columns.h"

enum { LONGEST_ID = 64, HASH = 33 };

/* The characters of an ordinary id, and among them those of a hash. */
static const uint8_t IN_ID[256] = {
    ['0' ... '1'] = 1, ['2' ... '7'] = 3, ['8' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 3,
    ['.'] = 1,         ['_'] = 1,         [':'] = 1,         ['@'] = 1,         ['/'] = 1,
    ['+'] = 1,         ['='] = 1,         ['#'] = 1,         ['-'] = 1};

static int is_ordinary(const uint8_t *id, int64_t size) {
  if (size < 1 || size > LONGEST_ID) return 0;
  uint8_t all = 3;
  for (int64_t at = 1; at < size; at++) all &= IN_ID[id[at]];
  return all & IN_ID[id[0]] & 1 && !(size == HASH && id[0] == 'x' && all == 3);
}

/* 1 for every id that is ordinary, 0 for others. */
void bedrock_pipeline_ordinary(int64_t rows, const struct texts *ids, uint8_t *found) {
  for (int64_t row = 0; row < rows; row++) {
    int64_t size;
    const uint8_t *id = cell(ids, row, &size);
    found[row] = (uint8_t)is_ordinary(id, size);
  }
}

/* The last step of MurmurHash3: every bit of the result depends on every bit of the value. */
static uint64_t mixed(uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccd;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53;
  return value ^ value >> 33;
}

static uint64_t hash_of(const uint8_t *id, int64_t size) {
  uint64_t hash = mixed((uint64_t)size + 1), word;
  int64_t at = 0;
  for (; at + 8 <= size; at += 8) {
    memcpy(&word, id + at, 8);
    hash = mixed(hash ^ word);
  }
  word = 0;
  memcpy(&word, id + at, (size_t)(size - at));
  return mixed(hash ^ word);
}

/* A hash of every text. */
void bedrock_pipeline_hash(int64_t rows, const struct texts *ids, uint64_t *hashes) {
  for (int64_t row = 0; row < rows; row++) {
    int64_t size;
    const uint8_t *id = cell(ids, row, &size);
    hashes[row] = hash_of(id, size);
  }
}
