// Outlines of label maps as pixels, and how they agree within a distance.
#include <algorithm>
#include <cmath>
#include <limits>

#include <nanobind/stl/vector.h>

#include "pairing.hpp"
#include "python.hpp"
#include "rowbits.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// The outer outline of every object, as OpenCV's external contours list it: object pixels with a 4-neighbour in the
// part of the outside that is 4-connected to the frame. Only objects that may have a hole need to have their outside
// flooded.
struct Bounds {  // of an object, both sides included
  i64 y0, x0, y1, x1;
};

template <class T> void flood_outline(const T *m, i64 w, T label, const Bounds &b, std::vector<u64> &bits, i64 words) {
  const i64 bh = b.y1 - b.y0 + 3, bw = b.x1 - b.x0 + 3;  // one pixel of frame
  std::vector<std::uint8_t> outside(bh * bw, 0);
  std::vector<i64> stack{0};
  outside[0] = 1;
  auto object = [&](i64 y, i64 x) {
    const i64 yy = y + b.y0 - 1, xx = x + b.x0 - 1;
    return yy >= b.y0 && yy <= b.y1 && xx >= b.x0 && xx <= b.x1 && m[yy * w + xx] == label;
  };
  while (!stack.empty()) {
    const i64 at = stack.back(), y = at / bw, x = at % bw;
    stack.pop_back();
    const i64 dy[4] = {-1, 1, 0, 0}, dx[4] = {0, 0, -1, 1};
    for (int k = 0; k < 4; ++k) {
      const i64 ny = y + dy[k], nx = x + dx[k];
      if (ny < 0 || nx < 0 || ny >= bh || nx >= bw) continue;
      if (object(ny, nx)) {
        const i64 yy = ny + b.y0 - 1, xx = nx + b.x0 - 1;
        bits[yy * words + (xx >> 6)] |= u64(1) << (xx & 63);
      } else if (!outside[ny * bw + nx]) {
        outside[ny * bw + nx] = 1;
        stack.push_back(ny * bw + nx);
      }
    }
  }
}

// Mark all pixels that have a 4-neighbour of another label. Labels that may have a hole are appended to `holed`:
// the top row of a hole is a stretch with the object to its left, to its right and above all of it.
template <class T> std::vector<u64> edge_bits(const T *m, i64 h, i64 w, std::vector<T> &holed) {
  const i64 words = words_of(w);
  const u64 last = u64(1) << ((w - 1) & 63);
  std::vector<u64> bits(h * words), across(words, 0), diagonal(words, 0);
  std::vector<u64> down(words, ~u64(0)), up(words), cell(words), cell_above(words);
  const std::vector<T> nothing(w, T(0));
  for (i64 y = 0; y < h; ++y) {
    const T *row = m + y * w, *above = row - w;
    up.swap(down);  // the difference from the row above is known from that row
    cell.swap(cell_above);
    unequal(row, nothing.data(), w, cell.data());
    unequal(row, row + 1, w - 1, across.data());
    if (y + 1 < h) unequal(row, row + w, w, down.data());
    else std::fill(down.begin(), down.end(), ~u64(0));
    u64 *out = bits.data() + y * words;
    for (i64 k = 0; k < words; ++k) {
      const u64 frame = (k == 0 ? u64(1) : 0) | (k == words - 1 ? last : 0);
      out[k] = cell[k] & (across[k] | left(across.data(), k) | up[k] | down[k] | frame);
    }
    if (y == 0) continue;
    unequal(row, above + 1, w - 1, diagonal.data());
    for (i64 k = 0; k < words; ++k) cell_above[k] &= up[k];  // objects that end above this row
    for (i64 k = 0; k < words; ++k)
      for (u64 left = right(cell_above.data(), k, words) & ~diagonal[k]; left; left &= left - 1) {
        const i64 before = 64 * k + __builtin_ctzll(left);  // the object's pixel to the left of the stretch
        const T label = row[before];
        i64 x = before + 1;
        while (x < w && row[x] != label && above[x] == label) ++x;
        if (x < w && row[x] == label && (holed.empty() || holed.back() != label)) holed.push_back(label);
      }
  }
  return bits;
}

template <class T> std::vector<u64> outline_bits(const T *m, i64 h, i64 w) {
  const i64 words = words_of(w);
  std::vector<T> holed;
  std::vector<u64> bits = edge_bits(m, h, w, holed);
  if (holed.empty()) return bits;
  std::sort(holed.begin(), holed.end());
  holed.erase(std::unique(holed.begin(), holed.end()), holed.end());
  std::vector<Bounds> bounds(holed.size(),
                             Bounds{std::numeric_limits<i64>::max(), std::numeric_limits<i64>::max(), -1, -1});
  std::vector<u64> across(words);
  for (i64 y = 0; y < h; ++y) {  // find the bounds of these objects and clear their marks
    const T *row = m + y * w;
    unequal(row, row + 1, w - 1, across.data());
    across[words - 1] |= u64(1) << ((w - 1) & 63);
    i64 from = 0;
    for (i64 k = 0; k < words; ++k)
      for (u64 left = across[k]; left; left &= left - 1) {
        const i64 x0 = from, x1 = 64 * k + __builtin_ctzll(left);
        from = x1 + 1;
        if (row[x0] == 0) continue;
        const auto at = std::lower_bound(holed.begin(), holed.end(), row[x0]);
        if (at == holed.end() || *at != row[x0]) continue;
        Bounds &b = bounds[at - holed.begin()];
        b = {std::min(b.y0, y), std::min(b.x0, x0), std::max(b.y1, y), std::max(b.x1, x1)};
        for (i64 q = x0; q <= x1; ++q) bits[y * words + (q >> 6)] &= ~(u64(1) << (q & 63));
      }
  }
  for (std::size_t k = 0; k < holed.size(); ++k) flood_outline(m, w, holed[k], bounds[k], bits, words);
  return bits;
}

std::vector<i64> half_widths(double radius) {  // of the disc sqrt(dx^2 + dy^2) <= radius, by dy
  std::vector<i64> half;
  for (i64 dy = 0; std::sqrt(static_cast<double>(dy * dy)) <= radius; ++dy) {
    i64 dx = 0;
    while (std::sqrt(static_cast<double>(dy * dy + (dx + 1) * (dx + 1))) <= radius) ++dx;
    half.push_back(dx);
  }
  return half;
}

std::vector<u64> dilate(const std::vector<u64> &bits, i64 h, i64 w, double radius) {
  const auto half = half_widths(radius);
  const i64 words = words_of(w), reach = static_cast<i64>(half.size()) - 1;
  std::vector<u64> out(h * words, 0);
  Wide wide(w);
  for (i64 y = 0; y < h; ++y) {
    const u64 *row = bits.data() + y * words;
    if (std::all_of(row, row + words, [](u64 v) { return v == 0; })) continue;
    wide.set(row);
    for (i64 dy = reach; dy >= 0; --dy) {  // half-widths grow as dy decreases
      wide.grow_to(half[dy]);
      for (const i64 yy : {y - dy, y + dy}) {
        if (yy < 0 || yy >= h) continue;
        u64 *__restrict to = out.data() + yy * words;
        const u64 *__restrict from = wide.bits();
        for (i64 k = 0; k < words; ++k) to[k] |= from[k];
        if (dy == 0) break;
      }
    }
  }
  return out;
}

// Like `dilate`, except that a pixel whose disc holds an exact multiple of 256 outline pixels (the image mirrored at
// its border) is not set: SciPy's convolution writes its sum into one byte of a boolean array.
std::vector<u64> dilate_wrapped(const std::vector<u64> &bits, i64 h, i64 w, double radius) {
  const i64 words = words_of(w);
  const auto half = half_widths(radius);
  const i64 reach = static_cast<i64>(half.size()) - 1;
  std::vector<i64> sums((w + 2 * reach + 1) * h);
  auto mirror = [](i64 k, i64 n) {  // half-sample symmetric
    const i64 period = 2 * n;
    k = ((k % period) + period) % period;
    return k < n ? k : period - 1 - k;
  };
  const i64 stride = w + 2 * reach + 1;
  for (i64 y = 0; y < h; ++y)
    for (i64 x = -reach; x < w + reach; ++x) {
      const i64 q = mirror(x, w);
      sums[y * stride + x + reach + 1] = sums[y * stride + x + reach] + ((bits[y * words + (q >> 6)] >> (q & 63)) & 1);
    }
  std::vector<u64> out(h * words, 0);
  for (i64 y = 0; y < h; ++y)
    for (i64 x = 0; x < w; ++x) {
      i64 total = 0;
      for (i64 dy = -reach; dy <= reach; ++dy) {
        const i64 hw = half[dy < 0 ? -dy : dy], yy = mirror(y + dy, h);
        total += sums[yy * stride + x + hw + reach + 1] - sums[yy * stride + x - hw + reach];
      }
      if (total & 255) out[y * words + (x >> 6)] |= u64(1) << (x & 63);
    }
  return out;
}

// Per radius: outline pixels that both dilated outlines cover, and those of each, in rows first to last - 1.
template <class T>
std::vector<i64> boundary(const T *gt, const T *pred, i64 h, i64 w, const std::vector<double> &radii, bool wrap,
                          i64 first, i64 last) {
  std::vector<i64> out;
  if (h == 0 || w == 0) return std::vector<i64>(3 * radii.size(), 0);
  const auto a = outline_bits(gt, h, w), b = outline_bits(pred, h, w);
  double last_radius = -1;
  for (const double radius : radii) {
    if (radius == last_radius) {  // for small cells, several scales give the same disc
      for (int k = 0; k < 3; ++k) out.push_back(out[out.size() - 3]);
      continue;
    }
    last_radius = radius;
    i64 disc = 0;
    const auto half = half_widths(radius);
    for (std::size_t dy = 0; dy < half.size(); ++dy) disc += (2 * half[dy] + 1) * (dy ? 2 : 1);
    const bool counted = wrap && disc >= 256;
    const auto da = counted ? dilate_wrapped(a, h, w, radius) : dilate(a, h, w, radius);
    const auto db = counted ? dilate_wrapped(b, h, w, radius) : dilate(b, h, w, radius);
    const i64 from = first * words_of(w), words = (last - first) * words_of(w);
    const i64 both = count(words, [&](i64 k) { return da[from + k] & db[from + k]; });
    const i64 in_gt = count(words, [&](i64 k) { return da[from + k]; });
    const i64 in_pred = count(words, [&](i64 k) { return db[from + k]; });
    out.insert(out.end(), {both, in_gt, in_pred});
  }
  return out;
}

template <class T> void bind_type(nb::module_ &m) {
  m.def("boundary", [](Table<T> gt, Table<T> pred, std::vector<double> radii, bool wrap, i64 first, i64 last) {
    const i64 h = static_cast<i64>(gt.shape(0)), w = static_cast<i64>(gt.shape(1));
    if (last < 0) last = h;
    for (const double r : radii) need(r >= 0 && r <= 1e6, "a radius is negative or not a number");
    need(first >= 0 && first <= last && last <= h, "the rows to count in are not those of the map");
    need(pred.shape(0) == gt.shape(0) && pred.shape(1) == gt.shape(1), "the label maps differ in size");
    auto made = without_gil([&] { return boundary(gt.data(), pred.data(), h, w, radii, wrap, first, last); });
    return array(std::move(made), radii.size(), 3);
  }, "gt"_a, "pred"_a, "radii"_a, "wrap"_a, "first"_a = 0, "last"_a = -1);
  m.def("outlines", [](Table<T> map) {
    const Size size(static_cast<i64>(map.shape(0)), static_cast<i64>(map.shape(1)));
    Zeros<std::uint8_t> out(size);
    if (size.pixels())
      without_gil([&] {
        const i64 words = words_of(size.w);
        const auto bits = outline_bits(map.data(), size.h, size.w);
        for (i64 y = 0; y < size.h; ++y)
          each_bit(bits.data() + y * words, words, [&](i64 x) { out.data()[y * size.w + x] = 1; });
      });
    return std::move(out).array();
  }, "label_map"_a);
}

}  // namespace

void bind_boundary(nb::module_ &m) {
  for_label_types([&](auto zero) { bind_type<decltype(zero)>(m); });
  bind_type<std::uint32_t>(m);
}

}  // namespace celltable
