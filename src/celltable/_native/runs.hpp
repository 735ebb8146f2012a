// Masks as runs: sorted, disjoint, non-touching intervals of column-major pixel positions, and their COCO text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace celltable {

using i64 = std::int64_t;

struct Run {
  i64 start, end;  // pixels start .. end - 1, position = column * height + row
};
using Runs = std::vector<Run>;

struct Box {
  i64 x = 0, y = 0, w = 0, h = 0;
};

// Reads the compressed counts of a mask of `total` pixels: base-32 digits from '0', low digits first, 0x20 = more,
// every count after the third as a difference to the one before the last (maskApi.c, rleFrString).
// Throws std::invalid_argument with a phrase that completes "the run lengths ...".
inline void parse_counts(std::string_view text, i64 total, Runs &runs) {
  runs.clear();
  i64 before = 0, last = 0, position = 0;  // counts m-2 and m-1
  std::size_t at = 0;
  for (i64 m = 0; at < text.size(); ++m) {
    i64 value = 0;
    int shift = 0;
    unsigned digit;
    do {
      if (at == text.size()) throw std::invalid_argument("end in the middle of a number");
      digit = static_cast<unsigned char>(text[at++]) - 48u;
      if (digit > 63u) throw std::invalid_argument("hold a character outside '0' to 'o'");
      if (shift > 55) throw std::invalid_argument("hold a number too large for any image");
      value |= static_cast<i64>(digit & 0x1f) << shift;
      shift += 5;
    } while (digit & 0x20);
    if (digit & 0x10) value |= -(static_cast<i64>(1) << shift);
    if (m > 2) value += before;
    if (value < 0) throw std::invalid_argument("hold a negative count");
    if (value > total - position) throw std::invalid_argument("are longer than the image");
    if (m & 1) {
      if (value > 0) {
        if (!runs.empty() && runs.back().end == position) runs.back().end += value;
        else runs.push_back({position, position + value});
      }
    }
    position += value;
    before = last;
    last = value;
  }
}

inline void append_number(std::string &out, i64 x) {
  bool more = true;
  while (more) {
    unsigned digit = static_cast<unsigned>(x & 0x1f);
    x >>= 5;
    more = (digit & 0x10) ? x != -1 : x != 0;
    if (more) digit |= 0x20;
    out.push_back(static_cast<char>(digit + 48));
  }
}

// Writes the counts of a mask, exactly as maskApi.c's rleEncode and rleToString do together.
template <class Iterator> inline void append_counts(std::string &out, Iterator first, Iterator last, i64 total) {
  i64 a = 0, b = 0, position = 0, m = 0;  // counts m-2 and m-1
  auto put = [&](i64 count) {
    append_number(out, m > 2 ? count - a : count);
    a = b;
    b = count;
    ++m;
  };
  for (; first != last; ++first) {
    put(first->start - position);
    put(first->end - first->start);
    position = first->end;
  }
  if (position < total || m == 0) put(total - position);
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

// The column of ascending positions; most runs begin in the column of the last one or in the next, without a division.
class Columns {
 public:
  explicit Columns(i64 height) : height_(height) {}
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
  Columns at(height);
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

inline i64 common_pixels(const Runs &a, const Runs &b) {
  i64 n = 0;
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    i64 low = std::max(a[i].start, b[j].start), high = std::min(a[i].end, b[j].end);
    if (high > low) n += high - low;
    if (a[i].end < b[j].end) ++i;
    else ++j;
  }
  return n;
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

// The runs cut at column borders: f(column, first row, one past the last row).
template <class F> inline void by_column(const Runs &runs, i64 height, F f) {
  Columns at(height);
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

struct Sets {  // union-find
  std::vector<std::uint32_t> parent;
  std::uint32_t make() {
    parent.push_back(static_cast<std::uint32_t>(parent.size()));
    return parent.back();
  }
  std::uint32_t root(std::uint32_t x) {
    while (parent[x] != x) {
      parent[x] = parent[parent[x]];
      x = parent[x];
    }
    return x;
  }
  void join(std::uint32_t a, std::uint32_t b) {
    a = root(a), b = root(b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
  }
};

struct Piece {  // a run inside one column, and its set
  i64 column, top, bottom;
  std::uint32_t set;
};

// Joins pieces (sorted by column, then row) of neighbouring columns that touch by edges, or also by corners.
inline void join_columns(std::vector<Piece> &pieces, Sets &sets, bool corners) {
  const i64 reach = corners ? 1 : 0;
  std::size_t previous = 0, current = 0;
  while (current < pieces.size()) {
    std::size_t end = current;
    while (end < pieces.size() && pieces[end].column == pieces[current].column) ++end;
    if (current > 0 && pieces[previous].column == pieces[current].column - 1) {
      std::size_t i = previous;
      for (std::size_t j = current; j < end; ++j) {
        while (i < current && pieces[i].bottom + reach <= pieces[j].top) ++i;
        for (std::size_t k = i; k < current && pieces[k].top < pieces[j].bottom + reach; ++k)
          sets.join(pieces[k].set, pieces[j].set);
      }
    }
    previous = current;
    current = end;
  }
}

}  // namespace celltable
