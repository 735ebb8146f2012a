// COCO JSON as columns: one pass over the file for everything but the outlines, which are read when they are asked for.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iterator>
#include <map>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_map>

#include "jsontext.hpp"
#include "packing.hpp"
#include "polygon.hpp"
#include "runs.hpp"
#include "spread.hpp"

namespace nb = nanobind;
using namespace celltable;
using Rows = nb::ndarray<const i64, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

constexpr double absent = std::numeric_limits<double>::quiet_NaN();
enum Shape : uint8_t { none = 0, polygons = 1, compressed = 2, uncompressed = 3, other = 4 };

class File : public Source {
public:
  explicit File(const std::string &path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error(path + " cannot be opened: " + std::strerror(errno));
    struct stat info {};
    if (::fstat(fd_, &info) || !S_ISREG(info.st_mode)) {
      ::close(fd_);
      throw std::runtime_error(path + " is not a file");
    }
  }
  ~File() override { ::close(fd_); }
  size_t read(i64 at, char *to, size_t n) const override {
    size_t got = 0;
    while (got < n) {
      const ssize_t k = ::pread(fd_, to + got, n - got, at + static_cast<i64>(got));
      if (k < 0 && errno == EINTR) continue;
      if (k < 0) throw std::runtime_error(std::string("the file cannot be read: ") + std::strerror(errno));
      if (k == 0) break;
      got += static_cast<size_t>(k);
    }
    return got;
  }

private:
  int fd_;
};

class Memory : public Source {
public:
  Memory(const char *data, size_t n) : data_(data, n) {}
  size_t read(i64 at, char *to, size_t n) const override {
    if (at < 0 || at >= static_cast<i64>(data_.size())) return 0;
    n = std::min(n, data_.size() - static_cast<size_t>(at));
    std::memcpy(to, data_.data() + at, n);
    return n;
  }

private:
  std::string data_;
};

// Distinct ids in the order they came; an id is a whole number or a text.
struct Keys {
  std::vector<std::pair<bool, i64>> order; // (is text, number or position in texts)
  std::vector<std::string> texts;
  std::unordered_map<i64, int32_t> numbers;
  std::unordered_map<std::string, int32_t> words;
  i64 recent = 0;
  int32_t recent_at = -1;

  int32_t number(i64 key) {
    if (recent_at >= 0 && key == recent) return recent_at;
    const auto [at, fresh] = numbers.try_emplace(key, static_cast<int32_t>(order.size()));
    if (fresh) order.emplace_back(false, key);
    recent = key;
    return recent_at = at->second;
  }
  int32_t text(const std::string &key) {
    const auto [at, fresh] = words.try_emplace(key, static_cast<int32_t>(order.size()));
    if (fresh) {
      order.emplace_back(true, static_cast<i64>(texts.size()));
      texts.push_back(key);
    }
    return at->second;
  }
};

struct Id { // of an image, a category or an annotation
  enum Kind : uint8_t { missing, whole, text } kind = missing;
  i64 number = 0;
  std::string word;
};

struct Extra { // a key beside those of COCO: rows and the raw JSON text of the values
  std::string name;
  std::vector<i64> rows, ends;
  std::string text;
};

struct Record { // one annotation while it is read
  Id image, category, id;
  double area = absent, score = absent, mask_score = absent, box[4] = {absent, absent, absent, absent};
  bool crowd = false, ignore = false;
  Shape shape = none;
  i64 at = 0;
  int64_t length = 0;
  int32_t height = 0, width = 0;
  std::vector<std::pair<std::string, std::string_view>> extras;
};

Id read_id(Cursor &c) {
  Id id;
  const char first = c.peek("a value");
  if (first == '"') {
    id.kind = Id::text;
    id.word = c.string();
  } else if (c.at_number()) {
    bool integral = false;
    const char *start = c.p;
    const double value = c.number(&integral, &id.number);
    if (integral) id.kind = Id::whole;
    else if (value == std::floor(value) && std::abs(value) < 9007199254740992.0) {
      id.kind = Id::whole;
      id.number = static_cast<i64>(value);
    } else {
      id.kind = Id::text;
      id.word.assign(start, c.p);
    }
  } else {
    c.skip_value(3);
  }
  return id;
}

double read_number(Cursor &c) {
  c.peek("a value");
  if (c.at_number()) return c.number();
  c.skip_value(3);
  return absent;
}

bool read_flag(Cursor &c) { // as Python's bool()
  const char first = c.peek("a value");
  if (c.at_number()) return c.number() != 0;
  const char *start = c.p;
  c.skip_value(3);
  if (first == 't') return true;
  if (first == 'f' || first == 'n') return false;
  return !(c.p - start == 2 && first == '"');
}

void read_box(Cursor &c, double *box) {
  std::fill(box, box + 4, absent);
  if (c.peek("a value") != '[') return c.skip_value(3);
  double found[4];
  int n = 0;
  bool good = true;
  ++c.p;
  if (c.peek("a list") == ']') { ++c.p; return; }
  do {
    c.peek("a list");
    if (!c.at_number()) { good = false; c.skip_value(4); }
    else {
      const double v = c.number();
      if (n < 4) found[n] = v;
    }
    ++n;
  } while (c.next(']', "a list"));
  if (good && n == 4) std::copy(found, found + 4, box);
}

// The kind of a segmentation, its size where it states one, and where its text lies.
void read_shape(Cursor &c, Record &r) {
  const char first = c.peek("a segmentation");
  const i64 at = c.at();
  r.shape = other;
  r.height = r.width = 0;
  if (first == '[') {
    const char *start = c.p;
    r.shape = c.skip_polygons() ? polygons : none;
    if (r.shape == none) {
      for (const char *q = start + 1; q < c.p - 1; ++q)
        if (!std::strchr(" \t\r\n", *q)) r.shape = other;
    }
  } else if (first == '{') {
    ++c.p;
    if (c.peek("an object") == '}') ++c.p;
    else do {
      const std::string key = c.string();
      c.expect(':', "an object");
      const char v = c.peek("a value");
      if (key == "counts") {
        if (v == '"') { r.shape = compressed; c.skip_string(); }
        else if (v == '[') { const char *s = c.p; r.shape = c.skip_polygons() && s[1] != '[' ? uncompressed : other; }
        else { r.shape = other; c.skip_value(3); }
      } else if (key == "size" && v == '[') {
        double size[2] = {0, 0};
        int n = 0;
        ++c.p;
        if (c.peek("a list") == ']') ++c.p;
        else do {
          c.peek("a list");
          double x = -1;
          if (c.at_number()) x = c.number(); else c.skip_value(4);
          if (n < 2) size[n] = x;
          ++n;
        } while (c.next(']', "a list"));
        const auto fits = [](double x) { return x >= 0 && x < 2147483648.0 && x == std::floor(x); };
        const bool good = n == 2 && fits(size[0]) && fits(size[1]);
        r.height = good ? static_cast<int32_t>(size[0]) : -1;
        r.width = good ? static_cast<int32_t>(size[1]) : -1;
      } else {
        c.skip_value(3);
      }
    } while (c.next('}', "an object"));
  } else {
    if (first == 'n') r.shape = none;
    c.skip_value(2);
  }
  r.at = at;
  r.length = c.at() - at;
}

Record read_annotation(Cursor &c) {
  Record r;
  if (c.peek("the list of annotations") != '{') c.fail("expected an annotation, an object" + c.found());
  ++c.p;
  if (c.peek("an annotation") == '}') { ++c.p; return r; }
  do {
    bool escaped;
    c.peek("an annotation");
    std::string_view raw = c.raw_string(escaped);
    std::string unescaped;
    if (escaped) raw = unescaped = Cursor::unescape(raw);
    c.expect(':', "an annotation");
    if (raw == "segmentation") read_shape(c, r);
    else if (raw == "image_id") r.image = read_id(c);
    else if (raw == "category_id") r.category = read_id(c);
    else if (raw == "id") r.id = read_id(c);
    else if (raw == "area") r.area = read_number(c);
    else if (raw == "bbox") read_box(c, r.box);
    else if (raw == "score") r.score = read_number(c);
    else if (raw == "mask_score") r.mask_score = read_number(c);
    else if (raw == "iscrowd") r.crowd = read_flag(c);
    else if (raw == "ignore") r.ignore = read_flag(c);
    else {
      c.peek("a value");
      const char *start = c.p;
      c.skip_value(2);
      const std::string_view value(start, static_cast<size_t>(c.p - start));
      const auto same = std::find_if(r.extras.begin(), r.extras.end(), [&](const auto &e) { return e.first == raw; });
      if (same != r.extras.end()) same->second = value;
      else r.extras.emplace_back(raw, value);
    }
  } while (c.next('}', "an annotation"));
  return r;
}

} // namespace

class CocoFile {
public:
  std::string name;
  bool results = false, was_dict = false, has_annotations = false;
  std::map<std::string, std::string> members;
  Keys images, categories;
  std::vector<int32_t> image, category, sizes;
  std::vector<i64> ids, at, length;
  std::vector<double> area, score, mask_score, box;
  std::vector<uint8_t> crowd, ignore, shape;
  std::vector<std::pair<i64, Id>> odd_ids; // rows whose id is not a whole number
  std::vector<std::pair<i64, std::string>> dict_keys;
  std::vector<Extra> extras;

  CocoFile(std::unique_ptr<Source> source, std::string name_, size_t window) : name(std::move(name_)), source_(std::move(source)) {
    Window w(*source_, window);
    w.step([](Cursor &c) {
      if (c.end - c.p < 3 && !c.last) throw NeedMore{};
      if (c.end - c.p >= 3 && !std::memcmp(c.p, "\xef\xbb\xbf", 3)) c.p += 3;
    });
    const char first = w.step([](Cursor &c) { return c.peek("the document"); });
    if (first == '[') {
      results = true;
      read_list(w);
    } else if (first == '{') {
      read_object(w);
    } else {
      w.step([](Cursor &c) { c.skip_value(); });
      throw JsonError{"expected an object with images and annotations, or a list of results", -1};
    }
    w.step([](Cursor &c) {
      c.space();
      if (c.p == c.end && !c.last) throw NeedMore{};
      if (c.p != c.end) c.fail("expected the end of the document" + c.found());
    });
  }

  i64 size() const { return static_cast<i64>(shape.size()); }
  const Source &source() const { return *source_; }

private:
  std::unique_ptr<Source> source_;

  void read_object(Window &w) {
    w.step([](Cursor &c) { c.expect('{', "the document"); });
    if (w.step([](Cursor &c) { return c.peek("the document") == '}' ? (++c.p, true) : false; })) return;
    do {
      const std::string key = w.step([](Cursor &c) {
        c.peek("the document");
        std::string k = c.string();
        c.expect(':', "the document");
        c.peek("a value");
        return k;
      });
      if (key == "annotations") {
        forget();
        has_annotations = true;
        const char first = w.step([](Cursor &c) { return c.peek("a value"); });
        if (first == '[') read_list(w);
        else if (first == '{') read_dict(w);
        else w.step([](Cursor &c) { c.fail("expected annotations to be a list or an object" + c.found()); });
      } else {
        members[key] = w.step([](Cursor &c) {
          const char *start = c.p;
          c.skip_value(1);
          return std::string(start, c.p);
        });
      }
    } while (w.step([](Cursor &c) { return c.next('}', "the document"); }));
  }

  void read_list(Window &w) {
    w.step([](Cursor &c) { c.expect('[', "the list of annotations"); });
    if (w.step([](Cursor &c) { return c.peek("the list of annotations") == ']' ? (++c.p, true) : false; })) return;
    bool another = true;
    while (another)
      w.step([&](Cursor &c) {
        const Record r = read_annotation(c);
        another = c.next(']', "the list of annotations");
        append(r);
      });
  }

  void read_dict(Window &w) {
    was_dict = true;
    w.step([](Cursor &c) { c.expect('{', "the annotations"); });
    if (w.step([](Cursor &c) { return c.peek("the annotations") == '}' ? (++c.p, true) : false; })) return;
    std::unordered_map<std::string, i64> seen;
    bool another = true, repeated = false;
    while (another)
      w.step([&](Cursor &c) {
        c.peek("the annotations");
        std::string key = c.string();
        c.expect(':', "the annotations");
        const Record r = read_annotation(c);
        another = c.next('}', "the annotations");
        repeated |= !seen.try_emplace(key, size()).second;
        dict_keys.emplace_back(size(), std::move(key));
        append(r);
      });
    if (repeated) throw JsonError{"two annotations under the same key", w.cursor.at()};
    in_order_of_keys();
  }

  // Annotations given as an object are taken by number, the way lists are numbered.
  void in_order_of_keys() {
    const auto number = [](const std::string &k) -> i64 {
      if (k.empty() || k.size() > 18 || k.find_first_not_of("0123456789") != std::string::npos) return std::numeric_limits<i64>::max();
      return std::stoll(k);
    };
    std::vector<std::tuple<i64, std::string_view, i64>> keys;
    bool sorted = true;
    for (const auto &[row, key] : dict_keys) {
      const i64 n = number(key);
      keys.emplace_back(n, n == std::numeric_limits<i64>::max() ? std::string_view(key) : std::string_view(), row);
      if (keys.size() > 1 && keys[keys.size() - 2] > keys.back()) sorted = false;
    }
    if (sorted) return;
    std::sort(keys.begin(), keys.end());
    const size_t n = shape.size();
    std::vector<i64> from(n), to(n);
    for (size_t k = 0; k < n; ++k) to[static_cast<size_t>(from[k] = std::get<2>(keys[k]))] = static_cast<i64>(k);
    const auto move = [&](auto &column, size_t width) {
      if (column.empty()) return;
      auto old = column;
      for (size_t k = 0; k < n; ++k)
        for (size_t j = 0; j < width; ++j) column[k * width + j] = old[static_cast<size_t>(from[k]) * width + j];
    };
    move(image, 1), move(category, 1), move(ids, 1), move(at, 1), move(length, 1), move(area, 1), move(crowd, 1);
    move(ignore, 1), move(shape, 1), move(score, 1), move(mask_score, 1), move(box, 4), move(sizes, 2);
    for (auto &[row, id] : odd_ids) row = to[static_cast<size_t>(row)];
    std::sort(odd_ids.begin(), odd_ids.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    for (auto &[row, key] : dict_keys) row = to[static_cast<size_t>(row)];
    std::sort(dict_keys.begin(), dict_keys.end());
    for (auto &e : extras) reorder(e, to);
  }

  static void reorder(Extra &e, const std::vector<i64> &to) {
    std::vector<std::pair<i64, size_t>> rows;
    for (size_t k = 0; k < e.rows.size(); ++k) rows.emplace_back(to[static_cast<size_t>(e.rows[k])], k);
    std::sort(rows.begin(), rows.end());
    Extra made{e.name, {}, {}, {}};
    for (const auto &[row, k] : rows) {
      const i64 start = k ? e.ends[k - 1] : 0;
      made.text.append(e.text, static_cast<size_t>(start), static_cast<size_t>(e.ends[k] - start));
      made.rows.push_back(row);
      made.ends.push_back(static_cast<i64>(made.text.size()));
    }
    e = std::move(made);
  }

  void forget() { // a second list of annotations replaces the first, as everywhere in JSON
    was_dict = false;
    image.clear(), category.clear(), sizes.clear(), ids.clear(), at.clear(), length.clear(), area.clear(), score.clear();
    mask_score.clear(), box.clear(), crowd.clear(), ignore.clear(), shape.clear(), odd_ids.clear(), dict_keys.clear();
    extras.clear();
    images = Keys{};
    categories = Keys{};
  }

  static int32_t key_of(Keys &keys, const Id &id) {
    return id.kind == Id::whole ? keys.number(id.number) : id.kind == Id::text ? keys.text(id.word) : -1;
  }

  // Optional columns appear with the first row that has a value.
  static void optional(std::vector<double> &column, const double *value, size_t width, size_t row) {
    bool there = false;
    for (size_t k = 0; k < width; ++k) there |= !std::isnan(value[k]);
    if (column.empty() && there) column.assign(row * width, absent);
    if (!column.empty() || (there && row == 0)) column.insert(column.end(), value, value + width);
  }

  void append(const Record &r) {
    const size_t row = shape.size();
    image.push_back(key_of(images, r.image));
    category.push_back(key_of(categories, r.category));
    ids.push_back(r.id.kind == Id::whole ? r.id.number : -1);
    if (r.id.kind != Id::whole) odd_ids.emplace_back(static_cast<i64>(row), r.id);
    area.push_back(r.area);
    optional(score, &r.score, 1, row);
    optional(mask_score, &r.mask_score, 1, row);
    optional(box, r.box, 4, row);
    crowd.push_back(r.crowd);
    ignore.push_back(r.ignore);
    shape.push_back(r.shape);
    at.push_back(r.at);
    length.push_back(r.length);
    if (sizes.empty() && (r.height || r.width)) sizes.assign(2 * row, 0);
    if (!sizes.empty() || r.height || r.width) sizes.push_back(r.height), sizes.push_back(r.width);
    for (const auto &[key, value] : r.extras) {
      auto e = std::find_if(extras.begin(), extras.end(), [&key = key](const Extra &x) { return x.name == key; });
      if (e == extras.end()) e = extras.insert(extras.end(), Extra{key, {}, {}, {}});
      e->rows.push_back(static_cast<i64>(row));
      e->text.append(value);
      e->ends.push_back(static_cast<i64>(e->text.size()));
    }
  }
};

namespace {

// Segmentations read in the order asked for, through a small window of the file.
class Shapes {
public:
  explicit Shapes(const CocoFile &file) : file_(file) {}
  std::string_view text(i64 row) {
    const i64 at = file_.at[static_cast<size_t>(row)], n = file_.length[static_cast<size_t>(row)];
    if (at < start_ || at + n + static_cast<i64>(padding) > start_ + static_cast<i64>(window_.size())) {
      window_.resize(static_cast<size_t>(std::max<i64>(n, 1 << 16)) + padding);
      window_.resize(file_.source().read(at, window_.data(), window_.size() - padding) + padding);
      std::memset(window_.data() + window_.size() - padding, 0, padding);
      start_ = at;
      if (static_cast<i64>(window_.size() - padding) < n) throw JsonError{"the file became shorter while it was read", at};
    }
    return std::string_view(window_.data() + (at - start_), static_cast<size_t>(n));
  }
  Cursor cursor(i64 row) {
    const std::string_view t = text(row);
    Cursor c;
    c.begin = c.p = t.data();
    c.end = t.data() + t.size();
    c.last = true;
    c.base = file_.at[static_cast<size_t>(row)];
    return c;
  }

private:
  const CocoFile &file_;
  std::vector<char> window_;
  i64 start_ = 0;
};

void numbers_of(Cursor &c, std::vector<double> &out) { // a list of numbers
  c.expect('[', "a polygon");
  if (c.peek("a polygon") == ']') { ++c.p; return; }
  double some[64];
  size_t n = 0;
  const auto flush = [&] { out.insert(out.end(), some, some + n), n = 0; };
  do {
    c.space();
    bool complete = false;
    const char *q = c.p; // a register, not the cursor's memory, for the usual: number, comma, space
    while (!complete && Cursor::simple(q, some + n)) {
      if (++n == std::size(some)) flush();
      if (!(complete = *q != ',')) q += q[1] == ' ' ? 2 : 1;
    }
    c.p = q;
    if (!complete) {
      flush();
      c.space();
      out.push_back(c.number());
    }
    if (c.p > c.end) c.fail("the file changed while it was read");
  } while (c.next(']', "a polygon"));
  flush();
}

// Compressed counts of one row appended to `out`; false if there are none or they are not valid.
bool counts_of(Shapes &shapes, const CocoFile &file, i64 row, std::string &out) {
  const auto kind = file.shape[static_cast<size_t>(row)];
  if (kind != compressed && kind != uncompressed) return false;
  Cursor c = shapes.cursor(row);
  c.expect('{', "a segmentation");
  bool good = false;
  const size_t before = out.size();
  do {
    const std::string key = c.string();
    c.expect(':', "a segmentation");
    const char v = c.peek("a value");
    if (key != "counts") { c.skip_value(3); continue; }
    out.resize(before);
    if (v == '"') {
      bool escaped;
      c.peek("a value");
      const std::string_view raw = c.raw_string(escaped);
      if (escaped) out += Cursor::unescape(raw); else out += raw;
      good = true;
    } else if (v == '[') {
      std::vector<double> values;
      numbers_of(c, values);
      std::vector<i64> counts;
      good = true;
      for (const double x : values) {
        if (!(x >= 0) || x > 4e15 || x != std::floor(x)) { good = false; break; }
        counts.push_back(static_cast<i64>(x));
      }
      for (size_t k = 0; good && k < counts.size(); ++k) append_number(out, k > 2 ? counts[k] - counts[k - 2] : counts[k]);
    } else {
      c.skip_value(3);
    }
  } while (c.next('}', "a segmentation"));
  return good;
}

template <class T> auto owned(std::vector<T> &&values) {
  auto *held = new std::vector<T>(std::move(values));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  return nb::ndarray<nb::numpy, T, nb::ndim<1>>(held->data(), {held->size()}, owner);
}

[[noreturn]] void raise(const char *type, const std::string &message) {
  nb::object error = nb::module_::import_("celltable.errors").attr(type);
  PyErr_SetString(error.ptr(), message.c_str());
  throw nb::python_error();
}

std::string thousands(i64 n) {
  std::string s = std::to_string(n);
  for (int k = static_cast<int>(s.size()) - 3; k > 0; k -= 3) s.insert(static_cast<size_t>(k), ",");
  return s;
}

// Runs without the GIL; JSON errors become InputError with the byte they were found at.
template <class F> auto guarded(const std::string &name, F &&work) {
  std::string message;
  const char *type = nullptr;
  try {
    nb::gil_scoped_release release;
    return work();
  } catch (const JsonError &e) {
    type = "InputError";
    message = e.at < 0 ? name + " is not COCO: " + e.what
                       : name + " is not valid COCO JSON: at byte " + thousands(e.at) + ": " + e.what;
  } catch (const NeedMore &) {
    type = "InputError";
    message = name + " is not valid COCO JSON: it ends early";
  } catch (const std::bad_alloc &) {
    throw;
  } catch (const std::runtime_error &e) {
    type = "InputError";
    message = e.what();
  }
  raise(type, message);
}

void check_rows(const CocoFile &f, const Rows &rows) {
  for (size_t k = 0; k < rows.shape(0); ++k)
    if (rows.data()[k] < 0 || rows.data()[k] >= f.size())
      raise("InputError", "row " + std::to_string(rows.data()[k]) + " of " + thousands(f.size()) + " annotations does not exist");
}

// The polygons of a row, as published, appended: coordinates, and the end of each part.
void parts_of(Shapes &shapes, const CocoFile &f, i64 row, std::vector<double> &xy, std::vector<i64> &ends) {
  if (f.shape[static_cast<size_t>(row)] != polygons) return;
  Cursor c = shapes.cursor(row);
  c.expect('[', "a segmentation");
  if (c.peek("a segmentation") != '[') {
    c.p = c.begin; // one flat list of numbers
    numbers_of(c, xy);
    ends.push_back(static_cast<i64>(xy.size()));
    return;
  }
  do {
    numbers_of(c, xy);
    ends.push_back(static_cast<i64>(xy.size()));
  } while (c.next(']', "a segmentation"));
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
    return 0;
  });
  return std::make_tuple(owned(std::move(xy)), owned(std::move(parts)), owned(std::move(cells)));
}

// What is wrong with the polygons of a row; nothing if they can be drawn. `ends` begins with 0.
std::string wrong_polygons(const std::vector<double> &xy, const std::vector<i64> &ends, i64 h, i64 w) {
  bool odd = ends.size() < 2;
  for (size_t p = 0; p + 1 < ends.size(); ++p) odd |= ends[p + 1] - ends[p] < 6 || (ends[p + 1] - ends[p]) % 2;
  if (odd) {
    std::string shown;
    for (size_t p = 0; p + 1 < std::min<size_t>(ends.size(), 5); ++p) shown += (p ? ", " : "") + std::to_string(ends[p + 1] - ends[p]);
    return "a polygon of " + (shown.empty() ? "0" : shown) + " numbers; expected pairs of x and y, three or more";
  }
  if (!std::all_of(xy.begin(), xy.end(), [](double v) { return std::isfinite(v); })) return "a polygon with a coordinate that is not finite";
  return h && w ? "" : "the size of its image is not known";
}

struct Bytes { // many byte strings, made without the GIL
  std::string text;
  std::vector<size_t> ends;
  nb::object at(size_t k) const {
    const size_t start = k ? ends[k - 1] : 0;
    return ends[k] == start ? nb::object(nb::none()) : nb::object(nb::bytes(text.data() + start, ends[k] - start));
  }
};

// Rows of polygons as cells: read, drawn, measured and packed one after the other.
auto cells_of(const CocoFile &f, Rows rows, i64 h, i64 w) {
  check_rows(f, rows);
  if (h < 0 || w < 0 || h > 0xffffffffLL || w > 0xffffffffLL || h * w > 0xffffffffLL)
    raise("InputError", "an image of " + std::to_string(h) + " x " + std::to_string(w) + " px is too large for run lengths");
  const size_t n = rows.shape(0);
  Bytes counts, packed;
  std::vector<i64> areas(n, 0);
  std::vector<int32_t> boxes(4 * n, 0);
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
      for (i64 &end : ends) end /= 2; // points from here on
      const i64 parts = static_cast<i64>(ends.size()) - 1;
      try {
        for (i64 p = 0; reason.empty() && p < parts; ++p) {
          draw_polygon(xy.data() + 2 * ends[static_cast<size_t>(p)], static_cast<size_t>(ends[static_cast<size_t>(p) + 1] - ends[static_cast<size_t>(p)]), h, w, p ? next : whole);
          if (p) merge_runs(whole, next, false, both), std::swap(whole, both);
        }
      } catch (const std::invalid_argument &e) {
        reason = e.what();
      }
      if (reason.empty()) {
        append_counts(counts.text, whole.begin(), whole.end(), h * w);
        pack_polygon(packed.text, xy.data(), ends.data(), parts);
        areas[k] = area_of(whole);
        const Box box = box_of(whole, h);
        const i64 sides[4] = {box.x, box.y, box.w, box.h};
        std::copy(sides, sides + 4, boxes.begin() + static_cast<std::ptrdiff_t>(4 * k));
      } else {
        wrong.emplace_back(k, std::move(reason));
      }
      counts.ends.push_back(counts.text.size()), packed.ends.push_back(packed.text.size());
    }
    return 0;
  });
  nb::list all_counts, all_packed;
  for (size_t k = 0; k < n; ++k) all_counts.append(counts.at(k)), all_packed.append(packed.at(k));
  nb::dict reasons;
  for (const auto &[k, reason] : wrong) reasons[nb::int_(k)] = nb::str(reason.data(), reason.size());
  auto *held = new std::vector<int32_t>(std::move(boxes));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<int32_t> *>(p); });
  nb::ndarray<nb::numpy, int32_t, nb::ndim<2>> table(held->data(), {n, size_t(4)}, owner);
  return std::make_tuple(all_counts, all_packed, owned(std::move(areas)), table, reasons);
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
    return 0;
  });
  std::vector<uint8_t> bytes(text.begin(), text.end());
  return std::make_tuple(owned(std::move(bytes)), owned(std::move(ends)), owned(std::move(good)));
}

// The polygons of a row drawn and united, as compressed counts.
void drawn(Shapes &shapes, i64 row, int32_t h, int32_t w, std::string &out) {
  static thread_local std::vector<double> xy;
  static thread_local Runs whole, next, both;
  whole.clear();
  const auto part = [&](Cursor &c) {
    xy.clear();
    numbers_of(c, xy);
    if (xy.size() < 6 || xy.size() % 2) throw std::invalid_argument("has a polygon of " + std::to_string(xy.size()) + " numbers; expected pairs of x and y, three or more");
    draw_polygon(xy.data(), xy.size() / 2, h, w, next);
    if (whole.empty()) std::swap(whole, next);
    else merge_runs(whole, next, false, both), std::swap(whole, both);
  };
  Cursor c = shapes.cursor(row);
  c.expect('[', "a segmentation");
  if (c.peek("a segmentation") != '[') {
    c.p = c.begin;
    part(c);
  } else {
    do part(c);
    while (c.next(']', "a segmentation"));
  }
  append_counts(out, whole.begin(), whole.end(), i64(h) * w);
}

auto counts_of_all(const CocoFile &f, nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> used,
                   nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu> sizes, int threads) {
  const i64 n = f.size(), block = 1024, blocks = (n + block - 1) / block;
  if (static_cast<i64>(used.shape(0)) != n || static_cast<i64>(sizes.shape(0)) != n || sizes.shape(1) != 2 || threads < 1)
    raise("InputError", "used and sizes need one row for each of " + thousands(n) + " annotations");
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
          const std::string where = f.name + ": annotation " + std::to_string(f.ids[static_cast<size_t>(row)]) + " (position " + thousands(row) + ") ";
          if (h < 0 || w < 0 || i64(h) * w > 0xffffffffLL) throw std::runtime_error(where + "is of an image without a valid height and width");
          try {
            if (kind == polygons) drawn(shapes, row, h, w, out);
            else if (!counts_of(shapes, f, row, out)) throw std::invalid_argument("has no run lengths that can be read");
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
    return 0;
  });
  return std::make_tuple(owned(std::move(bytes)), owned(std::move(ends)));
}

nb::list texts_of(const CocoFile &f, Rows rows) {
  check_rows(f, rows);
  std::vector<std::string> found;
  guarded(f.name, [&] {
    Shapes shapes(f);
    for (size_t k = 0; k < rows.shape(0); ++k) {
      const i64 row = rows.data()[k];
      found.emplace_back(f.length[static_cast<size_t>(row)] ? shapes.text(row) : std::string_view());
    }
    return 0;
  });
  nb::list out;
  for (const auto &s : found) out.append(nb::bytes(s.data(), s.size()));
  return out;
}

auto by_image(const CocoFile &f) {
  const size_t n = f.image.size(), groups = f.images.order.size();
  std::vector<i64> starts(groups + 1, 0), order;
  for (const int32_t k : f.image)
    if (k >= 0) ++starts[static_cast<size_t>(k) + 1];
  for (size_t k = 0; k < groups; ++k) starts[k + 1] += starts[k];
  order.resize(static_cast<size_t>(starts[groups]));
  std::vector<i64> fill(starts.begin(), starts.end() - 1);
  for (size_t k = 0; k < n; ++k)
    if (f.image[k] >= 0) order[static_cast<size_t>(fill[static_cast<size_t>(f.image[k])]++)] = static_cast<i64>(k);
  return std::make_tuple(owned(std::move(order)), owned(std::move(starts)));
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
  if (values.empty() && (0 + ... + static_cast<i64>(shape)) && static_cast<i64>(std::get<0>(std::make_tuple(shape...)))) return nb::none();
  static const T nothing{};
  const T *data = values.empty() ? &nothing : values.data();
  return nb::cast(nb::ndarray<nb::numpy, const T>(data, {static_cast<size_t>(shape)...}, owner));
}

} // namespace

#define COLUMN(field, ...) [](nb::handle self) { const auto &f = nb::cast<const CocoFile &>(self); return column(f.field, self, f.size() __VA_ARGS__); }

NB_MODULE(cocojson, m) {
  nb::class_<CocoFile>(m, "CocoFile")
      .def_static("open", [](const std::string &path, size_t window) {
        const std::string name = path.substr(path.find_last_of('/') + 1);
        return guarded(name, [&] { return std::make_unique<CocoFile>(std::make_unique<File>(path), name, window); }).release();
      }, nb::arg("path"), nb::arg("window") = size_t(1) << 22)
      .def_static("parse", [](nb::bytes text, const std::string &name, size_t window) {
        auto memory = std::make_unique<Memory>(text.c_str(), text.size());
        return guarded(name, [&] { return std::make_unique<CocoFile>(std::move(memory), name, window); }).release();
      }, nb::arg("text"), nb::arg("name") = "the text", nb::arg("window") = size_t(1) << 22)
      .def("__len__", &CocoFile::size)
      .def_ro("name", &CocoFile::name)
      .def_ro("results", &CocoFile::results)
      .def_ro("has_annotations", &CocoFile::has_annotations)
      .def_ro("annotations_were_a_dict", &CocoFile::was_dict)
      .def_prop_ro("members", [](const CocoFile &f) {
        nb::dict out;
        for (const auto &[key, value] : f.members) out[nb::str(key.data(), key.size())] = nb::bytes(value.data(), value.size());
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
      .def_prop_ro("odd_ids", [](const CocoFile &f) {
        nb::dict out;
        for (const auto &[row, id] : f.odd_ids) out[nb::int_(row)] = id.kind == Id::text ? nb::object(nb::str(id.word.data(), id.word.size())) : nb::none();
        return out;
      })
      .def_prop_ro("extra_names", [](const CocoFile &f) {
        nb::list out;
        for (const auto &e : f.extras) out.append(nb::str(e.name.data(), e.name.size()));
        return out;
      })
      .def("extra", [](const CocoFile &f, const std::string &name) {
        const auto e = std::find_if(f.extras.begin(), f.extras.end(), [&](const Extra &x) { return x.name == name; });
        if (e == f.extras.end()) raise("NotFoundError", f.name + " has no annotation key '" + name + "'");
        nb::list texts;
        for (size_t k = 0; k < e->rows.size(); ++k) {
          const i64 start = k ? e->ends[k - 1] : 0;
          texts.append(nb::bytes(e->text.data() + start, static_cast<size_t>(e->ends[k] - start)));
        }
        return std::make_tuple(owned(std::vector<i64>(e->rows)), texts);
      }, nb::arg("name"))
      .def("by_image", &by_image)
      .def("polygons", &polygons_of, nb::arg("rows"))
      .def("cells", &cells_of, nb::arg("rows"), nb::arg("height"), nb::arg("width"))
      .def("rles", &rles_of, nb::arg("rows"))
      .def("counts", &counts_of_all, nb::arg("used"), nb::arg("sizes"), nb::arg("threads") = 1)
      .def("texts", &texts_of, nb::arg("rows"));
}
