// Optimal one-to-one assignment on a sparse bipartite graph.
#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "grouping.hpp"
#include "pairing.hpp"
#include "python.hpp"

namespace celltable {
namespace {

using namespace nb::literals;

// Maximum-weight one-to-one assignment on a sparse bipartite graph. Every row may stay unassigned at weight 0, so the
// result is that of a dense solver on the matrix filled up with zeros. Shortest augmenting paths with potentials: the
// search never leaves the neighbourhood of the row, so that the cost grows with the number of edges.
struct Assignment {
  i64 rows, columns;
  struct Edge {
    i64 column;
    double cost;  // -weight
    i64 given;    // position in the caller's arrays
  };
  std::vector<i64> start;  // first edge of each row
  std::vector<Edge> edges;
  std::vector<i64> of_column, of_row, edge_of_row;
  std::vector<double> row_price, column_price, distance;
  std::vector<i64> from_row, from_edge, stamp;

  void solve() {
    of_column.assign(columns, -1);
    of_row.assign(rows, -1);
    edge_of_row.assign(rows, -1);
    column_price.assign(columns, 0.0);
    row_price.assign(rows, 0.0);
    distance.assign(columns, 0.0);
    from_row.assign(columns, -1);
    from_edge.assign(columns, -1);
    stamp.assign(columns, -1);
    for (i64 r = 0; r < rows; ++r) augment(r);
  }

  // Each row has a private dummy column of cost 0; the prices keep reduced costs cost - row_price - column_price >= 0.
  void augment(i64 root) {
    using Item = std::pair<double, i64>;
    std::priority_queue<Item, std::vector<Item>, std::greater<Item>> heap;
    std::vector<i64> settled;
    std::vector<std::pair<i64, double>> reached{{root, 0.0}};  // rows of the tree with their distance
    double best_dummy = std::numeric_limits<double>::infinity(), base = 0.0;
    i64 dummy_row = -1, row = root;
    // price of the root: the least reduced cost of its edges, the dummy included
    double low = 0.0;
    for (i64 e = start[root]; e < start[root + 1]; ++e)
      low = std::min(low, edges[e].cost - column_price[edges[e].column]);
    row_price[root] = low;
    i64 sink = -1;
    while (true) {
      const double to_dummy = base + (0.0 - row_price[row]);
      if (to_dummy < best_dummy) {
        best_dummy = to_dummy;
        dummy_row = row;
      }
      for (i64 e = start[row]; e < start[row + 1]; ++e) {
        const i64 c = edges[e].column;
        if (of_row[row] == c) continue;
        const double d = base + std::max(0.0, edges[e].cost - row_price[row] - column_price[c]);
        if (stamp[c] == root && d >= distance[c]) continue;
        if (stamp[c] == -2 - root) continue;  // settled
        stamp[c] = root;
        distance[c] = d;
        from_row[c] = row;
        from_edge[c] = e;
        heap.push({d, c});
      }
      i64 next = -1;
      while (!heap.empty()) {
        const auto [d, c] = heap.top();
        if (d > best_dummy || (d == best_dummy && of_column[c] >= 0)) break;
        heap.pop();
        if (stamp[c] == -2 - root || d > distance[c]) continue;
        next = c;
        break;
      }
      if (next < 0) break;  // the cheapest end is a row that stays unassigned
      base = distance[next];
      stamp[next] = -2 - root;
      settled.push_back(next);
      if (of_column[next] < 0) {
        sink = next;
        break;
      }
      row = of_column[next];
      reached.push_back({row, base});
    }
    const double length = sink >= 0 ? distance[sink] : best_dummy;
    for (const auto &[r, d] : reached) row_price[r] += length - d;
    for (const i64 c : settled) column_price[c] -= length - distance[c];
    i64 c = sink, r;
    if (sink < 0) {  // dummy_row gives up its column
      c = of_row[dummy_row];
      of_row[dummy_row] = -1;
      edge_of_row[dummy_row] = -1;
      if (dummy_row == root) return;
    }
    while (true) {
      r = from_row[c];
      const i64 old = of_row[r];
      of_row[r] = c;
      edge_of_row[r] = from_edge[c];
      of_column[c] = r;
      if (r == root) return;
      c = old;
    }
  }
};

// 1 for each edge (row, column, weight) that the assignment takes.
std::vector<std::uint8_t> assign(const i64 *rows, const i64 *columns, const double *weights, i64 n, i64 n_rows,
                                 i64 n_columns) {
  for (i64 k = 0; k < n; ++k)
    need(rows[k] >= 0 && rows[k] < n_rows && columns[k] >= 0 && columns[k] < n_columns && std::isfinite(weights[k]),
         "an edge is outside the graph or its weight is not finite");
  auto by_row = grouped<Assignment::Edge>(n, n_rows, [&](i64 k) { return weights[k] > 0 ? rows[k] : -1; },
                                          [&](i64 k) { return Assignment::Edge{columns[k], -weights[k], k}; });
  Assignment a;
  a.rows = n_rows, a.columns = n_columns;
  a.start = std::move(by_row.starts), a.edges = std::move(by_row.items);
  a.solve();
  std::vector<std::uint8_t> taken(n, 0);
  for (i64 k = 0; k < n_rows; ++k)
    if (a.edge_of_row[k] >= 0) taken[a.edges[a.edge_of_row[k]].given] = 1;
  return taken;
}

}  // namespace

void bind_assignment(nb::module_ &m) {
  m.def("assign", [](Vector<i64> rows, Vector<i64> columns, Vector<double> weights, i64 n_rows, i64 n_columns) {
    const std::size_t n = rows.shape(0);
    need(columns.shape(0) == n && weights.shape(0) == n, "rows, columns and weights differ in length");
    need(n_rows >= 0 && n_columns >= 0, "a number of rows or columns is negative");
    return array(without_gil(
        [&] { return assign(rows.data(), columns.data(), weights.data(), static_cast<i64>(n), n_rows, n_columns); }));
  }, "rows"_a, "columns"_a, "weights"_a, "n_rows"_a, "n_columns"_a);
}

}  // namespace celltable
