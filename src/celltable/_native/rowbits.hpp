// Rows of pixels as bits, 64 a word: comparing two rows of labels, and moving or widening what is marked.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "scan.hpp"

namespace rowbits {

using std::int64_t;
using std::uint64_t;

using celltable::words_of;

// Bit x says whether a[x] and b[x] differ, for x < n; the bits behind n are 0.
template <class T> void unequal(const T *a, const T *b, int64_t n, uint64_t *bits) {
  std::fill_n(bits, words_of(n), uint64_t(0));
  celltable::mark_differing(a, b, n, bits);
}

inline uint64_t left(const uint64_t *bits, int64_t k) { return (bits[k] << 1) | (k ? bits[k - 1] >> 63 : 0); }

inline uint64_t right(const uint64_t *bits, int64_t k, int64_t words) {
  return (bits[k] >> 1) | (k + 1 < words ? bits[k + 1] << 63 : 0);
}

// How many bits are set in n words, word k being word_at(k); bytes are summed 31 words at a time.
template <class Word> int64_t count(int64_t n, Word &&word_at) {
  int64_t total = 0;
  for (int64_t from = 0; from < n; from += 31) {
    uint64_t bytes = 0;
    for (int64_t k = from, to = std::min(n, from + 31); k < to; ++k) {
      uint64_t v = word_at(k);
      v -= (v >> 1) & 0x5555555555555555ull;
      v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
      bytes += (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
    }
    const uint64_t pairs = (bytes & 0x00ff00ff00ff00ffull) + ((bytes >> 8) & 0x00ff00ff00ff00ffull);
    total += static_cast<int64_t>((pairs * 0x0001000100010001ull) >> 48);
  }
  return total;
}

// A row that can be widened to both sides: every mark grows by `by` pixels each way.
class Wide {
 public:
  explicit Wide(int64_t width) : words_(words_of(width)), now_(words_ + 2, 0), next_(words_ + 2, 0) {
    last_ = (width & 63) ? (uint64_t(1) << (width & 63)) - 1 : ~uint64_t(0);
  }

  void set(const uint64_t *row) {
    std::copy(row, row + words_, now_.begin() + 1);
    reach_ = 0;
  }

  void grow_to(int64_t reach) {
    while (reach_ < reach) { // marks are now 2 * reach_ + 1 wide: a step no larger leaves no gap
      const int64_t by = std::min({reach - reach_, 2 * reach_ + 1, int64_t(63)});
      const uint64_t *in = now_.data() + 1;
      uint64_t *out = next_.data() + 1;
      const int64_t rest = 64 - by;
      for (int64_t k = 0; k < words_; ++k)
        out[k] = in[k] | in[k] << by | in[k - 1] >> rest | in[k] >> by | in[k + 1] << rest;
      if (words_) out[words_ - 1] &= last_;
      now_.swap(next_);
      reach_ += by;
    }
  }

  const uint64_t *bits() const { return now_.data() + 1; }

 private:
  int64_t words_, reach_ = 0;
  std::vector<uint64_t> now_, next_; // a word of zeros at either end
  uint64_t last_;
};

}  // namespace rowbits
