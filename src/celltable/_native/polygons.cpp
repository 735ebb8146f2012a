// Polygons: drawn as masks by COCO's rule, and packed into a few bytes.
#include <algorithm>

#include "geometry.hpp"
#include "packing.hpp"
#include "polygon.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// Cell i is parts mask_first[i] to mask_first[i + 1] - 1; part p is points part_first[p] to part_first[p + 1] - 1.
struct Polygons {
  std::vector<double> xy;
  std::vector<i64> part_first{0}, mask_first{0};

  void close_part() { part_first.push_back(static_cast<i64>(xy.size() / 2)); }
  void close_mask() { mask_first.push_back(static_cast<i64>(part_first.size()) - 1); }
  nb::tuple arrays() && {
    return nb::make_tuple(array(std::move(xy)), array(std::move(part_first)), array(std::move(mask_first)));
  }
};

// The same, in arrays of the caller.
struct PolygonsView {
  const double *xy;
  const i64 *part_first, *mask_first;
  i64 n;

  PolygonsView(const Vector<double> &points, const Vector<i64> &parts, const Vector<i64> &masks)
      : xy(points.data()), part_first(parts.data()), mask_first(masks.data()), n(static_cast<i64>(masks.shape(0)) - 1) {
    const auto ascending = [](const Vector<i64> &v, i64 last) {
      if (v.shape(0) == 0 || v.data()[0] != 0 || v.data()[v.shape(0) - 1] != last) return false;
      return std::is_sorted(v.data(), v.data() + v.shape(0));
    };
    const i64 n_xy = static_cast<i64>(points.shape(0));
    if (n_xy % 2 || !ascending(parts, n_xy / 2) || !ascending(masks, static_cast<i64>(parts.shape(0)) - 1))
      throw MaskError("polygon offsets must ascend from 0 to the number of points (parts)");
  }
};

BatchText drawn(const PolygonsView &cells, Size size) {
  BatchText out;
  Runs whole, next, made;
  for (i64 i = 0; i < cells.n; ++i) {
    whole.clear();
    for (i64 p = cells.mask_first[i]; p < cells.mask_first[i + 1]; ++p) {
      const i64 a = cells.part_first[p], b = cells.part_first[p + 1];
      try {
        draw_polygon(cells.xy + 2 * a, static_cast<std::size_t>(b - a), size.h, size.w, next);
      } catch (const std::invalid_argument &exc) {
        throw MaskError(std::string(exc.what()) + " (cell " + std::to_string(i) + ")");
      }
      if (p == cells.mask_first[i]) {
        std::swap(whole, next);
      } else {
        merge_runs(whole, next, false, made);
        std::swap(whole, made);
      }
    }
    out.add(whole, size);
  }
  return out;
}

BatchText packed(const PolygonsView &cells) {
  BatchText out;
  for (i64 i = 0; i < cells.n; ++i) {
    const i64 *first = cells.part_first + cells.mask_first[i];
    pack_polygon(out.text, cells.xy + 2 * first[0], first, cells.mask_first[i + 1] - cells.mask_first[i]);
    out.close();
  }
  return out;
}

u64 get_number(std::string_view text, std::size_t &at) {
  u64 v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at >= text.size()) throw MaskError("a packed polygon ends in the middle of a number");
    const auto byte = static_cast<std::uint8_t>(text[at++]);
    v |= static_cast<u64>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return v;
  }
  throw MaskError("a packed polygon holds a number too large");
}

void unpack(std::string_view text, Polygons &out) {
  std::size_t at = 1;
  if (text.empty() || (text[0] != kHundredths && text[0] != kExact))
    throw MaskError("a packed polygon begins with an unknown byte");
  const u64 parts = get_number(text, at);
  if (parts > text.size()) throw MaskError("a packed polygon is cut short");
  u64 points = 0;
  for (u64 p = 0; p < parts; ++p) {
    const u64 n = get_number(text, at);
    if (n > text.size()) throw MaskError("a packed polygon is cut short");
    points += n;
    out.part_first.push_back(out.part_first.back() + static_cast<i64>(n));
  }
  if (text[0] == kHundredths) {
    i64 last[2] = {0, 0};
    for (u64 k = 0; k < 2 * points; ++k) {
      const u64 z = get_number(text, at);
      last[k & 1] += static_cast<i64>(z >> 1) ^ -static_cast<i64>(z & 1);
      out.xy.push_back(static_cast<double>(last[k & 1]) / 100);
    }
  } else {
    if (text.size() - at != points * 2 * sizeof(double)) throw MaskError("a packed polygon is cut short");
    const std::size_t n = out.xy.size();
    out.xy.resize(n + 2 * points);
    if (points) std::memcpy(out.xy.data() + n, text.data() + at, text.size() - at);
  }
  out.close_mask();
}

// Append one part; false if it is nested or of odd types, which is left to NumPy.
bool add_coordinates(nb::handle part, std::vector<double> &xy) {
  if (!PyList_CheckExact(part.ptr()) && !PyTuple_CheckExact(part.ptr())) {
    nb::ndarray<const double, nb::c_contig, nb::device::cpu> array;
    if (!nb::try_cast(part, array, false)) return false;
    xy.insert(xy.end(), array.data(), array.data() + array.size());
    return true;
  }
  for (nb::handle value : part) {
    const double v = PyFloat_AsDouble(value.ptr());
    if (v == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    xy.push_back(v);
  }
  return true;
}

// Cells of parts of coordinates (lists, tuples or arrays) as flat arrays.
nb::tuple flat_polygons(nb::sequence cells) {
  Polygons out;
  for (nb::handle cell : cells) {
    for (nb::handle part : cell) {
      const std::size_t before = out.xy.size();
      if (!add_coordinates(part, out.xy)) return nb::make_tuple();
      const std::size_t n = out.xy.size() - before;
      if (n % 2) throw MaskError("a polygon part has " + std::to_string(n) + " coordinates; expected pairs x, y");
      out.close_part();
    }
    out.close_mask();
  }
  return std::move(out).arrays();
}

}  // namespace

void bind_polygons(nb::module_ &m) {
  m.def("flat_polygons", &flat_polygons, "cells"_a);
  m.def("polygons_to_rle", [](Vector<double> xy, Vector<i64> part_first, Vector<i64> mask_first, i64 h, i64 w) {
    const Size size(h, w);
    const PolygonsView cells(xy, part_first, mask_first);
    return arrays(without_gil([&] { return drawn(cells, size); }));
  }, "xy"_a, "part_first"_a, "mask_first"_a, "height"_a, "width"_a);
  m.def("pack_polygons", [](Vector<double> xy, Vector<i64> part_first, Vector<i64> mask_first) {
    const PolygonsView cells(xy, part_first, mask_first);
    return list(without_gil([&] { return packed(cells); }));
  }, "xy"_a, "part_first"_a, "mask_first"_a);
  m.def("unpack_polygons", [](nb::sequence texts) {
    const BatchText given = texts_of(texts);
    Polygons out;
    for (i64 i = 0; i < given.size(); ++i) unpack(Batch(given)[i], out);
    return std::move(out).arrays();
  }, "packed"_a);
}

}  // namespace celltable
