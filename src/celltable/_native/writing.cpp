// Cells written as text: rows of columns as JSON, XML or lines, straight from arrays, and the rings of outlines in order.
// Inputs are checked; strings are gathered first, then arrays are written with the GIL released.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "numbertext.hpp"
#include "runs.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace celltable;

namespace {

template <class T> using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Table = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Offsets = std::vector<i64>;

struct BadMask : std::invalid_argument {  // becomes celltable.errors.MaskError
  using std::invalid_argument::invalid_argument;
};

template <class T> nb::ndarray<nb::numpy, T> array(std::vector<T> &&values) {
  auto *held = new std::vector<T>(std::move(values));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  static T nothing{};
  return {held->empty() ? &nothing : held->data(), {held->size()}, owner};
}

Offsets offsets(const Vector<i64> &given, i64 last, const char *what) {
  Offsets v(given.data(), given.data() + given.shape(0));
  if (v.empty() || v[0] != 0 || v.back() != last || !std::is_sorted(v.begin(), v.end()))
    throw std::invalid_argument(std::string(what) + " must ascend from 0 to " + std::to_string(last));
  return v;
}

std::string_view view(nb::handle bytes) {
  if (!PyBytes_Check(bytes.ptr())) throw nb::type_error("the constants of a row must be bytes");
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

std::string_view utf8(nb::handle text) {
  Py_ssize_t n = 0;
  const char *s = PyUnicode_AsUTF8AndSize(text.ptr(), &n);
  if (!s) throw nb::python_error();
  return {s, static_cast<std::size_t>(n)};
}

// ---------------------------------------------------------------- columns

struct Column {
  std::string before, after;
  virtual ~Column() = default;
  virtual i64 size() const = 0;
  virtual bool absent(i64) const { return false; }
  virtual void write(Text &, i64 row) const = 0;
};

struct Constant : Column {
  i64 size() const override { return -1; }
  void write(Text &, i64) const override {}
};

void write_value(Text &out, i64 v) { out.whole(v); }
void write_value(Text &out, double v) { write_number(out, v, Style::json); }
bool is_missing(i64) { return false; }
bool is_missing(double v) { return std::isnan(v); }

template <class T> struct Numbers : Column {  // (n,): a number; (n, k): a list; NaN: nothing
  nb::object held;
  const T *data;
  i64 rows, width;  // width 0: a number
  i64 size() const override { return rows; }
  bool absent(i64 row) const override {
    const T *v = data + row * std::max<i64>(width, 1);
    return std::any_of(v, v + std::max<i64>(width, width == 0), [](T x) { return is_missing(x); });
  }
  void write(Text &out, i64 row) const override {
    if (!width) return write_value(out, data[row]);
    for (i64 k = 0; k < width; ++k) {
      out.add(k ? "," : "[");
      write_value(out, data[row * width + k]);
    }
    out.add("]");
  }
};

struct Fragments : Column {  // written while the GIL is held: strings, lists, anything that may be missing
  Text text;
  std::vector<std::size_t> ends;
  std::vector<bool> missing;
  i64 size() const override { return static_cast<i64>(ends.size()); }
  bool absent(i64 row) const override { return missing[static_cast<std::size_t>(row)]; }
  void write(Text &out, i64 row) const override {
    const std::size_t from = row ? ends[static_cast<std::size_t>(row) - 1] : 0;
    out.add({text.data() + from, ends[static_cast<std::size_t>(row)] - from});
  }
  void close(bool none) {
    ends.push_back(text.size());
    missing.push_back(none);
  }
};

void write_object(Text &out, nb::handle v, int depth = 0) {
  PyObject *o = v.ptr();
  if (PyUnicode_Check(o)) return write_string(out, utf8(v));
  if (PyBytes_Check(o)) return out.add(view(v));
  if (PyBool_Check(o)) return out.add(o == Py_True ? "true" : "false");
  if (PyFloat_Check(o)) return write_number(out, PyFloat_AS_DOUBLE(o), Style::json);
  if (o == Py_None) return out.add("null");
  if (PyLong_Check(o)) {
    int overflow = 0;
    const long long whole = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (overflow) return out.add(utf8(nb::str(v)));
    return out.whole(whole);
  }
  if ((PyList_Check(o) || PyTuple_Check(o)) && depth < 8) {
    out.add("[");
    bool first = true;
    for (nb::handle item : v) {
      if (!first) out.add(",");
      first = false;
      write_object(out, item, depth + 1);
    }
    return out.add("]");
  }
  throw nb::type_error("a value of a row must be str, bytes, bool, int, float, None or a list of these");
}

// ---------------------------------------------------------------- rings

constexpr std::size_t kLayout = 13;
enum Part_ { kOne, kOneEnd, kMany, kManyEnd, kPart, kPartEnd, kRing, kRingEnd, kPoint, kBetween, kPointEnd, kNextPoint, kNext };

struct Rings {  // rows of parts of rings of points
  Vector<double> real;
  Vector<std::int32_t> whole;
  bool is_real;
  Offsets ring_first, part_first, row_first;
  std::array<std::string, kLayout> layout;
  std::string joint;  // between two points
  Style style;
  bool closed;
  double width, height;  // coordinates are divided by these

  Rings(nb::object xy, Vector<i64> rings, Vector<i64> parts, Vector<i64> rows, const std::vector<nb::bytes> &words,
        const std::string &numbers, bool repeat_first, double w, double h)
      : closed(repeat_first), width(w), height(h) {
    is_real = nb::try_cast(xy, real, false);
    if (!is_real && !nb::try_cast(xy, whole, false)) throw nb::type_error("coordinates must be a flat array of float64 or int32");
    const auto n = static_cast<i64>(is_real ? real.shape(0) : whole.shape(0));
    if (n % 2) throw std::invalid_argument("coordinates must be pairs x, y");
    ring_first = offsets(rings, n / 2, "first points of rings");
    part_first = offsets(parts, static_cast<i64>(ring_first.size()) - 1, "first rings of parts");
    row_first = offsets(rows, static_cast<i64>(part_first.size()) - 1, "first parts of rows");
    if (words.size() != kLayout) throw std::invalid_argument("a layout has 13 words");
    for (std::size_t k = 0; k < kLayout; ++k) layout[k].assign(words[k].c_str(), words[k].size());
    joint = layout[kPointEnd] + layout[kNextPoint] + layout[kPoint];
    if (numbers == "json") style = Style::json;
    else if (numbers == "brief") style = Style::brief;
    else if (numbers == "fraction") style = Style::fraction;
    else throw std::invalid_argument("numbers are written as json, brief or fraction");
  }

  template <class T> char *coordinate(char *p, T v, double unit) const {
    if constexpr (std::is_same_v<T, std::int32_t>)
      if (unit == 1) return std::to_chars(p, p + 12, v).ptr;
    return write_number(p, unit == 1 ? static_cast<double>(v) : static_cast<double>(v) / unit, style);
  }
  template <class T> char *point(char *p, const T *xy) const {
    p = coordinate(p, xy[0], width);
    p = copied(p, layout[kBetween].data(), layout[kBetween].size());
    return coordinate(p, xy[1], height);
  }
  template <class T> void points(Text &out, const T *xy, i64 n) const {
    const std::string &next = joint;
    const std::size_t most = 2 * kLongest + layout[kBetween].size() + next.size();
    out.add(layout[kPoint]);
    for (i64 k = 0; k < n; ++k) {
      char *p = out.room(most);
      if (k) p = copied(p, next.data(), next.size());
      out.took(point(p, xy + 2 * k));
    }
    if (closed && n) {
      char *p = copied(out.room(most), next.data(), next.size());
      out.took(point(p, xy));
    }
    out.add(layout[kPointEnd]);
  }
  void ring(Text &out, i64 r) const {
    const i64 first = ring_first[r], n = ring_first[r + 1] - first;
    out.add(layout[kRing]);
    if (!n) {}
    else if (is_real) points(out, real.data() + 2 * first, n);
    else points(out, whole.data() + 2 * first, n);
    out.add(layout[kRingEnd]);
  }
  void part(Text &out, i64 p) const {
    out.add(layout[kPart]);
    for (i64 r = part_first[p]; r < part_first[p + 1]; ++r) {
      if (r > part_first[p]) out.add(layout[kNext]);
      ring(out, r);
    }
    out.add(layout[kPartEnd]);
  }
  void row(Text &out, i64 i) const {
    const i64 first = row_first[i], end = row_first[i + 1];
    out.add(layout[end - first == 1 ? kOne : kMany]);
    for (i64 p = first; p < end; ++p) {
      if (p > first) out.add(layout[kNext]);
      part(out, p);
    }
    out.add(layout[end - first == 1 ? kOneEnd : kManyEnd]);
  }
};

struct Outlines : Column {
  nb::object held;
  const Rings *rings;
  i64 size() const override { return static_cast<i64>(rings->row_first.size()) - 1; }
  bool absent(i64 row) const override { return rings->row_first[row] == rings->row_first[row + 1]; }
  void write(Text &out, i64 row) const override { rings->row(out, row); }
};

// ---------------------------------------------------------------- run lengths

void write_counts(Text &out, std::string_view counts, i64 mask) {  // as numbers
  std::vector<i64> values;
  std::size_t at = 0;
  while (at < counts.size()) {
    i64 value = 0;
    int shift = 0;
    unsigned digit;
    do {
      if (at == counts.size()) throw BadMask("the run lengths of mask " + std::to_string(mask) + " end in the middle of a number");
      digit = static_cast<unsigned char>(counts[at++]) - 48u;
      if (digit > 63u || shift > 55) throw BadMask("the run lengths of mask " + std::to_string(mask) + " hold what is no number");
      value |= static_cast<i64>(digit & 0x1f) << shift;
      shift += 5;
    } while (digit & 0x20);
    if (digit & 0x10) value |= -(static_cast<i64>(1) << shift);
    if (values.size() > 2) value += values[values.size() - 2];
    if (value < 0 || value > (i64(1) << 40)) throw BadMask("the run lengths of mask " + std::to_string(mask) + " hold a count out of range");
    values.push_back(value);
    out.add(values.size() > 1 ? "," : "[");
    out.whole(value);
  }
  out.add(values.empty() ? "[]" : "]");
}

struct Masks {  // run lengths as COCO writes them; None: nothing
  nb::object counts;
  i64 height, width;
  bool uncompressed;
};

struct Counts : Column {
  std::vector<nb::object> held;
  std::vector<std::string_view> views;
  std::string head;
  bool uncompressed;
  explicit Counts(const Masks &masks) : uncompressed(masks.uncompressed) {
    head = "{\"size\":[" + std::to_string(masks.height) + "," + std::to_string(masks.width) + "],\"counts\":";
    const std::size_t n = nb::len(masks.counts);
    held.reserve(n), views.reserve(n);
    for (nb::handle item : masks.counts) {
      held.push_back(nb::borrow(item));
      views.push_back(item.is_none() ? std::string_view() : view(item));
    }
  }
  i64 size() const override { return static_cast<i64>(views.size()); }
  bool absent(i64 row) const override { return held[static_cast<std::size_t>(row)].is_none(); }
  void write(Text &out, i64 row) const override {
    out.add(head);
    if (uncompressed) write_counts(out, views[static_cast<std::size_t>(row)], row);
    else write_string(out, views[static_cast<std::size_t>(row)]);
    out.add("}");
  }
};

// ---------------------------------------------------------------- rows

template <class T> std::unique_ptr<Column> numbers_of(nb::handle values) {
  auto made = std::make_unique<Numbers<T>>();
  Vector<T> flat;
  Table<T> wide;
  if (nb::try_cast(values, flat, false)) {
    made->data = flat.data(), made->rows = static_cast<i64>(flat.shape(0)), made->width = 0;
  } else if (nb::try_cast(values, wide, false) && wide.shape(1) > 0) {
    made->data = wide.data(), made->rows = static_cast<i64>(wide.shape(0)), made->width = static_cast<i64>(wide.shape(1));
  } else {
    return nullptr;
  }
  made->held = nb::borrow(values);
  return made;
}

std::unique_ptr<Column> column_of(nb::handle values) {
  if (nb::isinstance<Rings>(values)) {
    auto made = std::make_unique<Outlines>();
    made->rings = nb::inst_ptr<Rings>(values), made->held = nb::borrow(values);
    return made;
  }
  if (nb::isinstance<Masks>(values)) return std::make_unique<Counts>(*nb::inst_ptr<Masks>(values));
  if (PyList_Check(values.ptr()) || PyTuple_Check(values.ptr())) {
    auto made = std::make_unique<Fragments>();
    for (nb::handle item : values) {
      if (!item.is_none()) write_object(made->text, item);
      made->close(item.is_none());
    }
    return made;
  }
  if (auto made = numbers_of<i64>(values)) return made;
  if (auto made = numbers_of<double>(values)) return made;
  throw nb::type_error("a column must be a list, an array of int64 or float64 (n,) or (n, k), Rings or Masks");
}

nb::bytes rows(i64 n, nb::sequence pieces, nb::bytes between) {
  std::vector<std::unique_ptr<Column>> columns;
  for (nb::handle piece : pieces) {
    if (PyBytes_Check(piece.ptr())) {
      columns.push_back(std::make_unique<Constant>());
      columns.back()->before = view(piece);
      continue;
    }
    nb::tuple given = nb::cast<nb::tuple>(piece);
    if (given.size() != 3) throw std::invalid_argument("a piece of a row is bytes, or bytes, a column and bytes");
    columns.push_back(column_of(given[1]));
    columns.back()->before = view(given[0]), columns.back()->after = view(given[2]);
    if (columns.back()->size() != n)
      throw std::invalid_argument("a column has " + std::to_string(columns.back()->size()) + " values for " + std::to_string(n) + " rows");
  }
  const std::string_view comma = view(between);
  Text out;
  {
    nb::gil_scoped_release release;
    for (i64 row = 0; row < n; ++row) {
      if (row) out.add(comma);
      for (const auto &column : columns) {
        if (column->absent(row)) continue;
        out.add(column->before);
        column->write(out, row);
        out.add(column->after);
      }
    }
  }
  return nb::bytes(out.size() ? out.data() : "", out.size());
}

// ---------------------------------------------------------------- the order of rings

// Rings that touch themselves in a corner, as rings that do not: the outline of a pocket that opens in a corner only becomes
// a hole, as the simple features of GeoJSON have it.
class Simple {
 public:
  std::vector<std::int32_t> xy;
  Offsets ring_first{0}, mask_first{0};
  std::vector<std::uint8_t> is_hole;

  void ring(const std::int32_t *points, i64 n, bool hole) {
    if (!hole && turns(points, n, 0) <= 2 && turns(points, n, 1) <= 2) {  // convex along rows and columns: nowhere a pocket
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
      std::size_t at = (static_cast<std::size_t>(p.x) * 0x9E3779B1u ^ static_cast<std::size_t>(p.y) * 0x85EBCA77u) & (size - 1);
      while (places_[at] != kNone && !(places_[at] < stack_.size() && same(stack_[places_[at]], p))) at = (at + 1) & (size - 1);
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
  std::vector<std::uint32_t> places_;  // hash of points → where they are in stack_; those taken out lead nowhere

  // How often a coordinate turns from growing to shrinking or back, once around.
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
  // Whether the centre of the pixel right below the uppermost, then leftmost corner of `hole` lies in `ring`, whose edges
  // run along rows and columns.
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
      const auto home = std::find_if(outer.begin(), outer.end(), [&](const Outer &o) { return o.area > area && holds(o.ring, r); });
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

// Rings of masks as parts: each outer ring with the holes directly in it, the part of the largest area first.
nb::tuple grouped(Table<std::int32_t> xy, Vector<i64> ring_first, Vector<i64> mask_first, Vector<std::uint8_t> is_hole, bool simple) {
  if (xy.shape(1) != 2) throw std::invalid_argument("points must be pairs x, y");
  Offsets rings = offsets(ring_first, static_cast<i64>(xy.shape(0)), "first points of rings");
  Offsets masks = offsets(mask_first, static_cast<i64>(rings.size()) - 1, "first rings of masks");
  if (is_hole.shape(0) != rings.size() - 1) throw std::invalid_argument("one flag a ring");
  Offsets row_first{0}, ring_ends{0};
  std::vector<std::int32_t> ordered;
  Grouping found{xy.data(), rings.data(), {}};
  const std::uint8_t *holes = is_hole.data();
  Simple split;
  {
    nb::gil_scoped_release release;
    if (simple) {
      for (std::size_t m = 0; m + 1 < masks.size(); ++m) {
        for (i64 r = masks[m]; r < masks[m + 1]; ++r) split.ring(xy.data() + 2 * rings[r], rings[r + 1] - rings[r], holes[r]);
        split.mask_first.push_back(static_cast<i64>(split.is_hole.size()));
      }
      rings = split.ring_first, masks = split.mask_first, holes = split.is_hole.data();
      found.xy = split.xy.data(), found.ring_first = rings.data();
    }
    for (std::size_t m = 0; m + 1 < masks.size(); ++m) {
      found.mask(masks[m], masks[m + 1], holes);
      row_first.push_back(static_cast<i64>(found.part_first.size()) - 1);
    }
    ordered.reserve(2 * xy.shape(0));
    for (i64 r : found.order) {
      ordered.insert(ordered.end(), found.xy + 2 * rings[r], found.xy + 2 * rings[r + 1]);
      ring_ends.push_back(static_cast<i64>(ordered.size() / 2));
    }
  }
  return nb::make_tuple(array(std::move(ordered)), array(std::move(ring_ends)), array(std::move(found.part_first)), array(std::move(row_first)));
}

}  // namespace

NB_MODULE(writing, m) {
  m.doc() = "Rows of cells as text; formats use it through celltable.formats._rows.";
  nb::object found = nb::module_::import_("celltable.errors").attr("MaskError");
  static PyObject *mask_error = found.release().ptr();
  nb::register_exception_translator([](const std::exception_ptr &p, void *) {
    try {
      std::rethrow_exception(p);
    } catch (const BadMask &exc) {
      PyErr_SetString(mask_error, exc.what());
    }
  });
  nb::class_<Rings>(m, "Rings")
      .def(nb::init<nb::object, Vector<i64>, Vector<i64>, Vector<i64>, const std::vector<nb::bytes> &, const std::string &, bool, double, double>(),
           "xy"_a, "ring_first"_a.noconvert(), "part_first"_a.noconvert(), "row_first"_a.noconvert(), "layout"_a, "numbers"_a, "closed"_a, "width"_a, "height"_a);
  nb::class_<Masks>(m, "Masks")
      .def("__init__", [](Masks *self, nb::sequence counts, i64 height, i64 width, bool uncompressed) {
        new (self) Masks{nb::object(counts), height, width, uncompressed};
      }, "counts"_a, "height"_a, "width"_a, "uncompressed"_a);
  m.def("rows", &rows, "n"_a, "pieces"_a, "between"_a);
  m.def("grouped", &grouped, "xy"_a.noconvert(), "ring_first"_a.noconvert(), "mask_first"_a.noconvert(), "is_hole"_a.noconvert(), "simple"_a);
}
