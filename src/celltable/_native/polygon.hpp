// Polygons as runs, by the rule of maskApi.c's rleFrPoly, pixel for pixel.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "runs.hpp"

namespace celltable {

// Sort turns of known columns, a few in each: by column first, then among neighbours.
inline void sort_turns(std::vector<i64> &turns, const std::vector<int> &columns) {
  static thread_local std::vector<int> starts;
  static thread_local std::vector<i64> placed;
  if (turns.empty()) return;
  const auto [least, most] = std::minmax_element(columns.begin(), columns.end());
  const int low = *least;
  const std::size_t span = static_cast<std::size_t>(*most - low) + 1;
  starts.assign(span + 1, 0);
  int fullest = 0;
  if (span <= 4 * turns.size())
    for (const int c : columns) fullest = std::max(fullest, ++starts[static_cast<std::size_t>(c - low) + 1]);
  if (!fullest || fullest > 16) return std::sort(turns.begin(), turns.end());
  for (std::size_t c = 0; c < span; ++c) starts[c + 1] += starts[c];
  placed.resize(turns.size());
  for (std::size_t i = 0; i < turns.size(); ++i)
    placed[static_cast<std::size_t>(starts[static_cast<std::size_t>(columns[i] - low)]++)] = turns[i];
  for (std::size_t i = 1; i < placed.size(); ++i) {
    const i64 turn = placed[i];
    std::size_t j = i;
    for (; j && placed[j - 1] > turn; --j) placed[j] = placed[j - 1];
    placed[j] = turn;
  }
  turns.swap(placed);
}

// Draw one polygon of k points: vertices on a grid five times as fine, each edge walked along its longer axis in
// ascending order, a column entered where the walk crosses its centre. Crossings of the centre of column c are steps
// from u = 5c
// + 2 to 5c + 3 or back, in whole numbers; only those steps are looked at, so that the cost is per column, not per fine
// pixel.
inline void draw_polygon(const double *xy, std::size_t k, i64 h, i64 w, Runs &runs) {
  runs.clear();
  const auto fine = [](double v) {
    const double s = 5. * v + .5;
    if (!(s > -1e9 && s < 1e9)) throw std::invalid_argument("a polygon vertex is beyond any image or not a number");
    return static_cast<int>(s);
  };
  if (!k) return;
  static thread_local std::vector<i64> turns;
  static thread_local std::vector<int> columns;
  turns.clear(), columns.clear();
  const auto cross = [&](i64 column, i64 v) {  // the first row whose centre is below v + .5 fine pixels
    const i64 row = v <= 2 ? 0 : (v + 2) / 5;  // ceil((v + .5) / 5 - .5)
    turns.push_back(column * h + std::min(row, h));
    columns.push_back(static_cast<int>(column));
  };
  const int x0 = fine(xy[0]), y0 = fine(xy[1]);
  int xa = x0, ya = y0;
  for (std::size_t j = 1; j <= k; ++j) {
    const int xb = j < k ? fine(xy[2 * j]) : x0, yb = j < k ? fine(xy[2 * j + 1]) : y0;
    int xs = xa, xe = xb, ys = ya, ye = yb;
    xa = xb, ya = yb;
    const int low = std::min(xs, xe), high = std::max(xs, xe);
    if (high < 3) continue;
    const i64 first = low <= 2 ? 0 : (static_cast<i64>(low) + 2) / 5,
              last = std::min<i64>((static_cast<i64>(high) - 3) / 5, w - 1);
    if (first > last) continue;
    const int dx = high - low, dy = std::abs(ys - ye);
    if ((dx >= dy && xs > xe) || (dx < dy && ys > ye)) std::swap(xs, xe), std::swap(ys, ye);
    if (dx >= dy) {
      const double slope = static_cast<double>(ye - ys) / dx;
      const auto at = [&](i64 t) { return static_cast<int>(ys + slope * static_cast<double>(t) + .5); };
      for (i64 c = first; c <= last; ++c) cross(c, std::min(at(5 * c + 2 - xs), at(5 * c + 3 - xs)));
    } else {
      const double slope = static_cast<double>(xe - xs) / dy;
      const auto at = [&](i64 t) { return static_cast<int>(xs + slope * static_cast<double>(t) + .5); };
      for (i64 c = first; c <= last;
           ++c) {  // the last step t before u passes the centre; monotone, so a guess can be corrected
        const int u = static_cast<int>(5 * c + 2);
        const auto before = [&](i64 t) { return slope > 0 ? at(t) <= u : at(t) > u; };
        i64 t = static_cast<i64>((u + .5 - xs) / slope);
        t = std::max<i64>(0, std::min<i64>(t, dy));
        while (t > 0 && !before(t)) --t;
        while (t < dy && before(t + 1)) ++t;
        cross(c, ys + t);
      }
    }
  }
  sort_turns(turns, columns);
  turns.push_back(h * w);
  for (std::size_t i = 0; i + 1 < turns.size(); i += 2) push_run(runs, turns[i], turns[i + 1]);
}

}  // namespace celltable
