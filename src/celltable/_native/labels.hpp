// Labels of a label map, numbered as they occur, and their runs by column.
#pragma once

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "base.hpp"
#include "grouping.hpp"
#include "scan.hpp"

namespace celltable {

[[noreturn]] inline void refuse_negative(i64 label) {
  throw MaskError("a label map holds the negative label " + std::to_string(label) +
                  "; expected 0 for background and positive labels");
}

// Dense positions of labels in order of first occurrence: a table for small labels, a hash for large ones.
class Numbering {
 public:
  template <class T> std::int32_t operator()(T value) {
    const i64 label = static_cast<i64>(value);
    if (static_cast<u64>(label) < table_.size()) {
      std::int32_t &slot = table_[label];
      return slot >= 0 ? slot : slot = add(label);
    }
    return elsewhere(label);
  }
  const std::vector<i64> &labels() const { return labels_; }
  std::vector<i64> ascending() const {  // positions, by label
    std::vector<i64> order;
    if (hash_.empty() && table_.size() <= 16 * labels_.size()) {
      order.reserve(labels_.size());
      for (const std::int32_t slot : table_)
        if (slot >= 0) order.push_back(slot);
      return order;
    }
    order.resize(labels_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](i64 a, i64 b) { return labels_[a] < labels_[b]; });
    return order;
  }

 private:
  static constexpr i64 kTable = i64(1) << 20;
  std::int32_t elsewhere(i64 label) {
    if (label < 0) refuse_negative(label);
    if (label < kTable) {
      table_.resize(std::min(kTable, std::max<i64>(2 * label, 1024)), -1);
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

struct LabelRun {
  std::int32_t index;  // of the label, as numbered
  i64 start, end;      // column-major positions
};

// All runs of all labels in column-major order. The map is C-contiguous (rows of w), or its transpose is.
template <class T> std::vector<LabelRun> column_runs(const T *p, Size size, bool transposed, Numbering &number) {
  const auto [h, w] = size;
  if (h == 0 || w == 0) return {};
  std::vector<u64> bits(words_of(std::max(h, w)));
  if (transposed) {
    std::vector<LabelRun> out;
    for (i64 c = 0; c < w; ++c)
      stretches(p + c * h, h, bits.data(), [&, h = h](T value, i64 a, i64 b) {
        if (value != 0) out.push_back({number(value), c * h + a, c * h + b});
      });
    return out;
  }
  // Row by row: where a row differs from the one above, a run of its column ends. Sort by column afterwards.
  struct Ended {
    std::int32_t index, column, start, end;
  };
  std::vector<Ended> ended;
  std::vector<std::int32_t> since(w, 0);
  const auto end = [&](T value, i64 c, i64 r) {
    if (value != 0)
      ended.push_back({number(value), static_cast<std::int32_t>(c), since[c], static_cast<std::int32_t>(r)});
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
  return grouped<LabelRun>(static_cast<i64>(ended.size()), w, [&](i64 k) { return ended[k].column; },
                           [&, h = h](i64 k) {
    const Ended &e = ended[k];
    return LabelRun{e.index, e.column * h + e.start, e.column * h + e.end};
  }).items;
}

}  // namespace celltable
