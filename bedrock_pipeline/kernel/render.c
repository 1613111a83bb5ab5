/* Rows to lines of JSON: constant pieces with escaped texts between them.

   What belongs here: measuring each line, and writing it. The escapes are orjson's: \" \\ \b \t \n \f \r, and
   \u00xx for the other control characters; everything else is unchanged. */

#include "columns.h"
#include "text.h"

/* A piece of JSON that is in every line. */
struct piece {
  const uint8_t *data;
  int64_t size;
};

/* The letter of a short escape; 'u' if there is none, 0 if the byte is not escaped. */
static const uint8_t ESCAPES[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\'};

static int64_t more(uint8_t byte) { return ESCAPES[byte] == 0 ? 0 : ESCAPES[byte] == 'u' ? 5 : 1; }

/* Bytes by which a text grows when it is escaped. */
static int64_t growth(const uint8_t *text, int64_t size) {
  int64_t total = 0, at = 0;
  while (at + WIDTH <= size) {
    bytes16 sums = {0};
    /* A byte adds 5 at most, so that 51 rounds fit in a lane. */
    for (int round = 0; round < 51 && at + WIDTH <= size; round++, at += WIDTH) {
      bytes16 value = load(text + at);
      bytes16 control = (bytes16)(value < 0x20);
      bytes16 named = (bytes16)(((value >= 8) & (value <= 10)) | (value == 12) | (value == 13));
      sums += (special(value) & 1) + (control & ~named & 4);
    }
    for (int lane = 0; lane < WIDTH; lane++) total += sums[lane];
  }
  for (; at < size; at++) total += more(text[at]);
  return total;
}

static uint8_t *escape(uint8_t *out, uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  uint8_t letter = ESCAPES[byte];
  *out++ = '\\';
  *out++ = letter;
  if (letter == 'u') {
    *out++ = '0';
    *out++ = '0';
    *out++ = (uint8_t)digits[byte >> 4];
    *out++ = (uint8_t)digits[byte & 15];
  }
  return out;
}

/* Whole vectors are written; the rest of the text overwrites what was too much. */
static uint8_t *escaped(uint8_t *out, const uint8_t *text, int64_t size) {
  int64_t at = 0;
  while (at + WIDTH <= size) {
    bytes16 value = load(text + at);
    store(out, value);
    int found = first(special(value));
    at += found;
    out += found;
    if (found < WIDTH) out = escape(out, text[at++]);
  }
  for (; at < size; at++) {
    if (ESCAPES[text[at]])
      out = escape(out, text[at]);
    else
      *out++ = text[at];
  }
  return out;
}

/* The end of each line. There is one piece more than columns. */
void bedrock_pipeline_measure(int64_t rows, int64_t columns, const struct texts *texts, const struct piece *pieces,
                              int64_t *ends) {
  int64_t constant = pieces[columns].size, end = 0;
  for (int64_t column = 0; column < columns; column++) constant += pieces[column].size;
  for (int64_t row = 0; row < rows; row++) {
    end += constant;
    for (int64_t column = 0; column < columns; column++) {
      int64_t size;
      const uint8_t *text = cell(&texts[column], row, &size);
      end += size + growth(text, size);
    }
    ends[row] = end;
  }
}

/* The lines; `out` has as many bytes as the last end. */
void bedrock_pipeline_render(int64_t rows, int64_t columns, const struct texts *texts, const struct piece *pieces,
                             uint8_t *out) {
  for (int64_t row = 0; row < rows; row++) {
    for (int64_t column = 0; column < columns; column++) {
      int64_t size;
      const uint8_t *text = cell(&texts[column], row, &size);
      memcpy(out, pieces[column].data, (size_t)pieces[column].size);
      out = escaped(out + pieces[column].size, text, size);
    }
    memcpy(out, pieces[columns].data, (size_t)pieces[columns].size);
    out += pieces[columns].size;
  }
}
