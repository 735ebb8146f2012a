// Outlines of masks as closed rings of corners along pixel edges.
#include <algorithm>

#include "geometry.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// Rings of masks from their runs: every run has an upper edge, walked to the right, and a lower one, walked to the
// left; where two columns meet, the ends of these edges are joined by the vertical edges between them.
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
  std::vector<i64> rows_, columns_;  // edge 2k is the upper, 2k + 1 the lower one of run k, in columns_[k]
  std::vector<std::size_t> first_, next_, order_;  // first edge of a column; the edge walked after an edge

  // Edges that end between two columns, those of the left one (a to b) and of the right one (b to end), in the order of
  // their rows. A straight line goes on; the others are joined two by two. Where two pixels meet in a corner only, the
  // order of the two edges there decides whether they are separate or one.
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

struct Rings {
  Outlines outlines;
  std::vector<i64> mask_first{0};  // ring of each mask
};

Rings outlines(const Batch &masks, Size size, bool corners) {
  Rings out;
  Runs runs;
  for (i64 i = 0; i < masks.size(); ++i) {
    masks.read(i, size, runs);
    out.outlines.add(runs, size.h, corners);
    out.mask_first.push_back(static_cast<i64>(out.outlines.is_hole.size()));
  }
  return out;
}

}  // namespace

void bind_outlines(nb::module_ &m) {
  m.def("outlines", [](nb::handle counts, i64 h, i64 w, int connectivity) {
    const Size size(h, w);
    const bool corners = by_corners(connectivity);
    const BatchArrays masks = batch_of(counts);
    auto [made, mask_first] = without_gil([&] { return outlines(masks, size, corners); });
    const std::size_t n = made.xy.size() / 2;
    return nb::make_tuple(array(std::move(made.xy), n, 2), array(std::move(made.ring_first)),
                          array(std::move(mask_first)), array(std::move(made.is_hole)));
  }, "masks"_a, "height"_a, "width"_a, "connectivity"_a);
}

}  // namespace celltable
