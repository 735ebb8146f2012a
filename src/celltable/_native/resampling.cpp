// The same curve for many resamples of the images, for confidence intervals.
#include "matching.hpp"

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cmath>

#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// A resample lists image i weights[i] times in a row. Sorting all its detections again for each of a thousand
// resamples would cost most of the time; instead the detections are sorted once, and each counts `copies` times.
//
// What is walked, and why the curve is bit for bit that of COCOeval.accumulate on the repeated images (see
// curve.cpp):
// - Sorting is stable, so the copies of a detection follow each other, unless its image has other detections of the
//   same score: then the copies repeat as a whole block, t f t f. The order inside matters only where the block holds
//   both true and false positives ("mixed"); such blocks are replayed copy by copy. In any other block the order does
//   not change the pair (tp, all) at the places that matter below, so each detection may take all its copies at once.
// - Call a maximal row of true positives without a false one between them a run. Within it fp is constant and tp /
//   (tp + fp + spacing) rises with tp: (t + 1) / (t + f + 1) - t / (t + f) = f / ((t + f)(t + f + 1)) >= 0, and
//   rounding is monotone. (spacing only matters where t + f = 1; from 2 on, adding it rounds back to t + f.) So the
//   last of a run has its greatest precision, and the envelope at any place of the run is the greatest precision of
//   the last places of this and later runs.
// - A threshold needs a number of true positives: `need_`, the least tp with tp / positives >= recall in double
//   arithmetic. The sampled precision is therefore the greatest over all run ends with tp >= need_, and 0 if there is
//   none.
// - Recording more places than run ends is harmless as long as each is a place that exists in the list, since its
//   precision is then one of those under the envelope. So it is enough to walk the true positives, recording the
//   place after each, or the false ones, recording the place before each and the end: whichever are fewer.

// The detections of one category at one threshold, prepared once for all resamples.
struct Walk {
  struct Mixed {              // detections of one image with equal scores, true and false, which repeat as a block
    std::size_t from, to;     // places in the order
    std::size_t first, last;  // of their steps
    std::int32_t misses;
  };
  const std::uint8_t *codes = nullptr;  // of all detections
  bool over_hits = true;                // the steps are true positives, else false ones
  bool all_count = true;                // no detection is ignored
  std::vector<std::int32_t> steps;
  std::vector<Mixed> mixed;
};

struct Ranked {
  const std::vector<i64> &order;
  std::vector<std::int32_t> image;  // of each detection
  std::vector<Walk> walks;          // by threshold

  Ranked(const std::vector<i64> &places, const std::int32_t *of, const double *score, const std::uint8_t *codes,
         std::size_t T, std::size_t n)
      : order(places), walks(T) {
    for (const i64 d : order) image.push_back(of[d]);
    for (std::size_t t = 0; t < T; ++t) prepare(walks[t], codes + t * n, score);
  }

 private:
  void prepare(Walk &walk, const std::uint8_t *codes, const double *score) const {
    walk.codes = codes;
    std::array<std::size_t, 3> found{};
    for (const i64 d : order) ++found[codes[d]];
    walk.all_count = !found[ignored];
    walk.over_hits = found[true_positive] <= found[false_positive];
    const std::uint8_t step = walk.over_hits ? true_positive : false_positive;
    for (std::size_t j = 0, end; j < order.size(); j = end) {
      Walk::Mixed block{j, j, walk.steps.size(), 0, 0};
      bool hit = false;
      for (end = j; end < order.size() && image[end] == image[j] && score[order[end]] == score[order[j]]; ++end) {
        const std::uint8_t code = codes[order[end]];
        hit |= code == true_positive;
        block.misses += code == false_positive;
        if (code == step) walk.steps.push_back(static_cast<std::int32_t>(end));
      }
      block.to = end;
      block.last = walk.steps.size();
      if (hit && block.misses) walk.mixed.push_back(block);
    }
  }
};

// One resample of one category: how often each detection occurs, and the curve at each threshold.
class Curve {
 public:
  Curve(const double *recalls, std::size_t n, double spacing) : recalls_(recalls), need_(n), spacing_(spacing) {}

  void weigh(const Ranked &r, const i64 *weights, i64 positives) {
    i64 total = 0;
    for (const std::int32_t i : r.image) total += weights[i];
    need(total < (i64(1) << 31), "the detections of one resample are too many");
    shared_.resize(r.image.size());
    for (std::size_t j = 0; j < r.image.size(); ++j) shared_[j].copies = static_cast<std::int32_t>(weights[r.image[j]]);
    count(r, nullptr, shared_);
    for (std::size_t k = 0; k < need_.size(); ++k) {  // the fewest true positives that reach a recall
      double tp = recalls_[k] <= 0 ? 0 : std::ceil(recalls_[k] * double(positives));
      while (tp > 0 && (tp - 1) / double(positives) >= recalls_[k]) --tp;
      while (tp / double(positives) < recalls_[k]) ++tp;
      need_[k] = static_cast<i64>(tp);
    }
  }
  // Write precision at each recall, `stride` apart; return the number of true positives.
  i64 draw(const Ranked &r, const Walk &walk, double *line, std::size_t stride) {
    if (!walk.all_count) {
      own_ = shared_;
      count(r, walk.codes, own_);
    }
    const Place *place = (walk.all_count ? shared_ : own_).data();
    const std::size_t n = r.image.size();
    tp_.resize(std::max(tp_.size(), walk.steps.size() + 1));
    all_.resize(tp_.size());
    std::int32_t passed = 0;  // true positives so far, or false ones
    std::size_t c = 0, next = 0;
    const auto go = [&](std::size_t to) {
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
      const std::int32_t copies = shared_[block.from].copies;  // place[] says 0 where the first of them is ignored
      if (copies < 2) continue;
      go(block.first);
      repeat(r, walk, block, place, copies, passed, c);
      passed += copies * (walk.over_hits ? static_cast<std::int32_t>(block.last - block.first) : block.misses);
      next = block.last;
    }
    go(walk.steps.size());
    if (!walk.over_hits) all_[c] = n ? place[n - 1].upto : 0, tp_[c] = all_[c] - passed, ++c;
    const i64 tp = c ? tp_[c - 1] : 0;
    precision_.resize(std::max(precision_.size(), c));
    for (std::size_t k = 0; k < c; ++k) precision_[k] = double(tp_[k]) / (double(std::max(all_[k], 1)) + spacing_);
    double best = 0;
    for (std::size_t k = need_.size(); k-- > 0;) {
      while (c > 0 && tp_[c - 1] >= need_[k]) best = std::max(best, precision_[--c]);
      line[k * stride] = best;
    }
    return tp;
  }

 private:
  struct Place {
    std::int32_t copies, upto;  // copies of this detection; of all that count, up to and with it
  };
  static void count(const Ranked &r, const std::uint8_t *code, std::vector<Place> &places) {
    std::int32_t sum = 0;
    for (std::size_t j = 0; j < places.size(); ++j) {
      if (code && code[r.order[j]] == ignored) places[j].copies = 0;
      places[j].upto = sum += places[j].copies;
    }
  }
  // Replay the copies of a mixed block, one whole copy after another.
  void repeat(const Ranked &r, const Walk &walk, const Walk::Mixed &block, const Place *place, std::int32_t copies,
              std::int32_t passed, std::size_t &c) {
    const std::size_t room =
        c + static_cast<std::size_t>(copies) * (block.to - block.from) + walk.steps.size() - block.last + 2;
    tp_.resize(std::max(tp_.size(), room));
    all_.resize(tp_.size());
    std::int32_t seen = block.from ? place[block.from - 1].upto : 0, tp = walk.over_hits ? passed : seen - passed;
    if (!walk.over_hits) tp_[c] = tp, all_[c++] = seen;  // the run before the block
    for (std::int32_t copy = 0; copy < copies; ++copy)
      for (std::size_t j = block.from; j < block.to; ++j) {
        const std::uint8_t code = walk.codes[r.order[j]];
        seen += code != ignored;
        if (code == true_positive) tp_[c] = ++tp, all_[c++] = seen;
      }
  }

  const double *recalls_;
  std::vector<i64> need_;
  double spacing_;
  std::vector<Place> shared_, own_;
  std::vector<std::int32_t> tp_, all_;
  std::vector<double> precision_;
};

// Precision and recall of one area range and limit for each resample, in which image i is listed weights[b, i] times
// in a row: among equal scores the detections of its first copy come before those of the second.
auto resample(Vector<double> score, Vector<std::int32_t> category, Vector<std::int32_t> image,
              Table<std::uint8_t> codes, Table<i64> n_gt, Table<i64> weights, Vector<double> recalls, double spacing,
              int threads) {
  const std::size_t T = codes.shape(0), n = codes.shape(1), images = n_gt.shape(0), K = n_gt.shape(1),
                    B = weights.shape(0), R = recalls.shape(0);
  need(score.shape(0) == n && category.shape(0) == n && image.shape(0) == n && weights.shape(1) == images &&
           threads >= 1,
       "columns differ in length");
  need(std::is_sorted(recalls.data(), recalls.data() + R) && (!R || recalls.data()[R - 1] <= 1),
       "recalls are not ascending or above one");
  for (std::size_t k = 0; k < n; ++k) {
    need(category.data()[k] >= 0 && category.data()[k] < static_cast<std::int32_t>(K) && image.data()[k] >= 0 &&
             image.data()[k] < static_cast<std::int32_t>(images),
         "an index is not valid");
    need(!std::isnan(score.data()[k]) && (!k || image.data()[k] >= image.data()[k - 1]),
         "a score is NaN, or the images are not in order");
  }
  for (std::size_t k = 0; k < T * n; ++k) need(codes.data()[k] <= ignored, "a verdict is not 0, 1 or 2");
  for (std::size_t k = 0; k < B * images; ++k)
    need(weights.data()[k] >= 0 && weights.data()[k] < (i64(1) << 31), "a weight is negative or too large");
  for (std::size_t k = 0; k < images * K; ++k)
    need(n_gt.data()[k] >= 0 && n_gt.data()[k] < (i64(1) << 31), "a number of cells is negative or too large");
  std::vector<double> precision(B * T * R * K, -1), recall(B * T * K, -1);
  {
    nb::gil_scoped_release release;
    const auto order = by_category(category.data(), score.data(), n, static_cast<i64>(K), threads);
    std::vector<Ranked> ranked;
    for (std::size_t k = 0; k < K; ++k) ranked.emplace_back(order[k], image.data(), score.data(), codes.data(), T, n);
    spread(static_cast<i64>(B), threads, [&](i64 b) {
      const i64 *w = weights.data() + b * static_cast<i64>(images);
      Curve curve(recalls.data(), R, spacing);
      for (std::size_t k = 0; k < K; ++k) {
        i64 positives = 0;
        for (std::size_t i = 0; i < images; ++i) positives += w[i] * n_gt.data()[i * K + k];
        if (!positives) continue;
        curve.weigh(ranked[k], w, positives);
        for (std::size_t t = 0; t < T; ++t) {
          const i64 tp = curve.draw(ranked[k], ranked[k].walks[t], precision.data() + (b * T + t) * R * K + k, K);
          recall[(b * T + t) * K + k] = double(tp) / double(positives);
        }
      }
    });
  }
  return std::make_tuple(array(std::move(precision), B, T, R, K), array(std::move(recall), B, T, K));
}

}  // namespace

void bind_resampling(nb::module_ &m) {
  m.def("resample", &resample, nb::kw_only(), "score"_a, "category"_a, "image"_a, "codes"_a, "n_gt"_a, "weights"_a,
        "recalls"_a, "spacing"_a, "threads"_a);
}

}  // namespace celltable
