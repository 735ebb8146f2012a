// The module celltable._native.cocojson: a COCO file as columns, its outlines as polygons, masks and run lengths.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "grouping.hpp"
#include "packing.hpp"
#include "python.hpp"
#include "segmentations.hpp"
#include "spread.hpp"

using namespace celltable;

namespace {

using Rows = Vector<i64>;

struct InputError : std::runtime_error {  // becomes celltable.errors.InputError
  using std::runtime_error::runtime_error;
};

struct NotFoundError : std::runtime_error {  // becomes celltable.errors.NotFoundError
  using std::runtime_error::runtime_error;
};

std::string thousands(i64 n) {
  std::string s = std::to_string(n);
  for (int k = static_cast<int>(s.size()) - 3; k > 0; k -= 3) s.insert(static_cast<size_t>(k), ",");
  return s;
}

// Call work() with the GIL released; JSON errors become InputError with their byte.
template <class F> auto guarded(const std::string &name, F &&work) {
  try {
    return without_gil(work);
  } catch (const JsonError &e) {
    if (e.at < 0) throw InputError(name + " is not COCO: " + e.what);
    throw InputError(name + " is not valid COCO JSON: at byte " + thousands(e.at) + ": " + e.what);
  } catch (const NeedMore &) {
    throw InputError(name + " is not valid COCO JSON: it ends early");
  } catch (const std::runtime_error &e) {
    throw InputError(e.what());
  }
}

void check_rows(const CocoFile &f, const Rows &rows) {
  for (size_t k = 0; k < rows.shape(0); ++k)
    if (rows.data()[k] < 0 || rows.data()[k] >= f.size())
      throw InputError("row " + std::to_string(rows.data()[k]) + " of " + thousands(f.size()) +
                       " annotations does not exist");
}

auto polygons_of(const CocoFile &f, Rows rows) {
  check_rows(f, rows);
  std::vector<double> xy;
  std::vector<i64> parts{0}, cells{0};
  guarded(f.name, [&] {
    Shapes shapes(f);
    for (size_t k = 0; k < rows.shape(0); ++k) {
      parts_of(shapes, f, rows.data()[k], xy, parts);
      cells.push_back(static_cast<i64>(parts.size()) - 1);
    }
  });
  return std::make_tuple(array(std::move(xy)), array(std::move(parts)), array(std::move(cells)));
}

// Rows of polygons as cells: read, drawn, measured and packed one after another.
auto cells_of(const CocoFile &f, Rows rows, i64 h, i64 w) {
  check_rows(f, rows);
  if (h < 0 || w < 0 || h > 0xffffffffLL || w > 0xffffffffLL || h * w > 0xffffffffLL)
    throw InputError("an image of " + std::to_string(h) + " x " + std::to_string(w) +
                     " px is too large for run lengths");
  const size_t n = rows.shape(0);
  BatchText counts, packed;
  std::vector<i64> areas(n, 0);
  std::vector<int32_t> boxes;
  std::vector<std::pair<size_t, std::string>> wrong;
  guarded(f.name, [&] {
    Shapes shapes(f);
    std::vector<double> xy;
    std::vector<i64> ends;
    Runs whole, next, both;
    for (size_t k = 0; k < n; ++k) {
      xy.clear(), ends.assign(1, 0), whole.clear();
      parts_of(shapes, f, rows.data()[k], xy, ends);
      std::string reason = wrong_polygons(xy, ends, h, w);
      for (i64 &end : ends) end /= 2;  // points from here on
      const i64 parts = static_cast<i64>(ends.size()) - 1;
      try {
        for (i64 p = 0; reason.empty() && p < parts; ++p) {
          draw_polygon(xy.data() + 2 * ends[static_cast<size_t>(p)],
                       static_cast<size_t>(ends[static_cast<size_t>(p) + 1] - ends[static_cast<size_t>(p)]), h, w,
                       p ? next : whole);
          if (p) merge_runs(whole, next, false, both), std::swap(whole, both);
        }
      } catch (const std::invalid_argument &e) {
        reason = e.what();
      }
      if (reason.empty()) {
        append_counts(counts.text, whole.begin(), whole.end(), h * w);
        pack_polygon(packed.text, xy.data(), ends.data(), parts);
        areas[k] = area_of(whole);
        add_box(boxes, box_of(whole, h));
      } else {
        wrong.emplace_back(k, std::move(reason));
        add_box(boxes, Box());
      }
      counts.close(), packed.close();
    }
  });
  nb::dict reasons;
  for (const auto &[k, reason] : wrong) reasons[nb::int_(k)] = nb::str(reason.data(), reason.size());
  return std::make_tuple(arrays(std::move(counts)), arrays(std::move(packed)), array(std::move(areas)),
                         array(std::move(boxes), n, 4), reasons);
}

auto rles_of(const CocoFile &f, Rows rows) {
  check_rows(f, rows);
  std::string text;
  std::vector<i64> ends{0};
  std::vector<uint8_t> good;
  guarded(f.name, [&] {
    Shapes shapes(f);
    for (size_t k = 0; k < rows.shape(0); ++k) {
      const size_t before = text.size();
      good.push_back(counts_of(shapes, f, rows.data()[k], text));
      if (!good.back()) text.resize(before);
      ends.push_back(static_cast<i64>(text.size()));
    }
  });
  std::vector<uint8_t> bytes(text.begin(), text.end());
  return std::make_tuple(array(std::move(bytes)), array(std::move(ends)), array(std::move(good)));
}

auto counts_of_all(const CocoFile &f, Vector<uint8_t> used, Table<int32_t> sizes, int threads) {
  const i64 n = f.size(), block = 1024, blocks = (n + block - 1) / block;
  if (static_cast<i64>(used.shape(0)) != n || static_cast<i64>(sizes.shape(0)) != n || sizes.shape(1) != 2 ||
      threads < 1)
    throw InputError("used and sizes need one row for each of " + thousands(n) + " annotations");
  std::vector<std::string> texts(static_cast<size_t>(blocks));
  std::vector<i64> ends(static_cast<size_t>(n) + 1, 0);
  std::vector<uint8_t> bytes;
  guarded(f.name, [&] {
    spread(blocks, threads, [&](i64 b) {
      Shapes shapes(f);
      std::string &out = texts[static_cast<size_t>(b)];
      for (i64 row = b * block; row < std::min(n, (b + 1) * block); ++row) {
        const size_t before = out.size();
        const int32_t h = sizes.data()[2 * row], w = sizes.data()[2 * row + 1];
        if (used.data()[row]) {
          const auto kind = f.shape[static_cast<size_t>(row)];
          const std::string where = f.name + ": annotation " + std::to_string(f.ids[static_cast<size_t>(row)]) +
                                    " (position " + thousands(row) + ") ";
          if (h < 0 || w < 0 || i64(h) * w > 0xffffffffLL)
            throw std::runtime_error(where + "is of an image without a valid height and width");
          try {
            if (kind == polygons) drawn(shapes, row, h, w, out);
            else if (!counts_of(shapes, f, row, out))
              throw std::invalid_argument("has no run lengths that can be read");
          } catch (const std::invalid_argument &e) {
            throw std::runtime_error(where + e.what());
          }
        }
        ends[static_cast<size_t>(row) + 1] = static_cast<i64>(out.size() - before);
      }
    });
    size_t total = 0;
    for (const auto &t : texts) total += t.size();
    bytes.reserve(total);
    for (auto &t : texts) {
      bytes.insert(bytes.end(), t.begin(), t.end());
      std::string().swap(t);
    }
    for (size_t k = 0; k < static_cast<size_t>(n); ++k) ends[k + 1] += ends[k];
  });
  return std::make_tuple(array(std::move(bytes)), array(std::move(ends)));
}

nb::list segmentations_of(const CocoFile &f, Rows rows) {
  check_rows(f, rows);
  std::vector<std::string> found;
  guarded(f.name, [&] {
    Shapes shapes(f);
    for (size_t k = 0; k < rows.shape(0); ++k) {
      const i64 row = rows.data()[k];
      found.emplace_back(f.length[static_cast<size_t>(row)] ? shapes.text(row) : std::string_view());
    }
  });
  nb::list out;
  for (const auto &s : found) out.append(nb::bytes(s.data(), s.size()));
  return out;
}

auto by_image(const CocoFile &f) {
  auto rows = grouped<i64>(f.size(), static_cast<i64>(f.images.order.size()),
                           [&](i64 k) { return f.image[static_cast<size_t>(k)]; }, [](i64 k) { return k; });
  return std::make_tuple(array(std::move(rows.items)), array(std::move(rows.starts)));
}

nb::list keys_of(const Keys &keys) {
  nb::list out;
  for (const auto &[text, value] : keys.order) {
    if (text) {
      const std::string &s = keys.texts[static_cast<size_t>(value)];
      out.append(nb::str(s.data(), s.size()));
    } else {
      out.append(nb::int_(value));
    }
  }
  return out;
}

template <class T, class... N> nb::object column(const std::vector<T> &values, nb::handle owner, N... shape) {
  if (values.empty() && (0 + ... + static_cast<i64>(shape)) && static_cast<i64>(std::get<0>(std::make_tuple(shape...))))
    return nb::none();
  static const T nothing{};
  const T *data = values.empty() ? &nothing : values.data();
  return nb::cast(nb::ndarray<nb::numpy, const T>(data, {static_cast<size_t>(shape)...}, owner));
}

}  // namespace

#define COLUMN(field, ...)                              \
  [](nb::handle self) {                                 \
    const auto &f = nb::cast<const CocoFile &>(self);   \
    return column(f.field, self, f.size() __VA_ARGS__); \
  }

NB_MODULE(cocojson, m) {
  m.doc() = "COCO JSON as columns; formats and scoring use it.";
  raise_as<InputError>(celltable_error("InputError"));
  raise_as<NotFoundError>(celltable_error("NotFoundError"));
  nb::class_<CocoFile>(m, "CocoFile")
      .def_static("open",
                  [](const std::string &path, size_t window) {
    const std::string name = path.substr(path.find_last_of('/') + 1);
    return guarded(name, [&] {
      return std::make_unique<CocoFile>(std::make_unique<FileSource>(path), name, window);
    }).release();
  }, nb::arg("path"), nb::arg("window") = size_t(1) << 22)
      .def_static("parse",
                  [](nb::bytes text, const std::string &name, size_t window) {
    auto memory = std::make_unique<Memory>(text.c_str(), text.size());
    return guarded(name, [&] { return std::make_unique<CocoFile>(std::move(memory), name, window); }).release();
  }, nb::arg("text"), nb::arg("name") = "the text", nb::arg("window") = size_t(1) << 22)
      .def("__len__", &CocoFile::size)
      .def_ro("name", &CocoFile::name)
      .def_ro("results", &CocoFile::results)
      .def_ro("has_annotations", &CocoFile::has_annotations)
      .def_ro("annotations_were_a_dict", &CocoFile::was_dict)
      .def_prop_ro("members",
                   [](const CocoFile &f) {
    nb::dict out;
    for (const auto &[key, value] : f.members)
      out[nb::str(key.data(), key.size())] = nb::bytes(value.data(), value.size());
    return out;
  })
      .def_prop_ro("image_keys", [](const CocoFile &f) { return keys_of(f.images); })
      .def_prop_ro("category_keys", [](const CocoFile &f) { return keys_of(f.categories); })
      .def_prop_ro("image", COLUMN(image))
      .def_prop_ro("category", COLUMN(category))
      .def_prop_ro("ids", COLUMN(ids))
      .def_prop_ro("area", COLUMN(area))
      .def_prop_ro("bbox", COLUMN(box, , 4))
      .def_prop_ro("score", COLUMN(score))
      .def_prop_ro("mask_score", COLUMN(mask_score))
      .def_prop_ro("iscrowd", COLUMN(crowd))
      .def_prop_ro("ignore", COLUMN(ignore))
      .def_prop_ro("shape", COLUMN(shape))
      .def_prop_ro("rle_size", COLUMN(sizes, , 2))
      .def_prop_ro("odd_ids",
                   [](const CocoFile &f) {
    nb::dict out;
    for (const auto &[row, id] : f.odd_ids)
      out[nb::int_(row)] = id.kind == Id::text ? nb::object(nb::str(id.word.data(), id.word.size())) : nb::none();
    return out;
  })
      .def_prop_ro("extra_names",
                   [](const CocoFile &f) {
    nb::list out;
    for (const auto &e : f.extras) out.append(nb::str(e.name.data(), e.name.size()));
    return out;
  })
      .def("extra",
           [](const CocoFile &f, const std::string &name) {
    const auto e = std::find_if(f.extras.begin(), f.extras.end(), [&](const Extra &x) { return x.name == name; });
    if (e == f.extras.end()) throw NotFoundError(f.name + " has no annotation key '" + name + "'");
    nb::list texts;
    for (size_t k = 0; k < e->rows.size(); ++k) {
      const i64 start = k ? e->ends[k - 1] : 0;
      texts.append(nb::bytes(e->text.data() + start, static_cast<size_t>(e->ends[k] - start)));
    }
    return std::make_tuple(array(std::vector<i64>(e->rows)), texts);
  }, nb::arg("name"))
      .def("by_image", &by_image)
      .def("polygons", &polygons_of, nb::arg("rows"))
      .def("cells", &cells_of, nb::arg("rows"), nb::arg("height"), nb::arg("width"))
      .def("rles", &rles_of, nb::arg("rows"))
      .def("counts", &counts_of_all, nb::arg("used"), nb::arg("sizes"), nb::arg("threads") = 1)
      .def("texts", &segmentations_of, nb::arg("rows"));
}
