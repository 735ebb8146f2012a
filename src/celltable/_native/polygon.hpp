// Polygons as runs, by the rule of maskApi.c's rleFrPoly, pixel for pixel.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "runs.hpp"

namespace celltable {

// One polygon of k points: vertices on a grid five times as fine, each edge walked along its longer axis, a column entered
// where the walk crosses its centre.
inline void draw_polygon(const double *xy, std::size_t k, i64 h, i64 w, Runs &runs) {
  runs.clear();
  const auto fine = [](double v) {
    const double s = 5. * v + .5;
    if (!(s > -1e9 && s < 1e9)) throw std::invalid_argument("a polygon vertex lies beyond any image, or is no number");
    return static_cast<int>(s);
  };
  if (!k) return;
  static thread_local std::vector<int> x, y;
  static thread_local std::vector<i64> turns;
  x.resize(k + 1), y.resize(k + 1), turns.clear();
  for (std::size_t j = 0; j < k; ++j) x[j] = fine(xy[2 * j]), y[j] = fine(xy[2 * j + 1]);
  x[k] = x[0], y[k] = y[0];
  int last_u = 0, last_v = 0;
  bool started = false;
  const auto step = [&](int u, int v) {
    if (started && u != last_u) {
      const int edge = u < last_u ? u : u - 1; // its centre lies on a column's centre if (edge + .5) / 5 - .5 is whole
      if (edge >= 2 && (edge - 2) % 5 == 0 && (edge - 2) / 5 < w) {
        const double yd = (std::min(v, last_v) + .5) / 5. - .5;
        const double inside = yd < 0 ? 0 : yd > static_cast<double>(h) ? static_cast<double>(h) : yd;
        turns.push_back(static_cast<i64>((edge - 2) / 5) * h + static_cast<i64>(std::ceil(inside)));
      }
    }
    last_u = u, last_v = v, started = true;
  };
  for (std::size_t j = 0; j < k; ++j) {
    int xs = x[j], xe = x[j + 1], ys = y[j], ye = y[j + 1];
    const int dx = std::abs(xe - xs), dy = std::abs(ys - ye);
    const bool flip = (dx >= dy && xs > xe) || (dx < dy && ys > ye);
    if (flip) std::swap(xs, xe), std::swap(ys, ye);
    if (dx >= dy) {
      const double slope = dx ? static_cast<double>(ye - ys) / dx : 0;
      for (int d = 0; d <= dx; ++d) {
        const int t = flip ? dx - d : d;
        step(t + xs, static_cast<int>(ys + slope * t + .5));
      }
    } else {
      const double slope = static_cast<double>(xe - xs) / dy;
      for (int d = 0; d <= dy; ++d) {
        const int t = flip ? dy - d : d;
        step(static_cast<int>(xs + slope * t + .5), t + ys);
      }
    }
  }
  turns.push_back(h * w);
  std::sort(turns.begin(), turns.end());
  for (std::size_t i = 0; i + 1 < turns.size(); i += 2) push_run(runs, turns[i], turns[i + 1]);
}

} // namespace celltable
