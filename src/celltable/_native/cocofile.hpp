// The annotations of a COCO file as columns, read in one pass; segmentations stay in the file until they are read.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base.hpp"
#include "file.hpp"
#include "jsontext.hpp"

namespace celltable {

constexpr double absent = std::numeric_limits<double>::quiet_NaN();
enum Shape : uint8_t { none = 0, polygons = 1, compressed = 2, uncompressed = 3, other = 4 };

class FileSource : public Source {
 public:
  explicit FileSource(const std::string &path) try : file_(path) {
    if (!file_.regular()) throw std::runtime_error(path + " is not a file");
  } catch (const OsError &e) {
    throw std::runtime_error(path + " cannot be opened: " + e.what());
  }
  size_t read(i64 at, char *to, size_t n) const override {
    try {
      return file_.read(static_cast<uint64_t>(at), to, n);
    } catch (const OsError &e) {
      throw std::runtime_error(std::string("the file cannot be read: ") + e.what());
    }
  }

 private:
  File file_;
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

// Distinct ids in the order of their first use; an id is a whole number or a text.
struct Keys {
  std::vector<std::pair<bool, i64>> order;  // (is text, number or position in texts)
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

struct Id {  // of an image, a category or an annotation
  enum Kind : uint8_t { missing, whole, text } kind = missing;
  i64 number = 0;
  std::string word;
};

struct Extra {  // a key beside those of COCO: rows and the raw JSON text of the values
  std::string name;
  std::vector<i64> rows, ends;
  std::string text;
};

struct Record {  // one annotation while it is read
  Id image, category, id;
  double area = absent, score = absent, mask_score = absent, box[4] = {absent, absent, absent, absent};
  bool crowd = false, ignore = false;
  Shape shape = none;
  i64 at = 0;
  int64_t length = 0;
  int32_t height = 0, width = 0;
  std::vector<std::pair<std::string, std::string_view>> extras;
};

inline Id read_id(Cursor &c) {
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

inline double read_number(Cursor &c) {
  c.peek("a value");
  if (c.at_number()) return c.number();
  c.skip_value(3);
  return absent;
}

inline bool read_flag(Cursor &c) {  // as Python's bool()
  const char first = c.peek("a value");
  if (c.at_number()) return c.number() != 0;
  const char *start = c.p;
  c.skip_value(3);
  if (first == 't') return true;
  if (first == 'f' || first == 'n') return false;
  return !(c.p - start == 2 && first == '"');
}

inline void read_box(Cursor &c, double *box) {
  std::fill(box, box + 4, absent);
  if (c.peek("a value") != '[') return c.skip_value(3);
  double found[4];
  int n = 0;
  bool good = true;
  ++c.p;
  if (c.peek("a list") == ']') {
    ++c.p;
    return;
  }
  do {
    c.peek("a list");
    if (!c.at_number()) {
      good = false;
      c.skip_value(4);
    } else {
      const double v = c.number();
      if (n < 4) found[n] = v;
    }
    ++n;
  } while (c.next(']', "a list"));
  if (good && n == 4) std::copy(found, found + 4, box);
}

// Read the shape of a segmentation, its size if stated, and the place of its text.
inline void read_shape(Cursor &c, Record &r) {
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
          if (v == '"') {
            r.shape = compressed;
            c.skip_string();
          } else if (v == '[') {
            const char *s = c.p;
            r.shape = c.skip_polygons() && s[1] != '[' ? uncompressed : other;
          } else {
            r.shape = other;
            c.skip_value(3);
          }
        } else if (key == "size" && v == '[') {
          double size[2] = {0, 0};
          int n = 0;
          ++c.p;
          if (c.peek("a list") == ']') ++c.p;
          else do {
              c.peek("a list");
              double x = -1;
              if (c.at_number()) x = c.number();
              else c.skip_value(4);
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

inline Record read_annotation(Cursor &c) {
  Record r;
  if (c.peek("the list of annotations") != '{') c.fail("expected an annotation, an object" + c.found());
  ++c.p;
  if (c.peek("an annotation") == '}') {
    ++c.p;
    return r;
  }
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
  std::vector<std::pair<i64, Id>> odd_ids;  // rows whose id is not a whole number
  std::vector<std::pair<i64, std::string>> dict_keys;
  std::vector<Extra> extras;

  CocoFile(std::unique_ptr<Source> source, std::string name_, size_t window)
      : name(std::move(name_)), source_(std::move(source)) {
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

  // Order annotations given as an object by the number of their key, as a list would be.
  void in_order_of_keys() {
    const auto number = [](const std::string &k) -> i64 {
      if (k.empty() || k.size() > 18 || k.find_first_not_of("0123456789") != std::string::npos)
        return std::numeric_limits<i64>::max();
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

  void forget() {  // a second list of annotations replaces the first, as everywhere in JSON
    was_dict = false;
    image.clear(), category.clear(), sizes.clear(), ids.clear(), at.clear(), length.clear(), area.clear(),
        score.clear();
    mask_score.clear(), box.clear(), crowd.clear(), ignore.clear(), shape.clear(), odd_ids.clear(), dict_keys.clear();
    extras.clear();
    images = Keys{};
    categories = Keys{};
  }

  static int32_t key_of(Keys &keys, const Id &id) {
    return id.kind == Id::whole ? keys.number(id.number) : id.kind == Id::text ? keys.text(id.word) : -1;
  }

  // Extend an optional column, which begins with the first row that has a value.
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

}  // namespace celltable
