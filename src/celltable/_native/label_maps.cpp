// Label maps: the runs, areas, boxes and centroids of all labels in one pass, connected components, stacks of layers.
#include <algorithm>
#include <cmath>

#include "connect.hpp"
#include "geometry.hpp"
#include "labels.hpp"
#include "layers.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

template <class T> Size size_of(const Table<T> &map, bool transposed = false) {
  return {static_cast<i64>(map.shape(transposed)), static_cast<i64>(map.shape(!transposed))};
}

struct LabelRles {
  std::vector<i64> ids, areas;
  std::vector<std::int32_t> boxes;
  BatchText counts;
};

template <class T> LabelRles label_rles(const T *map, Size size, bool transposed) {
  LabelRles out;
  Numbering number;
  const std::vector<LabelRun> runs = column_runs(map, size, transposed, number);
  const auto by_label =
      grouped<Run>(static_cast<i64>(runs.size()), static_cast<i64>(number.labels().size()),
                   [&](i64 k) { return runs[k].index; }, [&](i64 k) { return Run{runs[k].start, runs[k].end}; });
  out.counts.text.reserve(runs.size() * 4);
  Runs mask;
  for (const i64 k : number.ascending()) {
    mask.clear();
    for (i64 j = by_label.starts[k]; j < by_label.starts[k + 1]; ++j)  // neighbouring columns may continue each other
      push_run(mask, by_label.items[j].start, by_label.items[j].end);
    out.ids.push_back(number.labels()[k]);
    out.areas.push_back(area_of(mask));
    add_box(out.boxes, box_of(mask, size.h));
    out.counts.add(mask, size);
  }
  return out;
}

struct LabelMeasures {
  std::vector<i64> ids, areas;
  std::vector<std::int32_t> boxes;
  std::vector<double> centroids;
};

template <class T> LabelMeasures label_measures(const T *map, Size size) {
  struct Measure {
    i64 area = 0, x0 = kMaxSide, x1 = -1, y0 = kMaxSide, y1 = -1, sum_x = 0, sum_y = 0;
  };
  Numbering number;
  std::vector<Measure> measures;
  std::vector<u64> bits(words_of(size.w));
  for (i64 r = 0; r < size.h; ++r)
    stretches(map + r * size.w, size.w, bits.data(), [&](T value, i64 a, i64 b) {
      if (value == 0) return;
      const auto k = static_cast<std::size_t>(number(value));
      if (k == measures.size()) measures.emplace_back();
      Measure &m = measures[k];
      m.area += b - a;
      m.x0 = std::min(m.x0, a), m.x1 = std::max(m.x1, b);
      m.y0 = std::min(m.y0, r), m.y1 = r + 1;
      m.sum_x += (b - a) * (a + b - 1) / 2;
      m.sum_y += (b - a) * r;
    });
  LabelMeasures out;
  for (const i64 k : number.ascending()) {
    const Measure &m = measures[k];
    out.ids.push_back(number.labels()[k]);
    out.areas.push_back(m.area);
    add_box(out.boxes, Box{m.x0, m.y0, m.x1 - m.x0, m.y1 - m.y0});
    for (const i64 sum : {m.sum_x, m.sum_y})
      out.centroids.push_back(static_cast<double>(sum) / static_cast<double>(m.area));
  }
  return out;
}

// Paint the components of equal non-zero value into `labels`, numbered in reading order; return how many there are.
template <class T> std::int32_t components(const T *map, Size size, bool corners, std::int32_t *labels) {
  struct Stretch {
    i64 a, b;
    T value;
    std::uint32_t set;
  };
  const auto [h, w] = size;
  Sets sets;
  std::vector<Stretch> all;
  std::vector<std::size_t> row_first(static_cast<std::size_t>(h) + 1, 0);
  const i64 reach = corners ? 1 : 0;
  std::size_t before = 0;
  std::vector<u64> bits(words_of(w));
  for (i64 r = 0; r < h; ++r) {
    const std::size_t begin = row_first[r] = all.size();
    stretches(map + r * w, w, bits.data(), [&](T value, i64 a, i64 b) {
      if (value != 0) all.push_back({a, b, value, sets.make()});
    });
    std::size_t i = before;
    for (std::size_t j = begin; j < all.size(); ++j) {
      while (i < begin && all[i].b + reach <= all[j].a) ++i;
      for (std::size_t k = i; k < begin && all[k].a < all[j].b + reach; ++k)
        if (all[k].value == all[j].value) sets.join(all[k].set, all[j].set);
    }
    before = begin;
  }
  row_first[h] = all.size();
  std::vector<std::int32_t> final_label(all.size(), 0);
  std::int32_t n = 0;
  for (i64 r = 0; r < h; ++r)
    for (std::size_t k = row_first[r]; k < row_first[r + 1]; ++k) {
      std::int32_t &label = final_label[sets.root(all[k].set)];
      if (!label) label = ++n;
      std::fill(labels + r * w + all[k].a, labels + r * w + all[k].b, label);
    }
  return n;
}

// The cells of a stack of label maps, layer after layer, numbered in the order of layer and value.
struct LayerCells {
  std::vector<std::int32_t> flat, planes;  // one map, later layers on top; one per layer where two share a pixel
  std::vector<std::int32_t> layer;
  std::vector<i64> value;
  std::vector<i64> strange;  // per layer, and of the background behind them: pixels whose value is not a whole number
  i64 shared = 0;            // pixels of several layers
  i64 unclaimed = 0;         // pixels of no layer, nor of the background
};

template <class T> LayerCells layer_cells(const T *stack, i64 pixels, i64 channels, i64 layers) {
  struct Stretch {
    std::int32_t layer, value;
    i64 from, to;
  };
  LayerCells out;
  out.flat.assign(pixels, 0);
  out.strange.assign(layers + 1, 0);
  std::vector<Stretch> cells;
  std::vector<std::uint8_t> ground(pixels, 0);
  layer_runs(stack, pixels, channels, std::min(layers + 1, channels), [&](i64 of, i64 from, i64 to, T v) {
    const double x = static_cast<double>(v);
    if (!(x > 0) || x > 2147483647. || x != std::floor(x)) out.strange[of] += to - from;
    else if (of == layers) std::fill(ground.begin() + from, ground.begin() + to, std::uint8_t(1));
    else cells.push_back({static_cast<std::int32_t>(of), static_cast<std::int32_t>(v), from, to});
  });
  std::vector<std::pair<std::int32_t, std::int32_t>> keys;
  for (const Stretch &f : cells)
    if (keys.empty() || keys.back() != std::pair(f.layer, f.value)) keys.emplace_back(f.layer, f.value);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const auto &[layer, value] : keys) out.layer.push_back(layer), out.value.push_back(value);
  const auto number = [&](const Stretch &f) {
    return static_cast<std::int32_t>(std::lower_bound(keys.begin(), keys.end(), std::pair(f.layer, f.value)) -
                                     keys.begin()) +
           1;
  };
  bool twice = false;
  for (const Stretch &f : cells) {
    const std::int32_t n = number(f);
    for (i64 p = f.from; p < f.to; ++p) twice |= out.flat[p] != 0, out.flat[p] = n;
  }
  if (twice) {  // labels of one layer never share a pixel: only the order of the layers matters
    std::stable_sort(cells.begin(), cells.end(), [](const Stretch &x, const Stretch &y) { return x.layer < y.layer; });
    out.planes.assign(layers * pixels, 0);
    std::vector<std::uint8_t> cover(pixels, 0);
    for (const Stretch &f : cells) {
      const std::int32_t n = number(f);
      std::fill(out.flat.begin() + f.from, out.flat.begin() + f.to, n);
      std::fill(out.planes.begin() + f.layer * pixels + f.from, out.planes.begin() + f.layer * pixels + f.to, n);
      for (i64 p = f.from; p < f.to; ++p) out.shared += ++cover[p] == 2;
    }
  }
  for (i64 p = 0; p < pixels; ++p) out.unclaimed += !out.flat[p] & !ground[p];
  return out;
}

template <class T> void bind_layers(nb::module_ &m) {
  m.def("layer_cells", [](Stack<T> stack, i64 layers) {
    const Size size(static_cast<i64>(stack.shape(0)), static_cast<i64>(stack.shape(1)));
    const i64 channels = static_cast<i64>(stack.shape(2));
    if (layers < 0 || layers > channels) throw MaskError("more layers asked for than the stack has");
    LayerCells made = without_gil([&] { return layer_cells(stack.data(), size.pixels(), channels, layers); });
    const i64 planes = made.shared ? layers : 0;
    return nb::make_tuple(array(std::move(made.flat), size.h, size.w),
                          array(std::move(made.planes), planes, size.h, size.w), array(std::move(made.layer)),
                          array(std::move(made.value)), array(std::move(made.strange)), made.shared, made.unclaimed);
  }, "stack"_a.noconvert(), "layers"_a);
}

}  // namespace

void bind_label_maps(nb::module_ &m) {
  for_label_types([&](auto zero) {
    using T = decltype(zero);
    m.def("label_rles", [](Table<T> map, bool transposed) {
      const Size size = size_of(map, transposed);
      LabelRles made = without_gil([&] { return label_rles(map.data(), size, transposed); });
      const std::size_t n = made.ids.size();
      return nb::make_tuple(array(std::move(made.ids)), arrays(std::move(made.counts)), array(std::move(made.areas)),
                            array(std::move(made.boxes), n, 4));
    }, "map"_a.noconvert(), "transposed"_a);
    m.def("label_measures", [](Table<T> map) {
      const Size size = size_of(map);
      LabelMeasures made = without_gil([&] { return label_measures(map.data(), size); });
      const std::size_t n = made.ids.size();
      return nb::make_tuple(array(std::move(made.ids)), array(std::move(made.areas)),
                            array(std::move(made.boxes), n, 4), array(std::move(made.centroids), n, 2));
    }, "map"_a.noconvert());
    m.def("components", [](Table<T> map, int connectivity) {
      const Size size = size_of(map);
      const bool corners = by_corners(connectivity);
      Zeros<std::int32_t> labels(size);
      const std::int32_t n = without_gil([&] { return components(map.data(), size, corners, labels.data()); });
      return nb::make_tuple(std::move(labels).array(), n);
    }, "map"_a.noconvert(), "connectivity"_a);
    bind_layers<T>(m);
  });
  bind_layers<float>(m);
  bind_layers<double>(m);
}

}  // namespace celltable
