// The compressed run lengths of many masks in one buffer with offsets: what algorithms read and write.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base.hpp"
#include "runs.hpp"

namespace celltable {

// Mask i is text[starts[i]] to text[starts[i + 1] - 1]; the owner keeps both alive.
class Batch {
 public:
  Batch(const char *text, const i64 *starts, i64 n) : text_(text), starts_(starts), n_(n) {}
  i64 size() const { return n_; }
  std::string_view operator[](i64 i) const {
    return {text_ + starts_[i], static_cast<std::size_t>(starts_[i + 1] - starts_[i])};
  }
  // Read mask i; MaskError names the mask.
  void read(i64 i, Size size, Runs &runs) const { read(i, size.pixels(), runs); }
  void read(i64 i, i64 pixels, Runs &runs) const {
    try {
      parse_counts((*this)[i], pixels, runs);
    } catch (const std::invalid_argument &exc) {
      throw MaskError("the run lengths of mask " + std::to_string(i) + " " + exc.what());
    }
  }

 private:
  const char *text_;
  const i64 *starts_;
  i64 n_;
};

// A batch under construction. Also holds other texts, such as packed polygons.
struct BatchText {
  std::string text;
  std::vector<i64> starts{0};

  void close() { starts.push_back(static_cast<i64>(text.size())); }  // what was appended to text is one mask
  void add(const Runs &runs, Size size) {
    append_counts(text, runs.begin(), runs.end(), size.pixels());
    close();
  }
  i64 size() const { return static_cast<i64>(starts.size()) - 1; }
  operator Batch() const { return {text.data(), starts.data(), size()}; }
};

}  // namespace celltable
