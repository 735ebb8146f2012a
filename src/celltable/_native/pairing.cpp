// The module celltable._native.pairing: assignment, outlines and centroids for the metrics that pair cells.
#include "pairing.hpp"

NB_MODULE(pairing, m) {
  m.doc() = "Assignment, outlines and centroids; celltable.scoring uses them.";
  celltable::bind_assignment(m);
  celltable::bind_boundary(m);
  celltable::bind_centroids(m);
}
