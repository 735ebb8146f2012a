// Stacks of layers (row, column, layer), as in PanNuke, read as runs of equal values within each layer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "scan.hpp"

namespace celltable {

// Call f(layer, from, to, value) for every stretch of equal values other than 0 of the first `layers` of `channels`
// layers, pixels counted along the rows; stretches of one layer come in order, those of several in any.
template <class T, class F> void layer_runs(const T *stack, i64 pixels, i64 channels, i64 layers, F f) {
  if (!pixels || !channels) return;
  const auto size = static_cast<std::size_t>(channels);
  std::vector<i64> from(size, 0);
  const auto close = [&](i64 layer, i64 to) {
    i64 &start = from[static_cast<std::size_t>(layer)];
    const T value = stack[start * channels + layer];
    if (value != T(0)) f(layer, start, to, value);
    start = to;
  };
  // 64 pixels at a time: a block has as many words of bits as layers, so the layer of each bit is known.
  std::vector<u64> bits(size), wanted(size, 0);
  std::vector<std::int32_t> layer_of(64 * size), pixel_of(64 * size);
  for (std::size_t k = 0; k < 64 * size; ++k) {
    layer_of[k] = static_cast<std::int32_t>(k % size);
    pixel_of[k] = static_cast<std::int32_t>(k / size);
    if (layer_of[k] < layers) wanted[k / 64] |= u64(1) << (k % 64);
  }
  for (i64 pixel = 1; pixel < pixels;
       pixel += 64) {  // where a value differs from that of the pixel before, in its own layer
    const i64 length = std::min(i64(64), pixels - pixel) * channels, words = words_of(length);
    const T *now = stack + pixel * channels;
    std::fill_n(bits.data(), words, u64(0));
    mark_differing(now, now - channels, length, bits.data());
    for (i64 k = 0; k < words; ++k)
      for (u64 left = bits[static_cast<std::size_t>(k)] & wanted[static_cast<std::size_t>(k)]; left; left &= left - 1) {
        const auto bit = static_cast<std::size_t>(64 * k + __builtin_ctzll(left));
        close(layer_of[bit], pixel + pixel_of[bit]);
      }
  }
  for (i64 c = 0; c < std::min(layers, channels); ++c) close(c, pixels);
}

}  // namespace celltable
