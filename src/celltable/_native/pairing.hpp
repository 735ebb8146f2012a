// The parts of the module celltable._native.pairing.
#pragma once

#include <nanobind/nanobind.h>

namespace celltable {

void bind_assignment(nanobind::module_ &m);
void bind_boundary(nanobind::module_ &m);
void bind_centroids(nanobind::module_ &m);

}  // namespace celltable
