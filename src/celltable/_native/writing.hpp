// The parts of the module celltable._native.writing, and the offsets they take.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "python.hpp"

namespace celltable {

using Offsets = std::vector<i64>;

inline Offsets offsets(const Vector<i64> &given, i64 last, const char *what) {
  Offsets v(given.data(), given.data() + given.shape(0));
  if (v.empty() || v[0] != 0 || v.back() != last || !std::is_sorted(v.begin(), v.end()))
    throw std::invalid_argument(std::string(what) + " must ascend from 0 to " + std::to_string(last));
  return v;
}

void bind_rows(nb::module_ &m);
void bind_rings(nb::module_ &m);

}  // namespace celltable
