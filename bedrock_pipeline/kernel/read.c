/* Lines of output into plain responses.

   What belongs here: a strict parser of one line's JSON (RFC 8259) that copies what a model family declares. A line that
   does not fit in every respect is not an error: the scalar rule (`collect/line_parser.py`) reads it. */

#include <float.h>
#include <stdlib.h>

#include "text.h"

/* Beyond these the scalar rule decides: nesting, digits of a token count, digits of any other number, characters of a number
   in a vector. */
enum { DEPTH = 64, COUNT_DIGITS = 12, DIGITS = 200, REAL = 64 };

/* What is read at a place. */
enum kind { OBJECT, LIST, TEXT, STOP_REASON, INPUT_TOKENS, OUTPUT_TOKENS, WORD, VECTOR, TOOL_INPUT };

/* A place in an output where something is read, or that leads to one. The first is the output itself. */
struct place {
  const uint8_t *name; /* its key in the parent object; unused in a list */
  int64_t size;        /* of the name */
  int64_t kind;
  int64_t inner; /* the first place in it; 0: none */
  int64_t next;  /* the next in the same parent; 0: none */
  int64_t closed; /* 1: members that lead nowhere must be null */
  const uint8_t *word; /* that must be here, with its last quote; unused elsewhere */
  int64_t word_size;
};

/* A key that no plain output has with a value other than null. */
struct name {
  const uint8_t *data;
  int64_t size;
};

struct wanted {
  const struct place *places;
  const struct name *unless;
  int64_t unless_count;
  int64_t words; /* how many places are a word's */
  int64_t length; /* of the vector that there must be in place of a text; 0: none */
};

/* Columns for `capacity` rows; text columns have as many bytes as the input. */
struct answers {
  int64_t capacity;
  int64_t *ends;  /* of every line */
  int64_t *lines; /* of the plain ones, like all that follows */
  uint8_t *ids, *texts, *stop_reasons;
  int32_t *id_ends, *text_ends, *stop_reason_ends;
  uint8_t *has_stop_reason, *has_input_tokens, *has_output_tokens; /* a byte each */
  int64_t *input_tokens, *output_tokens;
  float *vectors; /* `length` numbers for each row */
  int64_t lines_count, plain_count; /* filled in */
};

/* A line while it is parsed. `at` is 0 once the line does not fit. */
struct walk {
  const uint8_t *at, *end;
  const struct wanted *wanted;
  struct answers *answers;
  int64_t row;
  uint32_t seen; /* places, by number */
  int32_t text_end, stop_reason_end;
};

struct slice {
  const uint8_t *data;
  int64_t size;
  int escaped;
};

static const uint8_t *spaces(const uint8_t *at, const uint8_t *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) at++;
  return at;
}

static int is(struct walk *walk, uint8_t byte) {
  if (!walk->at) return 0;
  walk->at = spaces(walk->at, walk->end);
  return walk->at < walk->end && *walk->at == byte;
}

static int take(struct walk *walk, uint8_t byte) {
  if (!is(walk, byte)) return 0;
  walk->at++;
  return 1;
}

static void expect(struct walk *walk, uint8_t byte) {
  if (!take(walk, byte)) walk->at = 0;
}

static int hex(const uint8_t *at) {
  int value = 0;
  for (int digit = 0; digit < 4; digit++) {
    uint8_t c = at[digit], low = c | 32;
    int one = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
    if (one < 0) return -1;
    value = value * 16 + one;
  }
  return value;
}

/* The length of an escape; 0 if it is invalid. */
static int64_t escape_size(const uint8_t *at, const uint8_t *end) {
  if (end - at < 2) return 0;
  if (at[1] == 'u') return end - at >= 6 && hex(at + 2) >= 0 ? 6 : 0;
  return at[1] && strchr("\"\\/bfnrt", at[1]) ? 2 : 0;
}

/* A string that is skipped, after its first quote. */
static struct slice skipped(struct walk *walk) {
  struct slice slice = {walk->at, 0, 0};
  const uint8_t *at = walk->at, *end = walk->end;
  for (;;) {
    if (end - at >= WIDTH) {
      int found = first(special(load(at)));
      at += found;
      if (found == WIDTH) continue;
    }
    if (at >= end || *at < 0x20) break;
    if (*at == '"') {
      slice.size = at - slice.data;
      walk->at = at + 1;
      return slice;
    }
    if (*at == '\\') {
      int64_t size = escape_size(at, end);
      if (!size) break;
      slice.escaped = 1;
      at += size;
    } else {
      at++;
    }
  }
  walk->at = 0;
  return slice;
}

static uint8_t *utf8(uint8_t *out, int code) {
  if (code < 0x80) {
    *out++ = (uint8_t)code;
  } else if (code < 0x800) {
    *out++ = (uint8_t)(0xc0 | code >> 6);
    *out++ = (uint8_t)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (uint8_t)(0xe0 | code >> 12);
    *out++ = (uint8_t)(0x80 | (code >> 6 & 63));
    *out++ = (uint8_t)(0x80 | (code & 63));
  } else {
    *out++ = (uint8_t)(0xf0 | code >> 18);
    *out++ = (uint8_t)(0x80 | (code >> 12 & 63));
    *out++ = (uint8_t)(0x80 | (code >> 6 & 63));
    *out++ = (uint8_t)(0x80 | (code & 63));
  }
  return out;
}

/* An escape, decoded; half a surrogate pair does not fit. */
static uint8_t *unescaped(struct walk *walk, uint8_t *out) {
  static const uint8_t meant[256] = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b',
                                     ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
  const uint8_t *at = walk->at;
  int64_t size = escape_size(at, walk->end);
  walk->at = 0;
  if (!size) return out;
  if (size == 2) {
    walk->at = at + 2;
    *out = meant[at[1]];
    return out + 1;
  }
  int code = hex(at + 2);
  if (code >= 0xd800 && code < 0xe000) {
    if (code >= 0xdc00 || walk->end - at < 12 || at[6] != '\\' || at[7] != 'u') return out;
    int low = hex(at + 8);
    if (low < 0xdc00 || low > 0xdfff) return out;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    size = 12;
  }
  walk->at = at + size;
  return utf8(out, code);
}

/* A string that is copied, after its first quote. Vectors are written in full: the output is never longer than the input
   so far, so that it stays within its buffer. */
static uint8_t *copied(struct walk *walk, uint8_t *out) {
  for (;;) {
    const uint8_t *at = walk->at, *end = walk->end;
    if (end - at >= WIDTH) {
      bytes16 value = load(at);
      store(out, value);
      int found = first(special(value));
      walk->at = at += found;
      out += found;
      if (found == WIDTH) continue;
    }
    if (at >= end || *at < 0x20) break;
    if (*at == '"') {
      walk->at = at + 1;
      return out;
    }
    if (*at == '\\') {
      out = unescaped(walk, out);
      if (!walk->at) return out;
    } else {
      *out++ = *at;
      walk->at = at + 1;
    }
  }
  walk->at = 0;
  return out;
}

static void bytes(struct walk *walk, const void *wanted, int64_t size) {
  if (walk->end - walk->at >= size && !memcmp(walk->at, wanted, (size_t)size))
    walk->at += size;
  else
    walk->at = 0;
}

static void literal(struct walk *walk, const char *word) { bytes(walk, word, (int64_t)strlen(word)); }

static const uint8_t *digits(const uint8_t *at, const uint8_t *end) {
  while (at < end && *at >= '0' && *at <= '9') at++;
  return at;
}

static void number(struct walk *walk) {
  const uint8_t *at = walk->at, *end = walk->end, *from;
  if (at < end && *at == '-') at++;
  from = at;
  at = digits(at, end);
  int fits = at > from && at - from <= DIGITS && (*from != '0' || at == from + 1);
  if (at < end && *at == '.') {
    from = ++at;
    at = digits(at, end);
    fits = fits && at > from;
  }
  if (at < end && (*at | 32) == 'e') {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    from = at;
    at = digits(at, end);
    fits = fits && at > from && at - from < 3; /* with 200 digits before it still a double */
  }
  walk->at = fits ? at : 0;
}

static int same(struct slice key, const uint8_t *name, int64_t size) {
  return key.size == size && !memcmp(key.data, name, (size_t)size);
}

static struct slice key_of(struct walk *walk) {
  struct slice key = {0, 0, 0};
  expect(walk, '"');
  if (!walk->at) return key;
  key = skipped(walk);
  if (key.escaped) walk->at = 0; /* may spell the name of a place */
  expect(walk, ':');
  return key;
}

/* The value that follows must be null; it is not passed. */
static void must_be_null(struct walk *walk) {
  if (!is(walk, 'n')) walk->at = 0;
}

static void not_in(struct walk *walk, struct slice key, int inside) {
  const struct wanted *wanted = walk->wanted;
  for (int64_t number = 0; inside && walk->at && number < wanted->unless_count; number++)
    if (same(key, wanted->unless[number].data, wanted->unless[number].size)) must_be_null(walk);
}

/* A value that is skipped; `inside` the output, keys of `unless` fit with null alone. */
static void pass(struct walk *walk, int depth, int inside) {
  if (!walk->at) return;
  walk->at = spaces(walk->at, walk->end);
  if (walk->at >= walk->end || depth > DEPTH) {
    walk->at = 0;
    return;
  }
  switch (*walk->at) {
  case '"':
    walk->at++;
    skipped(walk);
    break;
  case '{':
    walk->at++;
    if (take(walk, '}')) break;
    do {
      not_in(walk, key_of(walk), inside);
      pass(walk, depth + 1, inside);
    } while (take(walk, ','));
    expect(walk, '}');
    break;
  case '[':
    walk->at++;
    if (take(walk, ']')) break;
    do pass(walk, depth + 1, inside);
    while (take(walk, ','));
    expect(walk, ']');
    break;
  case 't':
    literal(walk, "true");
    break;
  case 'f':
    literal(walk, "false");
    break;
  case 'n':
    literal(walk, "null");
    break;
  default:
    number(walk);
  }
}

/* A whole number, not negative. */
static void tokens(struct walk *walk, int64_t *counts, uint8_t *has) {
  const uint8_t *at = walk->at, *from = at;
  int64_t value = 0;
  at = digits(at, walk->end);
  number(walk);
  if (walk->at != at || at - from > COUNT_DIGITS) {
    walk->at = 0;
    return;
  }
  for (; from < at; from++) value = value * 10 + (*from - '0');
  counts[walk->row] = value;
  has[walk->row] = 1;
}

/* A number as a double, rounded as by the scalar rule; the line does not fit if it is beyond what that takes. */
static double real(struct walk *walk) {
  static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const uint8_t *from = walk->at, *at = from;
  number(walk);
  if (!walk->at) return 0;
  int negative = *at == '-', whole = 1, digits = 0;
  int64_t exponent = 0;
  uint64_t value = 0;
  for (at += negative; at < walk->at && (*at | 32) != 'e'; at++) {
    if (*at == '.') {
      whole = 0;
      continue;
    }
    if (digits < 19) value = value * 10 + (uint64_t)(*at - '0');
    digits += value > 0;
    exponent -= !whole;
  }
  if (at < walk->at) {
    whole = 0;
    at++;
    int below = *at == '-', written = 0;
    for (at += below || *at == '+'; at < walk->at; at++) written = written * 10 + (*at - '0');
    exponent += below ? -written : written;
  }
  if (whole && negative && !value) { /* a whole number has no negative zero */
    walk->at = 0;
    return 0;
  }
  /* Both are exact, so that the only rounding is that of the result. */
  if (digits < 19 && value <= 1ull << 53 && exponent >= -22 && exponent <= 22) {
    double exact = (double)value;
    exact = exponent < 0 ? exact / power[-exponent] : exact * power[exponent];
    return negative ? -exact : exact;
  }
  char token[REAL], *end;
  size_t size = (size_t)(walk->at - from);
  if (size >= REAL) {
    walk->at = 0;
    return 0;
  }
  memcpy(token, from, size);
  token[size] = 0;
  double rounded = strtod(token, &end);
  if (end != token + size) walk->at = 0; /* a locale with another point */
  return rounded;
}

/* A vector of as many 32-bit floats as there must be. */
static void vector(struct walk *walk, float *out) {
  int64_t count = 0, length = walk->wanted->length;
  expect(walk, '[');
  do {
    if (!walk->at) return;
    walk->at = spaces(walk->at, walk->end);
    double value = count < length ? real(walk) : 0;
    if (!walk->at || count == length || value > FLT_MAX || value < -FLT_MAX) {
      walk->at = 0;
      return;
    }
    out[count++] = (float)value;
  } while (take(walk, ','));
  expect(walk, ']');
  if (count < length) walk->at = 0;
}

/* An object as it is written; what its members are called is the user's. */
static void tool_input(struct walk *walk) {
  struct answers *answers = walk->answers;
  const uint8_t *from = walk->at;
  if (!is(walk, '{')) walk->at = 0;
  pass(walk, 0, 0);
  if (!walk->at) return;
  memcpy(answers->texts + walk->text_end, from, (size_t)(walk->at - from));
  answers->text_ends[walk->row + 1] = walk->text_end += (int32_t)(walk->at - from);
}

static void value_at(struct walk *walk, int64_t number);

static void object_at(struct walk *walk, const struct place *place) {
  const struct place *places = walk->wanted->places;
  expect(walk, '{');
  if (take(walk, '}')) return;
  do {
    struct slice key = key_of(walk);
    if (!walk->at) return;
    not_in(walk, key, 1);
    int64_t inner = place->inner;
    while (inner && !same(key, places[inner].name, places[inner].size)) inner = places[inner].next;
    if (inner) {
      value_at(walk, inner);
    } else {
      if (place->closed) must_be_null(walk);
      pass(walk, 0, 1);
    }
  } while (take(walk, ','));
  expect(walk, '}');
}

static void value_at(struct walk *walk, int64_t number) {
  const struct place *place = &walk->wanted->places[number];
  struct answers *answers = walk->answers;
  if (!walk->at) return;
  walk->at = spaces(walk->at, walk->end);
  if (walk->at >= walk->end || walk->seen >> number & 1) { /* a repeated key */
    walk->at = 0;
    return;
  }
  walk->seen |= 1u << number;
  if (*walk->at == 'n' && place->kind != WORD) {
    literal(walk, "null");
    return;
  }
  switch ((enum kind)place->kind) {
  case OBJECT:
    object_at(walk, place);
    break;
  case LIST: /* of one element */
    expect(walk, '[');
    value_at(walk, place->inner);
    expect(walk, ']');
    break;
  case TEXT:
    expect(walk, '"');
    if (!walk->at) return;
    walk->text_end = (int32_t)(copied(walk, answers->texts + walk->text_end) - answers->texts);
    answers->text_ends[walk->row + 1] = walk->text_end;
    break;
  case STOP_REASON:
    expect(walk, '"');
    if (!walk->at) return;
    walk->stop_reason_end =
        (int32_t)(copied(walk, answers->stop_reasons + walk->stop_reason_end) - answers->stop_reasons);
    answers->has_stop_reason[walk->row] = 1;
    break;
  case INPUT_TOKENS:
    tokens(walk, answers->input_tokens, answers->has_input_tokens);
    break;
  case OUTPUT_TOKENS:
    tokens(walk, answers->output_tokens, answers->has_output_tokens);
    break;
  case WORD:
    expect(walk, '"');
    if (walk->at) bytes(walk, place->word, place->word_size);
    break;
  case TOOL_INPUT:
    tool_input(walk);
    break;
  case VECTOR:
    vector(walk, answers->vectors + walk->row * walk->wanted->length);
    if (walk->at) answers->text_ends[walk->row + 1] = walk->text_end;
  }
}

static int64_t words_seen(const struct walk *walk) {
  const struct place *places = walk->wanted->places;
  int64_t count = 0;
  for (int64_t number = 1; walk->seen >> number; number++)
    count += walk->seen >> number & 1 && places[number].kind == WORD;
  return count;
}

/* Whether a line is a plain response; then `at` is its end. */
static int plain_line(struct walk *walk) {
  struct slice id = {0, 0, 0};
  struct answers *answers = walk->answers;
  int64_t row = walk->row;
  int32_t id_from = answers->id_ends[row];
  answers->has_stop_reason[row] = answers->has_input_tokens[row] = answers->has_output_tokens[row] = 0;
  answers->input_tokens[row] = answers->output_tokens[row] = 0;
  answers->text_ends[row + 1] = -1;
  expect(walk, '{');
  do {
    struct slice key = key_of(walk);
    if (!walk->at) return 0;
    if (same(key, (const uint8_t *)"recordId", 8)) {
      expect(walk, '"');
      if (!walk->at || id.data) return 0;
      id = skipped(walk);
      if (id.escaped) return 0;
    } else if (same(key, (const uint8_t *)"modelOutput", 11)) {
      if (is(walk, '{')) value_at(walk, 0);
      if (!(walk->seen & 1)) return 0;
    } else {
      pass(walk, 0, 0);
    }
  } while (take(walk, ','));
  expect(walk, '}');
  if (!walk->at || !id.data || answers->text_ends[row + 1] < 0) return 0;
  if (words_seen(walk) < walk->wanted->words) return 0;
  walk->at = spaces(walk->at, walk->end);
  if (walk->at < walk->end && *walk->at != '\n') return 0;
  if (walk->at < walk->end) walk->at++;
  memcpy(answers->ids + id_from, id.data, (size_t)id.size);
  answers->id_ends[row + 1] = id_from + (int32_t)id.size;
  answers->stop_reason_ends[row + 1] = walk->stop_reason_end;
  return 1;
}

/* Reads lines until the columns are full; returns how many bytes were read. */
int64_t bedrock_pipeline_read(const uint8_t *data, int64_t size, const struct wanted *wanted,
                              struct answers *answers) {
  const uint8_t *at = data, *end = data + size;
  answers->lines_count = answers->plain_count = 0;
  answers->id_ends[0] = answers->text_ends[0] = answers->stop_reason_ends[0] = 0;
  while (at < end && answers->lines_count < answers->capacity) {
    int64_t row = answers->plain_count;
    struct walk walk = {at, end, wanted, answers, row, 0, answers->text_ends[row], answers->stop_reason_ends[row]};
    if (plain_line(&walk)) {
      answers->lines[answers->plain_count++] = answers->lines_count;
      at = walk.at;
    } else {
      const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
      at = newline ? newline + 1 : end;
    }
    answers->ends[answers->lines_count++] = at - data;
  }
  return at - data;
}
