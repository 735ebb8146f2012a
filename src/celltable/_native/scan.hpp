// Where a line of labels changes: one bit per pixel, 64 pixels at a time, so that later work is per run, not per pixel.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define CELLTABLE_X86 1
#endif

namespace celltable {

namespace scan {

template <class T> inline u64 differing_plain(const T *a, const T *b, int n) {
  u64 bits = 0;
  for (int k = 0; k < n; ++k) bits |= static_cast<u64>(a[k] != b[k]) << k;
  return bits;
}

#ifdef CELLTABLE_X86
inline __m128i load(const void *p) { return _mm_loadu_si128(static_cast<const __m128i *>(p)); }

// Bit k of the result: a[k] != b[k], for 16 pixels.
template <class T> inline u64 differing16(const T *a, const T *b) {
  __m128i same;
  if constexpr (std::is_floating_point_v<T>) {  // by value: 0 equals -0, and NaN equals nothing
    u64 equal = 0;
    for (int k = 0; k < 16; k += 16 / static_cast<int>(sizeof(T))) {
      if constexpr (sizeof(T) == 8)
        equal |= static_cast<u64>(_mm_movemask_pd(_mm_cmpeq_pd(_mm_loadu_pd(a + k), _mm_loadu_pd(b + k)))) << k;
      else equal |= static_cast<u64>(_mm_movemask_ps(_mm_cmpeq_ps(_mm_loadu_ps(a + k), _mm_loadu_ps(b + k)))) << k;
    }
    return ~equal & 0xffff;
  } else if constexpr (sizeof(T) == 1) {
    same = _mm_cmpeq_epi8(load(a), load(b));
  } else if constexpr (sizeof(T) == 2) {
    same = _mm_packs_epi16(_mm_cmpeq_epi16(load(a), load(b)), _mm_cmpeq_epi16(load(a + 8), load(b + 8)));
  } else if constexpr (sizeof(T) == 4) {
    const __m128i x = _mm_packs_epi32(_mm_cmpeq_epi32(load(a), load(b)), _mm_cmpeq_epi32(load(a + 4), load(b + 4)));
    const __m128i y =
        _mm_packs_epi32(_mm_cmpeq_epi32(load(a + 8), load(b + 8)), _mm_cmpeq_epi32(load(a + 12), load(b + 12)));
    same = _mm_packs_epi16(x, y);
  } else {
    return differing_plain(a, b, 16);
  }
  return static_cast<u64>(~_mm_movemask_epi8(same) & 0xffff);
}

template <class T> inline u64 differing64_sse2(const T *a, const T *b) {
  return differing16(a, b) | differing16(a + 16, b + 16) << 16 | differing16(a + 32, b + 32) << 32 |
         differing16(a + 48, b + 48) << 48;
}

__attribute__((target("avx2"))) inline __m256i load256(const void *p) {
  return _mm256_loadu_si256(static_cast<const __m256i *>(p));
}

template <class T> __attribute__((target("avx2"))) inline u64 differing32_avx2(const T *a, const T *b) {
  __m256i same;
  if constexpr (std::is_same_v<T, double>) {
    u64 equal = 0;
    for (int k = 0; k < 32; k += 4)
      equal |= static_cast<u64>(
                   _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(a + k), _mm256_loadu_pd(b + k), _CMP_EQ_OQ)))
               << k;
    return ~equal & 0xffffffff;
  } else if constexpr (std::is_same_v<T, float>) {
    u64 equal = 0;
    for (int k = 0; k < 32; k += 8)
      equal |= static_cast<u64>(
                   _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(a + k), _mm256_loadu_ps(b + k), _CMP_EQ_OQ)))
               << k;
    return ~equal & 0xffffffff;
  } else if constexpr (sizeof(T) == 1) {
    same = _mm256_cmpeq_epi8(load256(a), load256(b));
  } else if constexpr (sizeof(T) == 2) {
    same = _mm256_packs_epi16(_mm256_cmpeq_epi16(load256(a), load256(b)),
                              _mm256_cmpeq_epi16(load256(a + 16), load256(b + 16)));
    same = _mm256_permute4x64_epi64(same, 0xd8);
  } else if constexpr (sizeof(T) == 4) {
    const __m256i x = _mm256_packs_epi32(_mm256_cmpeq_epi32(load256(a), load256(b)),
                                         _mm256_cmpeq_epi32(load256(a + 8), load256(b + 8)));
    const __m256i y = _mm256_packs_epi32(_mm256_cmpeq_epi32(load256(a + 16), load256(b + 16)),
                                         _mm256_cmpeq_epi32(load256(a + 24), load256(b + 24)));
    same = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(x, y), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  } else {
    u64 bits = 0;
    for (int k = 0; k < 32; k += 4) {
      const __m256i eq = _mm256_cmpeq_epi64(load256(a + k), load256(b + k));
      bits |= static_cast<u64>(~_mm256_movemask_pd(_mm256_castsi256_pd(eq)) & 0xf) << k;
    }
    return bits;
  }
  return static_cast<std::uint32_t>(~_mm256_movemask_epi8(same));
}

inline bool has_avx2() {
  static const bool found = __builtin_cpu_supports("avx2");
  return found;
}

template <class T>
__attribute__((target("avx2"))) inline void lines_avx2(const T *a, const T *b, i64 words, u64 *bits) {
  for (i64 k = 0; k < words; ++k, a += 64, b += 64)
    bits[k] |= differing32_avx2(a, b) | differing32_avx2(a + 32, b + 32) << 32;
}
#endif

#ifdef CELLTABLE_X86
template <class T>
__attribute__((target("avx2"))) inline void joint_avx2(const T *a, const T *b, i64 words, u64 *bits) {
  for (i64 k = 0; k < words; ++k, a += 64, b += 64) {
    const u64 low = differing32_avx2(a + 1, a) | differing32_avx2(b + 1, b);
    bits[k] = low | (differing32_avx2(a + 33, a + 32) | differing32_avx2(b + 33, b + 32)) << 32;
  }
}
#endif

template <class T> inline void joint(const T *a, const T *b, i64 words, u64 *bits) {
#ifdef CELLTABLE_X86
  if (has_avx2()) return joint_avx2(a, b, words, bits);
  for (i64 k = 0; k < words; ++k, a += 64, b += 64) bits[k] = differing64_sse2(a + 1, a) | differing64_sse2(b + 1, b);
#else
  for (i64 k = 0; k < words; ++k, a += 64, b += 64)
    bits[k] = differing_plain(a + 1, a, 64) | differing_plain(b + 1, b, 64);
#endif
}

template <class T> inline void lines(const T *a, const T *b, i64 words, u64 *bits) {
#ifdef CELLTABLE_X86
  if (has_avx2()) return lines_avx2(a, b, words, bits);
  for (i64 k = 0; k < words; ++k, a += 64, b += 64) bits[k] |= differing64_sse2(a, b);
#else
  for (i64 k = 0; k < words; ++k, a += 64, b += 64) bits[k] |= differing_plain(a, b, 64);
#endif
}

}  // namespace scan

inline i64 words_of(i64 n) { return (n + 63) / 64; }

// Set bit k of `bits` (words_of(n) words) where a[k] != b[k].
template <class T> inline void mark_differing(const T *a, const T *b, i64 n, u64 *bits) {
  const i64 whole = n / 64;
  scan::lines(a, b, whole, bits);
  if (n % 64) bits[whole] |= scan::differing_plain(a + whole * 64, b + whole * 64, static_cast<int>(n % 64));
}

// Call f(k) for every set bit, ascending.
template <class F> inline void each_bit(const u64 *bits, i64 words, F f) {
  for (i64 k = 0; k < words; ++k)
    for (u64 word = bits[k]; word; word &= word - 1) f(k * 64 + __builtin_ctzll(word));
}

// Call f(value, first, last) for every stretch of equal values of a line; `bits` is scratch of words_of(n) words.
template <class T, class F> inline void stretches(const T *line, i64 n, u64 *bits, F f) {
  if (n <= 0) return;
  std::memset(bits, 0, static_cast<std::size_t>(words_of(n)) * sizeof *bits);
  mark_differing(line + 1, line, n - 1, bits);
  i64 first = 0;
  each_bit(bits, words_of(n), [&](i64 k) {
    f(line[first], first, k + 1);
    first = k + 1;
  });
  f(line[first], first, n);
}

// Call f(value of a, value of b, first, last) for every stretch over which neither line changes.
template <class T, class F> inline void joint_stretches(const T *a, const T *b, i64 n, F f) {
  if (n <= 0) return;
  constexpr i64 kBlock = 8;  // words computed before they are used, so that the next pixels are fetched meanwhile
  u64 bits[kBlock];
  i64 first = 0, at = 0;
  const auto use = [&](i64 words) {
    each_bit(bits, words, [&](i64 k) {
      f(a[first], b[first], first, at + k + 1);
      first = at + k + 1;
    });
  };
  const i64 whole = (n - 1) / 64;
  for (; at / 64 + kBlock <= whole; at += 64 * kBlock) {
    scan::joint(a + at, b + at, kBlock, bits);
    use(kBlock);
  }
  if (const i64 words = whole - at / 64; words > 0) {
    scan::joint(a + at, b + at, words, bits);
    use(words);
    at += 64 * words;
  }
  if (at < n - 1) {
    const int left = static_cast<int>(n - 1 - at < 64 ? n - 1 - at : 64);
    bits[0] = scan::differing_plain(a + at + 1, a + at, left) | scan::differing_plain(b + at + 1, b + at, left);
    use(1);
  }
  f(a[first], b[first], first, n);
}

}  // namespace celltable
