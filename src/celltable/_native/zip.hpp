// Zip archives: the central directory (zip64 too) parsed at once, members read by position from any number of threads.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "checksum.hpp"
#include "file.hpp"
#include "inflate.hpp"

namespace zip {

using celltable::File;
using celltable::OsError;
using u8 = uint8_t;
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline uint16_t le16(const u8 *p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
inline uint32_t le32(const u8 *p) { return p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24; }
inline uint64_t le64(const u8 *p) { return le32(p) | uint64_t{le32(p + 4)} << 32; }

// A window on a file that reads ahead when neighbouring members are read in order.
class Window {
 public:
  const u8 *at(const File &file, uint64_t offset, size_t n) {
    if (&file != file_ || offset < start_ || offset + n > start_ + have_) {
      const bool onward = &file == file_ && offset >= start_ && offset <= start_ + have_ + 4096;
      const size_t want = std::max<size_t>(n, onward ? 1u << 18 : 4096);
      if (bytes_.size() < want) bytes_.resize(want);
      file_ = nullptr;
      have_ = file.read(offset, bytes_.data(), want);
      start_ = offset;
      file_ = &file;
    }
    return offset + n > start_ + have_ ? nullptr : bytes_.data() + (offset - start_);
  }

 private:
  const File *file_ = nullptr;
  uint64_t start_ = 0;
  size_t have_ = 0;
  std::vector<u8> bytes_;
};

struct Member {
  uint64_t offset = 0, packed = 0, size = 0;  // offset: of the local header
  uint32_t crc = 0;
  uint16_t method = 0, flags = 0, name_length = 0;
  bool suspect = false, link = false;
  uint64_t name = 0;  // place in names
};

struct Archive {
  std::shared_ptr<File> file;
  uint64_t max_ratio, max_size, directory = 0, shift = 0;
  std::vector<Member> members;
  std::string names;

  Archive(const std::string &path, uint64_t ratio, uint64_t largest, uint64_t most)
      : file(std::make_shared<File>(path)), max_ratio(ratio), max_size(largest) {
    list(most);
    no_overlap();
  }

  std::string name(const Member &m) const {  // for messages: names may be in any encoding
    std::string text = names.substr(m.name, m.name_length);
    for (char &c : text)
      if (c < ' ' || c > '~') c = '?';
    return text;
  }

  void list(uint64_t most) {
    const uint64_t total = file->size();
    const size_t tail = static_cast<size_t>(std::min<uint64_t>(total, 65557 + 20));
    std::vector<u8> end(tail);
    if (file->read(total - tail, end.data(), tail) != tail) throw Error("the file shrank while it was read");
    size_t at = tail;
    for (size_t i = tail >= 22 ? tail - 21 : 0; i-- > 0;)
      if (le32(&end[i]) == 0x06054b50 && i + 22 + le16(&end[i + 20]) <= tail) {
        at = i;
        break;
      }
    if (at == tail) throw Error("the zip is cut short: it has no central directory; download it again");
    uint64_t count = le16(&end[at + 10]), size = le32(&end[at + 12]), start = le32(&end[at + 16]);
    uint64_t stop = total - tail + at;
    if (at >= 20 && le32(&end[at - 20]) == 0x07064b50) {  // zip64
      u8 record[56];
      const uint64_t where = le64(&end[at - 12]);
      uint64_t found = where;
      if (where > total || file->read(where, record, 56) != 56 || le32(record) != 0x06064b50) {
        found = stop >= 76 ? stop - 76 : 0;  // its position if other bytes precede the zip
        if (file->read(found, record, 56) != 56 || le32(record) != 0x06064b50)
          throw Error("the zip is damaged: its zip64 directory is not where it should be");
      }
      count = le64(record + 32);
      size = le64(record + 40);
      start = le64(record + 48);
      stop = found;
    } else if (le16(&end[at + 4]) || le16(&end[at + 6])) {
      throw Error("this is one part of a split zip; join the parts first");
    }
    if (size > stop || start > stop - size)
      throw Error("the zip is cut short: its central directory is not complete; download it again");
    shift = stop - size - start;  // bytes before the zip, as in self-extracting archives
    directory = stop - size;
    if (count > most || count > size / 46) {
      if (count > most)
        throw Error("the zip claims " + std::to_string(count) + " members; at most " + std::to_string(most) +
                    " are read");
      throw Error("the zip is damaged: its central directory is too short for " + std::to_string(count) + " members");
    }
    std::vector<u8> bytes(static_cast<size_t>(size));
    if (file->read(directory, bytes.data(), bytes.size()) != bytes.size())
      throw Error("the file shrank while it was read");
    members.reserve(static_cast<size_t>(count));
    const u8 *p = bytes.data(), *last = p + bytes.size();
    for (uint64_t i = 0; i < count; ++i) p = one(p, last);
  }

  const u8 *one(const u8 *p, const u8 *last) {
    if (last - p < 46 || le32(p) != 0x02014b50) throw Error("the zip is damaged within its central directory");
    const uint16_t n = le16(p + 28), extra = le16(p + 30), comment = le16(p + 32);
    if (last - p < 46 + n + extra + comment) throw Error("the zip is damaged within its central directory");
    Member m;
    m.flags = le16(p + 8);
    m.method = le16(p + 10);
    m.crc = le32(p + 16);
    m.packed = le32(p + 20);
    m.size = le32(p + 24);
    m.offset = le32(p + 42);
    const u8 *q = p + 46 + n, *extra_end = q + extra;
    while (extra_end - q >= 4) {
      const uint16_t id = le16(q), length = le16(q + 2);
      if (extra_end - q < 4 + length) break;
      if (id == 1) wide(q + 4, length, m);
      q += 4 + length;
    }
    m.offset += shift;
    m.name = names.size();
    m.name_length = n;
    names.append(reinterpret_cast<const char *>(p + 46), n);
    const unsigned kind = le32(p + 38) >> 28;  // file type of Unix
    m.link = (p[5] == 3 || p[5] == 19) && kind && kind != 8 && kind != 4;
    m.suspect = suspicious(std::string_view(names).substr(m.name, n));
    members.push_back(m);
    return p + 46 + n + extra + comment;
  }

  static void wide(const u8 *q, size_t length, Member &m) {
    size_t at = 0;
    for (uint64_t *v : {&m.size, &m.packed, &m.offset})
      if (*v == 0xFFFFFFFF) {
        if (at + 8 > length) throw Error("the zip is damaged: a zip64 size is missing");
        *v = le64(q + at);
        at += 8;
      }
  }

  // Flag names that the caller must check: folders, clutter, paths out of the folder. All others are plain.
  static bool suspicious(std::string_view s) {
    if (s.empty() || s[0] == '/' || s[0] == '.' || s.back() == '/' || (s.size() > 1 && s[1] == ':')) return true;
    for (size_t i = 0; i < s.size(); ++i)
      if (s[i] == '\\' || s[i] == 0 || (s[i] == '/' && i + 1 < s.size() && (s[i + 1] == '.' || s[i + 1] == '/')))
        return true;
    return s.find("__MACOSX") != s.npos || s.find("humbs.db") != s.npos || s.find("HUMBS.DB") != s.npos ||
           s.find("esktop.ini") != s.npos;
  }

  void no_overlap() const {
    std::vector<uint32_t> order(members.size());
    std::iota(order.begin(), order.end(), 0u);
    auto before = [&](uint32_t a, uint32_t b) { return members[a].offset < members[b].offset; };
    if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      const Member &a = members[order[i]], &b = members[order[i + 1]];
      if (b.offset >= file->size()) break;  // reading those reports that they are past the end
      if (a.packed > file->size() || a.offset + 30 + a.name_length + a.packed > b.offset)
        throw Error("members " + name(a) + " and " + name(b) +
                    " overlap; such a zip is damaged or a bomb and is refused");
    }
  }

  void check(const Member &m) const {
    if (m.flags & 1) throw Error("is encrypted; unpack the archive with its password and pass the folder");
    if (m.method != 0 && m.method != 8)
      throw Error("is compressed by method " + std::to_string(m.method) +
                  "; only stored and deflated members are read: unpack the archive and pass the folder");
    if (m.size > max_size)
      throw Error("claims " + std::to_string(m.size) + " bytes; at most " + std::to_string(max_size) + " are read");
    if (m.method == 8 && m.size / max_ratio > m.packed)
      throw Error("claims to unpack to more than " + std::to_string(max_ratio) +
                  " times its size and is refused as a bomb");
    if (m.method == 0 && m.size != m.packed) throw Error("is stored, but its two sizes differ");
    if (m.offset > directory || m.packed > directory || m.offset + 30 + m.name_length + m.packed > directory)
      throw Error("lies past the end of the zip; it is cut short, download it again");
  }

  // Return where the member's data begin.
  uint64_t data_offset(const Member &m, const u8 *local) const {
    if (le32(local) != 0x04034b50) throw Error("has no local header where the directory says; the zip is damaged");
    if (le16(local + 26) != m.name_length || std::memcmp(local + 30, names.data() + m.name, m.name_length))
      throw Error("has another name in its local header; the zip is damaged");
    const uint64_t at = m.offset + 30 + m.name_length + le16(local + 28);
    if (at + m.packed > directory) throw Error("lies past the end of the zip; it is cut short, download it again");
    return at;
  }

  uint64_t data_offset(const Member &m, Window &w) const {
    check(m);
    const u8 *local = w.at(*file, m.offset, 30u + m.name_length);
    if (!local) throw Error("lies past the end of the zip; it is cut short, download it again");
    return data_offset(m, local);
  }

  // The packed bytes of a member; they stay valid until the window moves.
  const u8 *packed(const Member &m, Window &w) const {
    check(m);
    // one read for header and data: the local extra field is rarely longer than 64 bytes
    const uint64_t guess = 30 + m.name_length + m.packed;
    const u8 *local = w.at(*file, m.offset, static_cast<size_t>(guess));
    if (!local) throw Error("lies past the end of the zip; it is cut short, download it again");
    const uint64_t at = data_offset(m, local);
    const u8 *data = w.at(*file, at, static_cast<size_t>(m.packed));
    if (!data) throw Error("lies past the end of the zip; it is cut short, download it again");
    return data;
  }

  static void verify(const Member &m, const u8 *data, uint64_t made) {
    if (made != m.size)
      throw Error("unpacks to " + std::to_string(made) + " bytes; the zip says " + std::to_string(m.size));
    if (checksum::crc32(data, static_cast<size_t>(made)) != m.crc)
      throw Error("is damaged: its checksum does not agree");
  }

  static void unpack(const Member &m, const u8 *data, u8 *to, inflate::Decoder &d) {
    if (m.method == 0) {
      std::memcpy(to, data, static_cast<size_t>(m.size));
      verify(m, to, m.size);
      return;
    }
    try {
      d.run<false>(data, static_cast<size_t>(m.packed), to, static_cast<size_t>(m.size));
    } catch (const inflate::Error &e) {
      throw Error(std::string("cannot be unpacked: ") + e.what());
    }
    verify(m, to, d.pos);
  }

  // Unpack a member into a new file through a memory map, so that it may be larger than memory.
  void extract(const Member &m, const std::string &path, inflate::Decoder &d) const {
    Window w;
    const uint64_t at = data_offset(m, w);
    if (at + m.packed > file->size()) throw Error("lies past the end of the zip");
    const int out = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) throw OsError(errno, path);
    struct Close {
      int fd;
      ~Close() { ::close(fd); }
    } closer{out};
    if (!m.size) return;
    if (const int number = ::posix_fallocate(out, 0, static_cast<off_t>(m.size))) throw OsError(number, path);
    struct Map {
      void *p;
      size_t n;
      Map(size_t size, int prot, int flags, int fd, off_t from)
          : p(::mmap(nullptr, size, prot, flags, fd, from)), n(size) {
        if (p == MAP_FAILED) throw OsError(errno, "");
      }
      ~Map() { ::munmap(p, n); }
      u8 *bytes() { return static_cast<u8 *>(p); }
    };
    const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)), from = at / page * page;
    Map source(static_cast<size_t>(at + m.packed - from), PROT_READ, MAP_PRIVATE, file->fd(), static_cast<off_t>(from));
    Map target(static_cast<size_t>(m.size), PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
    unpack(m, source.bytes() + (at - from), target.bytes(), d);
  }
};

}  // namespace zip
