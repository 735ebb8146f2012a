// CRC-32 (zip, PNG) with carry-less multiplication where the processor has the instruction, and Adler-32 (zlib) with
// zero runs in closed form.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define CELLTABLE_PCLMUL 1
#include <immintrin.h>
#endif

namespace checksum {

struct CrcTables {
  std::array<std::array<uint32_t, 256>, 8> t{};
  CrcTables() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      t[0][i] = c;
    }
    for (int k = 1; k < 8; ++k)
      for (uint32_t i = 0; i < 256; ++i) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 255];
  }
};
inline const CrcTables crc_tables;

inline uint32_t crc_by_table(uint32_t c, const uint8_t *p, size_t n) {  // c is the inverted state
  const auto &t = crc_tables.t;
  for (; n >= 8; n -= 8, p += 8) {
    uint32_t a, b;
    std::memcpy(&a, p, 4);
    std::memcpy(&b, p + 4, 4);
    a ^= c;
    c = t[7][a & 255] ^ t[6][(a >> 8) & 255] ^ t[5][(a >> 16) & 255] ^ t[4][a >> 24] ^ t[3][b & 255] ^
        t[2][(b >> 8) & 255] ^ t[1][(b >> 16) & 255] ^ t[0][b >> 24];
  }
  while (n--) c = t[0][(c ^ *p++) & 255] ^ (c >> 8);
  return c;
}

#ifdef CELLTABLE_PCLMUL
// Folding by four 128-bit lanes, then Barrett reduction: Gopal et al., "Fast CRC Computation for Generic Polynomials
// Using PCLMULQDQ Instruction" (Intel, 2009). n is at least 64 and a multiple of 16.
__attribute__((target("pclmul,sse4.1"))) inline uint32_t crc_by_pclmul(uint32_t c, const uint8_t *p, size_t n) {
  const __m128i k12 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), k34 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i k5 = _mm_set_epi64x(0, 0x0163cd6124), poly = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  auto load = [](const uint8_t *q) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(q)); };
  __m128i x[4];
  for (int i = 0; i < 4; ++i) x[i] = load(p + 16 * i);
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128(static_cast<int>(c)));
  p += 64;
  n -= 64;
  for (; n >= 64; n -= 64, p += 64)
    for (int i = 0; i < 4; ++i)
      x[i] = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x[i], k12, 0x00), _mm_clmulepi64_si128(x[i], k12, 0x11)),
                           load(p + 16 * i));
  __m128i a = x[0];
  for (int i = 1; i < 4; ++i)
    a = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, k34, 0x00), _mm_clmulepi64_si128(a, k34, 0x11)), x[i]);
  for (; n >= 16; n -= 16, p += 16)
    a = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, k34, 0x00), _mm_clmulepi64_si128(a, k34, 0x11)), load(p));
  const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
  __m128i b = _mm_clmulepi64_si128(a, k34, 0x10);
  a = _mm_xor_si128(_mm_srli_si128(a, 8), b);
  b = _mm_srli_si128(a, 4);
  a = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low), k5, 0x00), b);
  b = _mm_clmulepi64_si128(_mm_and_si128(a, low), poly, 0x10);
  b = _mm_clmulepi64_si128(_mm_and_si128(b, low), poly, 0x00);
  return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(a, b), 1));
}
inline const bool has_pclmul = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif

inline uint32_t crc32(const uint8_t *p, size_t n, uint32_t crc = 0) {
  uint32_t c = ~crc;
#ifdef CELLTABLE_PCLMUL
  if (n >= 64 && has_pclmul) {
    const size_t whole = n & ~size_t{15};
    c = crc_by_pclmul(c, p, whole);
    p += whole;
    n -= whole;
  }
#endif
  return ~crc_by_table(c, p, n);
}

struct Adler {
  uint64_t a = 1, b = 0;

  void zeros(uint64_t n) { b = (b + n % 65521 * a) % 65521; }

  void bytes(const uint8_t *p, size_t n) {
    while (n) {
      const uint32_t m = n < 4096 ? static_cast<uint32_t>(n) : 4096;  // 255 * 4096 * 4097 / 2 fits 32 bits
      uint32_t sum = 0, weighted = 0;
      for (uint32_t i = 0; i < m; ++i) {
        sum += p[i];
        weighted += (m - i) * p[i];
      }
      b = (b + m * a + weighted) % 65521;
      a = (a + sum) % 65521;
      p += m;
      n -= m;
    }
  }

  uint32_t value() const { return static_cast<uint32_t>(b << 16 | a); }
};

}  // namespace checksum
