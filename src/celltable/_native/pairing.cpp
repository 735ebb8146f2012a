// The loops of metrics that must be fast: sparse optimal assignment, outlines and their dilation, centroids.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <queue>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "rowbits.hpp"

namespace nb = nanobind;
using i64 = int64_t;
using u64 = uint64_t;

template <class T> using In1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using In2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T, class... N> static auto make(std::vector<T> &&data, N... shape) {
  auto *held = new std::vector<T>(std::move(data));
  nb::capsule owner(held, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
  return nb::ndarray<nb::numpy, T>(held->data(), {static_cast<size_t>(shape)...}, owner);
}

// Maximum-weight one-to-one assignment on a sparse bipartite graph. Every row may stay unassigned at weight 0, so the
// result is what a dense solver finds on the matrix filled with zeros. Shortest augmenting paths with potentials: the
// search never leaves the neighbourhood of the row, so that the cost grows with the number of edges.
struct Assignment {
  i64 rows, columns;
  std::vector<i64> start;   // CSR of the edges
  std::vector<i64> column;  // of an edge
  std::vector<double> cost; // -weight
  std::vector<i64> edge;    // position in the caller's arrays
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

  // Rows carry a private dummy column of cost 0; row_price keeps reduced costs cost - row_price - column_price >= 0.
  void augment(i64 root) {
    using Item = std::pair<double, i64>;
    std::priority_queue<Item, std::vector<Item>, std::greater<Item>> heap;
    std::vector<i64> settled;
    std::vector<std::pair<i64, double>> reached{{root, 0.0}}; // rows of the tree with their distance
    double best_dummy = std::numeric_limits<double>::infinity(), base = 0.0;
    i64 dummy_row = -1, row = root;
    // price of the root: the least reduced cost of its edges, the dummy included
    double low = 0.0;
    for (i64 e = start[root]; e < start[root + 1]; ++e) low = std::min(low, cost[e] - column_price[column[e]]);
    row_price[root] = low;
    i64 sink = -1;
    while (true) {
      const double to_dummy = base + (0.0 - row_price[row]);
      if (to_dummy < best_dummy) { best_dummy = to_dummy; dummy_row = row; }
      for (i64 e = start[row]; e < start[row + 1]; ++e) {
        const i64 c = column[e];
        if (of_row[row] == c) continue;
        const double d = base + std::max(0.0, cost[e] - row_price[row] - column_price[c]);
        if (stamp[c] == root && d >= distance[c]) continue;
        if (stamp[c] == -2 - root) continue; // settled
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
      if (next < 0) break; // the cheapest end is a row that stays unassigned
      base = distance[next];
      stamp[next] = -2 - root;
      settled.push_back(next);
      if (of_column[next] < 0) { sink = next; break; }
      row = of_column[next];
      reached.push_back({row, base});
    }
    const double length = sink >= 0 ? distance[sink] : best_dummy;
    for (const auto &[r, d] : reached) row_price[r] += length - d;
    for (const i64 c : settled) column_price[c] -= length - distance[c];
    i64 c = sink, r;
    if (sink < 0) { // dummy_row gives its column up
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

static auto assign(In1<i64> rows, In1<i64> columns, In1<double> weights, i64 n_rows, i64 n_columns) {
  const i64 n = static_cast<i64>(rows.shape(0));
  if (static_cast<i64>(columns.shape(0)) != n || static_cast<i64>(weights.shape(0)) != n)
    throw std::invalid_argument("rows, columns and weights differ in length");
  const i64 *r = rows.data(), *c = columns.data();
  const double *w = weights.data();
  std::vector<uint8_t> taken(n, 0);
  {
    nb::gil_scoped_release release;
    Assignment a;
    a.rows = n_rows;
    a.columns = n_columns;
    a.start.assign(n_rows + 1, 0);
    i64 kept = 0;
    for (i64 k = 0; k < n; ++k) {
      if (r[k] < 0 || r[k] >= n_rows || c[k] < 0 || c[k] >= n_columns || !std::isfinite(w[k]))
        throw std::invalid_argument("an edge lies outside the graph or its weight is not finite");
      if (w[k] > 0) { ++a.start[r[k] + 1]; ++kept; }
    }
    for (i64 k = 0; k < n_rows; ++k) a.start[k + 1] += a.start[k];
    a.column.resize(kept);
    a.cost.resize(kept);
    a.edge.resize(kept);
    std::vector<i64> fill(a.start.begin(), a.start.end() - 1);
    for (i64 k = 0; k < n; ++k) {
      if (!(w[k] > 0)) continue;
      const i64 at = fill[r[k]]++;
      a.column[at] = c[k];
      a.cost[at] = -w[k];
      a.edge[at] = k;
    }
    a.solve();
    for (i64 k = 0; k < n_rows; ++k)
      if (a.edge_of_row[k] >= 0) taken[a.edge[a.edge_of_row[k]]] = 1;
  }
  return make(std::move(taken), n);
}

// The outer outline of every object, as OpenCV's external contours list it: object pixels with a 4-neighbour in the part
// of the outside that is 4-connected to the frame. Only objects that may have a hole need a flood of their outside.
struct Box { i64 y0, x0, y1, x1; };

template <class T> static void flood_outline(const T *m, i64 w, T label, const Box &b, std::vector<u64> &bits, i64 words) {
  const i64 bh = b.y1 - b.y0 + 3, bw = b.x1 - b.x0 + 3; // one pixel of frame
  std::vector<uint8_t> outside(bh * bw, 0);
  std::vector<i64> stack{0};
  outside[0] = 1;
  auto object = [&](i64 y, i64 x) {
    const i64 yy = y + b.y0 - 1, xx = x + b.x0 - 1;
    return yy >= b.y0 && yy <= b.y1 && xx >= b.x0 && xx <= b.x1 && m[yy * w + xx] == label;
  };
  while (!stack.empty()) {
    const i64 at = stack.back(), y = at / bw, x = at % bw;
    stack.pop_back();
    const i64 dy[4] = {-1, 1, 0, 0}, dx[4] = {0, 0, -1, 1};
    for (int k = 0; k < 4; ++k) {
      const i64 ny = y + dy[k], nx = x + dx[k];
      if (ny < 0 || nx < 0 || ny >= bh || nx >= bw) continue;
      if (object(ny, nx)) {
        const i64 yy = ny + b.y0 - 1, xx = nx + b.x0 - 1;
        bits[yy * words + (xx >> 6)] |= u64(1) << (xx & 63);
      } else if (!outside[ny * bw + nx]) {
        outside[ny * bw + nx] = 1;
        stack.push_back(ny * bw + nx);
      }
    }
  }
}

// Marks of all pixels that have a 4-neighbour of another label. Labels that may have a hole are appended to `holed`: the
// top row of a hole is a stretch with the object to its left, to its right and above all of it.
template <class T> static std::vector<u64> edge_bits(const T *m, i64 h, i64 w, std::vector<T> &holed) {
  const i64 words = rowbits::words_of(w);
  const u64 last = u64(1) << ((w - 1) & 63);
  std::vector<u64> bits(h * words), across(words, 0), diagonal(words, 0);
  std::vector<u64> down(words, ~u64(0)), up(words), cell(words), cell_above(words);
  const std::vector<T> nothing(w, T(0));
  for (i64 y = 0; y < h; ++y) {
    const T *row = m + y * w, *above = row - w;
    up.swap(down); // where this row differs from the one above: found for the row above
    cell.swap(cell_above);
    rowbits::unequal(row, nothing.data(), w, cell.data());
    rowbits::unequal(row, row + 1, w - 1, across.data());
    if (y + 1 < h) rowbits::unequal(row, row + w, w, down.data());
    else std::fill(down.begin(), down.end(), ~u64(0));
    u64 *out = bits.data() + y * words;
    for (i64 k = 0; k < words; ++k) {
      const u64 frame = (k == 0 ? u64(1) : 0) | (k == words - 1 ? last : 0);
      out[k] = cell[k] & (across[k] | rowbits::left(across.data(), k) | up[k] | down[k] | frame);
    }
    if (y == 0) continue;
    rowbits::unequal(row, above + 1, w - 1, diagonal.data());
    for (i64 k = 0; k < words; ++k) cell_above[k] &= up[k]; // objects that end above this row
    for (i64 k = 0; k < words; ++k)
      for (u64 left = rowbits::right(cell_above.data(), k, words) & ~diagonal[k]; left; left &= left - 1) {
        const i64 before = 64 * k + __builtin_ctzll(left); // the object's pixel to the left of the stretch
        const T label = row[before];
        i64 x = before + 1;
        while (x < w && row[x] != label && above[x] == label) ++x;
        if (x < w && row[x] == label && (holed.empty() || holed.back() != label)) holed.push_back(label);
      }
  }
  return bits;
}

template <class T> static std::vector<u64> outline_bits(const T *m, i64 h, i64 w) {
  const i64 words = rowbits::words_of(w);
  std::vector<T> holed;
  std::vector<u64> bits = edge_bits(m, h, w, holed);
  if (holed.empty()) return bits;
  std::sort(holed.begin(), holed.end());
  holed.erase(std::unique(holed.begin(), holed.end()), holed.end());
  std::vector<Box> boxes(holed.size(), Box{std::numeric_limits<i64>::max(), std::numeric_limits<i64>::max(), -1, -1});
  std::vector<u64> across(words);
  for (i64 y = 0; y < h; ++y) { // the boxes of these objects; their marks are taken back
    const T *row = m + y * w;
    rowbits::unequal(row, row + 1, w - 1, across.data());
    across[words - 1] |= u64(1) << ((w - 1) & 63);
    i64 from = 0;
    for (i64 k = 0; k < words; ++k)
      for (u64 left = across[k]; left; left &= left - 1) {
        const i64 x0 = from, x1 = 64 * k + __builtin_ctzll(left);
        from = x1 + 1;
        if (row[x0] == 0) continue;
        const auto at = std::lower_bound(holed.begin(), holed.end(), row[x0]);
        if (at == holed.end() || *at != row[x0]) continue;
        Box &b = boxes[at - holed.begin()];
        b = {std::min(b.y0, y), std::min(b.x0, x0), std::max(b.y1, y), std::max(b.x1, x1)};
        for (i64 q = x0; q <= x1; ++q) bits[y * words + (q >> 6)] &= ~(u64(1) << (q & 63));
      }
  }
  for (size_t k = 0; k < holed.size(); ++k) flood_outline(m, w, holed[k], boxes[k], bits, words);
  return bits;
}

static std::vector<i64> half_widths(double radius) { // of the disc sqrt(dx^2 + dy^2) <= radius, by dy
  std::vector<i64> half;
  for (i64 dy = 0; std::sqrt(static_cast<double>(dy * dy)) <= radius; ++dy) {
    i64 dx = 0;
    while (std::sqrt(static_cast<double>(dy * dy + (dx + 1) * (dx + 1))) <= radius) ++dx;
    half.push_back(dx);
  }
  return half;
}

static std::vector<u64> dilate(const std::vector<u64> &bits, i64 h, i64 w, double radius) {
  const auto half = half_widths(radius);
  const i64 words = rowbits::words_of(w), reach = static_cast<i64>(half.size()) - 1;
  std::vector<u64> out(h * words, 0);
  rowbits::Wide wide(w);
  for (i64 y = 0; y < h; ++y) {
    const u64 *row = bits.data() + y * words;
    if (std::all_of(row, row + words, [](u64 v) { return v == 0; })) continue;
    wide.set(row);
    for (i64 dy = reach; dy >= 0; --dy) { // half-widths grow as dy falls
      wide.grow_to(half[dy]);
      for (const i64 yy : {y - dy, y + dy}) {
        if (yy < 0 || yy >= h) continue;
        u64 *__restrict to = out.data() + yy * words;
        const u64 *__restrict from = wide.bits();
        for (i64 k = 0; k < words; ++k) to[k] |= from[k];
        if (dy == 0) break;
      }
    }
  }
  return out;
}

// As `dilate`, but a pixel whose disc holds an exact multiple of 256 outline pixels (the image mirrored at its border)
// is not set: SciPy's convolution writes its sum into one byte of a boolean array.
static std::vector<u64> dilate_wrapped(const std::vector<u64> &bits, i64 h, i64 w, double radius) {
  const i64 words = (w + 63) / 64;
  const auto half = half_widths(radius);
  const i64 reach = static_cast<i64>(half.size()) - 1;
  std::vector<i64> sums((w + 2 * reach + 1) * h);
  auto mirror = [](i64 k, i64 n) { // half-sample symmetric
    const i64 period = 2 * n;
    k = ((k % period) + period) % period;
    return k < n ? k : period - 1 - k;
  };
  const i64 stride = w + 2 * reach + 1;
  for (i64 y = 0; y < h; ++y)
    for (i64 x = -reach; x < w + reach; ++x) {
      const i64 q = mirror(x, w);
      sums[y * stride + x + reach + 1] = sums[y * stride + x + reach] + ((bits[y * words + (q >> 6)] >> (q & 63)) & 1);
    }
  std::vector<u64> out(h * words, 0);
  for (i64 y = 0; y < h; ++y)
    for (i64 x = 0; x < w; ++x) {
      i64 total = 0;
      for (i64 dy = -reach; dy <= reach; ++dy) {
        const i64 hw = half[dy < 0 ? -dy : dy], yy = mirror(y + dy, h);
        total += sums[yy * stride + x + hw + reach + 1] - sums[yy * stride + x - hw + reach];
      }
      if (total & 255) out[y * words + (x >> 6)] |= u64(1) << (x & 63);
    }
  return out;
}

template <class T> static std::vector<i64> boundary_typed(In2<T> gt, In2<T> pred, const std::vector<double> &radii, bool wrap, i64 first, i64 last) {
  const i64 h = gt.shape(0), w = gt.shape(1);
  if (last < 0) last = h;
  if (first < 0 || first > last || last > h) throw std::invalid_argument("the rows to count in are not those of the map");
  if (static_cast<i64>(pred.shape(0)) != h || static_cast<i64>(pred.shape(1)) != w)
    throw std::invalid_argument("the label maps differ in size");
  std::vector<i64> out;
  nb::gil_scoped_release release;
  if (h == 0 || w == 0) return std::vector<i64>(3 * radii.size(), 0);
  const auto a = outline_bits(gt.data(), h, w), b = outline_bits(pred.data(), h, w);
  double last_radius = -1;
  for (const double radius : radii) {
    if (radius == last_radius) { // small cells: several scales give the same disc
      for (int k = 0; k < 3; ++k) out.push_back(out[out.size() - 3]);
      continue;
    }
    last_radius = radius;
    i64 disc = 0;
    const auto half = half_widths(radius);
    for (size_t dy = 0; dy < half.size(); ++dy) disc += (2 * half[dy] + 1) * (dy ? 2 : 1);
    const bool counted = wrap && disc >= 256;
    const auto da = counted ? dilate_wrapped(a, h, w, radius) : dilate(a, h, w, radius);
    const auto db = counted ? dilate_wrapped(b, h, w, radius) : dilate(b, h, w, radius);
    const i64 from = first * rowbits::words_of(w), words = (last - first) * rowbits::words_of(w);
    const i64 both = rowbits::count(words, [&](i64 k) { return da[from + k] & db[from + k]; });
    const i64 na = rowbits::count(words, [&](i64 k) { return da[from + k]; });
    const i64 nb_ = rowbits::count(words, [&](i64 k) { return db[from + k]; });
    out.insert(out.end(), {both, na, nb_});
  }
  return out;
}

template <class T> static auto boundary(In2<T> gt, In2<T> pred, std::vector<double> radii, bool wrap, i64 first, i64 last) {
  for (const double r : radii)
    if (!(r >= 0) || r > 1e6) throw std::invalid_argument("a radius is negative or not a number");
  auto out = boundary_typed<T>(gt, pred, radii, wrap, first, last);
  const size_t n = out.size() / 3;
  return make(std::move(out), n, size_t(3));
}

template <class T> static auto outlines(In2<T> map) {
  const i64 h = map.shape(0), w = map.shape(1), words = (w + 63) / 64;
  std::vector<uint8_t> out(h * w, 0);
  if (h && w) {
    nb::gil_scoped_release release;
    const auto bits = outline_bits(map.data(), h, w);
    for (i64 y = 0; y < h; ++y)
      for (i64 x = 0; x < w; ++x) out[y * w + x] = (bits[y * words + (x >> 6)] >> (x & 63)) & 1;
  }
  return make(std::move(out), h, w);
}

// Sums of x and of y over the pixels of each label; ids ascending.
template <class T> static auto coordinate_sums(In2<T> map, In1<i64> ids) {
  const i64 h = map.shape(0), w = map.shape(1), n = static_cast<i64>(ids.shape(0));
  const T *m = map.data();
  const i64 *id = ids.data();
  std::vector<i64> sums(2 * n, 0);
  {
    nb::gil_scoped_release release;
    for (i64 y = 0; y < h; ++y) {
      const T *row = m + y * w;
      i64 at = -1;
      for (i64 x = 0; x < w;) {
        const T v = row[x];
        const i64 x0 = x;
        while (x < w && row[x] == v) ++x;
        if (v == 0) continue;
        const i64 want = static_cast<i64>(v);
        if (at < 0 || id[at] != want) {
          if (n && id[n - 1] == n && id[0] == 1 && want >= 1 && want <= n) at = want - 1;
          else {
            const i64 *found = std::lower_bound(id, id + n, want);
            at = (found == id + n || *found != want) ? -1 : found - id;
          }
        }
        if (at < 0) continue;
        sums[2 * at] += (x0 + x - 1) * (x - x0) / 2;
        sums[2 * at + 1] += y * (x - x0);
      }
    }
  }
  return make(std::move(sums), n, 2);
}

template <class T> static void of_type(nb::module_ &m) {
  m.def("boundary", &boundary<T>, nb::arg("gt"), nb::arg("pred"), nb::arg("radii"), nb::arg("wrap"), nb::arg("first") = 0,
        nb::arg("last") = -1);
  m.def("outlines", &outlines<T>, nb::arg("label_map"));
  m.def("coordinate_sums", &coordinate_sums<T>, nb::arg("label_map"), nb::arg("ids"));
}

NB_MODULE(pairing, m) {
  m.def("assign", &assign, nb::arg("rows"), nb::arg("columns"), nb::arg("weights"), nb::arg("n_rows"), nb::arg("n_columns"));
  of_type<uint8_t>(m);
  of_type<uint16_t>(m);
  of_type<int32_t>(m);
  of_type<uint32_t>(m);
  of_type<i64>(m);
}
