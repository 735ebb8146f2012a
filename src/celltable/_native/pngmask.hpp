// PNGs decoded straight to masks: rows of zeros are never written, and only the box is scanned for run lengths in
// COCO's column order.
#pragma once

#include "png.hpp"
#include "runs.hpp"

namespace png {

struct Mask {
  std::string counts, error;
  int64_t area = 0;
  int32_t box[4] = {0, 0, 0, 0};  // x, y, width, height
  int32_t height = 0, width = 0;
  u8 values_ok = 0, alpha_ok = 0;
  uint16_t kind = 0;  // colour type * 256 + bit depth
};

inline void write_counts(const std::vector<uint32_t> &counts, std::string &to) {
  celltable::CountWriter writer(to);
  for (const uint32_t count : counts) writer.put(count);
}

struct Scratch {
  inflate::Decoder decoder;
  inflate::Segments segments;
  File file;
  std::unique_ptr<u8, void (*)(void *)> zeros{nullptr, std::free};  // all zero between two masks
  size_t zeros_size = 0;
  std::vector<uint32_t> counts;  // alternating lengths of background and mask, column by column
  std::vector<u8> joined;

  u8 *zero_buffer(size_t size) {
    if (size > zeros_size) {
      const size_t room = std::max(size, 2 * zeros_size);
      zeros.reset(static_cast<u8 *>(std::calloc(room, 1)));
      zeros_size = zeros ? room : 0;
      if (!zeros) throw std::bad_alloc();
    }
    return zeros.get();
  }
};

// The first non-zero byte of a row and one past the last; (n, 0) if all are zero.
inline std::pair<size_t, size_t> extent(const u8 *row, size_t n) {
  size_t a = 0, b = n;
  while (a + 8 <= n && !inflate::load64(row + a)) a += 8;
  while (a < n && !row[a]) ++a;
  if (a == n) return {n, 0};
  while (b >= a + 8 && !inflate::load64(row + b - 8)) b -= 8;
  while (!row[b - 1]) --b;
  return {a, b};
}

// Run lengths of the foreground within box rows [y0, y1), columns [x0, x1) of an array whose pixel (y, x) is first[y *
// stride + x].
inline void encode_box(const u8 *first, size_t stride, size_t y0, size_t y1, size_t x0, size_t x1, Scratch &s,
                       Mask &m) {
  const size_t height = static_cast<size_t>(m.height), total = height * static_cast<size_t>(m.width);
  s.counts.clear();
  size_t done = 0;  // the flat column-major position where the current run began
  bool on = false;
  unsigned odd = 0;  // becomes more than 1 when a value is neither 0 nor 255
  int64_t area = 0;
  for (size_t x = x0; x < x1; ++x) {
    const u8 *p = first + y0 * stride + x;
    const size_t base = x * height;
    if (on && (y0 > 0)) {  // the column above the box is background
      s.counts.push_back(static_cast<uint32_t>(base - done));
      area += static_cast<int64_t>(base - done);
      done = base;
      on = false;
    }
    for (size_t y = y0; y < y1; ++y, p += stride) {
      const u8 v = *p;
      odd |= static_cast<u8>(v + 1);
      if ((v != 0) != on) {
        s.counts.push_back(static_cast<uint32_t>(base + y - done));
        if (on) area += static_cast<int64_t>(base + y - done);
        done = base + y;
        on = !on;
      }
    }
    if (on && y1 < height) {
      s.counts.push_back(static_cast<uint32_t>(base + y1 - done));
      area += static_cast<int64_t>(base + y1 - done);
      done = base + y1;
      on = false;
    }
  }
  if (on) {
    const size_t stop = x1 * height;  // only if the box reaches the last row
    area += static_cast<int64_t>(stop - done);
    if (stop < total) {
      s.counts.push_back(static_cast<uint32_t>(stop - done));
      done = stop;
    }
  }
  s.counts.push_back(static_cast<uint32_t>(total - done));
  m.area = area;
  m.values_ok = odd <= 1;
  m.box[0] = static_cast<int32_t>(x0);
  m.box[1] = static_cast<int32_t>(y0);
  m.box[2] = static_cast<int32_t>(x1 - x0);
  m.box[3] = static_cast<int32_t>(y1 - y0);
  write_counts(s.counts, m.counts);
}

inline void encode_empty(Scratch &s, Mask &m) {
  s.counts.assign(1, static_cast<uint32_t>(static_cast<size_t>(m.height) * static_cast<size_t>(m.width)));
  m.values_ok = 1;
  write_counts(s.counts, m.counts);
}

// Undo filter 1 on a row that is mostly zero: beyond its last non-zero byte the sum is constant, nearly always zero.
inline void running_sum(u8 *row, size_t n) {
  const auto [a, b] = extent(row, n);
  u8 sum = 0;
  for (size_t i = a; i < b; ++i) row[i] = sum = static_cast<u8>(sum + row[i]);
  if (sum) std::memset(row + b, sum, n - b);
}

// Decode 8-bit grey, not interlaced: nearly every mask.
inline void sparse_mask(Scratch &s, Mask &m) {
  const size_t width = s.file.header.width, height = s.file.header.height, stride = width + 1, room = stride * height;
  if (room / 1100 > s.file.size) throw Error("the PNG pixel data is cut short");
  u8 *raw = s.zero_buffer(room);
  s.segments.clear();
  struct Cleaner {  // clears the buffer again, whatever happens
    Scratch &s;
    u8 *raw;
    size_t stride, room;
    ~Cleaner() {
      size_t done = 0;
      for (const auto &[a, b] : s.segments) {
        const size_t from = std::max(done, a / stride * stride), to = std::min(room, ((b - 1) / stride + 1) * stride);
        if (to > from) std::memset(raw + from, 0, to - from);
        done = std::max(done, to);
      }
    }
  } cleaner{s, raw, stride, room};
  unpack<true>(s.decoder, s.file, raw, room, &s.segments);
  size_t x0 = width, x1 = 0, y0 = height, y1 = 0, next = 0;
  for (const auto &[a, b] : s.segments)
    for (size_t y = std::max(next, a / stride); y * stride < b; ++y, next = y) {
      u8 *row = raw + y * stride;
      if (row[0]) {  // above the first row everything is zero
        static constexpr u8 NO_FILTER_UP[5] = {0, 1, 0, 3, 1};
        const unsigned filter = y || row[0] > 4 ? row[0] : NO_FILTER_UP[row[0]];
        if (filter == 1) running_sum(row + 1, width);
        else if (y || filter > 4) unfilter(filter, row + 1, row + 1 - stride, width, 1);
        else if (filter == 3)
          for (size_t x = 1; x < width; ++x) row[1 + x] = static_cast<u8>(row[1 + x] + (row[x] >> 1));
      }
      const auto [lo, hi] = extent(row + 1, width);
      if (!hi) continue;
      x0 = std::min(x0, lo);
      x1 = std::max(x1, hi);
      y0 = std::min(y0, y);
      y1 = y + 1;
    }
  if (y1) encode_box(raw + 1, stride, y0, y1, x0, x1, s, m);
  else encode_empty(s, m);
}

// Decode any other PNG as a whole and reduce its colour samples to 0, 255 or (neither) 1.
inline void general_mask(Scratch &s, Mask &m) {
  const Pixels made = decode(s.decoder, s.file);
  const size_t n = made.header.height * made.header.width, width = made.header.width;
  const bool has_alpha = made.channels == 2 || made.channels == 4;
  const size_t colours = made.channels - has_alpha;
  std::unique_ptr<u8[]> plane(new u8[n]);
  auto reduce = [&](auto largest) {
    using T = decltype(largest);
    const u8 *p = made.bytes.get();
    T first_alpha{};
    for (size_t i = 0; i < n; ++i, p += made.channels * sizeof(T)) {
      T sample[4];
      std::memcpy(sample, p, made.channels * sizeof(T));
      bool any = false, odd = false;
      for (size_t k = 0; k < colours; ++k) {
        any |= sample[k] != 0;
        odd |= sample[k] != 0 && sample[k] != largest;
      }
      plane[i] = odd ? 1 : any ? 255 : 0;
      if (has_alpha) {
        if (!i) first_alpha = sample[colours];
        if (sample[colours] != first_alpha) m.alpha_ok = 0;
      }
    }
  };
  if (made.sample_bytes == 2) reduce(uint16_t{0xFFFF});
  else reduce(u8{0xFF});
  size_t x0 = width, x1 = 0, y0 = 0, y1 = 0;
  for (size_t y = 0; y < made.header.height; ++y) {
    const auto [lo, hi] = extent(plane.get() + y * width, width);
    if (!hi) continue;
    if (!y1) y0 = y;
    y1 = y + 1;
    x0 = std::min(x0, lo);
    x1 = std::max(x1, hi);
  }
  if (y1) encode_box(plane.get(), width, y0, y1, x0, x1, s, m);
  else encode_empty(s, m);
}

inline void decode_mask(const u8 *p, size_t n, uint64_t max_pixels, Scratch &s, Mask &m) {
  if (n >= 26 && be32(p + 12) == 0x49484452) {  // IHDR: known even if the rest is damaged
    m.width = static_cast<int32_t>(std::min<uint32_t>(be32(p + 16), 0x7FFFFFFF));
    m.height = static_cast<int32_t>(std::min<uint32_t>(be32(p + 20), 0x7FFFFFFF));
    m.kind = static_cast<uint16_t>(p[25] << 8 | p[24]);
  }
  parse(p, n, max_pixels, s.file);
  m.alpha_ok = 1;
  const Header &h = s.file.header;
  if (h.colour == 0 && h.depth == 8 && !h.interlace) sparse_mask(s, m);
  else general_mask(s, m);
}

}  // namespace png
