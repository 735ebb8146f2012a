// Work spread over threads: numbered jobs, taken in order, the first error kept.
#pragma once

#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base.hpp"

namespace celltable {

// Call work(k, state) for k in 0 … n - 1 on up to `threads` threads, each with its own state = make(); throw the error
// of the smallest k.
template <class Make, class Work> void spread(i64 n, int threads, Make make, Work work) {
  std::atomic<i64> next{0};
  std::mutex lock;
  i64 failed = n;
  std::exception_ptr error;
  const auto run = [&] {
    i64 k = 0;
    try {
      auto state = make();
      while ((k = next++) < n) {
        try {
          work(k, state);
        } catch (...) {
          const std::lock_guard<std::mutex> guard(lock);
          if (k < failed) failed = k, error = std::current_exception();
        }
      }
    } catch (...) {  // without state, nothing can be done on this thread
      const std::lock_guard<std::mutex> guard(lock);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (i64 t = 1; t < threads && t < n; ++t) {
    try {
      others.emplace_back(run);
    } catch (const std::system_error &) {
      break;  // no more threads can be started
    }
  }
  run();
  for (auto &t : others) t.join();
  if (error) std::rethrow_exception(error);
}

// The same without a state: work(k).
template <class Work> void spread(i64 n, int threads, Work work) {
  spread(n, threads, [] { return 0; }, [&](i64 k, int) { work(k); });
}

}  // namespace celltable
