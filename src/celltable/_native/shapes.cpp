// Shapes of masks: connected parts, holes and convex hulls.
#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "connect.hpp"
#include "geometry.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

std::vector<Piece> pieces_of(const Runs &runs, i64 h, Sets &sets) {
  std::vector<Piece> pieces;
  by_column(runs, h, [&](i64 c, i64 a, i64 b) { pieces.push_back({c, a, b, sets.make()}); });
  return pieces;
}

// The background of a mask inside its box and a frame of one pixel around it, as pieces in the box's coordinates.
std::vector<Piece> background_of(const Runs &runs, i64 h, const Box &box, Sets &sets) {
  std::vector<Piece> pieces;
  i64 column = -1, position = -1;
  auto finish = [&] {
    if (position < box.h + 1) pieces.push_back({column, position, box.h + 1, sets.make()});
  };
  by_column(runs, h, [&](i64 c, i64 a, i64 b) {
    c -= box.x, a -= box.y, b -= box.y;
    while (column < c) finish(), ++column, position = -1;
    if (a > position) pieces.push_back({column, position, a, sets.make()});
    position = b;
  });
  while (column <= box.w) finish(), ++column, position = -1;
  return pieces;
}

struct Parts {
  BatchText counts;
  std::vector<i64> first{0};  // part of each mask
};

// The connected parts of each mask, in column-major order of their first pixels.
Parts parts(const Batch &masks, Size size, bool corners) {
  Parts out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    Sets sets;
    auto pieces = pieces_of(runs, size.h, sets);
    join_columns(pieces, sets, corners);
    std::unordered_map<std::uint32_t, std::size_t> index;
    std::vector<Runs> made;
    for (const Piece &p : pieces) {
      auto [it, fresh] = index.try_emplace(sets.root(p.set), made.size());
      if (fresh) made.emplace_back();
      push_run(made[it->second], p.column * size.h + p.top, p.column * size.h + p.bottom);
    }
    for (const Runs &r : made) out.counts.add(r, size);
    out.first.push_back(out.counts.size());
  }
  return out;
}

// The number of parts of each mask.
std::vector<i64> part_numbers(const Batch &masks, Size size, bool corners) {
  std::vector<i64> out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    Sets sets;
    auto pieces = pieces_of(runs, size.h, sets);
    join_columns(pieces, sets, corners);
    i64 n = 0;
    for (std::uint32_t s = 0; s < sets.parent.size(); ++s) n += sets.root(s) == s;
    out.push_back(n);
  }
  return out;
}

struct Holes {  // of each mask
  std::vector<i64> number, pixels, largest;
  BatchText filled;  // the masks without their holes, if asked for
};

Holes holes(const Batch &masks, Size size, bool corners, bool fill) {
  Holes out;
  Runs runs, inside, made;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    i64 n = 0, all = 0, most = 0;
    inside.clear();
    if (!runs.empty()) {
      const Box box = box_of(runs, size.h);
      Sets sets;
      auto pieces = background_of(runs, size.h, box, sets);
      join_columns(pieces, sets, corners);
      std::unordered_map<std::uint32_t, i64> sizes;
      const std::uint32_t outside = sets.root(pieces.front().set);
      for (const Piece &p : pieces) {
        const std::uint32_t root = sets.root(p.set);
        if (root == outside) continue;
        sizes[root] += p.bottom - p.top;
        const i64 column = (p.column + box.x) * size.h + box.y;
        push_run(inside, column + p.top, column + p.bottom);
      }
      n = static_cast<i64>(sizes.size());
      for (const auto &[root, pixels] : sizes) all += pixels, most = std::max(most, pixels);
    }
    out.number.push_back(n), out.pixels.push_back(all), out.largest.push_back(most);
    if (!fill) continue;
    merge_runs(runs, inside, false, made);
    out.filled.add(made, size);
  }
  return out;
}

// Area of the convex hull of all pixel corners of each mask, px² (Andrew's monotone chain over the columns).
std::vector<double> hull_areas(const Batch &masks, Size size) {
  struct Point {
    i64 x, y;
  };
  const auto turn = [](const Point &o, const Point &a, const Point &b) {
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  };
  std::vector<double> out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    std::vector<std::array<i64, 3>> columns;  // column, top, bottom
    by_column(runs, size.h, [&](i64 c, i64 a, i64 b) {
      if (!columns.empty() && columns.back()[0] == c) columns.back()[2] = b;
      else columns.push_back({c, a, b});
    });
    std::vector<Point> points;
    for (const auto &[c, a, b] : columns) points.insert(points.end(), {{c, a}, {c, b}, {c + 1, a}, {c + 1, b}});
    std::sort(points.begin(), points.end(),
              [](const Point &a, const Point &b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
    std::vector<Point> hull(2 * points.size() + 1);
    std::size_t k = 0;
    for (const Point &p : points) {
      while (k >= 2 && turn(hull[k - 2], hull[k - 1], p) <= 0) --k;
      hull[k++] = p;
    }
    for (std::size_t j = points.size(), t = k + 1; j-- > 0;) {
      while (k >= t && turn(hull[k - 2], hull[k - 1], points[j]) <= 0) --k;
      hull[k++] = points[j];
    }
    i64 twice = 0;
    for (std::size_t j = 0; j + 1 < k; ++j) twice += hull[j].x * hull[j + 1].y - hull[j + 1].x * hull[j].y;
    out.push_back(std::abs(static_cast<double>(twice)) / 2);
  }
  return out;
}

}  // namespace

void bind_shapes(nb::module_ &m) {
  m.def("parts", [](nb::handle counts, i64 h, i64 w, int connectivity) {
    const Size size(h, w);
    const bool corners = by_corners(connectivity);
    const BatchArrays masks = batch_of(counts);
    Parts made = without_gil([&] { return parts(masks, size, corners); });
    return nb::make_tuple(arrays(std::move(made.counts)), array(std::move(made.first)));
  }, "masks"_a, "height"_a, "width"_a, "connectivity"_a);
  m.def("part_numbers", [](nb::handle counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    auto four = without_gil([&] { return part_numbers(masks, size, false); });
    auto eight = without_gil([&] { return part_numbers(masks, size, true); });
    return nb::make_tuple(array(std::move(four)), array(std::move(eight)));
  }, "masks"_a, "height"_a, "width"_a);
  m.def("holes", [](nb::handle counts, i64 h, i64 w, int connectivity, bool fill) {
    const Size size(h, w);
    const bool corners = by_corners(connectivity);
    const BatchArrays masks = batch_of(counts);
    Holes made = without_gil([&] { return holes(masks, size, corners, fill); });
    return nb::make_tuple(array(std::move(made.number)), array(std::move(made.pixels)), array(std::move(made.largest)),
                          arrays(std::move(made.filled)));
  }, "masks"_a, "height"_a, "width"_a, "connectivity"_a, "fill"_a);
  m.def("hull_areas", [](nb::handle counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    return array(without_gil([&] { return hull_areas(masks, size); }));
  }, "masks"_a, "height"_a, "width"_a);
}

}  // namespace celltable
