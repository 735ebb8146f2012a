// Scored matching by COCO's rule on the few pairs that can match: masks or boxes in, a verdict for every detection,
// threshold and area range out. Images run on several threads.
#include "matching.hpp"

#include <nanobind/stl/optional.h>

#include <cmath>
#include <optional>
#include <string>

#include "boxes.hpp"
#include "grouping.hpp"
#include "python.hpp"
#include "runs.hpp"

namespace celltable {
namespace {

using namespace nb::literals;
using Rect = BasicBox<double>;

// Masks of one image: runs in column order, areas, tight boxes, sizes.
struct Masks {
  Runs runs;
  std::vector<i64> first{0}, area;
  std::vector<Rect> box;
  std::vector<std::int32_t> height, width;

  void clear() { runs.clear(), first.assign(1, 0), area.clear(), box.clear(), height.clear(), width.clear(); }
  // Throws std::invalid_argument with a phrase that completes "the run lengths ...".
  void add(std::string_view text, std::int32_t h, std::int32_t w, Runs &parsed) {
    need(h >= 0 && w >= 0 && i64(h) * w <= kMaxPixels,
         "belong to a mask with a negative side or more than 2^40 pixels");
    parse_counts(text, i64(h) * w, parsed);
    runs.insert(runs.end(), parsed.begin(), parsed.end());
    first.push_back(static_cast<i64>(runs.size()));
    area.push_back(area_of(parsed));
    const Box b = box_of(parsed, h);
    box.push_back({double(b.x), double(b.y), double(b.w), double(b.h)});
    height.push_back(h);
    width.push_back(w);
  }
  const Run *begin(i64 i) const { return runs.data() + first[i]; }
  const Run *end(i64 i) const { return runs.data() + first[i + 1]; }
};

struct Candidate {
  std::int32_t gt;
  double iou;
};

struct Setting {
  std::vector<double> thresholds;
  std::vector<std::pair<double, double>> areas;
  double least;  // the smallest IoU that can match

  Setting(Vector<double> t, Table<double> a) : thresholds(t.data(), t.data() + t.shape(0)) {
    need(!thresholds.empty() && a.shape(0) > 0 && a.shape(1) == 2,
         "expected at least one threshold and one area range (low, high)");
    for (const double x : thresholds) need(x > 0 && std::isfinite(x), "an IoU threshold is not above zero");
    for (std::size_t k = 0; k < a.shape(0); ++k) areas.emplace_back(a.data()[2 * k], a.data()[2 * k + 1]);
    least = std::min(*std::min_element(thresholds.begin(), thresholds.end()), 1 - 1e-10);
  }
  std::size_t planes() const { return thresholds.size() * areas.size(); }
};

// One image to be matched; `to` and `stride` say where the verdicts of its detections go.
struct Scene {
  const std::vector<double> &gt_area;
  const std::vector<std::uint8_t> &gt_flags;
  const std::vector<double> &dt_area;
  const std::vector<i64> &starts;  // of the candidates of each detection
  const std::vector<Candidate> &candidates;
  std::uint8_t *to;
  std::size_t stride;
  double *iou;  // of the match at the first threshold and area range
};

void match(const Setting &s, const Scene &scene) {
  const std::size_t n_gt = scene.gt_area.size(), n_dt = scene.dt_area.size();
  std::vector<std::uint8_t> skip(n_gt), taken(n_gt, 0), outside(n_dt);
  std::vector<std::int32_t> hopeful, touched;
  std::vector<double> best_iou(n_dt, 0);
  for (std::size_t d = 0; d < n_dt; ++d) {
    for (i64 k = scene.starts[d]; k < scene.starts[d + 1]; ++k)
      best_iou[d] = std::max(best_iou[d], scene.candidates[k].iou);
    if (scene.starts[d + 1] > scene.starts[d]) hopeful.push_back(static_cast<std::int32_t>(d));
  }
  std::size_t plane = 0;
  for (const auto &[low, high] : s.areas) {
    for (std::size_t g = 0; g < n_gt; ++g)
      skip[g] = (scene.gt_flags[g] & (crowd | left_out)) || scene.gt_area[g] < low || scene.gt_area[g] > high;
    for (std::size_t d = 0; d < n_dt; ++d)
      outside[d] = scene.dt_area[d] < low || scene.dt_area[d] > high ? ignored : false_positive;
    for (const double t : s.thresholds) {
      std::uint8_t *verdict = scene.to + plane * scene.stride;
      std::copy(outside.begin(), outside.end(), verdict);
      for (const std::int32_t g : touched) taken[g] = 0;
      touched.clear();
      const double bar = std::min(t, 1 - 1e-10);
      for (const std::int32_t d : hopeful) {
        if (best_iou[d] < bar) continue;
        const Candidate *c = scene.candidates.data() + scene.starts[d],
                        *end = scene.candidates.data() + scene.starts[d + 1];
        double best = bar;
        std::int32_t m = -1;
        for (const Candidate *k = c; k != end; ++k)  // of equal IoUs, the last wins
          if (!skip[k->gt] && !taken[k->gt] && k->iou >= best) best = k->iou, m = k->gt;
        if (m < 0)
          for (const Candidate *k = c; k != end; ++k)
            if (skip[k->gt] && (!taken[k->gt] || (scene.gt_flags[k->gt] & crowd)) && k->iou >= best)
              best = k->iou, m = k->gt;
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
struct SideColumns {
  Vector<std::int32_t> image, category;
  std::optional<Vector<std::uint8_t>> text;  // compressed counts of all masks
  std::optional<Vector<i64>> ends;
  std::optional<Table<std::int32_t>> sizes;
  std::optional<Table<double>> boxes;
  std::size_t n() const { return image.shape(0); }

  void check(i64 n_images, i64 n_categories, const char *side) const {
    need(category.shape(0) == n(), "image and category differ in length");
    need(text.has_value() == ends.has_value() && text.has_value() == sizes.has_value(),
         "masks need text, ends and sizes");
    need(text.has_value() != boxes.has_value(), "expected masks or boxes");
    if (text) {
      need(ends->shape(0) == n() + 1 && sizes->shape(0) == n() && sizes->shape(1) == 2,
           "masks differ in number from rows");
      const i64 *e = ends->data();
      need(e[0] == 0 && e[n()] == static_cast<i64>(text->shape(0)), "ends do not fit the text of the masks");
      for (std::size_t k = 0; k < n(); ++k) need(e[k] <= e[k + 1], "ends are not ascending");
    } else {
      need(boxes->shape(0) == n() && boxes->shape(1) == 4, "boxes differ in number from rows");
      for (std::size_t k = 0; k < 4 * n(); ++k)
        if (!std::isfinite(boxes->data()[k]))
          throw std::invalid_argument(std::string("the box of ") + side + " " + std::to_string(k / 4) +
                                      " is missing or not finite");
    }
    for (std::size_t k = 0; k < n(); ++k)
      need(image.data()[k] < n_images && category.data()[k] < n_categories, "an image or category index is too large");
  }
  // Rows of each image, in order; rows with a negative image or category are left out.
  Grouped<i64> rows_by_image(i64 n_images) const {
    const auto image_of = [&](i64 k) { return category.data()[k] < 0 ? -1 : i64(image.data()[k]); };
    return grouped<i64>(static_cast<i64>(n()), n_images, image_of, [](i64 k) { return k; });
  }
  void load(i64 row, const char *side, Masks &masks, std::vector<Rect> &plain, Runs &parsed) const {
    if (!text) {
      const double *b = boxes->data() + 4 * row;
      plain.push_back({b[0], b[1], b[2], b[3]});
      return;
    }
    const Batch counts(reinterpret_cast<const char *>(text->data()), ends->data(), static_cast<i64>(n()));
    const std::int32_t *size = sizes->data() + 2 * row;
    try {
      masks.add(counts[row], size[0], size[1], parsed);
    } catch (const std::invalid_argument &e) {
      throw std::invalid_argument(std::string("the run lengths of ") + side + " " + std::to_string(row) + " " +
                                  e.what() + " (" + std::to_string(size[0]) + "×" + std::to_string(size[1]) +
                                  " pixels)");
    }
  }
};

// Find the pairs of one image that can match, by detection; ground truth ascending.
void find_pairs(const Setting &s, const Masks &gm, const Masks &dm, const std::vector<Rect> &gb,
                const std::vector<Rect> &db, const std::vector<std::int32_t> &gc, const std::vector<std::int32_t> &dc,
                const std::vector<std::uint8_t> &flags, bool masks, std::vector<i64> &starts,
                std::vector<Candidate> &out) {
  starts.assign(1, 0);
  out.clear();
  const BoxGrid<double> grid(gb);
  for (std::size_t d = 0; d < db.size(); ++d) {
    const Rect &D = db[d];
    const std::size_t from = out.size();
    grid.near(D, [&](std::size_t g) {
      if (gc[g] != dc[d]) return;
      const Rect &G = gb[g];
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
        const double most = std::min({double(a), double(b), w * h});  // of shared pixels
        if (most < 0.999 * s.least * (in_crowd ? double(b) : double(a) + double(b) - most)) return;
        const i64 c = common_pixels(gm.begin(i64(g)), gm.end(i64(g)), dm.begin(i64(d)), dm.end(i64(d)));
        if (!c) return;
        iou = double(c) / double(in_crowd ? b : a + b - c);
      }
      if (iou >= s.least) out.push_back({static_cast<std::int32_t>(g), iou});
    });
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(from), out.end(),
              [](const Candidate &a, const Candidate &b) { return a.gt < b.gt; });
    starts.push_back(static_cast<i64>(out.size()));
  }
}

// Sort the detections of one image by category, best score first, equal scores in order; keep `most` per category.
void rank(const double *score, const std::int32_t *category, i64 most, std::vector<i64> &rows,
          std::vector<std::int32_t> &place) {
  std::stable_sort(rows.begin(), rows.end(), [&](i64 a, i64 b) {
    return category[a] != category[b] ? category[a] < category[b] : score[a] > score[b];
  });
  place.clear();
  std::size_t kept = 0;
  i64 of_category = 0;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    of_category = k && category[rows[k]] == category[rows[k - 1]] ? of_category + 1 : 0;
    if (of_category >= most) continue;
    place.push_back(static_cast<std::int32_t>(of_category));
    rows[kept++] = rows[k];  // kept <= k, and the comparison above looks one back at most
  }
  rows.resize(kept);
}

struct Outcome {
  std::vector<i64> row, n_gt;
  std::vector<std::int32_t> image, category, rank;
  std::vector<double> score, iou;
  std::vector<std::uint8_t> codes;
};

void count_truth(const Setting &s, std::int32_t category, double area, std::uint8_t flags, i64 *n_gt) {
  if (flags & (crowd | left_out)) return;
  for (std::size_t a = 0; a < s.areas.size(); ++a)
    if (!(area < s.areas[a].first || area > s.areas[a].second))
      ++n_gt[category * static_cast<i64>(s.areas.size()) + static_cast<i64>(a)];
}

auto packed(Outcome &&o, const Setting &s, i64 images, i64 categories) {
  const std::size_t n = o.row.size();
  nb::dict out;
  out["row"] = array(std::move(o.row));
  out["image"] = array(std::move(o.image));
  out["category"] = array(std::move(o.category));
  out["rank"] = array(std::move(o.rank));
  out["score"] = array(std::move(o.score));
  out["iou"] = array(std::move(o.iou));
  out["codes"] = array(std::move(o.codes), s.areas.size(), s.thresholds.size(), n);
  out["n_gt"] = array(std::move(o.n_gt), images, categories, s.areas.size());
  return out;
}

using Text = std::optional<Vector<std::uint8_t>>;
using Ends = std::optional<Vector<i64>>;
using Sizes = std::optional<Table<std::int32_t>>;
using Boxes = std::optional<Table<double>>;

nb::dict evaluate(i64 images, i64 categories, Vector<std::int32_t> gt_image, Vector<std::int32_t> gt_category,
                  Vector<double> gt_area, Vector<std::uint8_t> gt_flags, Text gt_text, Ends gt_ends, Sizes gt_sizes,
                  Boxes gt_boxes, Vector<std::int32_t> dt_image, Vector<std::int32_t> dt_category,
                  Vector<double> dt_score, std::optional<Vector<double>> dt_area, Text dt_text, Ends dt_ends,
                  Sizes dt_sizes, Boxes dt_boxes, Vector<double> thresholds, Table<double> areas, i64 max_det,
                  int threads) {
  const Setting s(thresholds, areas);
  const SideColumns gt{gt_image, gt_category, gt_text, gt_ends, gt_sizes, gt_boxes},
      dt{dt_image, dt_category, dt_text, dt_ends, dt_sizes, dt_boxes};
  need(images >= 0 && categories >= 0 && max_det >= 0 && threads >= 1, "a count is negative");
  gt.check(images, categories, "annotation");
  dt.check(images, categories, "detection");
  need(gt.boxes.has_value() == dt.boxes.has_value(), "one side has masks, the other boxes");
  need(gt_area.shape(0) == gt.n() && gt_flags.shape(0) == gt.n() && dt_score.shape(0) == dt.n(),
       "columns differ in length");
  need(!dt_area || dt_area->shape(0) == dt.n(), "columns differ in length");
  need(dt_area.has_value() || dt.text.has_value(), "boxes need the areas of detections");
  for (std::size_t k = 0; k < dt.n(); ++k)
    need(!std::isnan(dt_score.data()[k]) || dt_image.data()[k] < 0 || dt_category.data()[k] < 0, "a score is NaN");
  Outcome out;
  {
    nb::gil_scoped_release release;
    const Grouped<i64> gt_rows = gt.rows_by_image(images), dt_rows = dt.rows_by_image(images);
    std::vector<std::vector<i64>> kept(images);
    std::vector<std::vector<std::int32_t>> places(images);
    spread(images, threads, [&](i64 k) {
      kept[k].assign(dt_rows.items.begin() + dt_rows.starts[k], dt_rows.items.begin() + dt_rows.starts[k + 1]);
      rank(dt_score.data(), dt_category.data(), max_det, kept[k], places[k]);
    });
    std::vector<i64> first(images + 1, 0);
    for (i64 k = 0; k < images; ++k) first[k + 1] = first[k] + static_cast<i64>(kept[k].size());
    const std::size_t n = static_cast<std::size_t>(first[images]);
    out.row.resize(n), out.image.resize(n), out.category.resize(n), out.rank.resize(n), out.score.resize(n),
        out.iou.assign(n, 0);
    out.codes.resize(n * s.planes());
    out.n_gt.assign(images * categories * static_cast<i64>(s.areas.size()), 0);
    spread(images, threads, [&](i64 k) {
      thread_local Masks gm, dm;
      thread_local std::vector<Rect> gb, db;
      thread_local std::vector<i64> starts;
      thread_local Runs counts;
      thread_local std::vector<Candidate> candidates;
      gm.clear(), dm.clear(), gb.clear(), db.clear();
      std::vector<double> ga, da;
      std::vector<std::int32_t> gc, dc;
      std::vector<std::uint8_t> flags;
      for (i64 j = gt_rows.starts[k]; j < gt_rows.starts[k + 1]; ++j) {
        const i64 row = gt_rows.items[j];
        gt.load(row, "annotation", gm, gb, counts);
        ga.push_back(gt_area.data()[row]);
        gc.push_back(gt_category.data()[row]);
        flags.push_back(gt_flags.data()[row]);
        count_truth(s, gc.back(), ga.back(), flags.back(),
                    out.n_gt.data() + k * categories * static_cast<i64>(s.areas.size()));
      }
      for (std::size_t j = 0; j < kept[k].size(); ++j) {
        const i64 row = kept[k][j], at = first[k] + static_cast<i64>(j);
        dt.load(row, "detection", dm, db, counts);
        da.push_back(dt_area ? dt_area->data()[row] : double(dm.area.back()));
        dc.push_back(dt_category.data()[row]);
        out.row[at] = row;
        out.image[at] = static_cast<std::int32_t>(k);
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

// Match one image whose IoU is known for pairs (ground truth, detection) and zero for all others.
nb::dict match_pairs(i64 categories, Vector<std::int32_t> gt_category, Vector<double> gt_area,
                     Vector<std::uint8_t> gt_flags, Vector<std::int32_t> dt_category, Vector<double> dt_score,
                     Vector<double> dt_area, Vector<i64> gt_index, Vector<i64> dt_index, Vector<double> iou,
                     Vector<double> thresholds, Table<double> areas, i64 max_det) {
  const Setting s(thresholds, areas);
  const i64 n_gt = static_cast<i64>(gt_category.shape(0)), n_dt = static_cast<i64>(dt_category.shape(0));
  const std::size_t n_pairs = gt_index.shape(0);
  need(static_cast<i64>(gt_area.shape(0)) == n_gt && static_cast<i64>(gt_flags.shape(0)) == n_gt,
       "columns differ in length");
  need(static_cast<i64>(dt_score.shape(0)) == n_dt && static_cast<i64>(dt_area.shape(0)) == n_dt,
       "columns differ in length");
  need(dt_index.shape(0) == n_pairs && iou.shape(0) == n_pairs && categories >= 0 && max_det >= 0,
       "pairs differ in length");
  for (i64 k = 0; k < n_gt; ++k) need(gt_category.data()[k] < categories, "a category index is too large");
  for (i64 k = 0; k < n_dt; ++k) {
    need(dt_category.data()[k] < categories, "a category index is too large");
    need(!std::isnan(dt_score.data()[k]) || dt_category.data()[k] < 0, "a score is NaN");
  }
  for (std::size_t k = 0; k < n_pairs; ++k)
    need(gt_index.data()[k] >= 0 && gt_index.data()[k] < n_gt && dt_index.data()[k] >= 0 && dt_index.data()[k] < n_dt,
         "a pair names no row");
  Outcome out;
  {
    nb::gil_scoped_release release;
    for (i64 k = 0; k < n_dt; ++k)
      if (dt_category.data()[k] >= 0) out.row.push_back(k);
    rank(dt_score.data(), dt_category.data(), max_det, out.row, out.rank);
    const std::size_t n = out.row.size();
    std::vector<i64> at(n_dt, -1);
    std::vector<double> da(n), ga(gt_area.data(), gt_area.data() + n_gt);
    std::vector<std::uint8_t> flags(gt_flags.data(), gt_flags.data() + n_gt);
    for (std::size_t k = 0; k < n; ++k) {
      at[out.row[k]] = static_cast<i64>(k);
      da[k] = dt_area.data()[out.row[k]];
      out.category.push_back(dt_category.data()[out.row[k]]);
      out.score.push_back(dt_score.data()[out.row[k]]);
    }
    const auto detection_of = [&](i64 k) {  // of a pair that can match
      const i64 g = gt_index.data()[k], d = dt_index.data()[k];
      return iou.data()[k] >= s.least && gt_category.data()[g] == dt_category.data()[d] ? at[d] : -1;
    };
    auto pairs = grouped<Candidate>(static_cast<i64>(n_pairs), static_cast<i64>(n), detection_of, [&](i64 k) {
      return Candidate{static_cast<std::int32_t>(gt_index.data()[k]), iou.data()[k]};
    });
    for (std::size_t k = 0; k < n; ++k)
      std::sort(pairs.items.begin() + pairs.starts[k], pairs.items.begin() + pairs.starts[k + 1],
                [](const Candidate &a, const Candidate &b) { return a.gt < b.gt; });
    out.image.assign(n, 0);
    out.iou.assign(n, 0);
    out.codes.resize(n * s.planes());
    out.n_gt.assign(categories * static_cast<i64>(s.areas.size()), 0);
    for (i64 k = 0; k < n_gt; ++k)
      if (gt_category.data()[k] >= 0) count_truth(s, gt_category.data()[k], ga[k], flags[k], out.n_gt.data());
    match(s, Scene{ga, flags, da, pairs.starts, pairs.items, out.codes.data(), n, out.iou.data()});
  }
  return packed(std::move(out), s, 1, categories);
}

}  // namespace

void bind_matching(nb::module_ &m) {
  m.def("evaluate", &evaluate, nb::kw_only(), "images"_a, "categories"_a, "gt_image"_a, "gt_category"_a, "gt_area"_a,
        "gt_flags"_a, "gt_text"_a.none(), "gt_ends"_a.none(), "gt_sizes"_a.none(), "gt_boxes"_a.none(), "dt_image"_a,
        "dt_category"_a, "dt_score"_a, "dt_area"_a.none(), "dt_text"_a.none(), "dt_ends"_a.none(), "dt_sizes"_a.none(),
        "dt_boxes"_a.none(), "thresholds"_a, "areas"_a, "max_det"_a, "threads"_a);
  m.def("match_pairs", &match_pairs, nb::kw_only(), "categories"_a, "gt_category"_a, "gt_area"_a, "gt_flags"_a,
        "dt_category"_a, "dt_score"_a, "dt_area"_a, "gt_index"_a, "dt_index"_a, "iou"_a, "thresholds"_a, "areas"_a,
        "max_det"_a);
}

}  // namespace celltable

NB_MODULE(matching, m) {
  m.doc() = "COCO's scored matching and curves; celltable.scoring.coco uses it.";
  celltable::bind_matching(m);
  celltable::bind_curve(m);
  celltable::bind_resampling(m);
}
