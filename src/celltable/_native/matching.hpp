// The parts of the module celltable._native.matching, and what they share: verdicts, and detections in order of score.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base.hpp"
#include "spread.hpp"

namespace celltable {

enum Code : std::uint8_t { false_positive = 0, true_positive = 1, ignored = 2 };
enum Flag : std::uint8_t { crowd = 1, never_counts = 2, left_out = 4 };

// Positions of the detections of each category, best score first, equal scores in the order given.
inline std::vector<std::vector<i64>> by_category(const std::int32_t *category, const double *score, std::size_t n,
                                                 i64 categories, int threads) {
  std::vector<std::vector<i64>> order(categories);
  for (std::size_t k = 0; k < n; ++k) order[category[k]].push_back(static_cast<i64>(k));
  spread(categories, threads, [&](i64 c) {
    std::stable_sort(order[c].begin(), order[c].end(), [&](i64 a, i64 b) { return score[a] > score[b]; });
  });
  return order;
}

void bind_matching(nanobind::module_ &m);
void bind_curve(nanobind::module_ &m);
void bind_resampling(nanobind::module_ &m);

}  // namespace celltable
