// Runs of a row of labels, or of two rows at once: where values change is found a word of pixels at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace rowruns {

// Bytes of 0 or 1 as bits, 64 a word; `bytes` holds 64 * words bytes.
inline void pack(const std::uint8_t *bytes, std::int64_t words, std::uint64_t *bits) {
  for (std::int64_t k = 0; k < words; ++k) {
    std::uint64_t word = 0;
    for (int part = 0; part < 8; ++part) {
      std::uint64_t eight;
      std::memcpy(&eight, bytes + 64 * k + 8 * part, 8);
      word |= ((eight * 0x0102040810204080ull) >> 56) << (8 * part);
    }
    bits[k] = word;
  }
}

// Calls run(value of a, value of b, from, to) for each stretch of a row over which neither changes, zeros included.
class Joint {
 public:
  template <class T, class Run> void operator()(const T *a, const T *b, std::int64_t w, Run &&run) {
    if (w < 1) return;
    const std::int64_t words = (w + 63) / 64;
    change_.assign(static_cast<std::size_t>(words) * 64, 0);
    bits_.resize(static_cast<std::size_t>(words));
    std::uint8_t *__restrict change = change_.data();
    for (std::int64_t x = 1; x < w; ++x) change[x] = static_cast<std::uint8_t>((a[x] != a[x - 1]) | (b[x] != b[x - 1]));
    pack(change, words, bits_.data());
    std::int64_t from = 0;
    for (std::int64_t k = 0; k < words; ++k)
      for (std::uint64_t left = bits_[k]; left; left &= left - 1) {
        const std::int64_t to = 64 * k + __builtin_ctzll(left);
        run(a[from], b[from], from, to);
        from = to;
      }
    run(a[from], b[from], from, w);
  }

 private:
  std::vector<std::uint8_t> change_;
  std::vector<std::uint64_t> bits_;
};

}  // namespace rowruns
