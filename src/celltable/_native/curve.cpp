// COCO's precision/recall curve over all images, as COCOeval.accumulate samples it.
#include "matching.hpp"

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cmath>

#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// COCOeval.accumulate sorts all detections of a category by score, counts true and false positives up to each (tp,
// fp), and computes recall tp / n_gt and precision tp / (fp + tp + spacing(1)) at every detection. It replaces each
// precision by the highest at or after it (the envelope), and reads, for each of 101 recall thresholds, precision
// and score at the first detection whose recall reaches the threshold.
//
// The walk below keeps only true positives. That gives the same doubles, bit for bit:
// - Recall changes only at a true positive, so the first detection that reaches a threshold above 0 is one.
//   (Threshold 0 is reached by the very first detection, whatever it is, and is handled separately.)
// - From one true positive to the next, tp is constant and fp does not fall, so precision does not rise. This also
//   holds after rounding, since IEEE division and addition are monotone in each operand. The greatest precision at or
//   after a true positive is therefore taken at a true positive, and dropping the others changes no envelope.
// - A first detection that is not a true positive has precision 0 / (...) = 0, so its envelope is that of the first
//   true positive, or 0 without one.
// - tp and fp are whole numbers below 2^53, exact as doubles; (fp + tp) + spacing, tp / (...) and tp / n_gt are
//   evaluated in NumPy's order, and no compiler may contract them (-ffp-contract=off).
//
// A detection that is ignored counts for neither side and is skipped, as in the original.

struct Hit {   // a true positive
  i64 tp, fp;  // up to and with it
  i64 at;      // place among the detections in order
};

// Sample precision (the envelope) and score at each recall, `stride` apart.
void sample(const std::vector<Hit> &hits, i64 n_gt, const double *recalls, std::size_t n_recalls,
            const std::vector<i64> &order, const double *score, double *precision, double *scores, std::size_t stride) {
  const double spacing = 2.220446049250313e-16;
  std::vector<double> envelope(hits.size());
  double best = 0;
  for (std::size_t k = hits.size(); k-- > 0;) {
    best = std::max(best, double(hits[k].tp) / (double(hits[k].fp + hits[k].tp) + spacing));
    envelope[k] = best;
  }
  std::size_t k = 0;
  for (std::size_t r = 0; r < n_recalls; ++r) {
    double p = 0, at = 0;
    if (recalls[r] <= 0) {  // reached by the first detection, whatever it is
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

auto accumulate(Vector<double> score, Vector<std::int32_t> category, Vector<std::int32_t> ranks,
                Stack<std::uint8_t> codes, Table<i64> n_gt, std::vector<i64> max_dets, Vector<double> recalls,
                int threads) {
  const std::size_t A = codes.shape(0), T = codes.shape(1), n = codes.shape(2), K = n_gt.shape(0), M = max_dets.size(),
                    R = recalls.shape(0);
  need(score.shape(0) == n && category.shape(0) == n && ranks.shape(0) == n && n_gt.shape(1) == A && threads >= 1,
       "columns differ in length");
  need(std::is_sorted(recalls.data(), recalls.data() + R) && std::is_sorted(max_dets.begin(), max_dets.end()),
       "recalls or limits are not ascending");
  for (std::size_t k = 0; k < n; ++k)
    need(category.data()[k] >= 0 && category.data()[k] < static_cast<std::int32_t>(K) && !std::isnan(score.data()[k]),
         "a category or score is not valid");
  std::vector<double> precision(T * R * K * A * M, -1), recall(T * K * A * M, -1), scores(T * R * K * A * M, -1);
  {
    nb::gil_scoped_release release;
    const auto order = by_category(category.data(), score.data(), n, static_cast<i64>(K), threads);
    spread(static_cast<i64>(K * A * T), threads, [&](i64 job) {
      const std::size_t t = job % T, a = job / T % A, k = job / (T * A);
      const i64 positives = n_gt.data()[k * A + a];
      if (positives <= 0) return;
      const std::uint8_t *verdict = codes.data() + (a * T + t) * n;
      std::vector<std::vector<Hit>> hits(M);
      std::vector<i64> tp(M, 0), fp(M, 0), seen(M, 0), first(M, -1);
      for (std::size_t j = 0; j < order[k].size(); ++j) {
        const i64 d = order[k][j];
        const std::uint8_t code = verdict[d];
        for (std::size_t m = M; m-- > 0 && ranks.data()[d] < max_dets[m];) {
          if (first[m] < 0) first[m] = static_cast<i64>(j);
          if (code == true_positive) hits[m].push_back({++tp[m], fp[m], static_cast<i64>(j)});
          else if (code == false_positive) ++fp[m];
        }
      }
      for (std::size_t m = 0; m < M; ++m) {
        const std::size_t at = (k * A + a) * M + m, stride = K * A * M;
        for (std::size_t r = 0; r < R; ++r)
          precision[(t * R + r) * stride + at] = scores[(t * R + r) * stride + at] = 0;
        recall[t * stride + at] = double(tp[m]) / double(positives);
        if (first[m] < 0) continue;
        sample(hits[m], positives, recalls.data(), R, order[k], score.data(), precision.data() + t * R * stride + at,
               scores.data() + t * R * stride + at, stride);
        if (R && recalls.data()[0] <= 0)  // the first detection within the limit
          for (std::size_t r = 0; r < R && recalls.data()[r] <= 0; ++r)
            scores[(t * R + r) * stride + at] = score.data()[order[k][first[m]]];
      }
    });
  }
  return std::make_tuple(array(std::move(precision), T, R, K, A, M), array(std::move(recall), T, K, A, M),
                         array(std::move(scores), T, R, K, A, M));
}

}  // namespace

void bind_curve(nb::module_ &m) {
  m.def("accumulate", &accumulate, nb::kw_only(), "score"_a, "category"_a, "rank"_a, "codes"_a, "n_gt"_a, "max_dets"_a,
        "recalls"_a, "threads"_a);
}

}  // namespace celltable
