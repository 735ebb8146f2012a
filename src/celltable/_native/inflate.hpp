// Inflate (RFC 1951): a table-driven decoder of one contiguous stream into one buffer of known size. In its sparse form
// the buffer is zero to begin with, and bytes known to be zero are counted, never written.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

namespace inflate {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Stretches [first, second) of the buffer outside which every byte is zero; ascending, disjoint.
using Segments = std::vector<std::pair<size_t, size_t>>;
constexpr size_t GAP = 32;  // zeros that do not end a segment

inline uint64_t load64(const uint8_t *p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  v = __builtin_bswap64(v);
#endif
  return v;
}

// A table entry: bits 0-7 bits to consume (code and extra), 8-11 bits of the code, 12-14 what it is, 15 literal,
// 16-31 value (literal, base of length or distance, or place of a subtable whose index width is in bits 0-7).
enum : uint32_t { END = 1u << 12, SUB = 1u << 13, BAD = 1u << 14, LIT = 1u << 15, SPECIAL = END | SUB | BAD };

constexpr unsigned LIT_BITS = 11, DIST_BITS = 8;
constexpr size_t LIT_ENOUGH = 2342, DIST_ENOUGH = 402;  // zlib's enough.c for these widths
constexpr uint16_t LENGTH_BASE[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t LENGTH_EXTRA[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t DIST_BASE[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t DIST_EXTRA[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                    6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

inline uint32_t literal_entry(unsigned symbol) {
  if (symbol < 256) return LIT | symbol << 16;
  if (symbol == 256) return END;
  if (symbol > 285) return BAD;
  return static_cast<uint32_t>(LENGTH_BASE[symbol - 257]) << 16 | LENGTH_EXTRA[symbol - 257];
}
inline uint32_t distance_entry(unsigned symbol) {
  return symbol > 29 ? static_cast<uint32_t>(BAD) : static_cast<uint32_t>(DIST_BASE[symbol]) << 16 | DIST_EXTRA[symbol];
}
inline uint32_t plain_entry(unsigned symbol) { return symbol << 16; }

// Fills a decoding table from code lengths; returns the width of its first level. As zlib, it takes a complete code,
// one single code of length 1, or (empty_ok) none at all.
template <uint32_t (*ENTRY)(unsigned)>
unsigned build(uint32_t *table, size_t enough, unsigned width, const uint8_t *lengths, unsigned n, bool empty_ok) {
  unsigned count[16] = {}, offset[16];
  for (unsigned i = 0; i < n; ++i) ++count[lengths[i]];
  unsigned longest = 15;
  while (longest && !count[longest]) --longest;
  if (!longest) {
    if (!empty_ok) throw Error("the compressed data is damaged (no codes)");
    table[0] = table[1] = BAD | 1u << 8 | 1;
    return 1;
  }
  int left = 1;
  for (unsigned len = 1; len <= 15; ++len) {
    left = left * 2 - static_cast<int>(count[len]);
    if (left < 0) throw Error("the compressed data is damaged (too many codes)");
  }
  if (left > 0 && (longest != 1 || !empty_ok)) throw Error("the compressed data is damaged (missing codes)");
  width = std::min(width, longest);
  const uint32_t size = 1u << width;
  if (left > 0) std::fill(table, table + size, BAD | 1u << 8 | 1);

  uint16_t sorted[288];
  offset[1] = 0;
  for (unsigned len = 1; len < 15; ++len) offset[len + 1] = offset[len] + count[len];
  for (unsigned i = 0; i < n; ++i)
    if (lengths[i]) sorted[offset[lengths[i]]++] = static_cast<uint16_t>(i);

  uint32_t code = 0;  // bit-reversed: the next code in canonical order
  unsigned at = 0, next = size, sub_bits = 0;
  uint32_t prefix = ~0u, sub = 0;
  for (unsigned len = 1; len <= longest; ++len) {
    for (unsigned k = 0; k < count[len]; ++k, ++at) {
      const uint32_t e = ENTRY(sorted[at]);
      if (len <= width) {
        const uint32_t entry = (e & ~0xFFu) | len << 8 | ((e & 0xFF) + len);
        for (uint32_t j = code; j < size; j += 1u << len) table[j] = entry;
      } else {
        if ((code & (size - 1)) != prefix) {  // a new subtable, just wide enough for the codes that share this prefix
          prefix = code & (size - 1);
          sub = next;
          sub_bits = len - width;
          int room = (1 << sub_bits) - static_cast<int>(count[len] - k);
          for (unsigned l = len + 1; room > 0 && l <= longest; ++l, ++sub_bits)
            room = room * 2 - static_cast<int>(count[l]);
          next += 1u << sub_bits;
          if (next > enough) throw Error("the compressed data is damaged (codes too long)");
          table[prefix] = SUB | sub << 16 | width << 8 | sub_bits;
        }
        const unsigned rest = len - width;
        const uint32_t entry = (e & ~0xFFu) | rest << 8 | ((e & 0xFF) + rest);
        for (uint32_t j = code >> width; j < 1u << sub_bits; j += 1u << rest) table[sub + j] = entry;
      }
      uint32_t bit = 1u << (len - 1);  // increment the reversed code
      while (code & bit) bit >>= 1;
      code = bit ? (code & (bit - 1)) | bit : 0;
    }
  }
  return width;
}

struct Reciprocals {  // x / k for x up to 64 as x * of[k] >> 16
  uint32_t of[29] = {};
  constexpr Reciprocals() {
    for (uint32_t k = 1; k < 29; ++k) of[k] = (65536 + k - 1) / k;
  }
};

struct Decoder {
  uint32_t lit[LIT_ENOUGH], dist[DIST_ENOUGH];
  unsigned lit_width = 0, dist_width = 0;
  const uint8_t *in = nullptr, *end = nullptr;
  uint64_t buf = 0;
  unsigned n = 0;      // bits in buf that count
  size_t overrun = 0;  // zero bytes fed beyond the end of the input
  uint8_t *out = nullptr;
  size_t pos = 0, capacity = 0;
  Segments *segments = nullptr;
  size_t zero_from = 0;  // sparse: every byte from here to pos is zero

  void refill() {
    if (end - in >= 8) {
      buf |= load64(in) << n;
      in += (63 - n) >> 3;
      n |= 56;
    } else {
      while (n < 56) {
        if (in < end) buf |= static_cast<uint64_t>(*in++) << n;
        else ++overrun;
        n += 8;
      }
    }
  }
  void drop(unsigned k) {
    buf >>= k;
    n -= k;
  }
  unsigned take(unsigned k) {
    const unsigned v = static_cast<unsigned>(buf & ((uint64_t{1} << k) - 1));
    drop(k);
    return v;
  }
  void not_past_end() const {
    if (overrun * 8 > n) throw Error("the compressed data is cut short");
  }
  [[noreturn]] static void too_much() { throw Error("the compressed data unpacks to more than its header says"); }

  // Decodes a raw deflate stream; returns the number of input bytes used. pos is then the number of bytes made.
  template <bool SPARSE>
  size_t run(const uint8_t *data, size_t size, uint8_t *to, size_t room, Segments *touched = nullptr) {
    in = data;
    end = data + size;
    buf = 0;
    n = 0;
    overrun = 0;
    out = to;
    pos = 0;
    capacity = room;
    segments = touched;
    zero_from = 0;
    for (bool last = false; !last;) {
      refill();
      not_past_end();
      last = take(1);
      const unsigned kind = take(2);
      if (kind == 0) {
        stored<SPARSE>();
      } else if (kind == 3) {
        throw Error("the compressed data is damaged (block of unknown kind)");
      } else {
        if (kind == 1) fixed();
        else dynamic();
        block<SPARSE>();
      }
    }
    not_past_end();
    return static_cast<size_t>(in - data) + overrun - n / 8;
  }

  void touch(size_t first, size_t second) {
    if (!segments->empty() && first <= segments->back().second + GAP) segments->back().second = second;
    else segments->emplace_back(first, second);
    zero_from = second;
  }

  // Sparse: note which of the bytes just written at pos are not zero.
  void written(size_t length) {
    size_t a = pos, b = pos + length;
    while (b > a && !out[b - 1]) --b;
    while (a < b && !out[a]) ++a;
    if (a < b) touch(a, b);
  }

  // Sparse: copy only the segments of the source.
  void sparse_copy(size_t length, size_t distance) {
    const size_t from = pos - distance, to = from + length;
    if (distance < length) {  // overlaps itself
      exact_copy(length, distance);
      written(length);
      return;
    }
    size_t i = segments->size();
    while (i && (*segments)[i - 1].first >= to) --i;
    const size_t last = i;
    while (i && (*segments)[i - 1].second > from) --i;
    if (i == last) return;  // only zeros
    size_t a = std::max(from, (*segments)[i].first), b = std::min(to, (*segments)[last - 1].second);
    while (a < b && !out[a]) ++a;
    while (b > a && !out[b - 1]) --b;
    if (a == b) return;
    std::memcpy(out + a + distance, out + a, b - a);
    touch(a + distance, b + distance);
  }

  template <bool SPARSE> void stored() {
    drop(n & 7);
    refill();
    const unsigned length = take(16), check = take(16);
    not_past_end();
    if ((length ^ 0xFFFF) != check) throw Error("the compressed data is damaged (stored block)");
    const size_t ahead = n / 8;  // whole bytes that went into buf already
    in -= ahead - std::min(ahead, overrun);
    overrun = 0;  // not_past_end has seen that none of them was needed
    buf = 0;
    n = 0;
    if (static_cast<size_t>(end - in) < length) throw Error("the compressed data is cut short");
    if (length > capacity - pos) too_much();
    std::memcpy(out + pos, in, length);
    if (SPARSE) written(length);
    in += length;
    pos += length;
  }

  void fixed() {
    uint8_t lengths[288], dists[32];
    for (unsigned i = 0; i < 288; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    std::memset(dists, 5, sizeof dists);
    lit_width = build<literal_entry>(lit, LIT_ENOUGH, LIT_BITS, lengths, 288, false);
    dist_width = build<distance_entry>(dist, DIST_ENOUGH, DIST_BITS, dists, 32, false);
  }

  void dynamic() {
    static constexpr uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    const unsigned n_lit = take(5) + 257, n_dist = take(5) + 1, n_code = take(4) + 4;
    if (n_lit > 286 || n_dist > 30) throw Error("the compressed data is damaged (too many symbols)");
    uint8_t code_lengths[19] = {}, lengths[286 + 30 + 138];
    for (unsigned i = 0; i < n_code; ++i) {
      if (n < 3) refill();
      code_lengths[ORDER[i]] = static_cast<uint8_t>(take(3));
    }
    uint32_t table[128];
    const unsigned width = build<plain_entry>(table, 128, 7, code_lengths, 19, false);
    const unsigned total = n_lit + n_dist;
    for (unsigned i = 0; i < total;) {
      if (n < 14) {
        refill();
        not_past_end();
      }
      const uint32_t e = table[buf & ((1u << width) - 1)];
      drop(e & 0xFF);
      const unsigned symbol = e >> 16;
      if (symbol < 16) {
        lengths[i++] = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 16 && i == 0) throw Error("the compressed data is damaged (nothing to repeat)");
      const uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
      const unsigned repeat = symbol == 16 ? 3 + take(2) : symbol == 17 ? 3 + take(3) : 11 + take(7);
      if (i + repeat > total) throw Error("the compressed data is damaged (too many lengths)");
      std::memset(lengths + i, value, repeat);
      i += repeat;
    }
    if (!lengths[256]) throw Error("the compressed data is damaged (no end of block)");
    lit_width = build<literal_entry>(lit, LIT_ENOUGH, LIT_BITS, lengths, n_lit, true);
    dist_width = build<distance_entry>(dist, DIST_ENOUGH, DIST_BITS, lengths + n_lit, n_dist, true);
  }

  uint32_t look(const uint32_t *table, unsigned width) {
    uint32_t e = table[buf & ((1u << width) - 1)];
    if (e & SUB) {
      drop(width);
      e = table[(e >> 16) + (buf & ((1u << (e & 0xFF)) - 1))];
    }
    return e;
  }

  unsigned value_of(uint32_t e) {  // base plus extra bits; consumes code and extra bits
    const unsigned code = (e >> 8) & 15, all = e & 0xFF;
    const unsigned v = (e >> 16) + static_cast<unsigned>((buf & ((uint64_t{1} << all) - 1)) >> code);
    drop(all);
    return v;
  }

  template <bool SPARSE> void block() {
    for (;;) {
      refill();  // 56 bits: a length (15 + 5) and a distance (15 + 13) need 48
      if (overrun) not_past_end();
      unsigned start = n;
      uint32_t e = look(lit, lit_width);
      if (e & LIT) {
        drop(e & 0xFF);
        put<SPARSE>(static_cast<uint8_t>(e >> 16));
        if (n < 48) continue;
        start = n;
        e = look(lit, lit_width);
        if (e & LIT) {
          drop(e & 0xFF);
          put<SPARSE>(static_cast<uint8_t>(e >> 16));
          continue;
        }
        if (n < 48) {  // a subtable may have taken bits
          start = ~0u;
          refill();
        }
      }
      if (e & SPECIAL) {
        if (!(e & END)) throw Error("the compressed data is damaged (unknown length)");
        drop(e & 0xFF);
        return;
      }
      const bool direct = start == n;  // buf still begins with this code
      const uint64_t before = buf;
      const unsigned had = n, length = value_of(e);
      e = look(dist, dist_width);
      if (e & SPECIAL) throw Error("the compressed data is damaged (unknown distance)");
      const size_t distance = value_of(e);
      if (distance > pos) throw Error("the compressed data is damaged (distance too far back)");
      if (length > capacity - pos) too_much();
      if (!SPARSE) {
        copy(length, distance);
      } else if (pos - distance >= zero_from) {
        pos += length;
        if (direct) repeat_zeros(before, had, length);
      } else {
        sparse_copy(length, distance);
        pos += length;
      }
    }
  }

  // A long run of zeros repeats the same few bits: count how often and skip them at once.
  void repeat_zeros(uint64_t before, unsigned had, unsigned length) {
    const unsigned k = had - n;
    if (k > 28 || overrun) return;
    const uint64_t differ = before ^ (before >> k);
    unsigned same = differ ? static_cast<unsigned>(__builtin_ctzll(differ)) : 64;
    same = std::min(same, n);
    static constexpr Reciprocals R;
    size_t times = same * R.of[k] >> 16;
    if (times * length > capacity - pos) times = (capacity - pos) / length;
    drop(static_cast<unsigned>(times) * k);
    pos += times * length;
  }

  template <bool SPARSE> void put(uint8_t v) {
    if (pos >= capacity) too_much();
    if (SPARSE && !v) {
      ++pos;
      return;
    }
    out[pos] = v;
    if (SPARSE) touch(pos, pos + 1);
    ++pos;
  }

  void copy(size_t length, size_t distance) {
    uint8_t *to = out + pos;
    const uint8_t *from = to - distance;
    if (capacity - pos >= length + 32 && distance >= 16) {
      for (size_t i = 0; i < length; i += 16) std::memcpy(to + i, from + i, 16);
    } else if (distance == 1) {
      std::memset(to, *from, length);
    } else {
      exact_copy(length, distance);
    }
    pos += length;
  }

  void exact_copy(size_t length, size_t distance) {
    uint8_t *to = out + pos;
    const uint8_t *from = to - distance;
    if (distance >= length) std::memcpy(to, from, length);
    else
      for (size_t i = 0; i < length; ++i) to[i] = from[i];
  }
};

}  // namespace inflate
