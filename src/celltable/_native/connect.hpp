// Connected parts of masks: vertical pieces of runs, joined where neighbouring columns touch.
#pragma once

#include <vector>

#include "runs.hpp"

namespace celltable {

struct Sets {  // union-find
  std::vector<std::uint32_t> parent;
  std::uint32_t make() {
    parent.push_back(static_cast<std::uint32_t>(parent.size()));
    return parent.back();
  }
  std::uint32_t root(std::uint32_t x) {
    while (parent[x] != x) {
      parent[x] = parent[parent[x]];
      x = parent[x];
    }
    return x;
  }
  void join(std::uint32_t a, std::uint32_t b) {
    a = root(a), b = root(b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
  }
};

struct Piece {  // a run inside one column, and its set
  i64 column, top, bottom;
  std::uint32_t set;
};

// Join pieces (sorted by column, then row) of neighbouring columns that touch by edges, or also by corners.
inline void join_columns(std::vector<Piece> &pieces, Sets &sets, bool corners) {
  const i64 reach = corners ? 1 : 0;
  std::size_t previous = 0, current = 0;
  while (current < pieces.size()) {
    std::size_t end = current;
    while (end < pieces.size() && pieces[end].column == pieces[current].column) ++end;
    if (current > 0 && pieces[previous].column == pieces[current].column - 1) {
      std::size_t i = previous;
      for (std::size_t j = current; j < end; ++j) {
        while (i < current && pieces[i].bottom + reach <= pieces[j].top) ++i;
        for (std::size_t k = i; k < current && pieces[k].top < pieces[j].bottom + reach; ++k)
          sets.join(pieces[k].set, pieces[j].set);
      }
    }
    previous = current;
    current = end;
  }
}

}  // namespace celltable
