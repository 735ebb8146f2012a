// Work spread over threads: numbered jobs, taken in order, the first error kept.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace celltable {

// Calls work(k) for k in 0..n-1 on some threads; the error of the smallest k is thrown.
inline void spread(int64_t n, int threads, const std::function<void(int64_t)> &work) {
  std::atomic<int64_t> next{0};
  std::mutex lock;
  int64_t failed = n;
  std::exception_ptr error;
  const auto run = [&] {
    for (int64_t k; (k = next++) < n;) {
      try {
        work(k);
      } catch (...) {
        const std::lock_guard<std::mutex> guard(lock);
        if (k < failed) failed = k, error = std::current_exception();
      }
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads && t < n; ++t) {
    try {
      others.emplace_back(run);
    } catch (const std::system_error &) {
      break; // no more threads to be had
    }
  }
  run();
  for (auto &t : others) t.join();
  if (error) std::rethrow_exception(error);
}

} // namespace celltable
