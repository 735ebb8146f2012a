// A file read by position, from any number of threads.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace celltable {

struct OsError : std::runtime_error {  // becomes an OSError of that number
  int number;
  std::string path;
  OsError(int n, std::string p) : std::runtime_error(std::strerror(n)), number(n), path(std::move(p)) {}
};

class File {
 public:
  explicit File(const std::string &path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat s{};
    if (fd_ < 0 || ::fstat(fd_, &s) != 0) {
      const int number = errno;
      if (fd_ >= 0) ::close(fd_);
      throw OsError(number, path);
    }
    size_ = static_cast<std::uint64_t>(s.st_size);
    regular_ = S_ISREG(s.st_mode);
  }
  File(const File &) = delete;
  File &operator=(const File &) = delete;
  ~File() { ::close(fd_); }
  std::uint64_t size() const { return size_; }
  bool regular() const { return regular_; }
  int fd() const { return fd_; }

  // Read up to n bytes; fewer only at the end of the file.
  std::size_t read(std::uint64_t offset, void *to, std::size_t n) const {
    std::size_t done = 0;
    while (done < n) {
      const ssize_t k = ::pread(fd_, static_cast<char *>(to) + done, std::min<std::size_t>(n - done, 1u << 30),
                                static_cast<off_t>(offset + done));
      if (k < 0 && errno == EINTR) continue;
      if (k < 0) throw OsError(errno, "");
      if (k == 0) break;
      done += static_cast<std::size_t>(k);
    }
    return done;
  }

 private:
  int fd_;
  std::uint64_t size_ = 0;
  bool regular_ = false;
};

}  // namespace celltable
