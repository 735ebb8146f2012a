// The module celltable._native.geometry: masks, label maps, outlines and polygons, each in its own file.
#include "geometry.hpp"

#include "python.hpp"

NB_MODULE(geometry, m) {
  using namespace celltable;
  m.doc() = "Geometry kernels; use them through celltable.geometry.";
  raise_as<MaskError>(celltable_error("MaskError"));
  bind_label_maps(m);
  bind_masks(m);
  bind_shapes(m);
  bind_outlines(m);
  bind_polygons(m);
  bind_overlaps(m);
}
