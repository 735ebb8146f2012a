// Reading JSON text in pieces: a cursor that validates as it goes, and a window that slides over a file.
#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace celltable {

struct JsonError {  // malformed text, at a byte of the whole document
  std::string what;
  i64 at;
};
struct NeedMore {};  // the window ends inside a value: slide it and read the value again

constexpr size_t padding = 64;  // zero bytes after every text, so that a whole block can be read
constexpr int max_depth = 900;  // json.loads gives up near 1,000

// A source of bytes. Reads are at absolute positions, so several threads may read at once.
struct Source {
  virtual ~Source() = default;
  virtual size_t read(i64 at, char *to, size_t n) const = 0;  // fewer than n bytes only at the end
};

class Cursor {
 public:
  const char *begin, *p, *end;
  bool last;  // nothing follows `end`
  i64 base;   // position of `begin` in the document

  [[noreturn]] void fail(const std::string &what) const { throw JsonError{what, base + (p - begin)}; }
  [[noreturn]] void more(const char *inside) const {
    if (!last) throw NeedMore{};
    fail(std::string("the text ends inside ") + inside);
  }
  i64 at() const { return base + (p - begin); }

  void space() {
    while (p != end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
  }
  char peek(const char *inside) {  // the next byte that is not space
    space();
    if (p == end) more(inside);
    return *p;
  }
  void expect(char c, const char *inside) {
    if (peek(inside) != c) fail(std::string("expected '") + c + "' in " + inside + found());
    ++p;
  }
  // After a member: true if another follows, false at the closing bracket, which is consumed.
  bool next(char close, const char *inside) {
    const char c = peek(inside);
    if (c != ',' && c != close) fail(std::string("expected ',' or '") + close + "' in " + inside + found());
    ++p;
    return c == ',';
  }
  std::string found() const {
    if (p == end) return "";
    const unsigned char c = static_cast<unsigned char>(*p);
    if (c >= 0x20 && c < 0x7f) return std::string(", found '") + *p + "'";
    static const char *hex = "0123456789abcdef";
    return std::string(", found byte 0x") + hex[c >> 4] + hex[c & 15];
  }

  // The raw text of a string between its quotes; true in `escaped` if it must be unescaped.
  std::string_view raw_string(bool &escaped) {
    if (peek("a string") != '"') fail("expected a string" + found());
    const char *start = ++p;
    escaped = false;
    while (true) {
      while (p != end && plain(*p)) ++p;
      if (p == end) more("a string");
      const unsigned char c = static_cast<unsigned char>(*p);
      if (c == '"') {
        std::string_view text(start, p - start);
        ++p;
        return text;
      }
      if (c == '\\') {
        escaped = true;
        escape();
      } else if (c < 0x20) {
        fail("a control character inside a string" + found());
      } else {
        utf8();
      }
    }
  }
  void skip_string() {
    bool escaped;
    raw_string(escaped);
  }
  std::string string() {
    bool escaped;
    const std::string_view raw = raw_string(escaped);
    return escaped ? unescape(raw) : std::string(raw);
  }

  // A number token; integers are returned as integers if they fit.
  bool at_number() {  // also NaN, Infinity and -Infinity, as Python writes them
    const char c = peek("a value");
    return c == '-' || (c >= '0' && c <= '9') || c == 'N' || c == 'I';
  }
  double number(bool *integral = nullptr, i64 *whole = nullptr) {
    const char *start = p;
    if (p == end) more("a number");
    const bool negative = *p == '-';
    if (negative && ++p == end) more("a number");
    if (*p == 'N' || *p == 'I') return named(start, negative);
    uint64_t mantissa = 0;
    int digits = 0, exponent = 0;
    bool whole_number = true;
    if (*p == '0') {
      ++p;
    } else if (*p >= '1' && *p <= '9') {
      while (p != end && *p >= '0' && *p <= '9') {
        mantissa = mantissa * 10 + static_cast<uint64_t>(*p++ - '0');
        ++digits;
      }
    } else {
      fail("expected a digit" + found());
    }
    if (p != end && *p == '.') {
      whole_number = false;
      const char *dot = ++p;
      while (p != end && *p >= '0' && *p <= '9') {
        mantissa = mantissa * 10 + static_cast<uint64_t>(*p++ - '0');
        if (mantissa) ++digits;
      }
      if (p == dot) {
        if (p == end) more("a number");
        fail("expected a digit after the decimal point" + found());
      }
      exponent = -static_cast<int>(std::min<std::ptrdiff_t>(p - dot, 100000));
    }
    if (p != end && (*p == 'e' || *p == 'E')) {
      whole_number = false;
      ++p;
      if (p != end && (*p == '+' || *p == '-')) ++p;
      const char *first = p;
      while (p != end && *p >= '0' && *p <= '9') ++p;
      if (p == first) {
        if (p == end) more("a number");
        fail("expected a digit in the exponent" + found());
      }
      digits = 99;  // the slow, exact way
    }
    if (p == end && !last) throw NeedMore{};
    if (integral) *integral = whole_number && digits <= 18;
    if (whole && whole_number && digits <= 18)
      *whole = negative ? -static_cast<i64>(mantissa) : static_cast<i64>(mantissa);
    if (digits <= 15 && exponent >= -22) {  // both are exact doubles, so is the rounding of their quotient
      const double value = exponent ? static_cast<double>(mantissa) / powers[-exponent] : static_cast<double>(mantissa);
      return negative ? -value : value;
    }
    return exact(start);
  }
  void skip_number() {
    const char *q = p;
    if (simple(q)) p = q;
    else number();
  }
  // Read the usual number of a coordinate list from eight bytes at once: up to seven characters, then , or ] or space.
  // The text must be followed by eight zero bytes, so no end is looked for. False leaves everything to `number`.
  static bool simple(const char *&q, double *value = nullptr) {
    const char *s = q + (*q == '-');
    uint64_t x;
    std::memcpy(&x, s, 8);
    const uint64_t t = x ^ 0x3030303030303030u;  // a digit becomes its value
    const uint64_t other = (((t & 0x7f7f7f7f7f7f7f7fu) + 0x7676767676767676u) | t) & 0x8080808080808080u;
    if (!other) return false;
    const int a = __builtin_ctzll(other) >> 3;  // the first that is not a digit: the point, or the end
    const bool point = s[a] == '.';
    const uint64_t rest = point ? other & (other - 1) : other;
    if (!rest) return false;
    const int b = __builtin_ctzll(rest) >> 3;
    const char stop = s[b];
    if ((stop != ',' && stop != ']' && stop != ' ') || !a || (*s == '0' && a > 1) || (point && b == a + 1))
      return false;
    if (value) {
      const uint64_t before = (uint64_t(1) << (8 * a)) - 1;
      uint64_t v = point ? (t & before) | ((t >> 8) & ~before) : t;
      const int digits = b - point;
      v <<= 8 * (8 - digits);
      v = ((v * 10) + (v >> 8)) & 0x00ff00ff00ff00ffu;
      v = ((v * 100) + (v >> 16)) & 0x0000ffff0000ffffu;
      v = ((v * 10000) + (v >> 32)) & 0xffffffffu;
      const double found = static_cast<double>(v) / powers[point ? b - a - 1 : 0];
      *value = *q == '-' ? -found : found;
    }
    q = s + b;
    return true;
  }
  void skip_value(int depth = 0) {
    if (depth > max_depth) fail("nested more than 900 deep");
    switch (peek("a value")) {
      case '{':
        ++p;
        if (peek("an object") == '}') {
          ++p;
          return;
        }
        do {
          skip_string();
          expect(':', "an object");
          skip_value(depth + 1);
        } while (next('}', "an object"));
        return;
      case '[':
        ++p;
        if (peek("a list") == ']') {
          ++p;
          return;
        }
        do skip_value(depth + 1);
        while (next(']', "a list"));
        return;
      case '"': skip_string(); return;
      case 't': word("true"); return;
      case 'f': word("false"); return;
      case 'n': word("null"); return;
      default:
        if (!at_number()) fail("expected a value" + found());
        skip_number();
    }
  }
  // Find the end of a list of numbers written as Python writes them ("1.5, -2"), `q` behind its bracket, by bit masks
  // of 64 characters; null if the list is written differently or wrongly, which is left to `number`.
  static const char *skip_usual([[maybe_unused]] const char *q, [[maybe_unused]] const char *end) {
#if defined(__SSE2__)
    uint64_t digit_before = 0, comma_before = 1, point_before = 0, minus_before = 0, space_before = 0, zero_before = 0;
    uint64_t fraction = 0;  // 1 while the digits at the border of two blocks follow a point
    for (; q < end; q += 64) {
      uint64_t digits = 0, zeros = 0, commas = 0, points = 0, minuses = 0, spaces = 0;
      for (int k = 0; k < 4; ++k) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i *>(q + 16 * k));
        const auto mask = [&](__m128i m) { return uint64_t(static_cast<uint32_t>(_mm_movemask_epi8(m))) << (16 * k); };
        const auto is = [&](char c) { return mask(_mm_cmpeq_epi8(x, _mm_set1_epi8(c))); };
        digits |=
            mask(_mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8('0' - 1)), _mm_cmplt_epi8(x, _mm_set1_epi8('9' + 1))));
        zeros |= is('0'), commas |= is(','), points |= is('.'), minuses |= is('-'), spaces |= is(' ');
      }
      const uint64_t known = digits | commas | points | minuses | spaces;
      const int length = ~known ? __builtin_ctzll(~known) : 64;
      const uint64_t inside = length == 64 ? ~uint64_t(0) : (uint64_t(1) << length) - 1;
      digits &= inside, zeros &= inside, commas &= inside, points &= inside, minuses &= inside, spaces &= inside;
      const uint64_t after_digit = digits << 1 | digit_before, after_comma = commas << 1 | comma_before;
      const uint64_t after_point = points << 1 | point_before, after_minus = minuses << 1 | minus_before;
      const uint64_t after_space = spaces << 1 | space_before;
      const uint64_t first_zero = zeros & (after_comma | after_space | after_minus);
      uint64_t run = 0;
      bool carried = __builtin_add_overflow(digits, after_point & digits, &run);
      carried |= __builtin_add_overflow(run, fraction, &run);
      const uint64_t wrong = ((commas | points) & ~after_digit) | (spaces & ~after_comma) |
                             (minuses & ~(after_comma | after_space)) | (after_point & inside & ~digits) |
                             (after_minus & inside & ~digits) | (digits & (first_zero << 1 | zero_before)) |
                             (run & ~digits & points);
      if (wrong) return nullptr;
      if (length < 64) return q[length] == ']' && (after_digit >> length & 1) ? q + length + 1 : nullptr;
      digit_before = digits >> 63, comma_before = commas >> 63, point_before = points >> 63;
      minus_before = minuses >> 63, space_before = spaces >> 63, zero_before = first_zero >> 63, fraction = carried;
    }
#endif
    return nullptr;
  }
  // Skips a list of numbers or of lists of numbers: true if it is one of these, not empty, and contains nothing else.
  bool skip_polygons() {
    ++p;  // the bracket
    if (peek("a list") == ']') {
      ++p;
      return false;
    }
    bool flat = true, nested = true;
    if (const char *stop = skip_usual(p, end)) {
      p = stop;
      return true;
    }
    do {
      const char c = peek("a list");
      if (c == '[') {
        flat = false;
        ++p;
        if (peek("a list") == ']') {
          ++p;
          nested = false;
          continue;
        }
        if (const char *stop = skip_usual(p, end)) {  // nearly all of a file
          p = stop;
          continue;
        }
        do {
          if (at_number()) skip_number();
          else {
            nested = false;
            skip_value(3);
          }
        } while (next(']', "a list"));
      } else if (at_number()) {
        nested = false;
        skip_number();
      } else {
        flat = nested = false;
        skip_value(2);
      }
    } while (next(']', "a list"));
    return flat || nested;
  }
  void word(const char *text) {
    for (const char *c = text; *c; ++c, ++p) {
      if (p == end) more(text);
      if (*p != *c) fail(std::string("expected ") + text + found());
    }
  }

  static std::string unescape(std::string_view raw) {
    std::string out;
    out.reserve(raw.size());
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\') {
        out += raw[i];
        continue;
      }
      const char c = raw[++i];
      switch (c) {
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'u': {
          uint32_t code = hex4(raw, i + 1);
          i += 4;
          if (code >= 0xd800 && code < 0xdc00 && i + 6 < raw.size() && raw[i + 1] == '\\' && raw[i + 2] == 'u') {
            const uint32_t low = hex4(raw, i + 3);
            if (low >= 0xdc00 && low < 0xe000) {
              code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
              i += 6;
            }
          }
          append_utf8(out, code);
          break;
        }
        default: out += c;
      }
    }
    return out;
  }

 private:
  static constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  static bool plain(char c) {
    const unsigned char u = static_cast<unsigned char>(c);
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
  }
  static uint32_t hex4(std::string_view s, size_t at) {
    uint32_t code = 0;
    for (size_t k = at; k < at + 4 && k < s.size(); ++k) {
      const char c = s[k];
      code = code * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return code;
  }
  static void append_utf8(std::string &out, uint32_t c) {
    if (c < 0x80) out += static_cast<char>(c);
    else if (c < 0x800) {
      out += static_cast<char>(0xc0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      if (c >= 0xd800 && c < 0xe000) c = 0xfffd;  // half of a surrogate pair is invalid
      out += static_cast<char>(0xe0 | (c >> 12));
      out += static_cast<char>(0x80 | ((c >> 6) & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xf0 | (c >> 18));
      out += static_cast<char>(0x80 | ((c >> 12) & 63));
      out += static_cast<char>(0x80 | ((c >> 6) & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }
  void escape() {
    ++p;
    if (p == end) more("a string");
    const char c = *p;
    if (c == 'u') {
      ++p;
      for (int k = 0; k < 4; ++k, ++p) {
        if (p == end) more("a string");
        const char h = *p;
        if (!((h >= '0' && h <= '9') || (h >= 'a' && h <= 'f') || (h >= 'A' && h <= 'F')))
          fail("expected four hexadecimal digits after \\u" + found());
      }
    } else if (std::strchr("\"\\/bfnrt", c) && c) {
      ++p;
    } else {
      fail("an unknown escape in a string" + found());
    }
  }
  void utf8() {
    const auto byte = [&](int k) -> unsigned {
      if (end - p <= k) more("a string");
      return static_cast<unsigned char>(p[k]);
    };
    const unsigned c = byte(0);
    const int n = c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
    if (!n || c > 0xf4) fail("a string that is not UTF-8" + found());
    const unsigned second = byte(1);
    const bool bad = (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
                     (c == 0xf4 && second > 0x8f);
    if (bad) fail("a string that is not UTF-8" + found());
    for (int k = 1; k <= n; ++k)
      if ((byte(k) & 0xc0) != 0x80) fail("a string that is not UTF-8" + found());
    p += n + 1;
  }
  double named(const char *, bool negative) {
    if (*p == 'N') {
      if (negative) fail("expected a digit" + found());
      word("NaN");
      return std::numeric_limits<double>::quiet_NaN();
    }
    word("Infinity");
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  }
  double exact(const char *start) const {
    double value = 0;
    const auto [stop, code] = std::from_chars(start, p, value);
    if (code == std::errc::result_out_of_range) {  // as Python: infinity, or zero
      const std::string text(start, p);
      return std::strtod(text.c_str(), nullptr);
    }
    (void)stop;
    return value;
  }
};

// A window over a source that slides forward; `step` runs a reader again from its start when the window was too short.
class Window {
 public:
  Window(const Source &source, size_t size) : source_(source), buffer_(std::max<size_t>(size, 16) + padding) {
    cursor.begin = cursor.p = cursor.end = buffer_.data();
    cursor.base = 0;
    cursor.last = false;
    slide();
  }
  Cursor cursor;

  template <class F> auto step(F &&read) {
    while (true) {
      const char *start = cursor.p;
      try {
        return read(cursor);
      } catch (NeedMore &) {
        cursor.p = start;
        slide();
      }
    }
  }

 private:
  void slide() {
    const size_t kept = static_cast<size_t>(cursor.end - cursor.p);
    cursor.base += cursor.p - cursor.begin;
    if (kept * 2 > buffer_.size() - padding) {
      std::vector<char> wider(buffer_.size() * 2);
      std::memcpy(wider.data(), cursor.p, kept);
      buffer_.swap(wider);
    } else {
      std::memmove(buffer_.data(), cursor.p, kept);
    }
    const size_t room = buffer_.size() - padding - kept;
    const size_t got = source_.read(cursor.base + static_cast<i64>(kept), buffer_.data() + kept, room);
    cursor.begin = cursor.p = buffer_.data();
    cursor.end = buffer_.data() + kept + got;
    cursor.last = got < room;
    std::memset(buffer_.data() + kept + got, 0, padding);
  }
  const Source &source_;
  std::vector<char> buffer_;
};

}  // namespace celltable
