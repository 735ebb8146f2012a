// Polygons in a few bytes, lossless: a byte that names the coding, then numbers of seven bits per byte, low first.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base.hpp"

namespace celltable {

constexpr char kHundredths = 1, kExact = 2;

inline void put_number(std::string &out, u64 v) {
  while (v >= 0x80) out.push_back(static_cast<char>(v | 0x80)), v >>= 7;
  out.push_back(static_cast<char>(v));
}

// Round to the nearest whole number, ties to even, like nearbyint; for less than 2^51.
inline i64 nearest(double v) {
  constexpr double shift = 6755399441055744.0;  // 2^52 + 2^51: a double this large holds whole numbers in its low bits
  const double moved = v + shift;
  i64 bits, zero;
  std::memcpy(&bits, &moved, sizeof bits);
  std::memcpy(&zero, &shift, sizeof zero);
  return bits - zero;
}

// Express the coordinates in hundredths; false unless that is lossless for every one.
inline bool in_hundredths(const double *v, i64 n, std::vector<i64> &hundredths) {
  hundredths.resize(static_cast<std::size_t>(n));
  for (i64 i = 0; i < n; ++i) {
    if (!(std::abs(v[i]) < 1e7)) return false;
    const i64 q = hundredths[i] = nearest(v[i] * 100);
    const double back = static_cast<double>(q) / 100;
    if (std::memcmp(&back, v + i, sizeof back) != 0) return false;
  }
  return true;
}

// Append a polygon of some parts; `first` holds the first point of each part and the end, `values` begins with its
// first.
inline void pack_polygon(std::string &out, const double *values, const i64 *first, i64 parts) {
  static thread_local std::vector<i64> whole;
  const i64 count = 2 * (first[parts] - first[0]);
  const bool hundredths = in_hundredths(values, count, whole);
  out.push_back(hundredths ? kHundredths : kExact);
  put_number(out, static_cast<u64>(parts));
  for (i64 p = 0; p < parts; ++p) put_number(out, static_cast<u64>(first[p + 1] - first[p]));
  if (hundredths) {
    i64 last[2] = {0, 0};
    for (i64 k = 0; k < count; ++k) {
      const i64 q = whole[static_cast<std::size_t>(k)], delta = q - last[k & 1];
      last[k & 1] = q;
      put_number(out, (static_cast<u64>(delta) << 1) ^ static_cast<u64>(delta >> 63));
    }
  } else if (count) {
    out.append(reinterpret_cast<const char *>(values), static_cast<std::size_t>(count) * sizeof(double));
  }
}

}  // namespace celltable
