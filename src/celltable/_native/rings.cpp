// Order rings: each outer ring with the holes directly inside it, the largest part first.
#include "writing.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// Splits rings that touch themselves in a corner: the outline of a pocket that opens only in a corner becomes a hole,
// as the simple features of GeoJSON require.
class Simple {
 public:
  std::vector<std::int32_t> xy;
  Offsets ring_first{0}, mask_first{0};
  std::vector<std::uint8_t> is_hole;

  void ring(const std::int32_t *points, i64 n, bool hole) {
    if (!hole && turns(points, n, 0) <= 2 &&
        turns(points, n, 1) <= 2) {  // convex along rows and columns: no concavities
      stack_.resize(static_cast<std::size_t>(n));
      for (i64 k = 0; k < n; ++k) stack_[static_cast<std::size_t>(k)] = {points[2 * k], points[2 * k + 1]};
      return emit(0);
    }
    std::size_t size = 16;
    while (size < 4 * static_cast<std::size_t>(n)) size *= 2;
    places_.assign(size, kNone);
    stack_.clear();
    for (i64 k = 0; k < n; ++k) {
      const Point p{points[2 * k], points[2 * k + 1]};
      std::size_t at =
          (static_cast<std::size_t>(p.x) * 0x9E3779B1u ^ static_cast<std::size_t>(p.y) * 0x85EBCA77u) & (size - 1);
      while (places_[at] != kNone && !(places_[at] < stack_.size() && same(stack_[places_[at]], p)))
        at = (at + 1) & (size - 1);
      if (places_[at] == kNone) {
        places_[at] = static_cast<std::uint32_t>(stack_.size());
        stack_.push_back(p);
      } else {
        emit(places_[at]);
        stack_.resize(std::size_t(places_[at]) + 1);
      }
    }
    emit(0);
  }

 private:
  struct Point {
    std::int32_t x, y;
  };
  static constexpr std::uint32_t kNone = ~std::uint32_t(0);
  std::vector<Point> stack_;
  std::vector<std::uint32_t> places_;  // hash of points → where they are in stack_; those removed from it match nothing

  // How often a coordinate turns between growing and shrinking along the ring.
  static i64 turns(const std::int32_t *points, i64 n, int axis) {
    i64 found = 0;
    std::int32_t first = 0, last = 0;
    for (i64 k = 0; k < n; ++k) {
      const std::int32_t step = points[2 * (k + 1 < n ? k + 1 : 0) + axis] - points[2 * k + axis];
      if (!step) continue;
      if (!last) first = step;
      else found += (step > 0) != (last > 0);
      last = step;
    }
    return found + ((first > 0) != (last > 0));
  }
  static bool same(Point a, Point b) { return a.x == b.x && a.y == b.y; }
  void emit(std::size_t from) {
    i64 area = 0;
    for (std::size_t k = from; k < stack_.size(); ++k) {
      const Point a = stack_[k], b = stack_[k + 1 < stack_.size() ? k + 1 : from];
      area += i64(a.x) * b.y - i64(b.x) * a.y;
      xy.push_back(a.x), xy.push_back(a.y);
    }
    ring_first.push_back(static_cast<i64>(xy.size() / 2));
    is_hole.push_back(area < 0);
  }
};

struct Outer {
  i64 ring, area;  // twice the area
  std::vector<i64> holes;
};

struct Grouping {
  const std::int32_t *xy;
  const i64 *ring_first;
  Offsets order, part_first{0};

  i64 twice_area(i64 ring) const {
    i64 sum = 0;
    const i64 first = ring_first[ring], end = ring_first[ring + 1];
    for (i64 k = first; k < end; ++k) {
      const i64 next = k + 1 < end ? k + 1 : first;
      sum += i64(xy[2 * k]) * xy[2 * next + 1] - i64(xy[2 * next]) * xy[2 * k + 1];
    }
    return std::abs(sum);
  }
  // Whether the centre of the pixel right below the uppermost, then leftmost corner of `hole` is in `ring`, whose
  // edges run along rows and columns.
  bool holds(i64 ring, i64 hole) const {
    i64 x = xy[2 * ring_first[hole]], y = xy[2 * ring_first[hole] + 1];
    for (i64 k = ring_first[hole]; k < ring_first[hole + 1]; ++k)
      if (xy[2 * k + 1] < y || (xy[2 * k + 1] == y && xy[2 * k] < x)) x = xy[2 * k], y = xy[2 * k + 1];
    bool inside = false;
    const i64 first = ring_first[ring], end = ring_first[ring + 1];
    for (i64 k = first; k < end; ++k) {
      const i64 next = k + 1 < end ? k + 1 : first;
      if (xy[2 * k] == xy[2 * next] && xy[2 * k] > x && (xy[2 * k + 1] > y) != (xy[2 * next + 1] > y)) inside = !inside;
    }
    return inside;
  }
  void mask(i64 from, i64 to, const std::uint8_t *is_hole) {
    std::vector<Outer> outer;
    for (i64 r = from; r < to; ++r)
      if (!is_hole[r]) outer.push_back({r, to - from > 1 ? twice_area(r) : 0, {}});
    if (to - from > 1) group(outer, from, to, is_hole);
    for (const Outer &o : outer) {
      order.push_back(o.ring);
      order.insert(order.end(), o.holes.begin(), o.holes.end());
      part_first.push_back(static_cast<i64>(order.size()));
    }
  }
  void group(std::vector<Outer> &outer, i64 from, i64 to, const std::uint8_t *is_hole) const {
    std::stable_sort(outer.begin(), outer.end(), [](const Outer &a, const Outer &b) { return a.area < b.area; });
    std::vector<i64> left(outer.size());
    for (std::size_t k = 0; k < outer.size(); ++k) left[k] = outer[k].area;
    for (i64 r = from; r < to; ++r) {
      if (!is_hole[r]) continue;
      const i64 area = twice_area(r);
      const auto home =
          std::find_if(outer.begin(), outer.end(), [&](const Outer &o) { return o.area > area && holds(o.ring, r); });
      if (home == outer.end()) continue;
      home->holes.push_back(r);
      left[static_cast<std::size_t>(home - outer.begin())] -= area;
    }
    for (std::size_t k = 0; k < outer.size(); ++k) outer[k].area = left[k];
    std::stable_sort(outer.begin(), outer.end(), [&](const Outer &a, const Outer &b) {
      if (a.area != b.area) return a.area > b.area;
      const std::int32_t *p = xy + 2 * ring_first[a.ring], *q = xy + 2 * ring_first[b.ring];
      return p[0] != q[0] ? p[0] < q[0] : p[1] < q[1];
    });
  }
};

struct OrderedRings {
  std::vector<std::int32_t> xy;
  Offsets ring_first{0}, part_first{0}, row_first{0};
};

OrderedRings ordered(const std::int32_t *xy, const Offsets &rings, const Offsets &masks, const std::uint8_t *is_hole) {
  OrderedRings out;
  Grouping grouping{xy, rings.data(), {}};
  for (std::size_t m = 0; m + 1 < masks.size(); ++m) {
    grouping.mask(masks[m], masks[m + 1], is_hole);
    out.row_first.push_back(static_cast<i64>(grouping.part_first.size()) - 1);
  }
  out.xy.reserve(2 * rings.back());
  for (const i64 r : grouping.order) {
    out.xy.insert(out.xy.end(), xy + 2 * rings[r], xy + 2 * rings[r + 1]);
    out.ring_first.push_back(static_cast<i64>(out.xy.size() / 2));
  }
  out.part_first = std::move(grouping.part_first);
  return out;
}

Simple simplified(const std::int32_t *xy, const Offsets &rings, const Offsets &masks, const std::uint8_t *is_hole) {
  Simple out;
  for (std::size_t m = 0; m + 1 < masks.size(); ++m) {
    for (i64 r = masks[m]; r < masks[m + 1]; ++r) out.ring(xy + 2 * rings[r], rings[r + 1] - rings[r], is_hole[r]);
    out.mask_first.push_back(static_cast<i64>(out.is_hole.size()));
  }
  return out;
}

}  // namespace

void bind_rings(nb::module_ &m) {
  m.def("grouped",
        [](Table<std::int32_t> xy, Vector<i64> ring_first, Vector<i64> mask_first, Vector<std::uint8_t> is_hole,
           bool simple) {
    need(xy.shape(1) == 2, "points must be pairs x, y");
    const Offsets rings = offsets(ring_first, static_cast<i64>(xy.shape(0)), "first points of rings");
    const Offsets masks = offsets(mask_first, static_cast<i64>(rings.size()) - 1, "first rings of masks");
    need(is_hole.shape(0) == rings.size() - 1, "expected one flag per ring");
    OrderedRings made = without_gil([&] {
      if (!simple) return ordered(xy.data(), rings, masks, is_hole.data());
      const Simple s = simplified(xy.data(), rings, masks, is_hole.data());
      return ordered(s.xy.data(), s.ring_first, s.mask_first, s.is_hole.data());
    });
    return nb::make_tuple(array(std::move(made.xy)), array(std::move(made.ring_first)),
                          array(std::move(made.part_first)), array(std::move(made.row_first)));
  },
        "xy"_a.noconvert(), "ring_first"_a.noconvert(), "mask_first"_a.noconvert(), "is_hole"_a.noconvert(),
        "simple"_a);
}

}  // namespace celltable
