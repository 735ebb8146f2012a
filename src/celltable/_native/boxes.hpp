// Boxes, and the pairs of boxes that intersect, found on a coarse grid.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base.hpp"

namespace celltable {

// From (x, y) to (x + w, y + h), excluding the far sides.
template <class T> struct BasicBox {
  T x = 0, y = 0, w = 0, h = 0;
};
using Box = BasicBox<i64>;

template <class T> void add_box(std::vector<std::int32_t> &out, const BasicBox<T> &b) {
  for (const T v : {b.x, b.y, b.w, b.h}) out.push_back(static_cast<std::int32_t>(v));
}

// Boxes in square bins about as large as a box, so that only boxes near each other are compared.
template <class T> class BoxGrid {
 public:
  explicit BoxGrid(const std::vector<BasicBox<T>> &boxes) {
    if (boxes.empty()) return;
    double x1 = x0_ = static_cast<double>(boxes[0].x), y1 = y0_ = static_cast<double>(boxes[0].y), sides = 0;
    for (const BasicBox<T> &b : boxes) {
      x0_ = std::min(x0_, static_cast<double>(b.x)), y0_ = std::min(y0_, static_cast<double>(b.y));
      x1 = std::max(x1, static_cast<double>(b.x + b.w)), y1 = std::max(y1, static_cast<double>(b.y + b.h));
      sides += static_cast<double>(std::max(b.w, b.h));
    }
    // At most about 4 bins per box, whatever the extent.
    const double n = static_cast<double>(boxes.size()), w = x1 - x0_, h = y1 - y0_, most = 4 * n + 64;
    const double side = std::max({sides / n, std::sqrt(w * h / most), std::max(w, h) / most, 1e-9});
    per_px_ = 1 / std::min(side, 1e300);
    columns_ = static_cast<i64>(std::min(w * per_px_, most)) + 1,
    rows_ = static_cast<i64>(std::min(h * per_px_, most)) + 1;
    first_.assign(static_cast<std::size_t>(columns_ * rows_) + 1, 0);
    for (const BasicBox<T> &b : boxes) visit(bins_of(b), [&](i64 bin, i64, i64) { ++first_[bin + 1]; });
    for (std::size_t k = 1; k < first_.size(); ++k) first_[k] += first_[k - 1];
    members_.resize(first_.back());
    std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
    for (std::size_t j = 0; j < boxes.size(); ++j) {
      const Bins bins = bins_of(boxes[j]);
      visit(bins,
            [&](i64 bin, i64, i64) { members_[next[bin]++] = {static_cast<std::uint32_t>(j), bins.x0, bins.y0}; });
    }
  }

  // Call f(j) once for each box j that shares a bin with `b`.
  template <class F> void near(const BasicBox<T> &b, F f) const {
    if (members_.empty()) return;
    const Bins bins = bins_of(b);
    visit(bins, [&](i64 bin, i64 x, i64 y) {
      for (std::uint32_t k = first_[bin]; k < first_[bin + 1]; ++k) {
        const Member &m = members_[k];  // in the first bin that both boxes cover
        if (x == std::max(bins.x0, m.x0) && y == std::max(bins.y0, m.y0)) f(static_cast<std::size_t>(m.box));
      }
    });
  }

 private:
  struct Bins {
    std::int32_t x0, x1, y0, y1;
  };
  struct Member {
    std::uint32_t box;
    std::int32_t x0, y0;  // its first bin
  };
  static std::int32_t bin(double v, i64 n) {
    return static_cast<std::int32_t>(std::clamp(v, 0., static_cast<double>(n - 1)));
  }
  Bins bins_of(const BasicBox<T> &b) const {
    // Far sides as the caller computes them: boxes that meet by a rounding error still share a bin.
    const auto place = [&](T v, double from, i64 n) { return bin((static_cast<double>(v) - from) * per_px_, n); };
    return {place(b.x, x0_, columns_), place(b.x + b.w, x0_, columns_), place(b.y, y0_, rows_),
            place(b.y + b.h, y0_, rows_)};
  }
  template <class F> void visit(const Bins &b, F f) const {
    for (std::int32_t y = b.y0; y <= b.y1; ++y)
      for (std::int32_t x = b.x0; x <= b.x1; ++x) f(y * columns_ + x, x, y);
  }

  double x0_ = 0, y0_ = 0, per_px_ = 1;
  i64 columns_ = 1, rows_ = 1;
  std::vector<std::uint32_t> first_;
  std::vector<Member> members_;
};

template <class T> bool boxes_meet(const BasicBox<T> &a, const BasicBox<T> &b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

// Call f(i, j) once for every pair a[i], b[j] that intersects: linear in the pairs.
template <class T, class F>
void meeting_pairs(const std::vector<BasicBox<T>> &a, const std::vector<BasicBox<T>> &b, F f) {
  const BoxGrid<T> grid(b);
  for (std::size_t i = 0; i < a.size(); ++i)
    grid.near(a[i], [&](std::size_t j) {
      if (boxes_meet(a[i], b[j])) f(i, j);
    });
}

}  // namespace celltable
