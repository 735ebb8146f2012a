// Counting sort: items by group, in their order within each group.
#pragma once

#include <numeric>
#include <vector>

#include "base.hpp"

namespace celltable {

// Group g holds items[starts[g]] to items[starts[g + 1] - 1].
template <class Item> struct Grouped {
  std::vector<i64> starts;
  std::vector<Item> items;
};

// Group value(0) … value(n - 1) by group_of(0) … group_of(n - 1); leave out those whose group is negative.
template <class Item, class GroupOf, class Value>
Grouped<Item> grouped(i64 n, i64 groups, GroupOf group_of, Value value) {
  Grouped<Item> out;
  out.starts.assign(static_cast<std::size_t>(groups) + 1, 0);
  for (i64 i = 0; i < n; ++i)
    if (const i64 g = group_of(i); g >= 0) ++out.starts[g + 1];
  std::partial_sum(out.starts.begin(), out.starts.end(), out.starts.begin());
  out.items.resize(out.starts.back());
  std::vector<i64> next(out.starts.begin(), out.starts.end() - 1);
  for (i64 i = 0; i < n; ++i)
    if (const i64 g = group_of(i); g >= 0) out.items[next[g]++] = value(i);
  return out;
}

}  // namespace celltable
