// Integer names, the size of an image, and the errors of wrong arguments.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace celltable {

using i64 = std::int64_t;
using u64 = std::uint64_t;

struct MaskError : std::invalid_argument {  // becomes celltable.errors.MaskError
  using std::invalid_argument::invalid_argument;
};

// Refuse an argument; the message becomes a ValueError in Python.
inline void need(bool ok, const char *what) {
  if (!ok) throw std::invalid_argument(what);
}

constexpr i64 kMaxSide = i64(1) << 31, kMaxPixels = i64(1) << 40;

// Height and width of an image in pixels, checked.
struct Size {
  i64 h, w;
  Size(i64 height, i64 width) : h(height), w(width) {
    if (h < 0 || w < 0 || h >= kMaxSide || w >= kMaxSide || (w > 0 && h > kMaxPixels / w))
      throw MaskError("a mask of " + std::to_string(h) + " x " + std::to_string(w) +
                      " px: expected sides of 0 or more and at most 2^40 pixels");
  }
  i64 pixels() const { return h * w; }
};

// Return whether pixels connect by corners as well as by edges.
inline bool by_corners(int connectivity) {
  if (connectivity != 4 && connectivity != 8)
    throw MaskError("connectivity is " + std::to_string(connectivity) + "; expected 4 or 8");
  return connectivity == 8;
}

}  // namespace celltable
