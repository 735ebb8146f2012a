// Masks as runs: sorted, disjoint, non-touching intervals of column-major pixel positions, and their COCO text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "boxes.hpp"

namespace celltable {

struct Run {
  i64 start, end;  // pixels start .. end - 1, position = column * height + row
};
using Runs = std::vector<Run>;

// Reads the compressed counts of a mask one by one: base-32 digits from '0', low digits first, 0x20 = more, every count
// after the third as a difference to the one before the last (maskApi.c, rleFrString).
class CountReader {
 public:
  explicit CountReader(std::string_view text) : text_(text) {}
  bool done() const { return at_ == text_.size(); }
  // Throws std::invalid_argument with a phrase that completes "the run lengths ...".
  i64 next() {
    i64 value = 0;
    int shift = 0;
    unsigned digit;
    do {
      if (done()) throw std::invalid_argument("end in the middle of a number");
      digit = static_cast<unsigned char>(text_[at_++]) - 48u;
      if (digit > 63u) throw std::invalid_argument("hold a character outside '0' to 'o'");
      if (shift > 55) throw std::invalid_argument("hold a number too large for any image");
      value |= static_cast<i64>(digit & 0x1f) << shift;
      shift += 5;
    } while (digit & 0x20);
    if (digit & 0x10) value -= i64(1) << shift;
    if (number_ > 2) value += before_;
    if (value < 0) throw std::invalid_argument("hold a negative count");
    if (value > kMaxPixels) throw std::invalid_argument("are longer than the image");
    ++number_;
    before_ = last_;
    return last_ = value;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  i64 number_ = 0, before_ = 0, last_ = 0;  // counts m - 2 and m - 1
};

// Reads the runs of a mask of `total` pixels from its compressed counts; throws as CountReader does.
inline void parse_counts(std::string_view text, i64 total, Runs &runs) {
  runs.clear();
  i64 position = 0;
  bool inside = false;
  for (CountReader counts(text); !counts.done(); inside = !inside) {
    const i64 value = counts.next();
    if (value > total - position) throw std::invalid_argument("are longer than the image");
    if (inside && value > 0) {
      if (!runs.empty() && runs.back().end == position) runs.back().end += value;
      else runs.push_back({position, position + value});
    }
    position += value;
  }
}

// Writes the counts of a mask one by one, exactly as maskApi.c's rleToString.
class CountWriter {
 public:
  explicit CountWriter(std::string &out) : out_(out) {}
  void put(i64 count) {
    i64 x = number_ > 2 ? count - before_ : count;
    char text[13];
    std::size_t n = 0;
    for (bool more = true; more;) {
      unsigned digit = static_cast<unsigned>(x & 0x1f);
      x >>= 5;
      more = (digit & 0x10) ? x != -1 : x != 0;
      if (more) digit |= 0x20;
      text[n++] = static_cast<char>(digit + 48);
    }
    out_.append(text, n);
    ++number_;
    before_ = last_;
    last_ = count;
  }

 private:
  std::string &out_;
  i64 number_ = 0, before_ = 0, last_ = 0;  // counts m - 2 and m - 1
};

// Append the counts of runs in a mask of `total` pixels, as maskApi.c's rleEncode makes them.
template <class Iterator> inline void append_counts(std::string &out, Iterator first, Iterator last, i64 total) {
  CountWriter counts(out);
  i64 position = 0;
  const bool empty = first == last;
  for (; first != last; ++first) {
    counts.put(first->start - position);
    counts.put(first->end - first->start);
    position = first->end;
  }
  if (position < total || empty) counts.put(total - position);
}

inline std::string to_counts(const Runs &runs, i64 total) {
  std::string out;
  append_counts(out, runs.begin(), runs.end(), total);
  return out;
}

inline void push_run(Runs &runs, i64 start, i64 end) {
  if (end <= start) return;
  if (!runs.empty() && runs.back().end == start) runs.back().end = end;
  else runs.push_back({start, end});
}

inline i64 area_of(const Run *first, const Run *last) {
  i64 n = 0;
  for (; first != last; ++first) n += first->end - first->start;
  return n;
}

inline i64 area_of(const Runs &runs) { return area_of(runs.data(), runs.data() + runs.size()); }

// The column of ascending positions, mostly without a division: runs tend to begin in the last one's column or the
// next.
class ColumnWalk {
 public:
  explicit ColumnWalk(i64 height) : height_(height) {}
  i64 row(i64 position) {  // moves to the position's column
    i64 row = position - start_;
    if (row < height_) return row;
    if (row < 2 * height_) ++column_, start_ += height_;
    else column_ = position / height_, start_ = column_ * height_;
    return position - start_;
  }
  i64 column() const { return column_; }

 private:
  i64 height_, column_ = 0, start_ = 0;
};

inline Box box_of(const Run *first, const Run *last, i64 height) {
  if (first == last) return {};
  ColumnWalk at(height);
  i64 top = height, bottom = 0, left = first->start / height;
  for (const Run *r = first; r != last; ++r) {
    const i64 row = at.row(r->start), end = row + r->end - r->start;
    top = end > height ? 0 : std::min(top, row);
    bottom = end > height ? height : std::max(bottom, end);
  }
  const i64 right = ((last - 1)->end - 1) / height;
  return {left, top, right - left + 1, bottom - top};
}

inline Box box_of(const Runs &runs, i64 height) { return box_of(runs.data(), runs.data() + runs.size(), height); }

inline i64 common_pixels(const Run *a, const Run *a_end, const Run *b, const Run *b_end) {
  i64 n = 0;
  while (a != a_end && b != b_end) {
    const i64 low = std::max(a->start, b->start), high = std::min(a->end, b->end);
    if (high > low) n += high - low;
    const bool step = a->end < b->end;  // without a branch, as either may end first
    a += step, b += !step;
  }
  return n;
}

inline i64 common_pixels(const Runs &a, const Runs &b) {
  return common_pixels(a.data(), a.data() + a.size(), b.data(), b.data() + b.size());
}

inline void merge_runs(const Runs &a, const Runs &b, bool intersect, Runs &out) {
  out.clear();
  if (intersect) {
    std::size_t i = 0, j = 0;
    while (i < a.size() && j < b.size()) {
      i64 low = std::max(a[i].start, b[j].start), high = std::min(a[i].end, b[j].end);
      if (high > low) push_run(out, low, high);
      if (a[i].end < b[j].end) ++i;
      else ++j;
    }
    return;
  }
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    const Run &next = j == b.size() || (i < a.size() && a[i].start <= b[j].start) ? a[i++] : b[j++];
    if (!out.empty() && next.start <= out.back().end) out.back().end = std::max(out.back().end, next.end);
    else out.push_back(next);
  }
}

// Call f for the runs cut at column borders: f(column, first row, one past the last row).
template <class F> inline void by_column(const Runs &runs, i64 height, F f) {
  ColumnWalk at(height);
  for (const Run &r : runs) {
    i64 row = at.row(r.start), column = at.column(), left = r.end - r.start;
    while (left > 0) {
      i64 n = std::min(left, height - row);
      f(column, row, row + n);
      left -= n;
      row = 0;
      ++column;
    }
  }
}

}  // namespace celltable
