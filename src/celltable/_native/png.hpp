// PNG (ISO/IEC 15948): chunks with their checksums, every colour type, bit depth and interlacing.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "checksum.hpp"
#include "inflate.hpp"
#include "unfilter.hpp"

namespace png {

using u8 = uint8_t;
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline uint32_t be32(const u8 *p) { return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3]; }

struct Header {
  size_t width = 0, height = 0;
  unsigned depth = 0, colour = 0, interlace = 0;
  size_t samples() const { return colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1; }
  size_t bits() const { return samples() * depth; }
  size_t row_bytes(size_t w) const { return (w * bits() + 7) / 8; }
  size_t bpp() const { return std::max<size_t>(1, bits() / 8); }
  bool alpha() const { return colour >= 4; }
};

inline std::string chunk_name(const u8 *type) {  // any bytes in a damaged file
  std::string name(reinterpret_cast<const char *>(type), 4);
  for (char &c : name)
    if (c < ' ' || c > '~') c = '?';
  return name;
}

struct File {
  Header header;
  const u8 *palette = nullptr, *transparency = nullptr, *data = nullptr;  // data: the zlib stream
  size_t colours = 0, transparent = 0, size = 0;
  std::vector<u8> joined;
};

inline void check_header(const Header &h, uint64_t max_pixels) {
  if (!h.width || !h.height || h.width > 0x7FFFFFFF || h.height > 0x7FFFFFFF)
    throw Error("the PNG header says " + std::to_string(h.height) + " x " + std::to_string(h.width) + " px");
  if (h.width * h.height > max_pixels)
    throw Error("the PNG header says " + std::to_string(h.height) + " x " + std::to_string(h.width) +
                " px; more than " + std::to_string(max_pixels) + " pixels are refused as a bomb");
  const unsigned d = h.depth, c = h.colour;
  const bool power = d == 1 || d == 2 || d == 4 || d == 8 || d == 16;
  const bool fits = c == 0 ? power : c == 3 ? power && d < 16 : (c == 2 || c == 4 || c == 6) && (d == 8 || d == 16);
  if (!fits || h.interlace > 1)
    throw Error("the PNG header is not valid (colour type " + std::to_string(c) + ", " + std::to_string(d) + " bits)");
}

// Walk the chunks and verify the checksums of all that matter to the pixels.
inline void parse(const u8 *p, size_t n, uint64_t max_pixels, File &f) {
  static constexpr u8 MAGIC[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  if (n < 8 || std::memcmp(p, MAGIC, 8)) throw Error(n ? "this is not a PNG file" : "the file is empty");
  f.joined.clear();
  f.data = f.palette = f.transparency = nullptr;
  f.size = f.colours = f.transparent = 0;
  bool first = true, ended = false, after = false;
  size_t at = 8, parts = 0;
  while (!ended) {
    if (n - at < 12) throw Error("the PNG is cut short");
    const size_t length = be32(p + at);
    const u8 *type = p + at + 4, *body = p + at + 8;
    if (length > n - at - 12) throw Error("the PNG is cut short");
    auto is = [&](const char *t) { return !std::memcmp(type, t, 4); };
    const bool idat = is("IDAT");
    if (!(type[0] & 0x20) || is("tRNS")) {
      if (checksum::crc32(type, length + 4) != be32(body + length))
        throw Error("a chunk of the PNG is damaged (" + chunk_name(type) + " checksum)");
    }
    if (first != is("IHDR")) throw Error("the PNG has no header in its first chunk, or two");
    if (first) {
      if (length != 13 || body[10] || body[11]) throw Error("the PNG header is not valid");
      f.header = {be32(body), be32(body + 4), body[8], body[9], body[12]};
      check_header(f.header, max_pixels);
      first = false;
    } else if (is("PLTE")) {
      if (length % 3 || !length || length > 768) throw Error("the PNG palette is not valid");
      f.palette = body;
      f.colours = length / 3;
    } else if (is("tRNS")) {
      f.transparency = body;
      f.transparent = length;
    } else if (idat) {
      if (after) throw Error("the PNG has pixel data in two places");
      if (!parts++) {
        f.data = body;
        f.size = length;
      } else {
        if (parts == 2) f.joined.assign(f.data, f.data + f.size);
        f.joined.insert(f.joined.end(), body, body + length);
      }
    } else if (is("IEND")) {
      ended = true;
    } else if (!(type[0] & 0x20)) {
      throw Error("the PNG needs an extension that is not known (" + chunk_name(type) + ")");
    }
    if (parts && !idat) after = true;
    at += 12 + length;
  }
  if (!parts) throw Error("the PNG holds no pixel data");
  if (parts > 1) {
    f.data = f.joined.data();
    f.size = f.joined.size();
  }
  if (f.header.colour == 3 && !f.palette) throw Error("the PNG has no palette");
}

// Check the zlib wrapping: two bytes of header before the deflate stream, four of checksum after it.
inline void check_zlib(const File &f) {
  if (f.size < 6) throw Error("the PNG pixel data is cut short");
  if ((f.data[0] & 15) != 8 || (f.data[0] >> 4) > 7 || (f.data[0] * 256 + f.data[1]) % 31 || (f.data[1] & 0x20))
    throw Error("the PNG pixel data is damaged (zlib header)");
}

template <bool SPARSE>
void unpack(inflate::Decoder &decoder, const File &f, u8 *to, size_t room, inflate::Segments *segments) {
  check_zlib(f);
  const size_t used = decoder.run<SPARSE>(f.data + 2, f.size - 2, to, room, segments);
  if (decoder.pos < room)
    throw Error("the PNG pixel data is cut short: " + std::to_string(decoder.pos) + " of " + std::to_string(room) +
                " bytes");
  if (f.size - 2 - used < 4) throw Error("the PNG pixel data is cut short");
  checksum::Adler sum;
  if (SPARSE) {
    size_t at = 0;
    for (const auto &[a, b] : *segments) {
      sum.zeros(a - at);
      sum.bytes(to + a, b - a);
      at = b;
    }
    sum.zeros(room - at);
  } else {
    sum.bytes(to, room);
  }
  if (sum.value() != be32(f.data + 2 + used)) throw Error("the PNG pixel data is damaged (checksum)");
}

inline u8 paeth(int a, int b, int c) {
  const int p = b - c, q = a - c, pa = std::abs(p), pb = std::abs(q), pc = std::abs(p + q);
  return static_cast<u8>(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

template <size_t BPP> void unfilter_row(unsigned filter, u8 *row, const u8 *up, size_t n) {
  u8 left[BPP] = {}, corner[BPP] = {};
  const size_t whole = n / BPP * BPP;  // rows of samples under 8 bits have BPP 1
  switch (filter) {
    case 1:
      for (size_t i = 0; i < whole; i += BPP)
        for (size_t k = 0; k < BPP; ++k) row[i + k] = left[k] = static_cast<u8>(row[i + k] + left[k]);
      break;
    case 2:
      for (size_t i = 0; i < n; ++i) row[i] = static_cast<u8>(row[i] + up[i]);
      break;
    case 3:
      for (size_t i = 0; i < whole; i += BPP)
        for (size_t k = 0; k < BPP; ++k)
          row[i + k] = left[k] = static_cast<u8>(row[i + k] + ((left[k] + up[i + k]) >> 1));
      break;
    case 4:
      for (size_t i = 0; i < whole; i += BPP)
        for (size_t k = 0; k < BPP; ++k) {
          const u8 above = up[i + k];
          row[i + k] = left[k] = static_cast<u8>(row[i + k] + paeth(left[k], above, corner[k]));
          corner[k] = above;
        }
      break;
    default: break;
  }
}

inline void unfilter(unsigned filter, u8 *row, const u8 *up, size_t n, size_t bpp) {
  if (!filter) return;
  if (filter > 4) throw Error("the PNG pixel data is damaged (row filter " + std::to_string(filter) + ")");
#ifdef CELLTABLE_PAETH
  if (filter == 4 && bpp == 3) return paeth_row<3>(row, up, n);
  if (filter == 4 && bpp == 4) return paeth_row<4>(row, up, n);
#endif
  switch (bpp) {
    case 1: return unfilter_row<1>(filter, row, up, n);
    case 2: return unfilter_row<2>(filter, row, up, n);
    case 3: return unfilter_row<3>(filter, row, up, n);
    case 4: return unfilter_row<4>(filter, row, up, n);
    case 6: return unfilter_row<6>(filter, row, up, n);
    default: return unfilter_row<8>(filter, row, up, n);
  }
}

struct Pass {
  size_t x0, y0, dx, dy, width, height;
};

inline std::vector<Pass> passes(const Header &h) {
  if (!h.interlace) return {{0, 0, 1, 1, h.width, h.height}};
  static constexpr u8 X0[7] = {0, 4, 0, 2, 0, 1, 0}, Y0[7] = {0, 0, 4, 0, 2, 0, 1}, DX[7] = {8, 8, 4, 4, 2, 2, 1},
                      DY[7] = {8, 8, 8, 4, 4, 2, 2};
  std::vector<Pass> all;
  for (int i = 0; i < 7; ++i) {
    const size_t w = (h.width + DX[i] - 1 - X0[i]) / DX[i], t = (h.height + DY[i] - 1 - Y0[i]) / DY[i];
    if (w && t) all.push_back({X0[i], Y0[i], DX[i], DY[i], w, t});
  }
  return all;
}

// A decoded image: bytes of a row-major array (height, width, channels), 16-bit samples in the machine's order.
struct Pixels {
  Header header;
  size_t channels = 0, sample_bytes = 1;
  std::unique_ptr<u8[]> bytes;
  size_t size() const { return header.height * header.width * channels * sample_bytes; }
};

// Expand one row of packed samples to one byte per sample.
inline void separate(const u8 *row, size_t width, unsigned depth, u8 *to) {
  for (size_t x = 0; x < width; ++x) {
    const size_t bit = x * depth;
    to[x] = static_cast<u8>(row[bit / 8] >> (8 - depth - bit % 8) & ((1u << depth) - 1));
  }
}

// Write one unfiltered row to the output, its pixels `dx` apart.
inline void expand(const File &f, const u8 *row, size_t width, u8 *to, size_t dx, size_t channels,
                   std::vector<u8> &scratch) {
  const Header &h = f.header;
  if (h.depth == 16) {
    for (size_t x = 0; x < width; ++x)
      for (size_t k = 0; k < channels; ++k) {
        const uint16_t v = static_cast<uint16_t>(row[2 * (x * channels + k)] << 8 | row[2 * (x * channels + k) + 1]);
        std::memcpy(to + 2 * (x * dx * channels + k), &v, 2);
      }
    return;
  }
  if (h.depth < 8) {
    scratch.resize(width);
    separate(row, width, h.depth, scratch.data());
    row = scratch.data();
  }
  if (h.colour == 3) {
    for (size_t x = 0; x < width; ++x) {
      if (row[x] >= f.colours)
        throw Error("the PNG pixel data names colour " + std::to_string(row[x]) + " of a palette of " +
                    std::to_string(f.colours));
      for (size_t k = 0; k < 3; ++k) to[x * dx * channels + k] = f.palette[3 * row[x] + k];
      if (channels == 4) to[x * dx * 4 + 3] = row[x] < f.transparent ? f.transparency[row[x]] : 255;
    }
  } else if (h.colour == 0 && h.depth < 8) {
    const unsigned scale = 255u / ((1u << h.depth) - 1);
    for (size_t x = 0; x < width; ++x) to[x * dx] = static_cast<u8>(row[x] * scale);
  } else if (dx == 1) {
    std::memcpy(to, row, width * channels);
  } else {
    for (size_t x = 0; x < width; ++x) std::memcpy(to + x * dx * channels, row + x * channels, channels);
  }
}

inline Pixels decode(inflate::Decoder &decoder, const File &f) {
  const Header &h = f.header;
  Pixels made;
  made.header = h;
  made.channels = h.colour == 3 ? (f.transparent ? 4 : 3) : h.samples();
  made.sample_bytes = h.depth == 16 ? 2 : 1;
  const std::vector<Pass> all = passes(h);
  size_t room = 0;
  for (const Pass &s : all) room += s.height * (1 + h.row_bytes(s.width));
  if (room / 1100 > f.size)
    throw Error("the PNG pixel data is cut short");  // deflate cannot pack so much into so little
  std::unique_ptr<u8[]> raw(new u8[room + 32]);
  unpack<false>(decoder, f, raw.get(), room, nullptr);
  made.bytes.reset(new u8[made.size()]);
  const size_t pixel = made.channels * made.sample_bytes;
  std::vector<u8> zeros(h.row_bytes(h.width), 0), scratch;
  u8 *at = raw.get();
  for (const Pass &s : all) {
    const size_t n = h.row_bytes(s.width);
    const u8 *up = zeros.data();
    for (size_t y = 0; y < s.height; ++y, at += n + 1) {
      unfilter(at[0], at + 1, up, n, h.bpp());
      up = at + 1;
      expand(f, up, s.width, made.bytes.get() + ((s.y0 + y * s.dy) * h.width + s.x0) * pixel, s.dx, made.channels,
             scratch);
    }
  }
  return made;
}

}  // namespace png
