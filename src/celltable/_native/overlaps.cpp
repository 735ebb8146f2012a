// Overlaps: the pixels that masks or label maps share, for the pairs that share any.
#include <algorithm>
#include <limits>
#include <thread>

#include "geometry.hpp"
#include "grouping.hpp"
#include "labels.hpp"
#include "python.hpp"
#include "spread.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// ---------------------------------------------------------------- masks

struct Masks {  // parsed, with their areas and boxes
  std::vector<Runs> runs;
  std::vector<i64> areas;
  std::vector<Box> boxes;
  Masks(const Batch &masks, Size size) : runs(masks.size()) {
    for (i64 i = 0; i < masks.size(); ++i) {
      masks.read(i, size, runs[i]);
      areas.push_back(area_of(runs[i]));
      boxes.push_back(box_of(runs[i], size.h));
    }
  }
};

// Intersection over union of every pair; over the area of the mask of `a` where that of `b` is a crowd.
std::vector<double> iou(const Masks &a, const Masks &b, const std::uint8_t *crowd) {
  std::vector<double> out(a.runs.size() * b.runs.size(), 0.0);
  meeting_pairs(a.boxes, b.boxes, [&](std::size_t i, std::size_t j) {
    const i64 common = common_pixels(a.runs[i], b.runs[j]);
    if (common == 0) return;
    const i64 whole = crowd[j] ? a.areas[i] : a.areas[i] + b.areas[j] - common;
    out[i * b.runs.size() + j] = static_cast<double>(common) / static_cast<double>(whole);
  });
  return out;
}

struct Pairs {  // positions on both sides and shared pixels, ascending by position
  std::vector<i64> a, b, pixels;
};

Pairs shared(const Masks &a, const Masks &b) {
  struct Pair {
    std::size_t i, j;
    i64 pixels;
  };
  std::vector<Pair> met;
  meeting_pairs(a.boxes, b.boxes, [&](std::size_t i, std::size_t j) {
    if (const i64 common = common_pixels(a.runs[i], b.runs[j])) met.push_back({i, j, common});
  });
  std::sort(met.begin(), met.end(), [](const Pair &x, const Pair &y) { return x.i != y.i ? x.i < y.i : x.j < y.j; });
  Pairs out;
  for (const Pair &p : met)
    out.a.push_back(static_cast<i64>(p.i)), out.b.push_back(static_cast<i64>(p.j)), out.pixels.push_back(p.pixels);
  return out;
}

bool disjoint(const Masks &masks) {
  bool met = false;
  meeting_pairs(masks.boxes, masks.boxes, [&](std::size_t i, std::size_t j) {
    met = met || (i < j && common_pixels(masks.runs[i], masks.runs[j]));
  });
  return !met;
}

std::vector<std::int32_t> flat(const std::vector<Box> &boxes) {
  std::vector<std::int32_t> out;
  for (const Box &b : boxes) add_box(out, b);
  return out;
}

// ---------------------------------------------------------------- label maps

// The overlap table of two label maps, added strip by strip: the pixels and the box of every pair of labels (a, b).
class Overlaps {
 public:
  Overlaps() : index_(std::size_t(1) << 12, kNone), shift_(64 - 12) {}

  // Add the rows of a strip whose first row is row0 of the maps.
  template <class T> void add(const T *a, const T *b, Size size, i64 row0) {
    const auto [h, w] = size;
    const i64 threads =
        std::min<i64>(std::max(1u, std::thread::hardware_concurrency()), size.pixels() / kPixelsOfThread);
    if (threads < 2) return rows(a, b, 0, h, w, row0);
    std::vector<Overlaps> parts(threads);
    spread(threads, static_cast<int>(threads),
           [&, h = h, w = w](i64 t) { parts[t].rows(a, b, h * t / threads, h * (t + 1) / threads, w, row0); });
    for (const Overlaps &part : parts) absorb(part);
  }

  struct Side {  // the cells of one map, ascending by id
    std::vector<i64> ids, areas;
    std::vector<std::int32_t> boxes;
  };
  struct Table {
    Side a, b;
    Pairs pairs;
  };

  Table finish() const {
    Table out;
    std::vector<std::uint32_t> at_a(pairs_.size()), at_b(pairs_.size());
    fill(out.a, at_a, large_a_, [](const Pair &s) { return static_cast<std::uint32_t>(s.key >> 32); });
    fill(out.b, at_b, large_b_, [](const Pair &s) { return static_cast<std::uint32_t>(s.key); });
    // Sort by the first side by counting, by the second within its few pairs.
    const auto both = [&](i64 k) { return at_a[k] != kNone && at_b[k] != kNone ? static_cast<i64>(at_a[k]) : -1; };
    auto pairs =
        grouped<std::pair<std::uint32_t, i64>>(static_cast<i64>(pairs_.size()), static_cast<i64>(out.a.ids.size()),
                                               both, [&](i64 k) { return std::pair(at_b[k], pairs_[k].pixels); });
    for (std::size_t k = 0; k + 1 < pairs.starts.size(); ++k) {
      std::sort(pairs.items.begin() + pairs.starts[k], pairs.items.begin() + pairs.starts[k + 1]);
      for (i64 q = pairs.starts[k]; q < pairs.starts[k + 1]; ++q) {
        out.pairs.a.push_back(static_cast<i64>(k)), out.pairs.b.push_back(static_cast<i64>(pairs.items[q].first));
        out.pairs.pixels.push_back(pairs.items[q].second);
      }
    }
    return out;
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t(0), kLarge = std::uint32_t(1) << 31;
  static constexpr std::size_t kNear = std::size_t(1) << 20;  // labels below are looked up in a table
  static constexpr i64 kPixelsOfThread = i64(1) << 20;        // a thread is not worth it for fewer
  struct Bounds {                                             // far sides excluded
    std::int32_t x0 = std::numeric_limits<std::int32_t>::max(), y0 = x0, x1 = 0, y1 = 0;
    void include(const Bounds &b) {
      x0 = std::min(x0, b.x0), y0 = std::min(y0, b.y0);
      x1 = std::max(x1, b.x1), y1 = std::max(y1, b.y1);
    }
  };
  struct Pair {
    u64 key;
    i64 pixels;
    Bounds bounds;
  };
  struct Near {  // where a label's pair with background is, and its last pair with a label
    std::uint32_t other[2] = {kNone, kNone}, pair[2] = {0, 0};
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
      Pair &pair = pairs_[find(a, b)];
      pair.pixels += more.pixels;
      pair.bounds.include(more.bounds);
    }
  }

  template <class T> static std::uint32_t narrow(T label, Large &large) {
    if constexpr (std::is_signed_v<T>)
      if (label < 0) refuse_negative(static_cast<i64>(label));
    if constexpr (sizeof(T) == 8) {
      if (label >= static_cast<T>(kLarge)) {
        auto [it, fresh] =
            large.number.try_emplace(static_cast<i64>(label), kLarge + static_cast<std::uint32_t>(large.labels.size()));
        if (fresh) large.labels.push_back(static_cast<i64>(label));
        return it->second;
      }
    }
    return static_cast<std::uint32_t>(label);
  }

  // Background with background is also counted and dropped at the end: runs alternate too fast for a branch.
  template <class T> void note(T va, T vb, i64 from, i64 to, i64 r) {
    const std::uint32_t a = narrow(va, large_a_), b = narrow(vb, large_b_);
    std::uint32_t at;
    if ((a | b) < near_a_.size()) {
      Near &near = a ? near_a_[a] : near_b_[b];
      const int both = (a != 0) & (b != 0);
      if (near.other[both] != b) near.pair[both] = find(a, b), near.other[both] = b;
      at = near.pair[both];
    } else {
      at = far(a, b);
    }
    Pair &pair = pairs_[at];
    pair.pixels += to - from;
    pair.bounds.include({static_cast<std::int32_t>(from), static_cast<std::int32_t>(r), static_cast<std::int32_t>(to),
                         static_cast<std::int32_t>(r + 1)});
  }

  std::uint32_t far(std::uint32_t a, std::uint32_t b) {
    const std::uint32_t at = find(a, b);
    std::size_t size = std::max<std::size_t>(near_a_.size(), 512);
    while (size <= (a | b) && size < kNear) size *= 2;
    if (size > (a | b)) near_a_.resize(size), near_b_.resize(size);
    return at;
  }

  static u64 mixed(u64 key) { return (key * 0x9E3779B97F4A7C15ull ^ key >> 32) * 0xD6E8FEB86659FD93ull; }

  std::uint32_t find(std::uint32_t a, std::uint32_t b) {
    const u64 key = static_cast<u64>(a) << 32 | b;
    const std::size_t mask = index_.size() - 1;
    std::size_t at = static_cast<std::size_t>(mixed(key) >> shift_);
    while (index_[at] != kNone && pairs_[index_[at]].key != key) at = (at + 1) & mask;
    if (index_[at] != kNone) return index_[at];
    const std::uint32_t made = index_[at] = static_cast<std::uint32_t>(pairs_.size());
    pairs_.push_back({key, 0, {}});
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

  // Fill one side with its cells in ascending order; at[k] becomes the position of pair k's cell.
  template <class F> void fill(Side &side, std::vector<std::uint32_t> &at, const Large &large, F label_of) const {
    Numbering number;
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      const std::uint32_t label = label_of(pairs_[k]);
      at[k] = label ? static_cast<std::uint32_t>(
                          number(label >= kLarge ? large.labels[label - kLarge] : static_cast<i64>(label)))
                    : kNone;
    }
    const auto order = number.ascending();
    std::vector<std::uint32_t> rank(order.size());
    for (std::size_t k = 0; k < order.size(); ++k)
      rank[order[k]] = static_cast<std::uint32_t>(k), side.ids.push_back(number.labels()[order[k]]);
    side.areas.assign(order.size(), 0);
    std::vector<Bounds> bounds(order.size());
    for (std::size_t k = 0; k < pairs_.size(); ++k) {
      if (at[k] == kNone) continue;
      at[k] = rank[at[k]];
      side.areas[at[k]] += pairs_[k].pixels;
      bounds[at[k]].include(pairs_[k].bounds);
    }
    for (const Bounds &b : bounds) side.boxes.insert(side.boxes.end(), {b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0});
  }

  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> index_;  // hash → position in pairs_
  int shift_;
  std::vector<Near> near_a_, near_b_;
  Large large_a_, large_b_;
};

}  // namespace

void bind_overlaps(nb::module_ &m) {
  m.def("iou", [](nb::handle first, nb::handle second, i64 h, i64 w, Vector<std::uint8_t> crowd) {
    const Size size(h, w);
    const BatchArrays ta = batch_of(first), tb = batch_of(second);
    if (crowd.shape(0) != static_cast<std::size_t>(tb.size()))
      throw MaskError("iscrowd needs one entry per mask of the second list");
    auto made = without_gil([&] { return iou(Masks(ta, size), Masks(tb, size), crowd.data()); });
    return array(std::move(made), ta.size(), tb.size());
  }, "a"_a, "b"_a, "height"_a, "width"_a, "iscrowd"_a);
  m.def("disjoint", [](nb::handle counts, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays masks = batch_of(counts);
    return without_gil([&] { return disjoint(Masks(masks, size)); });
  }, "masks"_a, "height"_a, "width"_a);
  m.def("overlap_rles", [](nb::handle first, nb::handle second, i64 h, i64 w) {
    const Size size(h, w);
    const BatchArrays ta = batch_of(first), tb = batch_of(second);
    std::vector<i64> areas_a, areas_b;
    std::vector<std::int32_t> boxes_a, boxes_b;
    Pairs pairs;
    without_gil([&] {
      Masks a(ta, size), b(tb, size);
      pairs = shared(a, b);
      areas_a = std::move(a.areas), areas_b = std::move(b.areas), boxes_a = flat(a.boxes), boxes_b = flat(b.boxes);
    });
    return nb::make_tuple(array(std::move(areas_a)), array(std::move(boxes_a), ta.size(), 4), array(std::move(areas_b)),
                          array(std::move(boxes_b), tb.size(), 4), array(std::move(pairs.a)), array(std::move(pairs.b)),
                          array(std::move(pairs.pixels)));
  }, "a"_a, "b"_a, "height"_a, "width"_a);
  nb::class_<Overlaps> overlaps(m, "Overlaps");
  overlaps.def(nb::init<>());
  for_label_types([&](auto zero) {
    using T = decltype(zero);
    overlaps.def("add", [](Overlaps &table, Table<T> a, Table<T> b, i64 row) {
      if (a.shape(0) != b.shape(0) || a.shape(1) != b.shape(1)) throw MaskError("the label maps differ in size");
      const Size size(static_cast<i64>(a.shape(0)), static_cast<i64>(a.shape(1)));
      Size(row, size.w), Size(row + size.h, size.w);
      without_gil([&] { table.add(a.data(), b.data(), size, row); });
    }, "a"_a.noconvert(), "b"_a.noconvert(), "row"_a);
  });
  overlaps.def("finish", [](const Overlaps &table) {
    Overlaps::Table made = without_gil([&] { return table.finish(); });
    const auto side = [](Overlaps::Side &&s) {
      const std::size_t n = s.ids.size();
      return nb::make_tuple(array(std::move(s.ids)), array(std::move(s.areas)), array(std::move(s.boxes), n, 4));
    };
    return nb::make_tuple(side(std::move(made.a)), side(std::move(made.b)), array(std::move(made.pairs.a)),
                          array(std::move(made.pairs.b)), array(std::move(made.pairs.pixels)));
  });
}

}  // namespace celltable
