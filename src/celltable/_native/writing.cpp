// Cells as text: rows of columns as JSON, XML or lines, straight from arrays.
// Inputs are checked; strings are gathered first, then arrays are written with the GIL released.

#include "writing.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>

#include "numbertext.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

std::string_view constant(nb::handle bytes) { return view(bytes, "the constants of a row must be bytes"); }

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
  bool absent(i64 row) const override { return missing[row]; }
  void write(Text &out, i64 row) const override {
    const std::size_t from = row ? ends[row - 1] : 0;
    out.add({text.data() + from, ends[row] - from});
  }
  void close(bool none) {
    ends.push_back(text.size());
    missing.push_back(none);
  }
};

void write_object(Text &out, nb::handle v, int depth = 0) {
  PyObject *o = v.ptr();
  if (PyUnicode_Check(o)) return write_string(out, utf8(v));
  if (PyBytes_Check(o)) return out.add(constant(v));
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
enum Part_ {
  kOne,
  kOneEnd,
  kMany,
  kManyEnd,
  kPart,
  kPartEnd,
  kRing,
  kRingEnd,
  kPoint,
  kBetween,
  kPointEnd,
  kNextPoint,
  kNext
};

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
    if (!is_real && !nb::try_cast(xy, whole, false))
      throw nb::type_error("coordinates must be a flat array of float64 or int32");
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
    if (!n) {
    } else if (is_real) points(out, real.data() + 2 * first, n);
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
  out.add("[");
  try {
    bool first = true;
    for (CountReader reader(counts); !reader.done(); first = false) {
      if (!first) out.add(",");
      out.whole(reader.next());
    }
  } catch (const std::invalid_argument &exc) {
    throw MaskError("the run lengths of mask " + std::to_string(mask) + " " + exc.what());
  }
  out.add("]");
}

struct Masks {  // run lengths as COCO writes them; nothing where `there` is 0
  BatchArrays masks;
  Vector<std::uint8_t> there;
  i64 height, width;
  bool uncompressed;
};

struct Counts : Column {
  BatchArrays masks;
  Vector<std::uint8_t> there;
  std::string head;
  bool uncompressed;
  explicit Counts(const Masks &given) : masks(given.masks), there(given.there), uncompressed(given.uncompressed) {
    head = "{\"size\":[" + std::to_string(given.height) + "," + std::to_string(given.width) + "],\"counts\":";
  }
  i64 size() const override { return masks.size(); }
  bool absent(i64 row) const override { return !there.data()[row]; }
  void write(Text &out, i64 row) const override {
    out.add(head);
    if (uncompressed) write_counts(out, Batch(masks)[row], row);
    else write_string(out, Batch(masks)[row]);
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
    made->data = wide.data(), made->rows = static_cast<i64>(wide.shape(0)),
    made->width = static_cast<i64>(wide.shape(1));
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
      columns.back()->before = constant(piece);
      continue;
    }
    nb::tuple given = nb::cast<nb::tuple>(piece);
    if (given.size() != 3) throw std::invalid_argument("a piece of a row is bytes, or bytes, a column and bytes");
    columns.push_back(column_of(given[1]));
    columns.back()->before = constant(given[0]), columns.back()->after = constant(given[2]);
    if (columns.back()->size() != n)
      throw std::invalid_argument("a column has " + std::to_string(columns.back()->size()) + " values for " +
                                  std::to_string(n) + " rows");
  }
  const std::string_view comma = constant(between);
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

}  // namespace

void bind_rows(nb::module_ &m) {
  nb::class_<Rings>(m, "Rings")
      .def(nb::init<nb::object, Vector<i64>, Vector<i64>, Vector<i64>, const std::vector<nb::bytes> &,
                    const std::string &, bool, double, double>(),
           "xy"_a, "ring_first"_a.noconvert(), "part_first"_a.noconvert(), "row_first"_a.noconvert(), "layout"_a,
           "numbers"_a, "closed"_a, "width"_a, "height"_a);
  nb::class_<Masks>(m, "Masks")
      .def("__init__",
           [](Masks *self, nb::handle masks, Vector<std::uint8_t> there, i64 height, i64 width, bool uncompressed) {
    const BatchArrays given = batch_of(masks);
    if (static_cast<i64>(there.shape(0)) != given.size()) throw std::invalid_argument("expected one entry per mask");
    new (self) Masks{given, there, height, width, uncompressed};
  }, "masks"_a, "there"_a, "height"_a, "width"_a, "uncompressed"_a);
  m.def("rows", &rows, "n"_a, "pieces"_a, "between"_a);
}

}  // namespace celltable

NB_MODULE(writing, m) {
  using namespace celltable;
  m.doc() = "Rows of cells as text; formats use it through celltable.formats._rows.";
  raise_as<MaskError>(celltable_error("MaskError"));
  bind_rows(m);
  bind_rings(m);
}
