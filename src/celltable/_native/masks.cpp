// Masks as run lengths: made, read, measured, painted, combined and cut without a stack of masks in memory.
#include <algorithm>

#include "geometry.hpp"
#include "labels.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

Runs encode(const std::uint8_t *mask, Size size, bool transposed) {
  Numbering number;
  Runs runs;
  for (const LabelRun &r : column_runs(mask, size, transposed, number)) push_run(runs, r.start, r.end);
  return runs;
}

void decode(const Runs &runs, Size size, std::uint8_t *out) {
  by_column(runs, size.h, [&](i64 c, i64 a, i64 b) {
    for (i64 r = a; r < b; ++r) out[r * size.w + c] = 1;
  });
}

Runs checked_runs(const i64 *starts, const i64 *lengths, std::size_t count, i64 total) {
  Runs runs;
  i64 position = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const i64 a = starts[i], n = lengths[i];
    if (n < 0 || a < position || a > total - n)
      throw MaskError("run " + std::to_string(i) + " starts at " + std::to_string(a) + " with length " +
                      std::to_string(n) + "; expected ascending, disjoint runs inside " + std::to_string(total) +
                      " pixels");
    push_run(runs, a, a + n);
    position = a + n;
  }
  return runs;
}

struct Measures {
  std::vector<i64> areas;
  std::vector<std::int32_t> boxes;
};

Measures measures(const Batch &masks, Size size) {
  Measures out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    out.areas.push_back(area_of(runs));
    add_box(out.boxes, box_of(runs, size.h));
  }
  return out;
}

// Return the masks at some positions, in that order.
BatchText take(const Batch &masks, const i64 *where, std::size_t n) {
  BatchText out;
  out.starts.reserve(n + 1);
  std::size_t bytes = 0;
  for (std::size_t k = 0; k < n; ++k) {
    if (where[k] < 0 || where[k] >= masks.size())
      throw std::out_of_range("position " + std::to_string(where[k]) + " of " + std::to_string(masks.size()) +
                              " masks");
    bytes += masks[where[k]].size();
  }
  out.text.reserve(bytes);
  for (std::size_t k = 0; k < n; ++k) out.text += masks[where[k]], out.close();
  return out;
}

// Say which masks are not valid for the size, and why.
std::vector<std::pair<i64, std::string>> faults(const Batch &masks, Size size) {
  std::vector<std::pair<i64, std::string>> out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    try {
      masks.read(i, size, runs);
    } catch (const MaskError &exc) {
      out.emplace_back(i, exc.what());
    }
  }
  return out;
}

struct Lost {  // to masks painted later
  i64 pixels = 0, cells = 0;
};

// Paint masks in `order`, later over earlier; labels[i] is what mask i paints.
Lost paint(const Batch &masks, Size size, const std::int32_t *labels, const i64 *order, std::int32_t *out) {
  const i64 n = masks.size(), w = size.w;
  Lost lost;
  std::vector<i64> left(n, 0);
  std::vector<char> any(n, 0);
  Runs runs;
  for (i64 k = 0; k < n; ++k) {  // first with positions + 1, so that painted-over cells are known
    const i64 i = order[k];
    if (i < 0 || i >= n) throw MaskError("order names a mask that does not exist");
    masks.read(i, size, runs);
    const auto mine = static_cast<std::int32_t>(i + 1);
    by_column(runs, size.h, [&](i64 c, i64 a, i64 b) {
      std::int32_t *p = out + a * w + c;
      for (i64 r = a; r < b; ++r, p += w) {
        if (const std::int32_t before = *p; before && before != mine) --left[before - 1], ++lost.pixels;
        *p = mine;
      }
      left[i] += b - a;
    });
    if (!runs.empty()) any[i] = 1;
  }
  bool same = true;
  for (i64 i = 0; i < n; ++i) {
    lost.cells += any[i] && left[i] == 0;
    same &= labels[i] == static_cast<std::int32_t>(i + 1);
  }
  if (same) return lost;
  std::vector<std::int32_t> value(n + 1, 0);
  std::copy(labels, labels + n, value.begin() + 1);
  for (i64 p = 0; p < size.pixels(); ++p) out[p] = value[out[p]];
  return lost;
}

Runs merge(const Batch &masks, Size size, bool intersect) {
  Runs whole, next, made;
  if (masks.size()) masks.read(0, size, whole);
  for (i64 i = 1; i < masks.size(); ++i) {
    masks.read(i, size, next);
    merge_runs(whole, next, intersect, made);
    std::swap(whole, made);
  }
  return whole;
}

Runs subtract(const Batch &keep, const Batch &take, Size size) {
  Runs kept, taken, rest, made;
  keep.read(0, size, kept), take.read(0, size, taken);
  i64 position = 0;
  for (const Run &r : taken) push_run(rest, position, r.start), position = r.end;
  push_run(rest, position, size.pixels());
  merge_runs(kept, rest, true, made);
  return made;
}

// The part of each mask inside a window at (x, y), as masks of the window's size.
BatchText crop(const Batch &masks, Size image, Size window, i64 x, i64 y) {
  BatchText out;
  Runs runs, made;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, image, runs);
    made.clear();
    by_column(runs, image.h, [&](i64 c, i64 a, i64 b) {
      if (c < x || c >= x + window.w) return;
      a = std::max(a, y), b = std::min(b, y + window.h);
      if (a < b) push_run(made, (c - x) * window.h + a - y, (c - x) * window.h + b - y);
    });
    out.add(made, window);
  }
  return out;
}

// Masks of a window at (x, y) as masks of the image.
BatchText paste(const Batch &masks, Size image, Size window, i64 x, i64 y) {
  BatchText out;
  Runs runs, made;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, window, runs);
    made.clear();
    by_column(runs, window.h,
              [&](i64 c, i64 a, i64 b) { push_run(made, (c + x) * image.h + a + y, (c + x) * image.h + b + y); });
    out.add(made, image);
  }
  return out;
}

nb::bytes counts_of(const Runs &runs, Size size) { return bytes(to_counts(runs, size.pixels())); }

BatchText batch_of_one(nb::handle counts) { return texts_of(nb::make_tuple(counts)); }

}  // namespace

void bind_masks(nb::module_ &m) {
  m.def("encode", [](Table<std::uint8_t> mask, bool transposed) {
    const Size size(static_cast<i64>(mask.shape(transposed)), static_cast<i64>(mask.shape(!transposed)));
    return counts_of(without_gil([&] { return encode(mask.data(), size, transposed); }), size);
  }, "mask"_a.noconvert(), "transposed"_a);
  m.def("decode", [](nb::bytes counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchText mask = batch_of_one(counts);
    Runs runs;
    Batch(mask).read(0, size, runs);
    Zeros<std::uint8_t> out(size);
    without_gil([&] { decode(runs, size, out.data()); });
    return std::move(out).array();
  }, "counts"_a, "height"_a, "width"_a);
  m.def("to_runs", [](nb::bytes counts, i64 total) {
    const BatchText mask = batch_of_one(counts);
    Runs runs;
    Batch(mask).read(0, total, runs);
    std::vector<i64> starts, lengths;
    for (const Run &r : runs) starts.push_back(r.start), lengths.push_back(r.end - r.start);
    return nb::make_tuple(array(std::move(starts)), array(std::move(lengths)));
  }, "counts"_a, "total"_a);
  m.def("from_runs", [](Vector<i64> starts, Vector<i64> lengths, i64 total) {
    if (starts.shape(0) != lengths.shape(0)) throw MaskError("starts and lengths differ in number");
    return bytes(to_counts(checked_runs(starts.data(), lengths.data(), starts.shape(0), total), total));
  }, "starts"_a, "lengths"_a, "total"_a);
  m.def("measures", [](nb::handle counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    Measures made = without_gil([&] { return measures(masks, size); });
    const std::size_t n = made.areas.size();
    return nb::make_tuple(array(std::move(made.areas)), array(std::move(made.boxes), n, 4));
  }, "masks"_a, "height"_a, "width"_a);
  m.def("take", [](nb::handle counts, Vector<i64> where) {
    const BatchArrays masks = batch_of(counts);
    return arrays(without_gil([&] { return take(masks, where.data(), where.shape(0)); }));
  }, "masks"_a, "where"_a);
  m.def("faults", [](nb::handle counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    nb::dict out;
    for (const auto &[i, reason] : without_gil([&] { return faults(masks, size); }))
      out[nb::int_(i)] = nb::str(reason.data(), reason.size());
    return out;
  }, "masks"_a, "height"_a, "width"_a);
  m.def("paint", [](nb::handle counts, i64 h, i64 w, Vector<std::int32_t> labels, Vector<i64> order) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    const auto n = static_cast<std::size_t>(masks.size());
    if (labels.shape(0) != n || order.shape(0) != n) throw MaskError("labels and order need one entry per mask");
    if (masks.size() >= kMaxSide) throw MaskError("more masks than a label map can number");
    Zeros<std::int32_t> out(size);
    const Lost lost = without_gil([&] { return paint(masks, size, labels.data(), order.data(), out.data()); });
    return nb::make_tuple(std::move(out).array(), lost.pixels, lost.cells);
  }, "masks"_a, "height"_a, "width"_a, "labels"_a, "order"_a);
  m.def("merge", [](nb::handle counts, i64 h, i64 w, bool intersect) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    return counts_of(without_gil([&] { return merge(masks, size, intersect); }), size);
  }, "masks"_a, "height"_a, "width"_a, "intersect"_a);
  m.def("subtract", [](nb::bytes a, nb::bytes b, i64 h, i64 w) {
    const Size size(h, w);
    return counts_of(subtract(batch_of_one(a), batch_of_one(b), size), size);
  }, "a"_a, "b"_a, "height"_a, "width"_a);
  m.def("window", [](nb::handle counts, i64 h, i64 w, i64 x, i64 y, i64 box_width, i64 box_height, bool into_image) {
    const Size image(h, w), window(box_height, box_width);
    if (x < 0 || y < 0 || x > w - window.w || y > h - window.h)
      throw MaskError("the window at x " + std::to_string(x) + ", y " + std::to_string(y) + " of " +
                      std::to_string(window.w) + " x " + std::to_string(window.h) + " px is not inside the image of " +
                      std::to_string(w) + " x " + std::to_string(h) + " px");
    const BatchArrays masks = batch_of(counts);
    return arrays(without_gil([&] { return (into_image ? paste : crop)(masks, image, window, x, y); }));
  }, "masks"_a, "height"_a, "width"_a, "x"_a, "y"_a, "box_width"_a, "box_height"_a, "paste"_a);
}

}  // namespace celltable
