// Rows of pixels as bits, 64 per word: compare two rows of labels, shift or widen marks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "scan.hpp"

namespace celltable {

// Bit x says whether a[x] and b[x] differ, for x < n; the bits after n are 0.
template <class T> void unequal(const T *a, const T *b, i64 n, u64 *bits) {
  std::fill_n(bits, words_of(n), u64(0));
  mark_differing(a, b, n, bits);
}

inline u64 left(const u64 *bits, i64 k) { return (bits[k] << 1) | (k ? bits[k - 1] >> 63 : 0); }

inline u64 right(const u64 *bits, i64 k, i64 words) { return (bits[k] >> 1) | (k + 1 < words ? bits[k + 1] << 63 : 0); }

// Count the bits set in n words word_at(k); bytes are summed 31 words at a time.
template <class Word> i64 count(i64 n, Word &&word_at) {
  i64 total = 0;
  for (i64 from = 0; from < n; from += 31) {
    u64 bytes = 0;
    for (i64 k = from, to = std::min(n, from + 31); k < to; ++k) {
      u64 v = word_at(k);
      v -= (v >> 1) & 0x5555555555555555ull;
      v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
      bytes += (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
    }
    const u64 pairs = (bytes & 0x00ff00ff00ff00ffull) + ((bytes >> 8) & 0x00ff00ff00ff00ffull);
    total += static_cast<i64>((pairs * 0x0001000100010001ull) >> 48);
  }
  return total;
}

// A row that can be widened to both sides: every mark grows by `by` pixels each way.
class Wide {
 public:
  explicit Wide(i64 width) : words_(words_of(width)), now_(words_ + 2, 0), next_(words_ + 2, 0) {
    last_ = (width & 63) ? (u64(1) << (width & 63)) - 1 : ~u64(0);
  }

  void set(const u64 *row) {
    std::copy(row, row + words_, now_.begin() + 1);
    reach_ = 0;
  }

  void grow_to(i64 reach) {
    while (reach_ < reach) {  // marks are now 2 * reach_ + 1 wide: a step no larger leaves no gap
      const i64 by = std::min({reach - reach_, 2 * reach_ + 1, i64(63)});
      const u64 *in = now_.data() + 1;
      u64 *out = next_.data() + 1;
      const i64 rest = 64 - by;
      for (i64 k = 0; k < words_; ++k)
        out[k] = in[k] | in[k] << by | in[k - 1] >> rest | in[k] >> by | in[k + 1] << rest;
      if (words_) out[words_ - 1] &= last_;
      now_.swap(next_);
      reach_ += by;
    }
  }

  const u64 *bits() const { return now_.data() + 1; }

 private:
  i64 words_, reach_ = 0;
  std::vector<u64> now_, next_;  // a word of zeros at either end
  u64 last_;
};

}  // namespace celltable
