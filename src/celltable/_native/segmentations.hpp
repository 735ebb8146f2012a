// Segmentations of a COCO file, read row by row: polygons, drawn polygons and run lengths.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "cocofile.hpp"
#include "polygon.hpp"
#include "runs.hpp"

namespace celltable {

// Reads segmentations in the requested order, through a small window of the file.
class Shapes {
 public:
  explicit Shapes(const CocoFile &file) : file_(file) {}
  std::string_view text(i64 row) {
    const i64 at = file_.at[static_cast<size_t>(row)], n = file_.length[static_cast<size_t>(row)];
    if (at < start_ || at + n + static_cast<i64>(padding) > start_ + static_cast<i64>(window_.size())) {
      window_.resize(static_cast<size_t>(std::max<i64>(n, 1 << 16)) + padding);
      window_.resize(file_.source().read(at, window_.data(), window_.size() - padding) + padding);
      std::memset(window_.data() + window_.size() - padding, 0, padding);
      start_ = at;
      if (static_cast<i64>(window_.size() - padding) < n)
        throw JsonError{"the file became shorter while it was read", at};
    }
    return std::string_view(window_.data() + (at - start_), static_cast<size_t>(n));
  }
  Cursor cursor(i64 row) {
    const std::string_view t = text(row);
    Cursor c;
    c.begin = c.p = t.data();
    c.end = t.data() + t.size();
    c.last = true;
    c.base = file_.at[static_cast<size_t>(row)];
    return c;
  }

 private:
  const CocoFile &file_;
  std::vector<char> window_;
  i64 start_ = 0;
};

inline void numbers_of(Cursor &c, std::vector<double> &out) {  // a list of numbers
  c.expect('[', "a polygon");
  if (c.peek("a polygon") == ']') {
    ++c.p;
    return;
  }
  double some[64];
  size_t n = 0;
  const auto flush = [&] { out.insert(out.end(), some, some + n), n = 0; };
  do {
    c.space();
    bool complete = false;
    const char *q = c.p;  // a register, not the cursor's memory, for the usual: number, comma, space
    while (!complete && Cursor::simple(q, some + n)) {
      if (++n == std::size(some)) flush();
      if (!(complete = *q != ',')) q += q[1] == ' ' ? 2 : 1;
    }
    c.p = q;
    if (!complete) {
      flush();
      c.space();
      out.push_back(c.number());
    }
    if (c.p > c.end) c.fail("the file changed while it was read");
  } while (c.next(']', "a polygon"));
  flush();
}

// Append the compressed counts of one row to `out`; false if it has none or they are not valid.
inline bool counts_of(Shapes &shapes, const CocoFile &file, i64 row, std::string &out) {
  const auto kind = file.shape[static_cast<size_t>(row)];
  if (kind != compressed && kind != uncompressed) return false;
  Cursor c = shapes.cursor(row);
  c.expect('{', "a segmentation");
  bool good = false;
  const size_t before = out.size();
  do {
    const std::string key = c.string();
    c.expect(':', "a segmentation");
    const char v = c.peek("a value");
    if (key != "counts") {
      c.skip_value(3);
      continue;
    }
    out.resize(before);
    if (v == '"') {
      bool escaped;
      c.peek("a value");
      const std::string_view raw = c.raw_string(escaped);
      if (escaped) out += Cursor::unescape(raw);
      else out += raw;
      good = true;
    } else if (v == '[') {
      std::vector<double> values;
      numbers_of(c, values);
      CountWriter writer(out);
      good =
          std::all_of(values.begin(), values.end(), [](double x) { return x >= 0 && x <= 4e15 && x == std::floor(x); });
      for (size_t k = 0; good && k < values.size(); ++k) writer.put(static_cast<i64>(values[k]));
    } else {
      c.skip_value(3);
    }
  } while (c.next('}', "a segmentation"));
  return good;
}

// Append the polygons of a row as published: coordinates, and the end of each part.
inline void parts_of(Shapes &shapes, const CocoFile &f, i64 row, std::vector<double> &xy, std::vector<i64> &ends) {
  if (f.shape[static_cast<size_t>(row)] != polygons) return;
  Cursor c = shapes.cursor(row);
  c.expect('[', "a segmentation");
  if (c.peek("a segmentation") != '[') {
    c.p = c.begin;  // one flat list of numbers
    numbers_of(c, xy);
    ends.push_back(static_cast<i64>(xy.size()));
    return;
  }
  do {
    numbers_of(c, xy);
    ends.push_back(static_cast<i64>(xy.size()));
  } while (c.next(']', "a segmentation"));
}

// Say what is wrong with the polygons of a row; empty if they can be drawn. `ends` begins with 0.
inline std::string wrong_polygons(const std::vector<double> &xy, const std::vector<i64> &ends, i64 h, i64 w) {
  bool odd = ends.size() < 2;
  for (size_t p = 0; p + 1 < ends.size(); ++p) odd |= ends[p + 1] - ends[p] < 6 || (ends[p + 1] - ends[p]) % 2;
  if (odd) {
    std::string shown;
    for (size_t p = 0; p + 1 < std::min<size_t>(ends.size(), 5); ++p)
      shown += (p ? ", " : "") + std::to_string(ends[p + 1] - ends[p]);
    return "a polygon of " + (shown.empty() ? "0" : shown) + " numbers; expected pairs of x and y, three or more";
  }
  if (!std::all_of(xy.begin(), xy.end(), [](double v) { return std::isfinite(v); }))
    return "a polygon with a coordinate that is not finite";
  return h && w ? "" : "the size of its image is not known";
}

// Draw the polygons of a row, unite them and append their compressed counts.
inline void drawn(Shapes &shapes, i64 row, int32_t h, int32_t w, std::string &out) {
  static thread_local std::vector<double> xy;
  static thread_local Runs whole, next, both;
  whole.clear();
  const auto part = [&](Cursor &c) {
    xy.clear();
    numbers_of(c, xy);
    if (xy.size() < 6 || xy.size() % 2)
      throw std::invalid_argument("has a polygon of " + std::to_string(xy.size()) +
                                  " numbers; expected pairs of x and y, three or more");
    draw_polygon(xy.data(), xy.size() / 2, h, w, next);
    if (whole.empty()) std::swap(whole, next);
    else merge_runs(whole, next, false, both), std::swap(whole, both);
  };
  Cursor c = shapes.cursor(row);
  c.expect('[', "a segmentation");
  if (c.peek("a segmentation") != '[') {
    c.p = c.begin;
    part(c);
  } else {
    do part(c);
    while (c.next(']', "a segmentation"));
  }
  append_counts(out, whole.begin(), whole.end(), i64(h) * w);
}

}  // namespace celltable
