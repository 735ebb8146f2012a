// Archives and PNGs, fast and safe on hostile input: zip members, many mask PNGs to run lengths in one call, one PNG to
// pixels.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <functional>

#include "pngmask.hpp"
#include "python.hpp"
#include "spread.hpp"
#include "zip.hpp"

using namespace celltable;
using u8 = uint8_t;

constexpr uint64_t MAX_MASK_BYTES = uint64_t{1} << 31;  // of one PNG file

struct Worker {
  png::Scratch scratch;
  zip::Window window;
  std::vector<u8> bytes;
};

struct View {
  const u8 *data;
  size_t size;
};

static std::string path_of(nb::bytes b) { return {b.c_str(), b.size()}; }

static void one_mask(const std::function<View(size_t, Worker &)> &fetch, size_t i, uint64_t max_pixels, Worker &w,
                     png::Mask &m) {
  try {
    const View v = fetch(i, w);
    png::decode_mask(v.data, v.size, max_pixels, w.scratch, m);
  } catch (const std::exception &e) {  // becomes the item's own message
    m.error = e.what();
    if (m.error.empty()) m.error = "cannot be read";
    m.counts.clear();
    m.area = 0;
    std::fill(m.box, m.box + 4, 0);
    m.values_ok = m.alpha_ok = 0;
  }
}

// Read n masks: (counts, areas, boxes, heights, widths, values_ok, alpha_ok, kinds, errors), in order.
static nb::tuple masks(size_t n, unsigned workers, uint64_t max_pixels,
                       const std::function<View(size_t, Worker &)> &fetch) {
  constexpr size_t BLOCK = 64;
  std::vector<png::Mask> made(n);
  without_gil([&] {
    const auto block = [&](i64 b, std::unique_ptr<Worker> &w) {
      const size_t first = static_cast<size_t>(b) * BLOCK;
      for (size_t k = first; k < std::min(n, first + BLOCK); ++k) one_mask(fetch, k, max_pixels, *w, made[k]);
    };
    const int threads = static_cast<int>(std::clamp(workers, 1u, 64u));
    spread(static_cast<i64>((n + BLOCK - 1) / BLOCK), threads, std::make_unique<Worker>, block);
  });
  BatchText counts;
  nb::list errors;
  std::vector<i64> areas(n);
  std::vector<int32_t> boxes(4 * n), heights(n), widths(n);
  std::vector<u8> values_ok(n), alpha_ok(n);
  std::vector<uint16_t> kinds(n);
  for (size_t i = 0; i < n; ++i) {
    const png::Mask &m = made[i];
    counts.text += m.counts;
    counts.close();
    areas[i] = m.area;
    std::copy(m.box, m.box + 4, &boxes[4 * i]);
    heights[i] = m.height;
    widths[i] = m.width;
    values_ok[i] = m.values_ok;
    alpha_ok[i] = m.alpha_ok;
    kinds[i] = m.kind;
    if (!m.error.empty()) errors.append(nb::make_tuple(i, nb::str(m.error.data(), m.error.size())));
  }
  return nb::make_tuple(arrays(std::move(counts)), array(std::move(areas)), array(std::move(boxes), n, 4),
                        array(std::move(heights)), array(std::move(widths)), array(std::move(values_ok)),
                        array(std::move(alpha_ok)), array(std::move(kinds)), errors);
}

static View whole_file(const std::string &path, Worker &w) {
  const File file(path);
  if (file.size() > MAX_MASK_BYTES) throw png::Error("the file is larger than any mask");
  if (w.bytes.size() < file.size()) w.bytes.resize(static_cast<size_t>(file.size()) + 4096);
  return {w.bytes.data(), file.read(0, w.bytes.data(), static_cast<size_t>(file.size()))};
}

class Zip {
 public:
  Zip(nb::bytes path, uint64_t max_ratio, uint64_t max_size, uint64_t max_members) {
    const std::string where = path_of(path);
    nb::gil_scoped_release release;
    archive_ = std::make_shared<zip::Archive>(where, max_ratio, max_size, max_members);
  }

  // (names, sizes, positions that the caller must look at, positions of links)
  nb::tuple listing() const {
    const auto a = open();
    nb::list names, sizes, suspects, links;
    for (size_t i = 0; i < a->members.size(); ++i) {
      const zip::Member &m = a->members[i];
      const char *text = a->names.data() + m.name;
      PyObject *name = PyUnicode_DecodeUTF8(text, m.name_length, "strict");
      if (!name) {
        PyErr_Clear();
        name = PyUnicode_Decode(text, m.name_length, "cp437", "strict");
        if (!name) throw nb::python_error();
      }
      names.append(nb::steal(name));
      sizes.append(m.size);
      if (m.suspect) suspects.append(i);
      if (m.link) links.append(i);
    }
    return nb::make_tuple(names, sizes, suspects, links);
  }

  std::pair<uint64_t, uint32_t> fingerprint(size_t i) const {
    const auto a = open();
    const zip::Member &m = member(*a, i);
    return {m.size, m.crc};
  }

  nb::bytes read(size_t i) const { return part(i, UINT64_MAX); }
  nb::bytes head(size_t i, uint64_t n) const { return part(i, n); }

  int64_t stored_offset(size_t i) const {
    const auto a = open();
    const zip::Member &m = member(*a, i);
    nb::gil_scoped_release release;
    zip::Window w;
    const uint64_t at = a->data_offset(m, w);
    return m.method == 0 ? static_cast<int64_t>(at) : -1;
  }

  void extract(size_t i, nb::bytes path) const {
    const auto a = open();
    const zip::Member &m = member(*a, i);
    const std::string where = path_of(path);
    nb::gil_scoped_release release;
    const auto decoder = std::make_unique<inflate::Decoder>();
    a->extract(m, where, *decoder);
  }

  nb::tuple masks_of(std::vector<size_t> numbers, unsigned workers, uint64_t max_pixels) const {
    const auto a = open();
    for (const size_t i : numbers) member(*a, i);
    return masks(numbers.size(), workers, max_pixels, [&](size_t k, Worker &w) -> View {
      const zip::Member &m = a->members[numbers[k]];
      a->check(m);
      if (m.size > MAX_MASK_BYTES || m.packed > MAX_MASK_BYTES) throw png::Error("the file is larger than any mask");
      const u8 *data = a->packed(m, w.window);
      if (m.method == 0) {
        zip::Archive::verify(m, data, m.size);
        return {data, static_cast<size_t>(m.size)};
      }
      if (w.bytes.size() < m.size + 64) w.bytes.resize(static_cast<size_t>(m.size) + 4096);
      zip::Archive::unpack(m, data, w.bytes.data(), w.scratch.decoder);
      return {w.bytes.data(), static_cast<size_t>(m.size)};
    });
  }

  void close() { archive_.reset(); }

 private:
  std::shared_ptr<zip::Archive> archive_;

  std::shared_ptr<zip::Archive> open() const {  // a running reader keeps the file open
    auto a = archive_;
    if (!a) throw zip::Error("the release was closed");
    return a;
  }

  static const zip::Member &member(const zip::Archive &a, size_t i) {
    if (i >= a.members.size()) throw nb::index_error("no such member");
    return a.members[i];
  }

  // Read all bytes and verify them, or the first n; a packed member is unpacked only that far.
  nb::bytes part(size_t i, uint64_t n) const {
    const auto a = open();
    const zip::Member &m = member(*a, i);
    a->check(m);
    const size_t size = static_cast<size_t>(std::min(n, m.size));
    PyObject *made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
    if (!made) throw nb::python_error();
    nb::bytes result = nb::steal<nb::bytes>(made);
    u8 *to = reinterpret_cast<u8 *>(PyBytes_AS_STRING(made));
    nb::gil_scoped_release release;
    zip::Window w;
    if (m.method == 0) {
      const uint64_t at = a->data_offset(m, w);
      if (a->file->read(at, to, size) != size) throw zip::Error("lies past the end of the zip");
      if (size == m.size) zip::Archive::verify(m, to, m.size);
      return result;
    }
    const auto decoder = std::make_unique<inflate::Decoder>();
    const u8 *data = a->packed(m, w);
    if (size == m.size) {
      zip::Archive::unpack(m, data, to, *decoder);
    } else {
      constexpr size_t BEYOND = 1 << 16;  // a stored block may reach that far, a match 257 bytes
      std::unique_ptr<u8[]> some(new u8[size + BEYOND]);
      try {
        decoder->run<false>(data, static_cast<size_t>(m.packed), some.get(), size + BEYOND);
      } catch (const inflate::Error &) {
        if (decoder->pos < size) throw;
      }
      if (decoder->pos < size) throw zip::Error("unpacks to less than the zip says");
      std::memcpy(to, some.get(), size);
    }
    return result;
  }
};

static nb::tuple masks_of_files(std::vector<nb::bytes> paths, unsigned workers, uint64_t max_pixels) {
  std::vector<std::string> where;
  where.reserve(paths.size());
  for (const nb::bytes &p : paths) where.push_back(path_of(p));
  return masks(where.size(), workers, max_pixels, [&](size_t i, Worker &w) { return whole_file(where[i], w); });
}

static nb::tuple masks_of_spans(nb::bytes path, std::vector<std::pair<uint64_t, uint64_t>> spans, unsigned workers,
                                uint64_t max_pixels) {
  const File file(path_of(path));
  return masks(spans.size(), workers, max_pixels, [&](size_t i, Worker &w) -> View {
    const auto [offset, size] = spans[i];
    if (size > MAX_MASK_BYTES || offset > file.size()) throw png::Error("the file is larger than any mask");
    const u8 *data = w.window.at(file, offset, static_cast<size_t>(size));
    if (!data) throw png::Error("the archive ends within it");
    return {data, static_cast<size_t>(size)};
  });
}

static nb::tuple masks_of_bytes(std::vector<nb::bytes> files, unsigned workers, uint64_t max_pixels) {
  std::vector<View> views;  // files keeps the bytes alive
  for (const nb::bytes &b : files) views.push_back({reinterpret_cast<const u8 *>(b.c_str()), b.size()});
  return masks(views.size(), workers, max_pixels, [&](size_t i, Worker &) { return views[i]; });
}

static nb::object decode_png(nb::bytes file, uint64_t max_pixels) {
  png::Pixels made;
  {
    nb::gil_scoped_release release;
    const auto scratch = std::make_unique<png::Scratch>();
    png::parse(reinterpret_cast<const u8 *>(file.c_str()), file.size(), max_pixels, scratch->file);
    made = png::decode(scratch->decoder, scratch->file);
  }
  const size_t h = made.header.height, w = made.header.width, c = made.channels;
  u8 *bytes = made.bytes.release();
  nb::capsule owner(bytes, [](void *p) noexcept { delete[] static_cast<u8 *>(p); });
  const size_t shape[3] = {h, w, c}, axes = c == 1 ? 2 : 3;
  if (made.sample_bytes == 2) return nb::cast(nb::ndarray<nb::numpy, uint16_t>(bytes, axes, shape, owner));
  return nb::cast(nb::ndarray<nb::numpy, u8>(bytes, axes, shape, owner));
}

// Decode a raw deflate stream to at most `room` bytes; `sparse` as for masks.
static nb::bytes inflate_raw(nb::bytes data, size_t room, bool sparse) {
  const auto decoder = std::make_unique<inflate::Decoder>();
  std::unique_ptr<u8, void (*)(void *)> out(static_cast<u8 *>(std::calloc(room + 1, 1)), std::free);
  if (!out) throw std::bad_alloc();
  const u8 *from = reinterpret_cast<const u8 *>(data.c_str());
  inflate::Segments segments;
  if (sparse) decoder->run<true>(from, data.size(), out.get(), room, &segments);
  else decoder->run<false>(from, data.size(), out.get(), room);
  return nb::bytes(reinterpret_cast<const char *>(out.get()), decoder->pos);
}

static uint32_t crc32(nb::bytes data, bool by_table) {
  const u8 *p = reinterpret_cast<const u8 *>(data.c_str());
  return by_table ? ~checksum::crc_by_table(~0u, p, data.size()) : checksum::crc32(p, data.size());
}

NB_MODULE(codec, m) {
  m.doc() = "Archives and PNGs; use them through celltable.imagefile.";
  raise_as<inflate::Error>(PyExc_ValueError);
  raise_as<png::Error>(PyExc_ValueError);
  raise_as<zip::Error>(PyExc_ValueError);
  nb::register_exception_translator([](const std::exception_ptr &p, void *) {
    try {
      std::rethrow_exception(p);
    } catch (const OsError &e) {
      errno = e.number;
      if (e.path.empty()) PyErr_SetFromErrno(PyExc_OSError);
      else PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.path.c_str());
    }
  });
  nb::class_<Zip>(m, "Zip")
      .def(nb::init<nb::bytes, uint64_t, uint64_t, uint64_t>(), nb::arg("path"), nb::arg("max_ratio"),
           nb::arg("max_size"), nb::arg("max_members"))
      .def("listing", &Zip::listing)
      .def("fingerprint", &Zip::fingerprint, nb::arg("number"))
      .def("read", &Zip::read, nb::arg("number"))
      .def("head", &Zip::head, nb::arg("number"), nb::arg("n"))
      .def("stored_offset", &Zip::stored_offset, nb::arg("number"))
      .def("extract", &Zip::extract, nb::arg("number"), nb::arg("path"))
      .def("masks", &Zip::masks_of, nb::arg("numbers"), nb::arg("workers"), nb::arg("max_pixels"))
      .def("close", &Zip::close);
  m.def("masks_of_files", &masks_of_files, nb::arg("paths"), nb::arg("workers"), nb::arg("max_pixels"));
  m.def("masks_of_spans", &masks_of_spans, nb::arg("path"), nb::arg("spans"), nb::arg("workers"),
        nb::arg("max_pixels"));
  m.def("masks_of_bytes", &masks_of_bytes, nb::arg("files"), nb::arg("workers"), nb::arg("max_pixels"));
  m.def("decode_png", &decode_png, nb::arg("file"), nb::arg("max_pixels"));
  m.def("inflate", &inflate_raw, nb::arg("data"), nb::arg("room"), nb::arg("sparse") = false);
  m.def("crc32", &crc32, nb::arg("data"), nb::arg("by_table") = false);
}
