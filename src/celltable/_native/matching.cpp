// Scored matching after COCO's rule, on the few pairs that can match: masks or boxes in, a verdict for every detection,
// threshold and area range out; then precision and recall over all images. Images run on several threads.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "runs.hpp"
#include "spread.hpp"

namespace nb = nanobind;
using i64 = int64_t;
template <class T> using In1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using In2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using In3 = nb::ndarray<const T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

namespace {

enum Code : uint8_t { false_positive = 0, true_positive = 1, ignored = 2 };
enum Flag : uint8_t { crowd = 1, never_counts = 2, left_out = 4 };

template <class T> auto owned(std::vector<T> &&data, std::vector<size_t> shape) {
  auto *held = new std::vector<T>(std::move(data));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  return nb::ndarray<nb::numpy, T>(held->data(), shape.size(), shape.data(), owner);
}

void need(bool ok, const char *what) {
  if (!ok) throw std::invalid_argument(what);
}

struct Box { double x, y, w, h; };
struct Run { uint32_t start, stop; };
using celltable::Runs;
using celltable::spread;

// Masks of one image: runs in column order, areas, tight boxes.
struct Masks {
  std::vector<Run> runs;
  std::vector<i64> first{0};
  std::vector<i64> area;
  std::vector<Box> box;
  std::vector<int32_t> height, width;

  void clear() { runs.clear(), first.assign(1, 0), area.clear(), box.clear(), height.clear(), width.clear(); }
  // Throws std::invalid_argument with a phrase that completes "the run lengths ...".
  void add(std::string_view text, int32_t h, int32_t w, Runs &parsed) {
    const i64 pixels = i64(h) * w;
    need(h >= 0 && w >= 0 && pixels <= 0xffffffffLL, "are of a mask larger than 4 gigapixels");
    celltable::parse_counts(text, pixels, parsed);
    i64 total = 0, x0 = w, x1 = -1, y0 = h, y1 = -1;
    for (const auto &run : parsed) {
      runs.push_back({static_cast<uint32_t>(run.start), static_cast<uint32_t>(run.end)});
      total += run.end - run.start;
      const i64 a = run.start / h, b = (run.end - 1) / h;
      x0 = std::min(x0, a);
      x1 = std::max(x1, b);
      if (a == b) {
        y0 = std::min(y0, run.start - a * h);
        y1 = std::max(y1, run.end - 1 - b * h);
      } else {
        y0 = 0;
        y1 = h - 1;
      }
    }
    first.push_back(static_cast<i64>(runs.size()));
    area.push_back(total);
    if (x1 < 0) box.push_back({0, 0, 0, 0});
    else box.push_back({double(x0), double(y0), double(x1 - x0 + 1), double(y1 - y0 + 1)});
    height.push_back(h);
    width.push_back(w);
  }
};

i64 shared_pixels(const Masks &a, i64 i, const Masks &b, i64 j) {
  const Run *p = a.runs.data() + a.first[i], *pe = a.runs.data() + a.first[i + 1];
  const Run *q = b.runs.data() + b.first[j], *qe = b.runs.data() + b.first[j + 1];
  i64 sum = 0;
  while (p != pe && q != qe) {
    const uint32_t lo = std::max(p->start, q->start), hi = std::min(p->stop, q->stop);
    if (lo < hi) sum += hi - lo;
    const bool step = p->stop < q->stop;
    p += step;
    q += !step;
  }
  return sum;
}

// Boxes in the cells of a coarse grid, so that only boxes near each other are compared.
class Grid {
public:
  explicit Grid(const std::vector<Box> &boxes) : boxes_(boxes), seen_(boxes.size(), -1) {
    if (boxes.empty()) return;
    double x1 = x0_ = boxes[0].x, y1 = y0_ = boxes[0].y;
    for (const Box &b : boxes) {
      x0_ = std::min(x0_, b.x), y0_ = std::min(y0_, b.y);
      x1 = std::max(x1, b.x + b.w), y1 = std::max(y1, b.y + b.h);
    }
    side_ = std::clamp<i64>(static_cast<i64>(std::sqrt(double(boxes.size()))), 1, 1024);
    dx_ = std::max((x1 - x0_) / double(side_), 1e-9);
    dy_ = std::max((y1 - y0_) / double(side_), 1e-9);
    starts_.assign(side_ * side_ + 1, 0);
    each([&](i64 cell, i64) { ++starts_[cell + 1]; });
    std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
    items_.resize(starts_.back());
    std::vector<i64> fill(starts_.begin(), starts_.end() - 1);
    each([&](i64 cell, i64 k) { items_[fill[cell]++] = static_cast<int32_t>(k); });
  }
  // Boxes whose cells meet those of `b`, each once.
  template <class F> void near(const Box &b, i64 stamp, F &&visit) {
    if (boxes_.empty()) return;
    cells(b, [&](i64 cell) {
      for (i64 k = starts_[cell]; k < starts_[cell + 1]; ++k) {
        const int32_t item = items_[k];
        if (seen_[item] == stamp) continue;
        seen_[item] = stamp;
        visit(item);
      }
    });
  }

private:
  template <class F> void cells(const Box &b, F &&visit) const {
    const i64 xa = place(b.x - x0_, dx_), xb = place(b.x + b.w - x0_, dx_), ya = place(b.y - y0_, dy_), yb = place(b.y + b.h - y0_, dy_);
    for (i64 y = ya; y <= yb; ++y)
      for (i64 x = xa; x <= xb; ++x) visit(y * side_ + x);
  }
  template <class F> void each(F &&visit) const {
    for (size_t k = 0; k < boxes_.size(); ++k) cells(boxes_[k], [&](i64 cell) { visit(cell, static_cast<i64>(k)); });
  }
  i64 place(double v, double d) const { return static_cast<i64>(std::clamp(v / d, 0.0, double(side_ - 1))); }

  const std::vector<Box> &boxes_;
  double x0_ = 0, y0_ = 0, dx_ = 1, dy_ = 1;
  i64 side_ = 1;
  std::vector<i64> starts_;
  std::vector<int32_t> items_;
  std::vector<i64> seen_;
};

struct Candidate {
  int32_t gt;
  double iou;
};

struct Setting {
  std::vector<double> thresholds;
  std::vector<std::pair<double, double>> areas;
  double least; // the smallest IoU that can match

  Setting(In1<double> t, In2<double> a) : thresholds(t.data(), t.data() + t.shape(0)) {
    need(!thresholds.empty() && a.shape(0) > 0 && a.shape(1) == 2, "expected at least one threshold and one area range (low, high)");
    for (const double x : thresholds) need(x > 0 && std::isfinite(x), "an IoU threshold is not above zero");
    for (size_t k = 0; k < a.shape(0); ++k) areas.emplace_back(a.data()[2 * k], a.data()[2 * k + 1]);
    least = std::min(*std::min_element(thresholds.begin(), thresholds.end()), 1 - 1e-10);
  }
  size_t planes() const { return thresholds.size() * areas.size(); }
};

// What the matching of one image reads; `to` and `stride` say where the verdicts of its detections go.
struct Scene {
  const std::vector<double> &gt_area;
  const std::vector<uint8_t> &gt_flags;
  const std::vector<double> &dt_area;
  const std::vector<i64> &starts; // of the candidates of each detection
  const std::vector<Candidate> &candidates;
  uint8_t *to;
  size_t stride;
  double *iou; // of the match at the first threshold and area range
};

void match(const Setting &s, const Scene &scene) {
  const size_t n_gt = scene.gt_area.size(), n_dt = scene.dt_area.size();
  std::vector<uint8_t> skip(n_gt), taken(n_gt, 0), outside(n_dt);
  std::vector<int32_t> hopeful, touched;
  std::vector<double> best_iou(n_dt, 0);
  for (size_t d = 0; d < n_dt; ++d) {
    for (i64 k = scene.starts[d]; k < scene.starts[d + 1]; ++k) best_iou[d] = std::max(best_iou[d], scene.candidates[k].iou);
    if (scene.starts[d + 1] > scene.starts[d]) hopeful.push_back(static_cast<int32_t>(d));
  }
  size_t plane = 0;
  for (const auto &[low, high] : s.areas) {
    for (size_t g = 0; g < n_gt; ++g) skip[g] = (scene.gt_flags[g] & (crowd | left_out)) || scene.gt_area[g] < low || scene.gt_area[g] > high;
    for (size_t d = 0; d < n_dt; ++d) outside[d] = scene.dt_area[d] < low || scene.dt_area[d] > high ? ignored : false_positive;
    for (const double t : s.thresholds) {
      uint8_t *verdict = scene.to + plane * scene.stride;
      std::copy(outside.begin(), outside.end(), verdict);
      for (const int32_t g : touched) taken[g] = 0;
      touched.clear();
      const double bar = std::min(t, 1 - 1e-10);
      for (const int32_t d : hopeful) {
        if (best_iou[d] < bar) continue;
        const Candidate *c = scene.candidates.data() + scene.starts[d], *end = scene.candidates.data() + scene.starts[d + 1];
        double best = bar;
        int32_t m = -1;
        for (const Candidate *k = c; k != end; ++k) // the last of equals wins
          if (!skip[k->gt] && !taken[k->gt] && k->iou >= best) best = k->iou, m = k->gt;
        if (m < 0)
          for (const Candidate *k = c; k != end; ++k)
            if (skip[k->gt] && (!taken[k->gt] || (scene.gt_flags[k->gt] & crowd)) && k->iou >= best) best = k->iou, m = k->gt;
        if (m < 0) continue;
        taken[m] = 1;
        touched.push_back(m);
        if (skip[m]) verdict[d] = ignored;
        else if (!(scene.gt_flags[m] & never_counts)) verdict[d] = true_positive;
        if (plane == 0 && scene.iou) scene.iou[d] = best;
      }
      ++plane;
    }
  }
}

// One side of the whole data set as it comes from Python.
struct Columns {
  In1<int32_t> image, category;
  std::optional<In1<uint8_t>> text; // compressed counts of all masks
  std::optional<In1<i64>> ends;
  std::optional<In2<int32_t>> sizes;
  std::optional<In2<double>> boxes;
  size_t n() const { return image.shape(0); }

  void check(i64 n_images, i64 n_categories, const char *side) const {
    need(category.shape(0) == n(), "image and category differ in length");
    need(text.has_value() == ends.has_value() && text.has_value() == sizes.has_value(), "masks need text, ends and sizes");
    need(text.has_value() != boxes.has_value(), "expected masks or boxes");
    if (text) {
      need(ends->shape(0) == n() + 1 && sizes->shape(0) == n() && sizes->shape(1) == 2, "masks differ in number from rows");
      const i64 *e = ends->data();
      need(e[0] == 0 && e[n()] == static_cast<i64>(text->shape(0)), "ends do not fit the text of the masks");
      for (size_t k = 0; k < n(); ++k) need(e[k] <= e[k + 1], "ends are not ascending");
    } else {
      need(boxes->shape(0) == n() && boxes->shape(1) == 4, "boxes differ in number from rows");
      for (size_t k = 0; k < 4 * n(); ++k)
        if (!std::isfinite(boxes->data()[k])) throw std::invalid_argument(std::string("the box of ") + side + " " + std::to_string(k / 4) + " is missing or not finite");
    }
    for (size_t k = 0; k < n(); ++k) need(image.data()[k] < n_images && category.data()[k] < n_categories, "an image or category index is too large");
  }
  // Rows of each image, in order; rows with a negative image or category are left out.
  void group(i64 n_images, std::vector<i64> &rows, std::vector<i64> &starts) const {
    starts.assign(n_images + 1, 0);
    for (size_t k = 0; k < n(); ++k)
      if (image.data()[k] >= 0 && category.data()[k] >= 0) ++starts[image.data()[k] + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    rows.resize(starts.back());
    std::vector<i64> fill(starts.begin(), starts.end() - 1);
    for (size_t k = 0; k < n(); ++k)
      if (image.data()[k] >= 0 && category.data()[k] >= 0) rows[fill[image.data()[k]]++] = static_cast<i64>(k);
  }
  void load(i64 row, const char *side, Masks &masks, std::vector<Box> &plain, Runs &parsed) const {
    if (!text) {
      const double *b = boxes->data() + 4 * row;
      plain.push_back({b[0], b[1], b[2], b[3]});
      return;
    }
    const i64 a = ends->data()[row], b = ends->data()[row + 1];
    const int32_t *size = sizes->data() + 2 * row;
    const char *start = reinterpret_cast<const char *>(text->data());
    try {
      masks.add(std::string_view(start + a, static_cast<size_t>(b - a)), size[0], size[1], parsed);
    } catch (const std::invalid_argument &e) {
      throw std::invalid_argument(std::string("the run lengths of ") + side + " " + std::to_string(row) + " " + e.what() + " (" +
                                  std::to_string(size[0]) + "×" + std::to_string(size[1]) + " pixels)");
    }
  }
};

// Pairs of one image that can match, by detection; ground truth ascending.
void find_pairs(const Setting &s, const Masks &gm, const Masks &dm, const std::vector<Box> &gb, const std::vector<Box> &db,
                const std::vector<int32_t> &gc, const std::vector<int32_t> &dc, const std::vector<uint8_t> &flags, bool masks,
                std::vector<i64> &starts, std::vector<Candidate> &out) {
  starts.assign(1, 0);
  out.clear();
  Grid grid(gb);
  for (size_t d = 0; d < db.size(); ++d) {
    const Box &D = db[d];
    const size_t from = out.size();
    grid.near(D, static_cast<i64>(d), [&](int32_t g) {
      if (gc[g] != dc[d]) return;
      const Box &G = gb[g];
      const double w = std::fmin(D.w + D.x, G.w + G.x) - std::fmax(D.x, G.x);
      if (w <= 0) return;
      const double h = std::fmin(D.h + D.y, G.h + G.y) - std::fmax(D.y, G.y);
      if (h <= 0) return;
      const bool in_crowd = flags[g] & crowd;
      double iou;
      if (!masks) {
        const double i = w * h, da = D.w * D.h, ga = G.w * G.h;
        iou = i / (in_crowd ? da : da + ga - i);
      } else {
        if (gm.height[g] != dm.height[d] || gm.width[g] != dm.width[d]) return;
        const i64 a = gm.area[g], b = dm.area[d];
        const double most = std::min({double(a), double(b), w * h}); // of shared pixels
        if (most < 0.999 * s.least * (in_crowd ? double(b) : double(a) + double(b) - most)) return;
        const i64 c = shared_pixels(gm, g, dm, d);
        if (!c) return;
        iou = double(c) / double(in_crowd ? b : a + b - c);
      }
      if (iou >= s.least) out.push_back({g, iou});
    });
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(from), out.end(), [](const Candidate &a, const Candidate &b) { return a.gt < b.gt; });
    starts.push_back(static_cast<i64>(out.size()));
  }
}

// Detections of one image by category, best score first, equal scores in their order, at most `most` of a category.
void rank(const double *score, const int32_t *category, i64 most, std::vector<i64> &rows, std::vector<int32_t> &place) {
  std::stable_sort(rows.begin(), rows.end(), [&](i64 a, i64 b) {
    return category[a] != category[b] ? category[a] < category[b] : score[a] > score[b];
  });
  place.clear();
  size_t kept = 0;
  i64 of_category = 0;
  for (size_t k = 0; k < rows.size(); ++k) {
    of_category = k && category[rows[k]] == category[rows[k - 1]] ? of_category + 1 : 0;
    if (of_category >= most) continue;
    place.push_back(static_cast<int32_t>(of_category));
    rows[kept++] = rows[k]; // kept <= k, and the comparison above looks one back at most
  }
  rows.resize(kept);
}

struct Outcome {
  std::vector<i64> row, n_gt;
  std::vector<int32_t> image, category, rank;
  std::vector<double> score, iou;
  std::vector<uint8_t> codes;
};

void count_truth(const Setting &s, int32_t category, double area, uint8_t flags, i64 *n_gt) {
  if (flags & (crowd | left_out)) return;
  for (size_t a = 0; a < s.areas.size(); ++a)
    if (!(area < s.areas[a].first || area > s.areas[a].second)) ++n_gt[category * static_cast<i64>(s.areas.size()) + static_cast<i64>(a)];
}

auto packed(Outcome &&o, const Setting &s, i64 images, i64 categories) {
  const size_t n = o.row.size();
  nb::dict out;
  out["row"] = owned(std::move(o.row), {n});
  out["image"] = owned(std::move(o.image), {n});
  out["category"] = owned(std::move(o.category), {n});
  out["rank"] = owned(std::move(o.rank), {n});
  out["score"] = owned(std::move(o.score), {n});
  out["iou"] = owned(std::move(o.iou), {n});
  out["codes"] = owned(std::move(o.codes), {s.areas.size(), s.thresholds.size(), n});
  out["n_gt"] = owned(std::move(o.n_gt), {static_cast<size_t>(images), static_cast<size_t>(categories), s.areas.size()});
  return out;
}

using Text = std::optional<In1<uint8_t>>;
using Ends = std::optional<In1<i64>>;
using Sizes = std::optional<In2<int32_t>>;
using Boxes = std::optional<In2<double>>;

nb::dict evaluate(i64 images, i64 categories, In1<int32_t> gt_image, In1<int32_t> gt_category, In1<double> gt_area, In1<uint8_t> gt_flags,
                  Text gt_text, Ends gt_ends, Sizes gt_sizes, Boxes gt_boxes, In1<int32_t> dt_image, In1<int32_t> dt_category,
                  In1<double> dt_score, std::optional<In1<double>> dt_area, Text dt_text, Ends dt_ends, Sizes dt_sizes, Boxes dt_boxes,
                  In1<double> thresholds, In2<double> areas, i64 max_det, int threads) {
  const Setting s(thresholds, areas);
  const Columns gt{gt_image, gt_category, gt_text, gt_ends, gt_sizes, gt_boxes}, dt{dt_image, dt_category, dt_text, dt_ends, dt_sizes, dt_boxes};
  need(images >= 0 && categories >= 0 && max_det >= 0 && threads >= 1, "a count is negative");
  gt.check(images, categories, "annotation");
  dt.check(images, categories, "detection");
  need(gt.boxes.has_value() == dt.boxes.has_value(), "one side has masks, the other boxes");
  need(gt_area.shape(0) == gt.n() && gt_flags.shape(0) == gt.n() && dt_score.shape(0) == dt.n(), "columns differ in length");
  need(!dt_area || dt_area->shape(0) == dt.n(), "columns differ in length");
  need(dt_area.has_value() || dt.text.has_value(), "boxes need the areas of detections");
  for (size_t k = 0; k < dt.n(); ++k) need(!std::isnan(dt_score.data()[k]) || dt_image.data()[k] < 0 || dt_category.data()[k] < 0, "a score is NaN");
  Outcome out;
  {
    nb::gil_scoped_release release;
    std::vector<i64> gt_rows, gt_starts, dt_rows, dt_starts;
    gt.group(images, gt_rows, gt_starts);
    dt.group(images, dt_rows, dt_starts);
    std::vector<std::vector<i64>> kept(images);
    std::vector<std::vector<int32_t>> places(images);
    spread(images, threads, [&](i64 k) {
      kept[k].assign(dt_rows.begin() + dt_starts[k], dt_rows.begin() + dt_starts[k + 1]);
      rank(dt_score.data(), dt_category.data(), max_det, kept[k], places[k]);
    });
    std::vector<i64> first(images + 1, 0);
    for (i64 k = 0; k < images; ++k) first[k + 1] = first[k] + static_cast<i64>(kept[k].size());
    const size_t n = static_cast<size_t>(first[images]);
    out.row.resize(n), out.image.resize(n), out.category.resize(n), out.rank.resize(n), out.score.resize(n), out.iou.assign(n, 0);
    out.codes.resize(n * s.planes());
    out.n_gt.assign(images * categories * static_cast<i64>(s.areas.size()), 0);
    spread(images, threads, [&](i64 k) {
      thread_local Masks gm, dm;
      thread_local std::vector<Box> gb, db;
      thread_local std::vector<i64> starts;
      thread_local Runs counts;
      thread_local std::vector<Candidate> candidates;
      gm.clear(), dm.clear(), gb.clear(), db.clear();
      std::vector<double> ga, da;
      std::vector<int32_t> gc, dc;
      std::vector<uint8_t> flags;
      for (i64 j = gt_starts[k]; j < gt_starts[k + 1]; ++j) {
        const i64 row = gt_rows[j];
        gt.load(row, "annotation", gm, gb, counts);
        ga.push_back(gt_area.data()[row]);
        gc.push_back(gt_category.data()[row]);
        flags.push_back(gt_flags.data()[row]);
        count_truth(s, gc.back(), ga.back(), flags.back(), out.n_gt.data() + k * categories * static_cast<i64>(s.areas.size()));
      }
      for (size_t j = 0; j < kept[k].size(); ++j) {
        const i64 row = kept[k][j], at = first[k] + static_cast<i64>(j);
        dt.load(row, "detection", dm, db, counts);
        da.push_back(dt_area ? dt_area->data()[row] : double(dm.area.back()));
        dc.push_back(dt_category.data()[row]);
        out.row[at] = row;
        out.image[at] = static_cast<int32_t>(k);
        out.category[at] = dc.back();
        out.rank[at] = places[k][j];
        out.score[at] = dt_score.data()[row];
      }
      const bool masks = dt.text.has_value();
      find_pairs(s, gm, dm, masks ? gm.box : gb, masks ? dm.box : db, gc, dc, flags, masks, starts, candidates);
      match(s, Scene{ga, flags, da, starts, candidates, out.codes.data() + first[k], n, out.iou.data() + first[k]});
    });
  }
  return packed(std::move(out), s, images, categories);
}

// The same for one image whose IoU are known: pairs (ground truth, detection, IoU), the others being zero.
nb::dict match_pairs(i64 categories, In1<int32_t> gt_category, In1<double> gt_area, In1<uint8_t> gt_flags, In1<int32_t> dt_category,
                     In1<double> dt_score, In1<double> dt_area, In1<i64> gt_index, In1<i64> dt_index, In1<double> iou,
                     In1<double> thresholds, In2<double> areas, i64 max_det) {
  const Setting s(thresholds, areas);
  const i64 n_gt = static_cast<i64>(gt_category.shape(0)), n_dt = static_cast<i64>(dt_category.shape(0));
  const size_t n_pairs = gt_index.shape(0);
  need(static_cast<i64>(gt_area.shape(0)) == n_gt && static_cast<i64>(gt_flags.shape(0)) == n_gt, "columns differ in length");
  need(static_cast<i64>(dt_score.shape(0)) == n_dt && static_cast<i64>(dt_area.shape(0)) == n_dt, "columns differ in length");
  need(dt_index.shape(0) == n_pairs && iou.shape(0) == n_pairs && categories >= 0 && max_det >= 0, "pairs differ in length");
  for (i64 k = 0; k < n_gt; ++k) need(gt_category.data()[k] < categories, "a category index is too large");
  for (i64 k = 0; k < n_dt; ++k) {
    need(dt_category.data()[k] < categories, "a category index is too large");
    need(!std::isnan(dt_score.data()[k]) || dt_category.data()[k] < 0, "a score is NaN");
  }
  for (size_t k = 0; k < n_pairs; ++k)
    need(gt_index.data()[k] >= 0 && gt_index.data()[k] < n_gt && dt_index.data()[k] >= 0 && dt_index.data()[k] < n_dt, "a pair names no row");
  Outcome out;
  {
    nb::gil_scoped_release release;
    for (i64 k = 0; k < n_dt; ++k)
      if (dt_category.data()[k] >= 0) out.row.push_back(k);
    rank(dt_score.data(), dt_category.data(), max_det, out.row, out.rank);
    const size_t n = out.row.size();
    std::vector<i64> at(n_dt, -1), starts(n + 1, 0);
    std::vector<double> da(n), ga(gt_area.data(), gt_area.data() + n_gt);
    std::vector<uint8_t> flags(gt_flags.data(), gt_flags.data() + n_gt);
    for (size_t k = 0; k < n; ++k) {
      at[out.row[k]] = static_cast<i64>(k);
      da[k] = dt_area.data()[out.row[k]];
      out.category.push_back(dt_category.data()[out.row[k]]);
      out.score.push_back(dt_score.data()[out.row[k]]);
    }
    const auto wanted = [&](size_t k) {
      const i64 g = gt_index.data()[k], d = dt_index.data()[k];
      return at[d] >= 0 && iou.data()[k] >= s.least && gt_category.data()[g] == dt_category.data()[d];
    };
    for (size_t k = 0; k < n_pairs; ++k)
      if (wanted(k)) ++starts[at[dt_index.data()[k]] + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    std::vector<Candidate> candidates(starts.back());
    std::vector<i64> fill(starts.begin(), starts.end() - 1);
    for (size_t k = 0; k < n_pairs; ++k)
      if (wanted(k)) candidates[fill[at[dt_index.data()[k]]]++] = {static_cast<int32_t>(gt_index.data()[k]), iou.data()[k]};
    for (size_t k = 0; k < n; ++k)
      std::sort(candidates.begin() + starts[k], candidates.begin() + starts[k + 1], [](const Candidate &a, const Candidate &b) { return a.gt < b.gt; });
    out.image.assign(n, 0);
    out.iou.assign(n, 0);
    out.codes.resize(n * s.planes());
    out.n_gt.assign(categories * static_cast<i64>(s.areas.size()), 0);
    for (i64 k = 0; k < n_gt; ++k)
      if (gt_category.data()[k] >= 0) count_truth(s, gt_category.data()[k], ga[k], flags[k], out.n_gt.data());
    match(s, Scene{ga, flags, da, starts, candidates, out.codes.data(), n, out.iou.data()});
  }
  return packed(std::move(out), s, 1, categories);
}

// Positions of the detections of each category, best score first, equal scores in the order given.
std::vector<std::vector<i64>> by_category(const int32_t *category, const double *score, size_t n, i64 categories, int threads) {
  std::vector<std::vector<i64>> order(categories);
  for (size_t k = 0; k < n; ++k) order[category[k]].push_back(static_cast<i64>(k));
  spread(categories, threads, [&](i64 c) {
    std::stable_sort(order[c].begin(), order[c].end(), [&](i64 a, i64 b) { return score[a] > score[b]; });
  });
  return order;
}

struct Hit { // a true positive: how many came to it, and where it stands in the order
  i64 tp, fp, at;
};

// Precision and score at each recall: COCO's sampled envelope. Only true positives can raise it.
void sample(const std::vector<Hit> &hits, i64 n_gt, const double *recalls, size_t n_recalls, const std::vector<i64> &order, const double *score,
            double *precision, double *scores, size_t stride) {
  const double spacing = 2.220446049250313e-16;
  std::vector<double> envelope(hits.size());
  double best = 0;
  for (size_t k = hits.size(); k-- > 0;) {
    best = std::max(best, double(hits[k].tp) / (double(hits[k].fp + hits[k].tp) + spacing));
    envelope[k] = best;
  }
  size_t k = 0;
  for (size_t r = 0; r < n_recalls; ++r) {
    double p = 0, at = 0;
    if (recalls[r] <= 0) { // recall is reached by the first detection, whatever it is
      if (!order.empty()) p = envelope.empty() ? 0 : envelope[0], at = score[order[0]];
    } else {
      while (k < hits.size() && double(hits[k].tp) / double(n_gt) < recalls[r]) ++k;
      if (k == hits.size()) break;
      p = envelope[k];
      at = score[order[hits[k].at]];
    }
    precision[r * stride] = p;
    if (scores) scores[r * stride] = at;
  }
}

auto accumulate(In1<double> score, In1<int32_t> category, In1<int32_t> ranks, In3<uint8_t> codes, In2<i64> n_gt, std::vector<i64> max_dets,
                In1<double> recalls, int threads) {
  const size_t A = codes.shape(0), T = codes.shape(1), n = codes.shape(2), K = n_gt.shape(0), M = max_dets.size(), R = recalls.shape(0);
  need(score.shape(0) == n && category.shape(0) == n && ranks.shape(0) == n && n_gt.shape(1) == A && threads >= 1, "columns differ in length");
  need(std::is_sorted(recalls.data(), recalls.data() + R) && std::is_sorted(max_dets.begin(), max_dets.end()), "recalls or limits are not ascending");
  for (size_t k = 0; k < n; ++k)
    need(category.data()[k] >= 0 && category.data()[k] < static_cast<int32_t>(K) && !std::isnan(score.data()[k]), "a category or score is not valid");
  std::vector<double> precision(T * R * K * A * M, -1), recall(T * K * A * M, -1), scores(T * R * K * A * M, -1);
  {
    nb::gil_scoped_release release;
    const auto order = by_category(category.data(), score.data(), n, static_cast<i64>(K), threads);
    spread(static_cast<i64>(K * A * T), threads, [&](i64 job) {
      const size_t t = job % T, a = job / T % A, k = job / (T * A);
      const i64 positives = n_gt.data()[k * A + a];
      if (positives <= 0) return;
      const uint8_t *verdict = codes.data() + (a * T + t) * n;
      std::vector<std::vector<Hit>> hits(M);
      std::vector<std::vector<i64>> kept(M); // order of the detections within a limit, only where the limit cuts
      std::vector<i64> tp(M, 0), fp(M, 0), seen(M, 0), first(M, -1);
      for (size_t j = 0; j < order[k].size(); ++j) {
        const i64 d = order[k][j];
        const uint8_t code = verdict[d];
        for (size_t m = M; m-- > 0 && ranks.data()[d] < max_dets[m];) {
          if (first[m] < 0) first[m] = static_cast<i64>(j);
          if (code == true_positive) hits[m].push_back({++tp[m], fp[m], static_cast<i64>(j)});
          else if (code == false_positive) ++fp[m];
        }
      }
      for (size_t m = 0; m < M; ++m) {
        const size_t at = (k * A + a) * M + m, stride = K * A * M;
        for (size_t r = 0; r < R; ++r) precision[(t * R + r) * stride + at] = scores[(t * R + r) * stride + at] = 0;
        recall[t * stride + at] = double(tp[m]) / double(positives);
        if (first[m] < 0) continue;
        sample(hits[m], positives, recalls.data(), R, order[k], score.data(), precision.data() + t * R * stride + at,
               scores.data() + t * R * stride + at, stride);
        if (R && recalls.data()[0] <= 0) // the first detection within the limit
          for (size_t r = 0; r < R && recalls.data()[r] <= 0; ++r) scores[(t * R + r) * stride + at] = score.data()[order[k][first[m]]];
      }
    });
  }
  return std::make_tuple(owned(std::move(precision), {T, R, K, A, M}), owned(std::move(recall), {T, K, A, M}), owned(std::move(scores), {T, R, K, A, M}));
}

// The detections of one category in order, and what the resampling reads of them at one threshold. Of true positives with
// nothing between them only the last can raise the envelope, so it is enough to walk them, or the false ones.
struct Walk {
  struct Mixed { // detections of one image and score, some true, some false, which repeat as a whole
    size_t from, to;    // places in the order
    size_t first, last; // of their steps
    int32_t misses;
  };
  const uint8_t *codes = nullptr; // of all detections
  bool over_hits = true;          // the steps are true positives, else false ones
  bool all_count = true;          // none is ignored
  std::vector<int32_t> steps;
  std::vector<Mixed> mixed;
};

struct Ranked {
  const std::vector<i64> &order;
  std::vector<int32_t> image; // of each detection
  std::vector<Walk> walks;    // by threshold

  Ranked(const std::vector<i64> &places, const int32_t *of, const double *score, const uint8_t *codes, size_t T, size_t n) : order(places), walks(T) {
    for (const i64 d : order) image.push_back(of[d]);
    for (size_t t = 0; t < T; ++t) prepare(walks[t], codes + t * n, score);
  }

private:
  void prepare(Walk &walk, const uint8_t *codes, const double *score) const {
    walk.codes = codes;
    std::array<size_t, 3> found{};
    for (const i64 d : order) ++found[codes[d]];
    walk.all_count = !found[ignored];
    walk.over_hits = found[true_positive] <= found[false_positive];
    const uint8_t step = walk.over_hits ? true_positive : false_positive;
    for (size_t j = 0, end; j < order.size(); j = end) {
      Walk::Mixed block{j, j, walk.steps.size(), 0, 0};
      bool hit = false;
      for (end = j; end < order.size() && image[end] == image[j] && score[order[end]] == score[order[j]]; ++end) {
        const uint8_t code = codes[order[end]];
        hit |= code == true_positive;
        block.misses += code == false_positive;
        if (code == step) walk.steps.push_back(static_cast<int32_t>(end));
      }
      block.to = end;
      block.last = walk.steps.size();
      if (hit && block.misses) walk.mixed.push_back(block);
    }
  }
};

// One resample of one category: how often each detection stands in the order, and the curve of each threshold.
class Curve {
public:
  Curve(const double *recalls, size_t n, double spacing) : recalls_(recalls), need_(n), spacing_(spacing) {}

  void weigh(const Ranked &r, const i64 *weights, i64 positives) {
    i64 total = 0;
    for (const int32_t i : r.image) total += weights[i];
    need(total < (i64(1) << 31), "the detections of one resample are too many");
    shared_.resize(r.image.size());
    for (size_t j = 0; j < r.image.size(); ++j) shared_[j].copies = static_cast<int32_t>(weights[r.image[j]]);
    count(r, nullptr, shared_);
    for (size_t k = 0; k < need_.size(); ++k) { // the fewest true positives that reach a recall
      double tp = recalls_[k] <= 0 ? 0 : std::ceil(recalls_[k] * double(positives));
      while (tp > 0 && (tp - 1) / double(positives) >= recalls_[k]) --tp;
      while (tp / double(positives) < recalls_[k]) ++tp;
      need_[k] = static_cast<i64>(tp);
    }
  }
  // Precision at each recall, `stride` apart; returns the true positives.
  i64 draw(const Ranked &r, const Walk &walk, double *line, size_t stride) {
    if (!walk.all_count) {
      own_ = shared_;
      count(r, walk.codes, own_);
    }
    const Place *place = (walk.all_count ? shared_ : own_).data();
    const size_t n = r.image.size();
    tp_.resize(std::max(tp_.size(), walk.steps.size() + 1));
    all_.resize(tp_.size());
    int32_t passed = 0; // true positives so far, or false ones
    size_t c = 0, next = 0;
    const auto go = [&](size_t to) {
      if (walk.over_hits)
        for (; next < to; ++next, ++c) {
          const Place at = place[walk.steps[next]];
          tp_[c] = passed += at.copies;
          all_[c] = at.upto;
        }
      else
        for (; next < to; ++next, ++c) {
          const Place at = place[walk.steps[next]];
          all_[c] = at.upto - at.copies;
          tp_[c] = all_[c] - passed;
          passed += at.copies;
        }
    };
    for (const Walk::Mixed &block : walk.mixed) {
      const int32_t copies = shared_[block.from].copies; // place's is 0 where the first of them is ignored
      if (copies < 2) continue;
      go(block.first);
      repeat(r, walk, block, place, copies, passed, c);
      passed += copies * (walk.over_hits ? static_cast<int32_t>(block.last - block.first) : block.misses);
      next = block.last;
    }
    go(walk.steps.size());
    if (!walk.over_hits) all_[c] = n ? place[n - 1].upto : 0, tp_[c] = all_[c] - passed, ++c;
    const i64 tp = c ? tp_[c - 1] : 0;
    precision_.resize(std::max(precision_.size(), c));
    for (size_t k = 0; k < c; ++k) precision_[k] = double(tp_[k]) / (double(std::max(all_[k], 1)) + spacing_);
    double best = 0;
    for (size_t k = need_.size(); k-- > 0;) {
      while (c > 0 && tp_[c - 1] >= need_[k]) best = std::max(best, precision_[--c]);
      line[k * stride] = best;
    }
    return tp;
  }

private:
  struct Place {
    int32_t copies, upto; // of this detection, and of all that count up to and with it
  };
  static void count(const Ranked &r, const uint8_t *code, std::vector<Place> &places) {
    int32_t sum = 0;
    for (size_t j = 0; j < places.size(); ++j) {
      if (code && code[r.order[j]] == ignored) places[j].copies = 0;
      places[j].upto = sum += places[j].copies;
    }
  }
  // The copies of mixed detections, one whole copy after the other.
  void repeat(const Ranked &r, const Walk &walk, const Walk::Mixed &block, const Place *place, int32_t copies, int32_t passed, size_t &c) {
    const size_t room = c + static_cast<size_t>(copies) * (block.to - block.from) + walk.steps.size() - block.last + 2;
    tp_.resize(std::max(tp_.size(), room));
    all_.resize(tp_.size());
    int32_t seen = block.from ? place[block.from - 1].upto : 0, tp = walk.over_hits ? passed : seen - passed;
    if (!walk.over_hits) tp_[c] = tp, all_[c++] = seen; // the run before the block
    for (int32_t copy = 0; copy < copies; ++copy)
      for (size_t j = block.from; j < block.to; ++j) {
        const uint8_t code = walk.codes[r.order[j]];
        seen += code != ignored;
        if (code == true_positive) tp_[c] = ++tp, all_[c++] = seen;
      }
  }

  const double *recalls_;
  std::vector<i64> need_;
  double spacing_;
  std::vector<Place> shared_, own_;
  std::vector<int32_t> tp_, all_;
  std::vector<double> precision_;
};

// Precision and recall of one area range and limit when image i counts weights[b, i] times, as if it were listed so often
// in a row: of equal scores the detections of its first copy stand before those of the second.
auto resample(In1<double> score, In1<int32_t> category, In1<int32_t> image, In2<uint8_t> codes, In2<i64> n_gt, In2<i64> weights,
              In1<double> recalls, double spacing, int threads) {
  const size_t T = codes.shape(0), n = codes.shape(1), images = n_gt.shape(0), K = n_gt.shape(1), B = weights.shape(0), R = recalls.shape(0);
  need(score.shape(0) == n && category.shape(0) == n && image.shape(0) == n && weights.shape(1) == images && threads >= 1, "columns differ in length");
  need(std::is_sorted(recalls.data(), recalls.data() + R) && (!R || recalls.data()[R - 1] <= 1), "recalls are not ascending or above one");
  for (size_t k = 0; k < n; ++k) {
    need(category.data()[k] >= 0 && category.data()[k] < static_cast<int32_t>(K) && image.data()[k] >= 0 && image.data()[k] < static_cast<int32_t>(images), "an index is not valid");
    need(!std::isnan(score.data()[k]) && (!k || image.data()[k] >= image.data()[k - 1]), "a score is NaN, or the images are not in order");
  }
  for (size_t k = 0; k < T * n; ++k) need(codes.data()[k] <= ignored, "a verdict is not 0, 1 or 2");
  for (size_t k = 0; k < B * images; ++k) need(weights.data()[k] >= 0 && weights.data()[k] < (i64(1) << 31), "a weight is negative or too large");
  for (size_t k = 0; k < images * K; ++k) need(n_gt.data()[k] >= 0 && n_gt.data()[k] < (i64(1) << 31), "a number of cells is negative or too large");
  std::vector<double> precision(B * T * R * K, -1), recall(B * T * K, -1);
  {
    nb::gil_scoped_release release;
    const auto order = by_category(category.data(), score.data(), n, static_cast<i64>(K), threads);
    std::vector<Ranked> ranked;
    for (size_t k = 0; k < K; ++k) ranked.emplace_back(order[k], image.data(), score.data(), codes.data(), T, n);
    spread(static_cast<i64>(B), threads, [&](i64 b) {
      const i64 *w = weights.data() + b * static_cast<i64>(images);
      Curve curve(recalls.data(), R, spacing);
      for (size_t k = 0; k < K; ++k) {
        i64 positives = 0;
        for (size_t i = 0; i < images; ++i) positives += w[i] * n_gt.data()[i * K + k];
        if (!positives) continue;
        curve.weigh(ranked[k], w, positives);
        for (size_t t = 0; t < T; ++t) {
          const i64 tp = curve.draw(ranked[k], ranked[k].walks[t], precision.data() + (b * T + t) * R * K + k, K);
          recall[(b * T + t) * K + k] = double(tp) / double(positives);
        }
      }
    });
  }
  return std::make_tuple(owned(std::move(precision), {B, T, R, K}), owned(std::move(recall), {B, T, K}));
}

} // namespace

NB_MODULE(matching, m) {
  m.def("evaluate", &evaluate, nb::kw_only(), nb::arg("images"), nb::arg("categories"), nb::arg("gt_image"), nb::arg("gt_category"),
        nb::arg("gt_area"), nb::arg("gt_flags"), nb::arg("gt_text").none(), nb::arg("gt_ends").none(), nb::arg("gt_sizes").none(),
        nb::arg("gt_boxes").none(), nb::arg("dt_image"), nb::arg("dt_category"), nb::arg("dt_score"), nb::arg("dt_area").none(),
        nb::arg("dt_text").none(), nb::arg("dt_ends").none(), nb::arg("dt_sizes").none(), nb::arg("dt_boxes").none(),
        nb::arg("thresholds"), nb::arg("areas"), nb::arg("max_det"), nb::arg("threads"));
  m.def("match_pairs", &match_pairs, nb::kw_only(), nb::arg("categories"), nb::arg("gt_category"), nb::arg("gt_area"), nb::arg("gt_flags"),
        nb::arg("dt_category"), nb::arg("dt_score"), nb::arg("dt_area"), nb::arg("gt_index"), nb::arg("dt_index"), nb::arg("iou"),
        nb::arg("thresholds"), nb::arg("areas"), nb::arg("max_det"));
  m.def("accumulate", &accumulate, nb::kw_only(), nb::arg("score"), nb::arg("category"), nb::arg("rank"), nb::arg("codes"), nb::arg("n_gt"),
        nb::arg("max_dets"), nb::arg("recalls"), nb::arg("threads"));
  m.def("resample", &resample, nb::kw_only(), nb::arg("score"), nb::arg("category"), nb::arg("image"), nb::arg("codes"), nb::arg("n_gt"),
        nb::arg("weights"), nb::arg("recalls"), nb::arg("spacing"), nb::arg("threads"));
}
