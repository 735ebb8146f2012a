// The boundary with Python: array arguments, arrays made from vectors, batches of run lengths, errors, the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base.hpp"
#include "batch.hpp"

namespace celltable {

namespace nb = nanobind;

template <class T> using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Table = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Stack = nb::ndarray<const T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <class T> using Array = nb::ndarray<nb::numpy, T>;

// Turn a vector into a NumPy array that owns it, without a copy; one-dimensional unless a shape is given.
template <class T, class... N> Array<T> array(std::vector<T> &&values, N... shape) {
  static T nothing{};
  auto *owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  T *data = owned->empty() ? &nothing : owned->data();
  if constexpr (sizeof...(shape) > 0) return Array<T>(data, {static_cast<std::size_t>(shape)...}, owner);
  else return Array<T>(data, {owned->size()}, owner);
}

// Make a map of zeros (rows of w); its pages cost nothing until they are written.
template <class T> class Zeros {
 public:
  explicit Zeros(Size size)
      : size_(size),
        data_(static_cast<T *>(std::calloc(static_cast<std::size_t>(size.pixels()) + 1, sizeof(T))), std::free) {
    if (!data_) throw std::bad_alloc();
  }
  T *data() { return data_.get(); }
  Array<T> array() && {
    T *data = data_.release();
    nb::capsule owner(data, [](void *p) noexcept { std::free(p); });
    return Array<T>(data, {static_cast<std::size_t>(size_.h), static_cast<std::size_t>(size_.w)}, owner);
  }

 private:
  Size size_;
  std::unique_ptr<T, void (*)(void *)> data_;
};

// Call work() with the GIL released.
template <class F> decltype(auto) without_gil(F &&work) {
  nb::gil_scoped_release release;
  return work();
}

inline std::string_view view(nb::handle bytes, const char *message) {
  if (!PyBytes_Check(bytes.ptr())) throw nb::type_error(message);
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

// Run lengths as Python holds them: an object with `data` (uint8) and `offsets` (int64), such as Masks. Keeps both
// alive.
class BatchArrays {
 public:
  explicit BatchArrays(nb::handle masks)
      : data_(nb::cast<Vector<std::uint8_t>>(masks.attr("data"))),
        starts_(nb::cast<Vector<i64>>(masks.attr("offsets"))) {
    if (starts_.shape(0) == 0) throw MaskError("run lengths need one offset more than there are masks");
    i64 last = 0;
    for (std::size_t i = 0; i < starts_.shape(0); ++i) {
      if (starts_.data()[i] < last) throw MaskError("the offsets of run lengths do not ascend");
      last = starts_.data()[i];
    }
    if (last > static_cast<i64>(data_.shape(0)))
      throw MaskError("the offsets of run lengths reach beyond their buffer");
  }
  i64 size() const { return static_cast<i64>(starts_.shape(0)) - 1; }
  operator Batch() const { return {reinterpret_cast<const char *>(data_.data()), starts_.data(), size()}; }

 private:
  Vector<std::uint8_t> data_;
  Vector<i64> starts_;
};

inline BatchArrays batch_of(nb::handle masks) { return BatchArrays(masks); }

// Texts as the arrays (data, offsets) that Python holds, without a copy.
inline nb::tuple arrays(BatchText &&texts) {
  auto *text = new std::string(std::move(texts.text));
  nb::capsule owner(text, [](void *p) noexcept { delete static_cast<std::string *>(p); });
  Array<std::uint8_t> data(reinterpret_cast<std::uint8_t *>(text->data()), {text->size()}, owner);
  return nb::make_tuple(data, array(std::move(texts.starts)));
}

// A list of bytes, such as packed polygons, as texts.
inline BatchText texts_of(nb::handle list) {
  BatchText out;
  out.starts.reserve(nb::len(list) + 1);
  for (nb::handle item : list) {
    out.text += view(item, "expected bytes");
    out.close();
  }
  return out;
}

// Texts as a list of bytes.
inline nb::list list(const BatchText &texts) {
  nb::list out;
  for (i64 i = 0; i < texts.size(); ++i) {
    const std::string_view text = Batch(texts)[i];
    out.append(nb::bytes(text.data(), text.size()));
  }
  return out;
}

inline nb::bytes bytes(std::string_view text) { return nb::bytes(text.data(), text.size()); }

// Raise C++ errors of type E as this Python error.
template <class E> void raise_as(nb::handle error) {
  static PyObject *type = error.inc_ref().ptr();
  nb::register_exception_translator([](const std::exception_ptr &p, void *) {
    try {
      std::rethrow_exception(p);
    } catch (const E &exc) {
      PyErr_SetString(type, exc.what());
    }
  });
}

inline nb::object celltable_error(const char *name) { return nb::module_::import_("celltable.errors").attr(name); }

// Call define(T()) for every type of a label map.
template <class F> void for_label_types(F define) {
  define(std::uint8_t()), define(std::uint16_t()), define(std::int32_t()), define(i64());
}

}  // namespace celltable
