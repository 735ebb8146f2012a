// Geometry on masks: label maps, COCO run lengths, polygons and outlines, each in one pass over what is there.
// Inputs are checked, and the GIL is released while the work is done.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <optional>
#include <thread>
#include <unordered_map>

#include "layers.hpp"
#include "packing.hpp"
#include "polygon.hpp"
#include "runs.hpp"
#include "scan.hpp"
#include "spread.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace celltable;

namespace {

template <class T> using Map = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<nb::numpy, T>;

struct BadMask : std::invalid_argument {  // becomes celltable.errors.MaskError
  using std::invalid_argument::invalid_argument;
};

constexpr i64 kMaxSide = i64(1) << 31, kMaxPixels = i64(1) << 40;

void check_size(i64 h, i64 w) {
  if (h < 0 || w < 0 || h >= kMaxSide || w >= kMaxSide || (w > 0 && h > kMaxPixels / w))
    throw BadMask("a mask of " + std::to_string(h) + " x " + std::to_string(w) + " px: expected sides of 0 or more and at most 2^40 pixels");
}

template <class T> Out<T> array(std::vector<T> &&values, std::vector<std::size_t> shape) {
  auto *held = new std::vector<T>(std::move(values));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  static T nothing{};
  return Out<T>(held->empty() ? &nothing : held->data(), shape.size(), shape.data(), owner);
}

template <class T> Out<T> array(std::vector<T> &&values) {
  std::size_t n = values.size();
  return array(std::move(values), {n});
}

// The texts of a list of bytes, and references that keep them alive while the GIL is released.
struct Texts {
  std::vector<nb::object> held;
  std::vector<std::string_view> views;
  explicit Texts(nb::handle list) {
    std::size_t n = nb::len(list);
    held.reserve(n), views.reserve(n);
    for (nb::handle item : list) {
      if (!nb::isinstance<nb::bytes>(item)) throw nb::type_error("run lengths must be bytes");
      nb::object o = nb::borrow(item);
      views.emplace_back(PyBytes_AS_STRING(o.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(o.ptr())));
      held.push_back(std::move(o));
    }
  }
  std::size_t size() const { return views.size(); }
  void read(std::size_t i, i64 total, Runs &runs) const {
    try {
      parse_counts(views[i], total, runs);
    } catch (const std::invalid_argument &exc) {
      throw BadMask("the run lengths of mask " + std::to_string(i) + " " + exc.what());
    }
  }
};

struct Strings {  // many texts in one buffer, made without the GIL
  std::string text;
  std::vector<std::size_t> ends;
  void close() { ends.push_back(text.size()); }
  nb::list list(std::size_t first = 0, std::size_t last = ~std::size_t(0)) const {
    nb::list out;
    last = std::min(last, ends.size());
    for (std::size_t i = first; i < last; ++i) {
      std::size_t from = i ? ends[i - 1] : 0;
      out.append(nb::bytes(text.data() + from, ends[i] - from));
    }
    return out;
  }
};

void add_box(std::vector<std::int32_t> &out, const Box &b) {
  for (i64 v : {b.x, b.y, b.w, b.h}) out.push_back(static_cast<std::int32_t>(v));
}

// ---------------------------------------------------------------- label map → everything

[[noreturn]] void refuse_negative(i64 label) {
  throw BadMask("a label map holds the negative label " + std::to_string(label) + "; expected 0 for background and positive labels");
}

// Dense positions of labels, in the order they are first met: a table where labels are small, a hash where they are not.
class Numbering {
 public:
  template <class T> std::int32_t operator()(T value) {
    const i64 label = static_cast<i64>(value);
    if (static_cast<std::uint64_t>(label) < table_.size()) {
      std::int32_t &slot = table_[static_cast<std::size_t>(label)];
      return slot >= 0 ? slot : slot = add(label);
    }
    return elsewhere(label);
  }
  const std::vector<i64> &labels() const { return labels_; }
  std::vector<std::size_t> ascending() const {  // positions, by label
    std::vector<std::size_t> order;
    if (hash_.empty() && table_.size() <= 16 * labels_.size()) {
      order.reserve(labels_.size());
      for (const std::int32_t slot : table_)
        if (slot >= 0) order.push_back(static_cast<std::size_t>(slot));
      return order;
    }
    order.resize(labels_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return labels_[a] < labels_[b]; });
    return order;
  }

 private:
  static constexpr i64 kTable = i64(1) << 20;
  std::int32_t elsewhere(i64 label) {
    if (label < 0) refuse_negative(label);
    if (label < kTable) {
      table_.resize(static_cast<std::size_t>(std::min(kTable, std::max<i64>(2 * label, 1024))), -1);
      return (*this)(label);
    }
    auto [it, fresh] = hash_.try_emplace(label, 0);
    if (fresh) it->second = add(label);
    return it->second;
  }
  std::int32_t add(i64 label) {
    labels_.push_back(label);
    return static_cast<std::int32_t>(labels_.size() - 1);
  }
  std::vector<std::int32_t> table_;
  std::unordered_map<i64, std::int32_t> hash_;
  std::vector<i64> labels_;
};

struct Marked {
  std::int32_t index;
  i64 start, end;
};

// All runs of all labels in column-major order. The map is C-contiguous (rows of `w`), or its transpose is.
template <class T> void column_runs(const T *p, i64 h, i64 w, bool transposed, Numbering &number, std::vector<Marked> &marks) {
  if (h == 0 || w == 0) return;
  std::vector<std::uint64_t> bits(static_cast<std::size_t>(words_of(std::max(h, w))));
  if (transposed) {
    for (i64 c = 0; c < w; ++c)
      stretches(p + c * h, h, bits.data(), [&](T value, i64 a, i64 b) {
        if (value != 0) marks.push_back({number(value), c * h + a, c * h + b});
      });
    return;
  }
  // Row after row, where a row differs from the one above: there a run of its column ends. Sorted by column afterwards.
  struct Ended {
    std::int32_t index, column, start, end;
  };
  std::vector<Ended> ended;
  std::vector<std::int32_t> since(static_cast<std::size_t>(w), 0);
  std::vector<std::size_t> first(static_cast<std::size_t>(w) + 1, 0);
  const auto end = [&](T value, i64 c, i64 r) {
    if (value != 0) {
      ended.push_back({number(value), static_cast<std::int32_t>(c), since[c], static_cast<std::int32_t>(r)});
      ++first[c + 1];
    }
    since[c] = static_cast<std::int32_t>(r);
  };
  const i64 words = words_of(w);
  for (i64 r = 1; r < h; ++r) {
    const T *row = p + r * w, *above = row - w;
    std::fill(bits.begin(), bits.begin() + words, 0);
    mark_differing(row, above, w, bits.data());
    each_bit(bits.data(), words, [&](i64 c) { end(above[c], c, r); });
  }
  const T *last = p + (h - 1) * w;
  for (i64 c = 0; c < w; ++c)
    if (last[c] != 0) end(last[c], c, h);
  std::partial_sum(first.begin(), first.end(), first.begin());
  marks.resize(ended.size());
  for (const Ended &e : ended) marks[first[e.column]++] = {e.index, e.column * h + e.start, e.column * h + e.end};
}

template <class T> nb::tuple label_rles(Map<T> map, bool transposed) {
  const i64 h = static_cast<i64>(map.shape(transposed ? 1 : 0)), w = static_cast<i64>(map.shape(transposed ? 0 : 1));
  check_size(h, w);
  std::vector<i64> ids, areas;
  std::vector<std::int32_t> boxes;
  Strings strings;
  {
    nb::gil_scoped_release release;
    Numbering number;
    std::vector<Marked> marks;
    column_runs(map.data(), h, w, transposed, number, marks);
    const std::size_t n = number.labels().size();
    std::vector<std::size_t> first(n + 1, 0);
    for (const Marked &m : marks) ++first[m.index + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    std::vector<Run> sorted(marks.size());
    std::vector<std::size_t> next(first.begin(), first.end() - 1), length(n, 0);
    for (const Marked &m : marks) {  // neighbouring columns may continue each other
      std::size_t &at = next[m.index];
      if (length[m.index] && sorted[at - 1].end == m.start) sorted[at - 1].end = m.end;
      else sorted[at++] = {m.start, m.end}, ++length[m.index];
    }
    strings.text.reserve(sorted.size() * 4);
    for (std::size_t k : number.ascending()) {
      const Run *begin = sorted.data() + first[k], *end = begin + length[k];
      ids.push_back(number.labels()[k]);
      append_counts(strings.text, begin, end, h * w);
      strings.close();
      areas.push_back(area_of(begin, end));
      add_box(boxes, box_of(begin, end, h));
    }
  }
  const std::size_t n = ids.size();
  return nb::make_tuple(array(std::move(ids)), strings.list(), array(std::move(areas)), array(std::move(boxes), {n, 4}));
}

template <class T> nb::tuple label_measures(Map<T> map) {
  const i64 h = static_cast<i64>(map.shape(0)), w = static_cast<i64>(map.shape(1));
  check_size(h, w);
  struct Measure {
    i64 area = 0, x0 = kMaxSide, x1 = -1, y0 = kMaxSide, y1 = -1;
    i64 sum_x = 0, sum_y = 0;
  };
  std::vector<i64> ids, areas;
  std::vector<std::int32_t> boxes;
  std::vector<double> centroids;
  {
    nb::gil_scoped_release release;
    Numbering number;
    std::vector<Measure> found;
    std::vector<std::uint64_t> bits(static_cast<std::size_t>(words_of(w)));
    for (i64 r = 0; r < h; ++r)
      stretches(map.data() + r * w, w, bits.data(), [&](T value, i64 a, i64 b) {
        if (value == 0) return;
        std::size_t k = static_cast<std::size_t>(number(value));
        if (k == found.size()) found.emplace_back();
        Measure &m = found[k];
        m.area += b - a;
        m.x0 = std::min(m.x0, a), m.x1 = std::max(m.x1, b);
        m.y0 = std::min(m.y0, r), m.y1 = r + 1;
        m.sum_x += (b - a) * (a + b - 1) / 2;
        m.sum_y += (b - a) * r;
      });
    for (std::size_t k : number.ascending()) {
      const Measure &m = found[k];
      ids.push_back(number.labels()[k]);
      areas.push_back(m.area);
      add_box(boxes, {m.x0, m.y0, m.x1 - m.x0, m.y1 - m.y0});
      centroids.push_back(static_cast<double>(m.sum_x) / static_cast<double>(m.area));
      centroids.push_back(static_cast<double>(m.sum_y) / static_cast<double>(m.area));
    }
  }
  const std::size_t n = ids.size();
  return nb::make_tuple(array(std::move(ids)), array(std::move(areas)), array(std::move(boxes), {n, 4}), array(std::move(centroids), {n, 2}));
}

// ---------------------------------------------------------------- components

template <class T> nb::tuple components(Map<T> map, int connectivity) {
  const i64 h = static_cast<i64>(map.shape(0)), w = static_cast<i64>(map.shape(1));
  check_size(h, w);
  if (connectivity != 4 && connectivity != 8) throw BadMask("connectivity is " + std::to_string(connectivity) + "; expected 4 or 8");
  std::vector<std::int32_t> labels(static_cast<std::size_t>(h * w), 0);
  std::int32_t n = 0;
  {
    nb::gil_scoped_release release;
    struct Stretch {
      i64 a, b;
      T value;
      std::uint32_t set;
    };
    Sets sets;
    std::vector<Stretch> all;
    std::vector<std::size_t> row_first(static_cast<std::size_t>(h) + 1, 0);
    const i64 reach = connectivity == 8 ? 1 : 0;
    std::size_t before = 0;
    std::vector<std::uint64_t> bits(static_cast<std::size_t>(words_of(w)));
    for (i64 r = 0; r < h; ++r) {
      std::size_t begin = all.size();
      row_first[r] = begin;
      stretches(map.data() + r * w, w, bits.data(), [&](T value, i64 a, i64 b) {
        if (value != 0) all.push_back({a, b, value, sets.make()});
      });
      std::size_t i = before;
      for (std::size_t j = begin; j < all.size(); ++j) {
        while (i < begin && all[i].b + reach <= all[j].a) ++i;
        for (std::size_t k = i; k < begin && all[k].a < all[j].b + reach; ++k)
          if (all[k].value == all[j].value) sets.join(all[k].set, all[j].set);
      }
      before = begin;
    }
    row_first[h] = all.size();
    std::vector<std::int32_t> final_label(all.size(), 0);
    for (i64 r = 0; r < h; ++r)
      for (std::size_t k = row_first[r]; k < row_first[r + 1]; ++k) {
        std::int32_t &label = final_label[sets.root(all[k].set)];
        if (!label) label = ++n;
        std::fill(labels.begin() + r * w + all[k].a, labels.begin() + r * w + all[k].b, label);
      }
  }
  return nb::make_tuple(array(std::move(labels), {static_cast<std::size_t>(h), static_cast<std::size_t>(w)}), n);
}

// ---------------------------------------------------------------- run lengths

nb::bytes encode(Map<std::uint8_t> mask, bool transposed) {
  const i64 h = static_cast<i64>(mask.shape(transposed ? 1 : 0)), w = static_cast<i64>(mask.shape(transposed ? 0 : 1));
  check_size(h, w);
  std::string text;
  {
    nb::gil_scoped_release release;
    Numbering number;
    std::vector<Marked> marks;
    column_runs(mask.data(), h, w, transposed, number, marks);
    Runs runs;
    for (const Marked &m : marks) push_run(runs, m.start, m.end);
    text = to_counts(runs, h * w);
  }
  return nb::bytes(text.data(), text.size());
}

Out<std::uint8_t> decode(nb::bytes counts, i64 h, i64 w) {
  check_size(h, w);
  nb::list one;
  one.append(counts);
  Texts texts(one);
  auto *out = new std::vector<std::uint8_t>();
  nb::capsule owner(out, [](void *p) noexcept { delete static_cast<std::vector<std::uint8_t> *>(p); });
  {
    nb::gil_scoped_release release;
    Runs runs;
    texts.read(0, h * w, runs);
    out->assign(static_cast<std::size_t>(std::max<i64>(h * w, 1)), 0);
    by_column(runs, h, [&](i64 c, i64 a, i64 b) {
      for (i64 r = a; r < b; ++r) (*out)[r * w + c] = 1;
    });
  }
  std::size_t shape[2] = {static_cast<std::size_t>(h), static_cast<std::size_t>(w)};
  return Out<std::uint8_t>(out->data(), 2, shape, owner);
}

nb::tuple to_runs(nb::bytes counts, i64 total) {
  nb::list one;
  one.append(counts);
  Texts texts(one);
  Runs runs;
  texts.read(0, total, runs);
  std::vector<i64> starts, lengths;
  for (const Run &r : runs) starts.push_back(r.start), lengths.push_back(r.end - r.start);
  return nb::make_tuple(array(std::move(starts)), array(std::move(lengths)));
}

nb::bytes from_runs(Vector<i64> starts, Vector<i64> lengths, i64 total) {
  if (starts.shape(0) != lengths.shape(0)) throw BadMask("starts and lengths differ in number");
  Runs runs;
  i64 position = 0;
  for (std::size_t i = 0; i < starts.shape(0); ++i) {
    i64 a = starts.data()[i], n = lengths.data()[i];
    if (n < 0 || a < position || a > total - n)
      throw BadMask("run " + std::to_string(i) + " starts at " + std::to_string(a) + " with length " + std::to_string(n) + "; expected ascending, disjoint runs inside " + std::to_string(total) + " pixels");
    push_run(runs, a, a + n);
    position = a + n;
  }
  std::string text = to_counts(runs, total);
  return nb::bytes(text.data(), text.size());
}

nb::tuple measures(nb::sequence counts, i64 h, i64 w) {
  check_size(h, w);
  Texts texts(counts);
  std::vector<i64> areas;
  std::vector<std::int32_t> boxes;
  {
    nb::gil_scoped_release release;
    Runs runs;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      areas.push_back(area_of(runs));
      add_box(boxes, box_of(runs, h));
    }
  }
  const std::size_t n = areas.size();
  return nb::make_tuple(array(std::move(areas)), array(std::move(boxes), {n, 4}));
}

// Paints masks in `order`, later over earlier; labels[i] is what mask i paints. Returns the map, how many pixels of how
// many masks were painted over in it, and how many masks lost every pixel.
nb::tuple paint(nb::sequence counts, i64 h, i64 w, Vector<std::int32_t> labels, Vector<i64> order) {
  check_size(h, w);
  Texts texts(counts);
  const std::size_t n = texts.size();
  if (labels.shape(0) != n || order.shape(0) != n) throw BadMask("labels and order need one entry a mask");
  if (n >= static_cast<std::size_t>(kMaxSide)) throw BadMask("more masks than a label map can number");
  auto *out = static_cast<std::int32_t *>(std::calloc(static_cast<std::size_t>(std::max<i64>(h * w, 1)), sizeof(std::int32_t)));
  if (!out) throw std::bad_alloc();
  nb::capsule owner(out, [](void *p) noexcept { std::free(p); });
  i64 lost_pixels = 0, lost_cells = 0;
  {
    nb::gil_scoped_release release;
    std::vector<i64> left(n, 0);
    std::vector<char> any(n, 0);
    Runs runs;
    for (std::size_t k = 0; k < n; ++k) {  // with positions + 1 first, so that what is painted over is known
      const i64 i = order.data()[k];
      if (i < 0 || static_cast<std::size_t>(i) >= n) throw BadMask("order names a mask that is not there");
      texts.read(static_cast<std::size_t>(i), h * w, runs);
      const std::int32_t mine = static_cast<std::int32_t>(i + 1);
      by_column(runs, h, [&](i64 c, i64 a, i64 b) {
        std::int32_t *p = out + a * w + c;
        for (i64 r = a; r < b; ++r, p += w) {
          if (const std::int32_t before = *p; before && before != mine) --left[before - 1], ++lost_pixels;
          *p = mine;
        }
        left[i] += b - a;
      });
      if (!runs.empty()) any[i] = 1;
    }
    for (std::size_t i = 0; i < n; ++i) lost_cells += any[i] && left[i] == 0;
    bool same = true;
    for (std::size_t i = 0; i < n; ++i) same &= labels.data()[i] == static_cast<std::int32_t>(i + 1);
    if (!same) {
      std::vector<std::int32_t> value(n + 1, 0);
      std::copy(labels.data(), labels.data() + n, value.begin() + 1);
      for (i64 p = 0; p < h * w; ++p) out[p] = value[out[p]];
    }
  }
  std::size_t shape[2] = {static_cast<std::size_t>(h), static_cast<std::size_t>(w)};
  return nb::make_tuple(Out<std::int32_t>(out, 2, shape, owner), lost_pixels, lost_cells);
}

nb::bytes merge(nb::sequence counts, i64 h, i64 w, bool intersect) {
  check_size(h, w);
  Texts texts(counts);
  std::string text;
  {
    nb::gil_scoped_release release;
    Runs whole, next, made;
    if (texts.size()) texts.read(0, h * w, whole);
    for (std::size_t i = 1; i < texts.size(); ++i) {
      texts.read(i, h * w, next);
      merge_runs(whole, next, intersect, made);
      std::swap(whole, made);
    }
    text = to_counts(whole, h * w);
  }
  return nb::bytes(text.data(), text.size());
}

nb::bytes subtract(nb::bytes a, nb::bytes b, i64 h, i64 w) {
  check_size(h, w);
  nb::list both;
  both.append(a), both.append(b);
  Texts texts(both);
  Runs keep, take, rest, made;
  texts.read(0, h * w, keep), texts.read(1, h * w, take);
  i64 position = 0;
  for (const Run &r : take) push_run(rest, position, r.start), position = r.end;
  push_run(rest, position, h * w);
  merge_runs(keep, rest, true, made);
  std::string text = to_counts(made, h * w);
  return nb::bytes(text.data(), text.size());
}

struct Masks {  // parsed masks with their areas and boxes
  std::vector<Runs> runs;
  std::vector<i64> areas;
  std::vector<Box> boxes;
  Masks(const Texts &texts, i64 h, i64 w) : runs(texts.size()) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs[i]);
      areas.push_back(area_of(runs[i]));
      boxes.push_back(box_of(runs[i], h));
    }
  }
};

bool boxes_meet(const Box &a, const Box &b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

// Calls f(i, j) for every pair whose boxes meet, via a grid of cells about as large as a box: linear in the pairs found.
template <class F> void meeting_pairs(const std::vector<Box> &a, const std::vector<Box> &b, i64 h, i64 w, F f) {
  if (a.empty() || b.empty()) return;
  double side = 1;
  for (const Box &x : b) side += static_cast<double>(std::max(x.w, x.h));
  // about as many grid cells as boxes at most, whatever the size of the image
  const double spread = std::sqrt(static_cast<double>(h) * static_cast<double>(w) / (4. * static_cast<double>(b.size()) + 64.));
  const i64 cell = std::max({i64(8), static_cast<i64>(side / static_cast<double>(b.size())), static_cast<i64>(spread)});
  const i64 columns = w / cell + 1, rows = h / cell + 1;
  std::vector<std::vector<std::uint32_t>> bins;
  std::vector<std::uint32_t> first(static_cast<std::size_t>(columns * rows) + 1, 0), members;
  auto visit = [&](const Box &x, auto g) {
    if (x.w <= 0) return;
    for (i64 r = x.y / cell; r <= (x.y + x.h - 1) / cell; ++r)
      for (i64 c = x.x / cell; c <= (x.x + x.w - 1) / cell; ++c) g(static_cast<std::size_t>(r * columns + c), r, c);
  };
  for (const Box &x : b) visit(x, [&](std::size_t bin, i64, i64) { ++first[bin + 1]; });
  std::partial_sum(first.begin(), first.end(), first.begin());
  members.resize(first.back());
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (std::size_t j = 0; j < b.size(); ++j)
    visit(b[j], [&](std::size_t bin, i64, i64) { members[next[bin]++] = static_cast<std::uint32_t>(j); });
  for (std::size_t i = 0; i < a.size(); ++i)
    visit(a[i], [&](std::size_t bin, i64 r, i64 c) {
      for (std::uint32_t k = first[bin]; k < first[bin + 1]; ++k) {
        const Box &other = b[members[k]];
        // each pair once: in the first grid cell that both boxes cover
        if (r != std::max(a[i].y, other.y) / cell || c != std::max(a[i].x, other.x) / cell) continue;
        if (boxes_meet(a[i], other)) f(i, static_cast<std::size_t>(members[k]));
      }
    });
}

Out<double> iou(nb::sequence first, nb::sequence second, i64 h, i64 w, Vector<std::uint8_t> crowd) {
  check_size(h, w);
  Texts ta(first), tb(second);
  if (crowd.shape(0) != tb.size()) throw BadMask("iscrowd needs one entry a mask of the second list");
  const std::size_t n = ta.size(), m = tb.size();
  std::vector<double> out(n * m, 0.0);
  {
    nb::gil_scoped_release release;
    Masks a(ta, h, w), b(tb, h, w);
    meeting_pairs(a.boxes, b.boxes, h, w, [&](std::size_t i, std::size_t j) {
      i64 common = common_pixels(a.runs[i], b.runs[j]);
      if (common == 0) return;
      i64 whole = crowd.data()[j] ? a.areas[i] : a.areas[i] + b.areas[j] - common;
      out[i * m + j] = static_cast<double>(common) / static_cast<double>(whole);
    });
  }
  return array(std::move(out), {n, m});
}

nb::tuple overlap_rles(nb::sequence first, nb::sequence second, i64 h, i64 w) {
  check_size(h, w);
  Texts ta(first), tb(second);
  std::vector<i64> areas_a, areas_b, gi, pi, px;
  std::vector<std::int32_t> boxes_a, boxes_b;
  {
    nb::gil_scoped_release release;
    Masks a(ta, h, w), b(tb, h, w);
    std::vector<std::array<i64, 3>> found;
    meeting_pairs(a.boxes, b.boxes, h, w, [&](std::size_t i, std::size_t j) {
      if (i64 common = common_pixels(a.runs[i], b.runs[j])) found.push_back({static_cast<i64>(i), static_cast<i64>(j), common});
    });
    std::sort(found.begin(), found.end());
    for (const auto &f : found) gi.push_back(f[0]), pi.push_back(f[1]), px.push_back(f[2]);
    areas_a = a.areas, areas_b = b.areas;
    for (const Box &x : a.boxes) add_box(boxes_a, x);
    for (const Box &x : b.boxes) add_box(boxes_b, x);
  }
  const std::size_t n = areas_a.size(), m = areas_b.size();
  return nb::make_tuple(array(std::move(areas_a)), array(std::move(boxes_a), {n, 4}), array(std::move(areas_b)),
                        array(std::move(boxes_b), {m, 4}), array(std::move(gi)), array(std::move(pi)), array(std::move(px)));
}

// Whether no two masks share a pixel.
bool disjoint(nb::sequence counts, i64 h, i64 w) {
  check_size(h, w);
  Texts texts(counts);
  nb::gil_scoped_release release;
  Masks masks(texts, h, w);
  bool met = false;
  meeting_pairs(masks.boxes, masks.boxes, h, w, [&](std::size_t i, std::size_t j) {
    met = met || (i < j && common_pixels(masks.runs[i], masks.runs[j]));
  });
  return !met;
}

// The part of each mask inside a window (crop), or each mask of a window inside the image (paste).
nb::list window(nb::sequence counts, i64 h, i64 w, i64 x, i64 y, i64 bw, i64 bh, bool paste) {
  check_size(h, w), check_size(bh, bw);
  if (x < 0 || y < 0 || bw < 0 || bh < 0 || x > w - bw || y > h - bh)
    throw BadMask("the window at x " + std::to_string(x) + ", y " + std::to_string(y) + " of " + std::to_string(bw) + " x " + std::to_string(bh) + " px does not lie in the image of " + std::to_string(w) + " x " + std::to_string(h) + " px");
  Texts texts(counts);
  Strings out;
  {
    nb::gil_scoped_release release;
    Runs runs, made;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, paste ? bh * bw : h * w, runs);
      made.clear();
      by_column(runs, paste ? bh : h, [&](i64 c, i64 a, i64 b) {
        if (paste) return push_run(made, (c + x) * h + a + y, (c + x) * h + b + y);
        if (c < x || c >= x + bw) return;
        a = std::max(a, y), b = std::min(b, y + bh);
        if (a < b) push_run(made, (c - x) * bh + a - y, (c - x) * bh + b - y);
      });
      append_counts(out.text, made.begin(), made.end(), paste ? h * w : bh * bw);
      out.close();
    }
  }
  return out.list();
}

// ---------------------------------------------------------------- shapes of masks

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

nb::tuple parts(nb::sequence counts, i64 h, i64 w, int connectivity) {
  check_size(h, w);
  if (connectivity != 4 && connectivity != 8) throw BadMask("connectivity is " + std::to_string(connectivity) + "; expected 4 or 8");
  Texts texts(counts);
  Strings out;
  std::vector<std::size_t> first{0};
  {
    nb::gil_scoped_release release;
    Runs runs;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      Sets sets;
      auto pieces = pieces_of(runs, h, sets);
      join_columns(pieces, sets, connectivity == 8);
      std::unordered_map<std::uint32_t, std::size_t> index;
      std::vector<Runs> made;
      for (const Piece &p : pieces) {
        auto [it, fresh] = index.try_emplace(sets.root(p.set), made.size());
        if (fresh) made.emplace_back();
        push_run(made[it->second], p.column * h + p.top, p.column * h + p.bottom);
      }
      for (const Runs &r : made) {
        append_counts(out.text, r.begin(), r.end(), h * w);
        out.close();
      }
      first.push_back(out.ends.size());
    }
  }
  nb::list result;
  for (std::size_t i = 0; i + 1 < first.size(); ++i) result.append(out.list(first[i], first[i + 1]));
  return nb::make_tuple(result);
}

// For each mask: the number of parts by edges and by corners.
nb::tuple part_numbers(nb::sequence counts, i64 h, i64 w) {
  check_size(h, w);
  Texts texts(counts);
  std::vector<i64> four, eight;
  {
    nb::gil_scoped_release release;
    Runs runs;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      for (bool corners : {false, true}) {
        Sets sets;
        auto pieces = pieces_of(runs, h, sets);
        join_columns(pieces, sets, corners);
        i64 n = 0;
        for (std::uint32_t s = 0; s < sets.parent.size(); ++s) n += sets.root(s) == s;
        (corners ? eight : four).push_back(n);
      }
    }
  }
  return nb::make_tuple(array(std::move(four)), array(std::move(eight)));
}

// For each mask: number of holes, their pixels, the largest, and the mask with its holes filled.
nb::tuple holes(nb::sequence counts, i64 h, i64 w, int connectivity, bool fill) {
  check_size(h, w);
  if (connectivity != 4 && connectivity != 8) throw BadMask("connectivity is " + std::to_string(connectivity) + "; expected 4 or 8");
  Texts texts(counts);
  std::vector<i64> number, pixels, largest;
  Strings filled;
  {
    nb::gil_scoped_release release;
    Runs runs, inside, made;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      i64 n = 0, all = 0, most = 0;
      inside.clear();
      if (!runs.empty()) {
        Box box = box_of(runs, h);
        Sets sets;
        auto pieces = background_of(runs, h, box, sets);
        join_columns(pieces, sets, connectivity == 8);
        std::unordered_map<std::uint32_t, i64> sizes;
        const std::uint32_t outside = sets.root(pieces.front().set);
        for (const Piece &p : pieces) {
          std::uint32_t root = sets.root(p.set);
          if (root == outside) continue;
          sizes[root] += p.bottom - p.top;
          push_run(inside, (p.column + box.x) * h + p.top + box.y, (p.column + box.x) * h + p.bottom + box.y);
        }
        n = static_cast<i64>(sizes.size());
        for (auto &[root, size] : sizes) all += size, most = std::max(most, size);
      }
      number.push_back(n), pixels.push_back(all), largest.push_back(most);
      if (fill) {
        merge_runs(runs, inside, false, made);
        append_counts(filled.text, made.begin(), made.end(), h * w);
        filled.close();
      }
    }
  }
  return nb::make_tuple(array(std::move(number)), array(std::move(pixels)), array(std::move(largest)), filled.list());
}

// Area of the convex hull of all pixel corners of each mask, px² (Andrew's monotone chain over the columns).
Out<double> hull_areas(nb::sequence counts, i64 h, i64 w) {
  check_size(h, w);
  Texts texts(counts);
  std::vector<double> out;
  {
    nb::gil_scoped_release release;
    Runs runs;
    struct Point {
      i64 x, y;
    };
    auto turn = [](const Point &o, const Point &a, const Point &b) { return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x); };
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      std::vector<std::array<i64, 3>> columns;  // column, top, bottom
      by_column(runs, h, [&](i64 c, i64 a, i64 b) {
        if (!columns.empty() && columns.back()[0] == c) columns.back()[2] = b;
        else columns.push_back({c, a, b});
      });
      std::vector<Point> points;
      for (auto &[c, a, b] : columns)
        for (i64 x : {c, c + 1}) points.push_back({x, a}), points.push_back({x, b});
      std::sort(points.begin(), points.end(), [](const Point &a, const Point &b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
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
  }
  return array(std::move(out));
}

// ---------------------------------------------------------------- outlines along pixel edges

// Rings of masks from their runs: every run has an upper edge, walked to the right, and a lower one, walked to the left;
// where two columns meet, the ends of these edges are joined by the vertical edges between them.
class Outlines {
 public:
  std::vector<std::int32_t> xy;
  std::vector<i64> ring_first{0};
  std::vector<std::uint8_t> is_hole;

  void add(const Runs &runs, i64 h, bool corners) {
    rows_.clear(), columns_.clear(), first_.clear();
    by_column(runs, h, [&](i64 c, i64 a, i64 b) {
      const std::size_t columns = columns_.empty() ? 0 : static_cast<std::size_t>(c - columns_.front());
      while (first_.size() <= columns) first_.push_back(rows_.size());
      rows_.push_back(a), rows_.push_back(b), columns_.push_back(c);
    });
    next_.assign(rows_.size(), kSeen);
    first_.push_back(rows_.size());
    for (std::size_t c = 0; c + 1 < first_.size(); ++c) join(c ? first_[c - 1] : 0, first_[c], first_[c + 1], corners);
    if (first_.size() > 1) join(first_[first_.size() - 2], rows_.size(), rows_.size(), corners);
    trace();
  }

 private:
  static constexpr std::size_t kSeen = ~std::size_t(0);
  std::vector<i64> rows_, columns_;  // edge 2k is the upper, 2k + 1 the lower one of run k, which lies in columns_[k]
  std::vector<std::size_t> first_, next_, order_;  // first edge of a column; the edge walked after an edge

  // Edges that end between two columns, those of the left one (a to b) and of the right one (b to end), in the order of
  // their rows. A straight line goes on; the others are joined two by two. Where two pixels meet in a corner only, the
  // order of the two edges there decides whether they are parted or one.
  void join(std::size_t a, const std::size_t b, const std::size_t end, bool corners) {
    std::size_t waiting = kSeen;
    const auto meet = [&](std::size_t e) {
      if (waiting == kSeen) {
        waiting = e;
        return;
      }
      const bool arrives = (waiting < b) == !(waiting & 1);  // upper edges of the left column, lower ones of the right
      next_[arrives ? waiting : e] = arrives ? e : waiting;
      waiting = kSeen;
    };
    for (std::size_t r = b; a < b || r < end;) {
      if (r == end || (a < b && rows_[a] < rows_[r])) {
        meet(a++);
      } else if (a == b || rows_[r] < rows_[a]) {
        meet(r++);
      } else {
        const bool lower = a & 1;
        if (lower == static_cast<bool>(r & 1)) {
          next_[lower ? r : a] = lower ? a : r;
        } else {
          meet(lower != corners ? a : r), meet(lower != corners ? r : a);
        }
        ++a, ++r;
      }
    }
  }

  void trace() {
    const std::size_t n = rows_.size();
    std::size_t seen = 0, start = 0;
    if (!n) return;
    for (std::size_t e = 2; e < n; e += 2)
      if (rows_[e] < rows_[start]) start = e;
    walk(start, seen);
    if (seen == n) return;
    order_.clear();
    for (std::size_t e = 0; e < n; e += 2) order_.push_back(e);
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return rows_[a] < rows_[b]; });
    for (std::size_t e : order_)
      if (next_[e] != kSeen) walk(e, seen);
  }

  // One ring: from the end of its uppermost, leftmost edge to the corner where that begins.
  void walk(const std::size_t start, std::size_t &seen) {
    i64 area = 0;
    std::size_t e = start;
    do {
      const std::size_t after = next_[e];
      next_[e] = kSeen, ++seen;
      if (const i64 from = rows_[e], to = rows_[after]; from != to) {
        const i64 x = columns_[e >> 1] + !(e & 1);
        for (i64 v : {x, from, x, to}) xy.push_back(static_cast<std::int32_t>(v));
        area += x * (to - from);
      }
      e = after;
    } while (e != start);
    ring_first.push_back(static_cast<i64>(xy.size() / 2));
    is_hole.push_back(area < 0);  // outer rings run clockwise on the screen
  }
};

nb::tuple outlines(nb::sequence counts, i64 h, i64 w, int connectivity) {
  check_size(h, w);
  Texts texts(counts);
  Outlines found;
  std::vector<i64> mask_first{0};
  {
    nb::gil_scoped_release release;
    Runs runs;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts.read(i, h * w, runs);
      found.add(runs, h, connectivity == 8);
      mask_first.push_back(static_cast<i64>(found.is_hole.size()));
    }
  }
  const std::size_t n = found.xy.size() / 2;
  return nb::make_tuple(array(std::move(found.xy), {n, 2}), array(std::move(found.ring_first)), array(std::move(mask_first)),
                        array(std::move(found.is_hole)));
}

// ---------------------------------------------------------------- polygons

void check_offsets(i64 n_xy, const Vector<i64> &part_first, const Vector<i64> &mask_first) {
  const auto ascending = [](const Vector<i64> &v, i64 last) {
    if (v.shape(0) == 0 || v.data()[0] != 0 || v.data()[v.shape(0) - 1] != last) return false;
    return std::is_sorted(v.data(), v.data() + v.shape(0));
  };
  if (n_xy % 2 || !ascending(part_first, n_xy / 2) || !ascending(mask_first, static_cast<i64>(part_first.shape(0)) - 1))
    throw BadMask("polygon offsets must ascend from 0 to the number of points (parts)");
}

// Cells of parts of coordinates (lists, tuples or arrays) as flat arrays.
nb::tuple flat_polygons(nb::sequence cells) {
  std::vector<double> xy;
  std::vector<i64> part_first{0}, mask_first{0};
  for (nb::handle cell : cells) {
    for (nb::handle part : cell) {
      const std::size_t before = xy.size();
      if (PyList_CheckExact(part.ptr()) || PyTuple_CheckExact(part.ptr())) {
        for (nb::handle value : part) {
          const double v = PyFloat_AsDouble(value.ptr());
          if (v == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return nb::make_tuple();  // nested or odd: left to numpy
          }
          xy.push_back(v);
        }
      } else {
        nb::ndarray<const double, nb::c_contig, nb::device::cpu> array;
        if (!nb::try_cast(part, array, false)) return nb::make_tuple();
        xy.insert(xy.end(), array.data(), array.data() + array.size());
      }
      const std::size_t n = xy.size() - before;
      if (n % 2) throw BadMask("a polygon part has " + std::to_string(n) + " coordinates; expected pairs x, y");
      part_first.push_back(static_cast<i64>(xy.size() / 2));
    }
    mask_first.push_back(static_cast<i64>(part_first.size()) - 1);
  }
  return nb::make_tuple(array(std::move(xy)), array(std::move(part_first)), array(std::move(mask_first)));
}

nb::list polygons_to_rle(Vector<double> xy, Vector<i64> part_first, Vector<i64> mask_first, i64 h, i64 w) {
  check_size(h, w);
  const i64 n_xy = static_cast<i64>(xy.shape(0)), n = static_cast<i64>(mask_first.shape(0)) - 1;
  check_offsets(n_xy, part_first, mask_first);
  Strings out;
  {
    nb::gil_scoped_release release;
    Runs whole, next, made;
    for (i64 i = 0; i < n; ++i) {
      whole.clear();
      for (i64 p = mask_first.data()[i]; p < mask_first.data()[i + 1]; ++p) {
        const i64 a = part_first.data()[p], b = part_first.data()[p + 1];
        try {
          draw_polygon(xy.data() + 2 * a, static_cast<std::size_t>(b - a), h, w, next);
        } catch (const std::invalid_argument &exc) {
          throw BadMask(std::string(exc.what()) + " (cell " + std::to_string(i) + ")");
        }
        if (p == mask_first.data()[i]) {
          std::swap(whole, next);
        } else {
          merge_runs(whole, next, false, made);
          std::swap(whole, made);
        }
      }
      append_counts(out.text, whole.begin(), whole.end(), h * w);
      out.close();
    }
  }
  return out.list();
}

std::uint64_t get_number(std::string_view text, std::size_t &at) {
  std::uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at >= text.size()) throw BadMask("a packed polygon ends in the middle of a number");
    std::uint8_t byte = static_cast<std::uint8_t>(text[at++]);
    v |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return v;
  }
  throw BadMask("a packed polygon holds a number too large");
}

nb::list pack_polygons(Vector<double> xy, Vector<i64> part_first, Vector<i64> mask_first) {
  Strings out;
  const i64 n = static_cast<i64>(mask_first.shape(0)) - 1;
  check_offsets(static_cast<i64>(xy.shape(0)), part_first, mask_first);
  {
    nb::gil_scoped_release release;
    for (i64 i = 0; i < n; ++i) {
      const i64 p0 = mask_first.data()[i], p1 = mask_first.data()[i + 1];
      const i64 *first = part_first.data() + p0;
      pack_polygon(out.text, xy.data() + 2 * first[0], first, p1 - p0);
      out.close();
    }
  }
  return out.list();
}

nb::tuple unpack_polygons(nb::sequence packed) {
  Texts texts(packed);
  std::vector<double> xy;
  std::vector<i64> part_first{0}, mask_first{0};
  for (std::string_view text : texts.views) {
    std::size_t at = 1;
    if (text.empty() || (text[0] != kHundredths && text[0] != kExact)) throw BadMask("a packed polygon begins with an unknown byte");
    std::uint64_t parts = get_number(text, at), points = 0;
    if (parts > text.size()) throw BadMask("a packed polygon is cut short");
    for (std::uint64_t p = 0; p < parts; ++p) {
      std::uint64_t n = get_number(text, at);
      if (n > text.size()) throw BadMask("a packed polygon is cut short");
      points += n;
      part_first.push_back(part_first.back() + static_cast<i64>(n));
    }
    if (text[0] == kHundredths) {
      i64 last[2] = {0, 0};
      for (std::uint64_t k = 0; k < 2 * points; ++k) {
        std::uint64_t z = get_number(text, at);
        last[k & 1] += static_cast<i64>(z >> 1) ^ -static_cast<i64>(z & 1);
        xy.push_back(static_cast<double>(last[k & 1]) / 100);
      }
    } else {
      if (text.size() - at != points * 2 * sizeof(double)) throw BadMask("a packed polygon is cut short");
      std::size_t n = xy.size();
      xy.resize(n + 2 * points);
      if (points) std::memcpy(xy.data() + n, text.data() + at, text.size() - at);
    }
    mask_first.push_back(static_cast<i64>(part_first.size()) - 1);
  }
  return nb::make_tuple(array(std::move(xy)), array(std::move(part_first)), array(std::move(mask_first)));
}

// A stack of label maps, layer after layer: its cells, numbered in the order of layer and value, painted into one map,
// later layers on top, and, where two layers share a pixel, into a map for each layer. Values that are no whole numbers
// are left out and counted for each layer; so are pixels that neither these nor the next layer, the background, claims.
template <class T> nb::tuple layer_cells(nb::ndarray<const T, nb::ndim<3>, nb::c_contig, nb::device::cpu> stack, i64 layers) {
  const i64 h = static_cast<i64>(stack.shape(0)), w = static_cast<i64>(stack.shape(1)), channels = static_cast<i64>(stack.shape(2));
  check_size(h, w);
  if (layers < 0 || layers > channels) throw BadMask("more layers asked for than the stack has");
  const i64 pixels = h * w;
  std::vector<std::int32_t> flat(static_cast<std::size_t>(pixels), 0), planes, layer;
  std::vector<i64> value, strange(static_cast<std::size_t>(layers) + 1, 0);
  i64 shared = 0, unclaimed = 0;
  {
    nb::gil_scoped_release release;
    struct Stretch { std::int32_t layer; std::int32_t value; i64 from, to; };
    std::vector<Stretch> found;
    std::vector<std::uint8_t> ground(static_cast<std::size_t>(pixels), 0);
    layer_runs(stack.data(), pixels, channels, std::min(layers + 1, channels), [&](i64 of, i64 from, i64 to, T v) {
      const double x = static_cast<double>(v);
      if (!(x > 0) || x > 2147483647. || x != std::floor(x)) strange[static_cast<std::size_t>(of)] += to - from;
      else if (of == layers) std::fill(ground.begin() + from, ground.begin() + to, std::uint8_t(1));
      else found.push_back({static_cast<std::int32_t>(of), static_cast<std::int32_t>(v), from, to});
    });
    std::vector<std::pair<std::int32_t, std::int32_t>> keys;
    for (const Stretch &f : found)
      if (keys.empty() || keys.back() != std::pair(f.layer, f.value)) keys.emplace_back(f.layer, f.value);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    for (const auto &key : keys) layer.push_back(key.first), value.push_back(key.second);
    const auto number = [&](const Stretch &f) {
      return static_cast<std::int32_t>(std::lower_bound(keys.begin(), keys.end(), std::pair(f.layer, f.value)) - keys.begin()) + 1;
    };
    bool twice = false;
    for (const Stretch &f : found) {
      const std::int32_t n = number(f);
      for (i64 p = f.from; p < f.to; ++p) twice |= flat[static_cast<std::size_t>(p)] != 0, flat[static_cast<std::size_t>(p)] = n;
    }
    if (twice) { // labels of one layer never share a pixel, so that only the order of the layers matters
      std::stable_sort(found.begin(), found.end(), [](const Stretch &x, const Stretch &y) { return x.layer < y.layer; });
      planes.assign(static_cast<std::size_t>(layers * pixels), 0);
      std::vector<std::uint8_t> cover(static_cast<std::size_t>(pixels), 0);
      for (const Stretch &f : found) {
        const std::int32_t n = number(f);
        std::fill(flat.begin() + f.from, flat.begin() + f.to, n);
        std::fill(planes.begin() + f.layer * pixels + f.from, planes.begin() + f.layer * pixels + f.to, n);
        for (i64 p = f.from; p < f.to; ++p) shared += ++cover[static_cast<std::size_t>(p)] == 2;
      }
    }
    for (std::size_t p = 0; p < flat.size(); ++p) unclaimed += !flat[p] & !ground[p];
  }
  const auto rows = static_cast<std::size_t>(h), columns = static_cast<std::size_t>(w);
  const std::size_t kept = shared ? static_cast<std::size_t>(layers) : 0;
  return nb::make_tuple(array(std::move(flat), {rows, columns}), array(std::move(planes), {kept, rows, columns}),
                        array(std::move(layer)), array(std::move(value)), array(std::move(strange)), shared, unclaimed);
}

// ---------------------------------------------------------------- overlap table of two label maps

// Joint runs of two maps, strip after strip; every pair (a, b) that is not (0, 0) keeps its pixels and its box.
class Overlaps {
 public:
  Overlaps() : index_(std::size_t(1) << 12, kNone), shift_(64 - 12) {}

  template <class T> void add(Map<T> a, Map<T> b, i64 row0) {
    if (a.shape(0) != b.shape(0) || a.shape(1) != b.shape(1)) throw BadMask("the label maps differ in size");
    const i64 h = static_cast<i64>(a.shape(0)), w = static_cast<i64>(a.shape(1));
    check_size(row0, w), check_size(row0 + h, w);
    nb::gil_scoped_release release;
    const i64 threads = std::min<i64>(std::max(1u, std::thread::hardware_concurrency()), h * w / kPixelsOfThread);
    if (threads < 2) return rows(a.data(), b.data(), 0, h, w, row0);
    std::vector<Overlaps> parts(static_cast<std::size_t>(threads));
    spread(threads, static_cast<int>(threads), [&](i64 t) {
      parts[static_cast<std::size_t>(t)].rows(a.data(), b.data(), h * t / threads, h * (t + 1) / threads, w, row0);
    });
    for (const Overlaps &part : parts) absorb(part);
  }

  // Ids, areas and boxes of both sides, ascending by id, then the pairs: positions and pixels, ascending.
  nb::tuple finish() {
    Side a, b;
    std::vector<i64> a_index, b_index, pixels;
    {
      nb::gil_scoped_release release;
      const std::vector<Pair> &used = pairs_;
      std::vector<std::uint32_t> at_a(used.size()), at_b(used.size());
      fill(a, used, at_a, large_a_, [](const Pair &s) { return static_cast<std::uint32_t>(s.key >> 32); });
      fill(b, used, at_b, large_b_, [](const Pair &s) { return static_cast<std::uint32_t>(s.key); });
      // sorted by the first side in one pass of counting, by the second within its few pairs
      std::vector<std::size_t> first(a.ids.size() + 1, 0);
      for (std::size_t k = 0; k < used.size(); ++k)
        if (at_a[k] != kNone && at_b[k] != kNone) ++first[at_a[k] + 1];
      std::partial_sum(first.begin(), first.end(), first.begin());
      std::vector<std::pair<std::uint32_t, i64>> pairs(first.back());
      std::vector<std::size_t> next(first.begin(), first.end() - 1);
      for (std::size_t k = 0; k < used.size(); ++k)
        if (at_a[k] != kNone && at_b[k] != kNone) pairs[next[at_a[k]]++] = {at_b[k], used[k].pixels};
      for (std::size_t k = 0; k + 1 < first.size(); ++k) {
        std::sort(pairs.begin() + static_cast<std::ptrdiff_t>(first[k]), pairs.begin() + static_cast<std::ptrdiff_t>(first[k + 1]));
        for (std::size_t q = first[k]; q < first[k + 1]; ++q) {
          a_index.push_back(static_cast<i64>(k)), b_index.push_back(static_cast<i64>(pairs[q].first));
          pixels.push_back(pairs[q].second);
        }
      }
    }
    const std::size_t n = a.ids.size(), m = b.ids.size();
    return nb::make_tuple(nb::make_tuple(array(std::move(a.ids)), array(std::move(a.areas)), array(std::move(a.boxes), {n, 4})),
                          nb::make_tuple(array(std::move(b.ids)), array(std::move(b.areas)), array(std::move(b.boxes), {m, 4})),
                          array(std::move(a_index)), array(std::move(b_index)), array(std::move(pixels)));
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t(0), kLarge = std::uint32_t(1) << 31;
  static constexpr std::size_t kNear = std::size_t(1) << 20;  // labels below are looked up in a table
  static constexpr i64 kPixelsOfThread = i64(1) << 20;  // fewer are not worth a thread
  struct Pair {
    std::uint64_t key;
    i64 pixels;
    std::int32_t x0, x1, y0, y1;
  };
  struct Near {  // where a label's pair with background is, and its last pair with a label
    std::uint32_t other[2] = {kNone, kNone}, pair[2] = {0, 0};
  };
  struct Side {
    std::vector<i64> ids, areas;
    std::vector<std::int32_t> boxes;
  };
  struct Large {  // labels of 2^31 and more, numbered as they come
    std::unordered_map<i64, std::uint32_t> number;
    std::vector<i64> labels;
  };

  template <class T> void rows(const T *a, const T *b, i64 from, i64 to, i64 w, i64 row0) {
    for (i64 r = from; r < to; ++r)
      joint_stretches(a + r * w, b + r * w, w, [&](T va, T vb, i64 x0, i64 x1) { note(va, vb, x0, x1, row0 + r); });
  }

  void absorb(const Overlaps &other) {  // the table of other rows
    const auto known = [](std::uint32_t label, const Large &theirs, Large &ours) {
      return label < kLarge ? label : narrow(theirs.labels[label - kLarge], ours);
    };
    for (const Pair &more : other.pairs_) {
      const std::uint32_t a = known(static_cast<std::uint32_t>(more.key >> 32), other.large_a_, large_a_);
      const std::uint32_t b = known(static_cast<std::uint32_t>(more.key), other.large_b_, large_b_);
      Pair &pair = pairs_[find(a, b, more.x0, more.x1, more.y0)];
      pair.pixels += more.pixels;
      pair.x0 = std::min(pair.x0, more.x0), pair.x1 = std::max(pair.x1, more.x1);
      pair.y0 = std::min(pair.y0, more.y0), pair.y1 = std::max(pair.y1, more.y1);
    }
  }

  template <class T> static std::uint32_t narrow(T label, Large &large) {
    if constexpr (std::is_signed_v<T>)
      if (label < 0) refuse_negative(static_cast<i64>(label));
    if constexpr (sizeof(T) == 8) {
      if (label >= static_cast<T>(kLarge)) {
        auto [it, fresh] = large.number.try_emplace(static_cast<i64>(label), kLarge + static_cast<std::uint32_t>(large.labels.size()));
        if (fresh) large.labels.push_back(static_cast<i64>(label));
        return it->second;
      }
    }
    return static_cast<std::uint32_t>(label);
  }

  // Background with background is counted as well, and left out at the end: runs alternate too fast to be guessed.
  template <class T> void note(T va, T vb, i64 from, i64 to, i64 r) {
    const std::uint32_t a = narrow(va, large_a_), b = narrow(vb, large_b_);
    std::uint32_t at;
    if ((a | b) < near_a_.size()) {
      Near &near = a ? near_a_[a] : near_b_[b];
      const int both = (a != 0) & (b != 0);
      if (near.other[both] != b) near.pair[both] = find(a, b, from, to, r), near.other[both] = b;
      at = near.pair[both];
    } else {
      at = far(a, b, from, to, r);
    }
    Pair &pair = pairs_[at];
    pair.pixels += to - from;
    pair.x0 = std::min(pair.x0, static_cast<std::int32_t>(from));
    pair.x1 = std::max(pair.x1, static_cast<std::int32_t>(to));
    pair.y1 = static_cast<std::int32_t>(r + 1);
  }

  std::uint32_t far(std::uint32_t a, std::uint32_t b, i64 from, i64 to, i64 r) {
    const std::uint32_t at = find(a, b, from, to, r);
    std::size_t size = std::max<std::size_t>(near_a_.size(), 512);
    while (size <= (a | b) && size < kNear) size *= 2;
    if (size > (a | b)) near_a_.resize(size), near_b_.resize(size);
    return at;
  }

  static std::uint64_t mixed(std::uint64_t key) { return (key * 0x9E3779B97F4A7C15ull ^ key >> 32) * 0xD6E8FEB86659FD93ull; }

  std::uint32_t find(std::uint32_t a, std::uint32_t b, i64 from, i64 to, i64 r) {
    const std::uint64_t key = static_cast<std::uint64_t>(a) << 32 | b;
    const std::size_t mask = index_.size() - 1;
    std::size_t at = static_cast<std::size_t>(mixed(key) >> shift_);
    while (index_[at] != kNone && pairs_[index_[at]].key != key) at = (at + 1) & mask;
    if (index_[at] != kNone) return index_[at];
    const std::uint32_t made = index_[at] = static_cast<std::uint32_t>(pairs_.size());
    pairs_.push_back({key, 0, static_cast<std::int32_t>(from), static_cast<std::int32_t>(to), static_cast<std::int32_t>(r), 0});
    if (pairs_.size() * 2 > index_.size()) grow();
    return made;
  }

  void grow() {
    index_.assign(index_.size() * 4, kNone);
    shift_ -= 2;
    const std::size_t mask = index_.size() - 1;
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      std::size_t at = static_cast<std::size_t>(mixed(pairs_[k].key) >> shift_);
      while (index_[at] != kNone) at = (at + 1) & mask;
      index_[at] = static_cast<std::uint32_t>(k);
    }
  }

  // One side of the pairs: its cells in ascending order, and for each pair the position of its cell.
  template <class F> static void fill(Side &side, const std::vector<Pair> &used, std::vector<std::uint32_t> &at, const Large &large, F label_of) {
    Numbering number;
    for (std::size_t k = 0; k < used.size(); ++k) {
      const std::uint32_t label = label_of(used[k]);
      at[k] = label ? static_cast<std::uint32_t>(number(label >= kLarge ? large.labels[label - kLarge] : static_cast<i64>(label))) : kNone;
    }
    const auto order = number.ascending();
    std::vector<std::uint32_t> rank(order.size());
    for (std::size_t k = 0; k < order.size(); ++k) rank[order[k]] = static_cast<std::uint32_t>(k), side.ids.push_back(number.labels()[order[k]]);
    side.areas.assign(order.size(), 0);
    side.boxes.resize(4 * order.size());
    for (std::size_t k = 0; k < order.size(); ++k) side.boxes[4 * k] = side.boxes[4 * k + 1] = std::numeric_limits<std::int32_t>::max();
    for (std::size_t k = 0; k < used.size(); ++k) {
      if (at[k] == kNone) continue;
      at[k] = rank[at[k]];
      side.areas[at[k]] += used[k].pixels;
      std::int32_t *box = side.boxes.data() + 4 * at[k];
      box[0] = std::min(box[0], used[k].x0), box[1] = std::min(box[1], used[k].y0);
      box[2] = std::max(box[2], used[k].x1), box[3] = std::max(box[3], used[k].y1);
    }
    for (std::size_t k = 0; k < order.size(); ++k) side.boxes[4 * k + 2] -= side.boxes[4 * k], side.boxes[4 * k + 3] -= side.boxes[4 * k + 1];
  }

  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> index_;  // hash → position in pairs_
  int shift_;
  std::vector<Near> near_a_, near_b_;
  Large large_a_, large_b_;
};

}  // namespace

NB_MODULE(geometry, m) {
  m.doc() = "Geometry kernels; use them through celltable.geometry.";
  nb::object found = nb::module_::import_("celltable.errors").attr("MaskError");
  static PyObject *mask_error = found.release().ptr();
  nb::register_exception_translator([](const std::exception_ptr &p, void *) {
    try {
      std::rethrow_exception(p);
    } catch (const BadMask &exc) {
      PyErr_SetString(mask_error, exc.what());
    }
  });
  m.def("label_rles", &label_rles<std::uint8_t>, "map"_a.noconvert(), "transposed"_a);
  m.def("label_rles", &label_rles<std::uint16_t>, "map"_a.noconvert(), "transposed"_a);
  m.def("label_rles", &label_rles<std::int32_t>, "map"_a.noconvert(), "transposed"_a);
  m.def("label_rles", &label_rles<i64>, "map"_a.noconvert(), "transposed"_a);
  m.def("label_measures", &label_measures<std::uint8_t>, "map"_a.noconvert());
  m.def("label_measures", &label_measures<std::uint16_t>, "map"_a.noconvert());
  m.def("label_measures", &label_measures<std::int32_t>, "map"_a.noconvert());
  m.def("label_measures", &label_measures<i64>, "map"_a.noconvert());
  m.def("layer_cells", &layer_cells<std::uint8_t>, "stack"_a.noconvert(), "layers"_a);
  m.def("layer_cells", &layer_cells<std::uint16_t>, "stack"_a.noconvert(), "layers"_a);
  m.def("layer_cells", &layer_cells<std::int32_t>, "stack"_a.noconvert(), "layers"_a);
  m.def("layer_cells", &layer_cells<i64>, "stack"_a.noconvert(), "layers"_a);
  m.def("layer_cells", &layer_cells<float>, "stack"_a.noconvert(), "layers"_a);
  m.def("layer_cells", &layer_cells<double>, "stack"_a.noconvert(), "layers"_a);
  m.def("components", &components<std::uint8_t>, "map"_a.noconvert(), "connectivity"_a);
  m.def("components", &components<std::uint16_t>, "map"_a.noconvert(), "connectivity"_a);
  m.def("components", &components<std::int32_t>, "map"_a.noconvert(), "connectivity"_a);
  m.def("components", &components<i64>, "map"_a.noconvert(), "connectivity"_a);
  m.def("encode", &encode, "mask"_a.noconvert(), "transposed"_a);
  m.def("decode", &decode, "counts"_a, "height"_a, "width"_a);
  m.def("to_runs", &to_runs, "counts"_a, "total"_a);
  m.def("from_runs", &from_runs, "starts"_a, "lengths"_a, "total"_a);
  m.def("measures", &measures, "counts"_a, "height"_a, "width"_a);
  m.def("paint", &paint, "counts"_a, "height"_a, "width"_a, "labels"_a, "order"_a);
  m.def("merge", &merge, "counts"_a, "height"_a, "width"_a, "intersect"_a);
  m.def("subtract", &subtract, "a"_a, "b"_a, "height"_a, "width"_a);
  m.def("iou", &iou, "a"_a, "b"_a, "height"_a, "width"_a, "iscrowd"_a);
  m.def("disjoint", &disjoint, "counts"_a, "height"_a, "width"_a);
  m.def("overlap_rles", &overlap_rles, "a"_a, "b"_a, "height"_a, "width"_a);
  m.def("window", &window, "counts"_a, "height"_a, "width"_a, "x"_a, "y"_a, "box_width"_a, "box_height"_a, "paste"_a);
  m.def("parts", &parts, "counts"_a, "height"_a, "width"_a, "connectivity"_a);
  m.def("part_numbers", &part_numbers, "counts"_a, "height"_a, "width"_a);
  m.def("holes", &holes, "counts"_a, "height"_a, "width"_a, "connectivity"_a, "fill"_a);
  m.def("hull_areas", &hull_areas, "counts"_a, "height"_a, "width"_a);
  m.def("outlines", &outlines, "counts"_a, "height"_a, "width"_a, "connectivity"_a);
  m.def("flat_polygons", &flat_polygons, "cells"_a);
  m.def("polygons_to_rle", &polygons_to_rle, "xy"_a, "part_first"_a, "mask_first"_a, "height"_a, "width"_a);
  m.def("pack_polygons", &pack_polygons, "xy"_a, "part_first"_a, "mask_first"_a);
  m.def("unpack_polygons", &unpack_polygons, "packed"_a);
  nb::class_<Overlaps>(m, "Overlaps")
      .def(nb::init<>())
      .def("add", &Overlaps::add<std::uint8_t>, "a"_a.noconvert(), "b"_a.noconvert(), "row"_a)
      .def("add", &Overlaps::add<std::uint16_t>, "a"_a.noconvert(), "b"_a.noconvert(), "row"_a)
      .def("add", &Overlaps::add<std::int32_t>, "a"_a.noconvert(), "b"_a.noconvert(), "row"_a)
      .def("add", &Overlaps::add<i64>, "a"_a.noconvert(), "b"_a.noconvert(), "row"_a)
      .def("finish", &Overlaps::finish);
}
