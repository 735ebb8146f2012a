// Sums of pixel coordinates per label: whole numbers that add up across strips of a map.
#include <algorithm>

#include "pairing.hpp"
#include "python.hpp"
#include "scan.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// Sum x and y over the pixels of each label of `ids`, which are ascending.
template <class T> std::vector<i64> coordinate_sums(const T *map, i64 h, i64 w, const i64 *ids, i64 n) {
  std::vector<i64> sums(2 * n, 0);
  std::vector<u64> bits(words_of(w));
  const bool consecutive = n && ids[0] == 1 && ids[n - 1] == n;
  i64 at = -1;
  const auto find = [&](i64 label) {
    if (at >= 0 && ids[at] == label) return;
    if (consecutive) {
      at = label >= 1 && label <= n ? label - 1 : -1;
      return;
    }
    const i64 *place = std::lower_bound(ids, ids + n, label);
    at = place == ids + n || *place != label ? -1 : place - ids;
  };
  for (i64 y = 0; y < h; ++y)
    stretches(map + y * w, w, bits.data(), [&](T value, i64 from, i64 to) {
      if (value == 0) return;
      find(static_cast<i64>(value));
      if (at < 0) return;
      sums[2 * at] += (from + to - 1) * (to - from) / 2;
      sums[2 * at + 1] += y * (to - from);
    });
  return sums;
}

template <class T> void bind_type(nb::module_ &m) {
  m.def("coordinate_sums", [](Table<T> map, Vector<i64> ids) {
    const i64 n = static_cast<i64>(ids.shape(0));
    auto sums = without_gil([&] {
      return coordinate_sums(map.data(), static_cast<i64>(map.shape(0)), static_cast<i64>(map.shape(1)), ids.data(), n);
    });
    return array(std::move(sums), n, 2);
  }, "label_map"_a, "ids"_a);
}

}  // namespace

void bind_centroids(nb::module_ &m) {
  for_label_types([&](auto zero) { bind_type<decltype(zero)>(m); });
  bind_type<std::uint32_t>(m);
}

}  // namespace celltable
