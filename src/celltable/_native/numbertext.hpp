// Numbers and strings as text, appended to one growing buffer: shortest floats that read back as the same double, as
// JSON and Python write them, fractions rounded exactly, and JSON strings.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

namespace celltable {

class Text {
 public:
  Text() = default;
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;
  ~Text() { std::free(held_); }
  // Make room for `n` more bytes; the caller writes there and calls `took` with the end of what it wrote.
  char *room(std::size_t n) {
    if (capacity_ - size_ < n) grow(n);
    return held_ + size_;
  }
  void took(const char *end) { size_ = static_cast<std::size_t>(end - held_); }
  void add(std::string_view s) {
    if (s.empty()) return;
    std::memcpy(room(s.size()), s.data(), s.size());
    size_ += s.size();
  }
  void whole(std::int64_t v) {
    char *p = room(24);
    took(std::to_chars(p, p + 24, v).ptr);
  }
  const char *data() const { return held_; }
  std::size_t size() const { return size_; }

 private:
  void grow(std::size_t n) {
    const std::size_t wanted = std::max(2 * capacity_, size_ + n + (std::size_t(1) << 15));
    void *bigger = std::realloc(held_, wanted);  // moves pages instead of copying them if texts are long
    if (!bigger) throw std::bad_alloc();
    held_ = static_cast<char *>(bigger), capacity_ = wanted;
  }
  char *held_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

enum class Style {
  json,      // 1.0, 1e16, null for what is not finite; exponents from 1e-6 down
  brief,     // Python's repr without a trailing ".0": 1, 1e+16, nan; exponents from 1e-05 down
  fraction,  // nine decimals at most, trailing zeros left out
};

// The shortest digits of a finite double: value = 0.d1d2d3… × 10^point.
struct Digits {
  char text[20];
  int n = 0, point = 0;  // of `text`
  explicit Digits(double magnitude) {
    char raw[32];
    const char *end = std::to_chars(raw, raw + sizeof raw, magnitude, std::chars_format::scientific).ptr;
    const char *e = end;
    while (*--e != 'e') {
    }
    for (const char *c = raw; c != e; ++c)
      if (*c != '.') text[n++] = *c;
    int exponent = 0;
    std::from_chars(e + (e[1] == '+' ? 2 : 1), end, exponent);
    point = exponent + 1;
  }
};

inline char *zeros(char *p, int n) {
  std::memset(p, '0', static_cast<std::size_t>(n));
  return p + n;
}
inline char *copied(char *p, const char *from, std::size_t n) {
  std::memcpy(p, from, n);
  return p + n;
}

inline char *write_shortest(char *p, double v, bool json) {
  if (std::signbit(v)) *p++ = '-', v = -v;
  if (v < 1e13) {  // whole numbers and hundredths, nearly all coordinates: at most 15 digits, so the shortest there is
    const auto hundredths = static_cast<std::int64_t>(v * 100 + 0.5);
    if (static_cast<double>(hundredths) / 100 == v) {
      p = std::to_chars(p, p + 20, hundredths / 100).ptr;
      const int rest = static_cast<int>(hundredths % 100);
      if (!rest && !json) return p;
      *p++ = '.', *p++ = static_cast<char>('0' + rest / 10);
      if (rest % 10) *p++ = static_cast<char>('0' + rest % 10);
      return p;
    }
  }
  const Digits d(v);
  if (d.point > 16 || d.point <= (json ? -5 : -4)) {
    *p++ = d.text[0];
    if (d.n > 1) *p++ = '.', p = copied(p, d.text + 1, static_cast<std::size_t>(d.n - 1));
    int exponent = d.point - 1;
    *p++ = 'e';
    if (exponent < 0) *p++ = '-', exponent = -exponent;
    else if (!json) *p++ = '+';
    if (!json && exponent < 10) *p++ = '0';
    return std::to_chars(p, p + 4, exponent).ptr;
  }
  if (d.point <= 0) return copied(zeros(copied(p, "0.", 2), -d.point), d.text, d.n);
  if (d.point < d.n) {
    p = copied(p, d.text, d.point);
    *p++ = '.';
    return copied(p, d.text + d.point, d.n - d.point);
  }
  p = zeros(copied(p, d.text, d.n), d.point - d.n);
  return json ? copied(p, ".0", 2) : p;
}

// As f"{v:.9f}" without trailing zeros: the exact binary value is rounded, half to even.
inline char *write_fraction(char *p, double v) {
  if (std::signbit(v)) *p++ = '-', v = -v;
  int exponent;
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(std::frexp(v, &exponent), 53));
  const int shift = 53 - exponent;  // v = mantissa / 2^shift
  if (v < 1e9 && shift <= 120) {
    const unsigned __int128 scaled = static_cast<unsigned __int128>(mantissa) * 1000000000u;
    auto billionths = static_cast<std::uint64_t>(shift > 0 ? scaled >> shift : scaled);
    if (shift > 0) {
      const unsigned __int128 half = static_cast<unsigned __int128>(1) << (shift - 1), rest = scaled & (2 * half - 1);
      billionths += rest > half || (rest == half && (billionths & 1));
    }
    p = std::to_chars(p, p + 20, billionths / 1000000000u).ptr;
    auto rest = static_cast<std::uint32_t>(billionths % 1000000000u);
    if (!rest) return p;
    *p = '.';
    for (int k = 9; k > 0; --k, rest /= 10) p[k] = static_cast<char>('0' + rest % 10);
    p += 9;
    while (*p == '0') --p;
    return p + 1;
  }
  p = std::to_chars(p, p + 400, v, std::chars_format::fixed, 9).ptr;
  while (p[-1] == '0') --p;
  return p[-1] == '.' ? p - 1 : p;
}

constexpr std::size_t kLongest = 400;  // characters of a number

inline char *write_number(char *p, double v, Style style) {
  if (!std::isfinite(v)) {
    const std::string_view word = style == Style::json ? "null" : std::isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
    return copied(p, word.data(), word.size());
  }
  return style == Style::fraction ? write_fraction(p, v) : write_shortest(p, v, style == Style::json);
}

inline void write_number(Text &out, double v, Style style) { out.took(write_number(out.room(kLongest), v, style)); }

// A JSON string of UTF-8 text, with the escapes that JSON demands and no others.
inline void write_string(Text &out, std::string_view s) {
  static constexpr char hex[] = "0123456789abcdef";
  char *p = out.room(6 * s.size() + 2);
  *p++ = '"';
  bool plain = true;  // but for backslashes, which run lengths are full of
  for (const char c : s) plain &= (static_cast<unsigned char>(c) >= 0x20) & (c != '"');
  if (plain) {
    const char *from = s.data(), *const end = from + s.size();
    while (const void *hit = from == end ? nullptr : std::memchr(from, '\\', static_cast<std::size_t>(end - from))) {
      const char *at = static_cast<const char *>(hit);
      p = copied(p, from, static_cast<std::size_t>(at - from));
      *p++ = '\\', *p++ = '\\', from = at + 1;
    }
    p = copied(p, from, static_cast<std::size_t>(end - from));
    *p++ = '"';
    return out.took(p);
  }
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && c != '"' && c != '\\') {
      *p++ = c;
      continue;
    }
    *p++ = '\\';
    switch (c) {
      case '"':
      case '\\': *p++ = c; break;
      case '\n': *p++ = 'n'; break;
      case '\r': *p++ = 'r'; break;
      case '\t': *p++ = 't'; break;
      case '\b': *p++ = 'b'; break;
      case '\f': *p++ = 'f'; break;
      default: p = copied(p, "u00", 3), *p++ = hex[u >> 4], *p++ = hex[u & 15];
    }
  }
  *p++ = '"';
  out.took(p);
}

}  // namespace celltable
