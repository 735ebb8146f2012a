// The parts of the module celltable._native.geometry, one per concept.
#pragma once

#include <nanobind/nanobind.h>

namespace celltable {

void bind_label_maps(nanobind::module_ &m);
void bind_masks(nanobind::module_ &m);
void bind_shapes(nanobind::module_ &m);
void bind_outlines(nanobind::module_ &m);
void bind_polygons(nanobind::module_ &m);
void bind_overlaps(nanobind::module_ &m);

}  // namespace celltable
