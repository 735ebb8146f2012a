// COCO's text for run lengths (maskApi.c): five bits a character, low bits first, each count less the one two before it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace celltable {

// Appends the text of the counts.
inline void write_counts(const int64_t *counts, size_t n, std::string &out) {
  for (size_t i = 0; i < n; ++i) {
    int64_t x = counts[i];
    if (i > 2) x -= counts[i - 2];
    bool more = true;
    while (more) {
      int64_t c = x & 0x1f;
      x >>= 5;
      more = (c & 0x10) ? x != -1 : x != 0;
      if (more) c |= 0x20;
      out += static_cast<char>(c + 48);
    }
  }
}

// Reads counts; false if the text is no such text: a foreign character, an unfinished or negative count, or more than
// `pixels` in all. Where the counts cover less, the rest is background.
inline bool read_counts(const char *s, size_t n, int64_t pixels, std::vector<int64_t> &counts) {
  counts.clear();
  size_t p = 0;
  int64_t total = 0;
  while (p < n) {
    int64_t x = 0;
    int k = 0;
    bool more = true;
    while (more) {
      if (p == n || k > 11) return false;
      const int64_t c = static_cast<unsigned char>(s[p]) - 48;
      if (c < 0 || c > 63) return false;
      x |= (c & 0x1f) << (5 * k);
      more = c & 0x20;
      ++p;
      ++k;
      if (!more && (c & 0x10)) x |= static_cast<int64_t>(~uint64_t(0) << (5 * k));
    }
    const size_t m = counts.size();
    if (m > 2) x += counts[m - 2];
    if (x < 0 || x > pixels) return false;
    total += x;
    if (total > pixels) return false;
    counts.push_back(x);
  }
  return true;
}

} // namespace celltable
