// The forward pass over whole sequences, in chunks of time. Each chunk first multiplies the inputs
// of all its steps, many rows per tile, and then runs its steps one by one.

#include <memory>
#include <vector>

#include "layer.h"

namespace gatewise::GATEWISE_ISA {
namespace {

constexpr int64_t kBlock = kTiles ? 64 : 48;  // rows of x per multiplication
constexpr int64_t kChunkBytes = 512 * 1024;   // gates per chunk: half of a second-level cache
constexpr int64_t kAhead = 8;                 // rows of x that are fetched before they are needed
constexpr int64_t kFetched = 256;             // at most this many bytes of each
constexpr int64_t kChunkPlaces = 96;          // at least as many rows as justify reading the kernel

// The products take operands of type S.
template <class S>
class Forward {
 public:
  using T = Sum<S>;
  static constexpr int64_t V = kWidth<T>;

  Forward(const gatewise_lstm& layer, Deal deal)
      : layer_(layer),
        n_(layer),
        ragged_(layer),
        deal_(deal),
        gate_{layer.activation, layer.recurrent_activation},
        barrier_(deal.shares()),
        lanes_(divide(ragged_, deal.lanes())),
        lane_rows_(most_rows(lanes_)),
        copies_(layer.recurrent_masks ? 4 : 1),
        input_copies_(layer.input_masks ? 4 : 1) {
    const int64_t step_bytes = std::max<int64_t>(1, n_.batch * n_.panels * 4 * V * sizeof(T));
    const int64_t rows = std::max<int64_t>(1, n_.batch);
    chunk_ = std::max(kChunkBytes / step_bytes, (kChunkPlaces + rows - 1) / rows);
    chunk_ = std::max<int64_t>(1, std::min(chunk_, ragged_.longest));
  }

  void lay_out(Arena& arena) {
    kernel_ = arena.take<S>(n_.panels * right_operands<S>(n_.features) * 4 * V);
    recurrent_ = arena.take<S>(n_.panels * right_operands<S>(n_.units) * 4 * V);
    bias_ = arena.take<T>(n_.panels * 4 * V);
    const int64_t running = n_.panels * lane_rows_ * V;
    const int64_t left = copies_ * operand_panels<S>(n_.units) * lane_rows_ * V;
    for (int now : {0, 1}) {
      hidden_[now] = arena.take<T>(deal_.lanes() * running);
      if (reads_hidden()) {
        left_[now] = reinterpret_cast<S*>(hidden_[now]);
      } else {
        left_[now] = arena.take<S>(deal_.lanes() * left);
      }
    }
    cell_ = arena.take<T>(deal_.lanes() * running);
    outputs_ = arena.take<T*>(deal_.members * lane_rows_);
    inputs_ = arena.take<S>(deal_.members * input_size());
    if (layer_.reserve) {
      const Reserve<T> reserve(layer_.reserve, n_);
      gates_ = reserve.gates;
      past_hidden_ = reserve.hidden;
      past_cell_ = reserve.cell;
      gates_places_ = n_.places;
    } else {
      gates_places_ = (chunk_ * n_.batch) | 1;
      gates_ = arena.take<T>(n_.panels * gates_places_ * 4 * V);
    }
  }

  int64_t pack_tasks() const { return n_.panels; }
  void pack(int64_t panel) {
    pack_gates(kernel_ + panel * right_operands<S>(n_.features) * 4 * V, as(layer_.kernel),
               n_.features, panel, n_);
    pack_gates(recurrent_ + panel * right_operands<S>(n_.units) * 4 * V,
               as(layer_.recurrent_kernel), n_.units, panel, n_);
    for (int64_t g = 0; g < 4; ++g) {
      store(bias_ + (4 * panel + g) * V,
            layer_.bias ? load_some(as(layer_.bias) + g * n_.units + panel * V, n_.columns(panel))
                        : Vector<T>{});
    }
  }

  // Shares of the whole sequence, one per member.
  int64_t shares() const { return deal_.members; }
  void run(int64_t number) {
    Share share{};
    share.lane = deal_.by_units ? 0 : static_cast<int>(number);
    share.from = deal_.by_units ? n_.panels * number / deal_.members : 0;
    share.to = deal_.by_units ? n_.panels * (number + 1) / deal_.members : n_.panels;
    share.inputs = inputs_ + number * input_size();
    share.outputs = outputs_ + number * lane_rows_;
    share.rows = lanes_[static_cast<size_t>(share.lane)];
    start(share);
    barrier_.wait();
    for (int64_t t = 0; t < ragged_.longest; t += chunk_) {
      const int64_t end = std::min(t + chunk_, ragged_.longest);
      multiply_inputs(share, t, end);
      for (int64_t step = t; step < end; ++step) {
        take_step(share, step, t);
        barrier_.wait();
      }
    }
    finish(share);
  }

 private:
  // The work of one member: the rows of one lane, panels [from, to).
  struct Share {
    int lane;
    int64_t from, to;
    Lane rows;
    S* inputs;
    T** outputs;  // [rows] where the current step writes y
  };

  static const T* as(const void* pointer) { return static_cast<const T*>(pointer); }
  static T* as(void* pointer) { return static_cast<T*>(pointer); }

  static int64_t sorted(const Share& share, int64_t row) { return share.rows.from + row; }
  int64_t of_batch(const Share& share, int64_t row) const {
    return ragged_.row[static_cast<size_t>(sorted(share, row))];
  }
  // Offset into the running arrays, in which the panels of a lane are contiguous.
  int64_t running(const Share& share, int64_t panel, int64_t row) const {
    return ((share.lane * n_.panels + panel) * lane_rows_ + row) * V;
  }
  // The operands of h for one gate, from a row on.
  S* left(int now, const Share& share, int64_t gate, int64_t row) const {
    const int64_t copy = (share.lane * copies_ + gate) * operand_panels<S>(n_.units) * lane_rows_;
    return left_[now] + (copy + row) * V;
  }

  // Whether the products read h as it is: as single terms, without masks.
  bool reads_hidden() const { return kTerms<S> == 1 && copies_ == 1; }
  int64_t input_size() const { return input_copies_ * operand_panels<S>(n_.features) * kBlock * V; }

  // Stores h as the products of the next step read it.
  void store_left(const Share& share, int now, int64_t panel, int64_t row, Vector<T> h) {
    const int columns = n_.columns(panel);
    if (copies_ == 1) {
      return store_panel<S>(left(now, share, 0, 0), panel, row, lane_rows_, only<T>(h, columns));
    }
    const T* masks = as(layer_.recurrent_masks) + of_batch(share, row) * n_.units + panel * V;
    for (int64_t g = 0; g < 4; ++g) {
      const Vector<T> mask = load_some(masks + g * n_.batch * n_.units, columns);
      store_panel<S>(left(now, share, g, 0), panel, row, lane_rows_, only<T>(h * mask, columns));
    }
  }

  void start(const Share& share) {
    if constexpr (kTiles) clear_padding(share);
    for (int64_t j = share.from; j < share.to; ++j) {
      for (int64_t row = 0; row < share.rows.rows; ++row) {
        const int64_t from = of_batch(share, row) * n_.units + j * V;
        const int columns = n_.columns(j);
        const Vector<T> h = layer_.h0 ? load_some(as(layer_.h0) + from, columns) : Vector<T>{};
        store(hidden_[0] + running(share, j, row), h);
        if (!reads_hidden()) store_left(share, 0, j, row, h);
        store(cell_ + running(share, j, row),
              layer_.c0 ? load_some(as(layer_.c0) + from, columns) : Vector<T>{});
      }
    }
  }

  // Tiles read whole panels of operands, and nothing else is written behind the last panel of
  // units.
  void clear_padding(const Share& share) {
    std::fill_n(share.inputs, input_size(), S{});
    if (share.to < n_.panels || n_.panels % kTerms<S> == 0) return;
    for (int64_t g = 0; g < copies_; ++g) {
      for (int64_t row = 0; row < share.rows.rows; ++row) {
        for (int now : {0, 1}) {
          store_panel<S>(left(now, share, g, 0), n_.panels, row, lane_rows_, Vector<T>{});
        }
      }
    }
  }

  T* gates_at(int64_t panel, int64_t place) const {
    return gates_ + (panel * gates_places_ + place) * 4 * V;
  }
  // Without a reserve only the gates of the chunk are kept. Each row has its own places, because
  // lanes do not wait for each other.
  int64_t gates_place(int64_t t, int64_t sorted_row, int64_t chunk_start) const {
    return layer_.reserve ? ragged_.first[static_cast<size_t>(t)] + sorted_row
                          : (t - chunk_start) * n_.batch + sorted_row;
  }

  void multiply_inputs(const Share& share, int64_t start, int64_t end) {
    int64_t places[kBlock];
    int64_t count = 0;
    for (int64_t t = start; t < end; ++t) {
      const int64_t rows = share.rows.of(ragged_.rows_at(t));
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t place = ragged_.first[static_cast<size_t>(t)] + sorted(share, row);
        fetch_input(place + kAhead);
        pack_input(share, count, place);
        places[count++] = gates_place(t, sorted(share, row), start);
        if (count == kBlock) {
          multiply_block(share, places, count);
          count = 0;
        }
      }
    }
    if (count > 0) multiply_block(share, places, count);
  }

  // Rows of x are far apart, so the processor does not fetch the next ones by itself. GCC would
  // remove a call of a function that only prefetches.
  GATEWISE_INLINE void fetch_input(int64_t place) const {
    if (place >= ragged_.places()) return;
    const T* x = as(layer_.x) + ragged_.source[static_cast<size_t>(place)] * n_.features;
    const int64_t some = std::min<int64_t>(n_.features, kFetched / sizeof(T));
    for (int64_t n = 0; n < some; n += 64 / static_cast<int64_t>(sizeof(T))) {
      __builtin_prefetch(x + n);
    }
    if (some > 0) __builtin_prefetch(x + some - 1);
  }

  void pack_input(const Share& share, int64_t at, int64_t place) {
    const int64_t source = ragged_.source[static_cast<size_t>(place)];
    const T* x = as(layer_.x) + source * n_.features;
    for (int64_t p = 0; p < n_.feature_panels; ++p) {
      const Vector<T> values = load_some(x + p * V, n_.feature_columns(p));
      for (int64_t g = 0; g < input_copies_; ++g) {
        Vector<T> left = values;
        if (input_copies_ == 4) {
          const int64_t row = source / n_.steps;
          left *= load_some(as(layer_.input_masks) + (g * n_.batch + row) * n_.features + p * V,
                            n_.feature_columns(p));
        }
        const int64_t copy = g * operand_panels<S>(n_.features) * kBlock * V;
        store_panel<S>(share.inputs + copy, p, at, kBlock, left);
      }
    }
  }

  void multiply_block(const Share& share, const int64_t* places, int64_t count) {
    for (int64_t j = share.from; j < share.to; ++j) {
      if constexpr (kTiles) {
        deal_tall(count,
                  [&](int64_t from, int rows) { tall_input_tile(share, j, from, rows, places); });
      } else {
        deal<4>(count, [&](int64_t from, int height) {
          GATEWISE_WITH_HEIGHT(height, 4, (input_tile<R>(share, j, from, places)));
        });
      }
    }
  }

  void tall_input_tile(const Share& share, int64_t panel, int64_t from, int rows,
                       const int64_t* places) {
    const int64_t depth = right_operands<S>(n_.features);
    const LeftFactor<S> left{share.inputs + from * V, kBlock * V, depth * kBlock};
    T sums[kTallest][4 * V];
    for (int r = 0; r < rows; ++r) std::copy_n(bias_ + 4 * panel * V, 4 * V, sums[r]);
    T* const gates = gates_at(panel, places[from]);
    const bool whole = rows % 16 == 0 && places[from + rows - 1] == places[from] + rows - 1;
    T* const to = whole ? gates : sums[0];
    multiply_by_gates(rows, left, input_copies_, kernel_ + panel * depth * 4 * V, depth, sums[0],
                      to, [] {});
    if (whole) return;
    for (int r = 0; r < rows; ++r) {
      std::copy_n(sums[r], 4 * V, gates_at(panel, places[from + r]));
    }
  }

  // A product on tiles of the four gates of a panel, whose sums are 4 V apart in both places.
  template <class Meanwhile>
  static void multiply_by_gates(int rows, LeftFactor<S> left, int64_t copies, const S* right,
                                int64_t depth, const T* from, T* to, Meanwhile meanwhile) {
    const RightFactor<S> gates{right, depth * V};
    if (copies == 4) {
      multiply_on_tiles<4, true>(rows, left, gates, depth / V, from, to, 4 * V, meanwhile);
    } else {
      multiply_on_tiles<4>(rows, left, gates, depth / V, from, to, 4 * V, meanwhile);
    }
  }

  template <int R>
  void input_tile(const Share& share, int64_t panel, int64_t from, const int64_t* places) {
    Vector<T> acc[R][4];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int g = 0; g < 4; ++g) acc[r][g] = load(bias_ + (4 * panel + g) * V);
    }
    sum_panels<R, 4>(acc, share.inputs + from * V, kBlock * V, input_copies_,
                     operands<S>(n_.features), kernel_ + panel * operands<S>(n_.features) * 4 * V,
                     0);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
      T* to = gates_at(panel, places[from + r]);
#pragma GCC unroll 32
      for (int g = 0; g < 4; ++g) store(to + g * V, acc[r][g]);
    }
  }

  // acc += left right, over `depth` operands. The left factor is stored in panels of V operands, in
  // `copies` consecutive copies: one per gate, or one for all gates.
  template <int R, int N>
  GATEWISE_INLINE void sum_panels(Vector<T> (&acc)[R][N], const S* left, int64_t panel_stride,
                                  int64_t copies, int64_t depth, const S* right,
                                  int64_t right_group) const {
    const int64_t panels = (depth + V - 1) / V;
    for (int64_t k = 0; k < panels; ++k, left += panel_stride, right += V * 4 * V) {
      const int64_t count = std::min(V, depth - k * V);
      if (copies == 4) {
        multiply<S, R, N, 4, true>(acc, left, V, 1, right, 4 * V, right_group, count,
                                   panels * panel_stride);
      } else {
        multiply<S, R, N, 4>(acc, left, V, 1, right, 4 * V, right_group, count);
      }
    }
  }

  // One step of a lane: its rows and their places.
  struct Step {
    int64_t rows, place, gates_place;
    int now;  // which of the two hidden states is h_{t-1}
  };

  // With one or two rows a tile of one panel has too few sums to hide the latency of each, so
  // several panels form one tile.
  void take_step(const Share& share, int64_t t, int64_t chunk_start) {
    const Step step{share.rows.of(ragged_.rows_at(t)),
                    ragged_.first[static_cast<size_t>(t)] + share.rows.from,
                    gates_place(t, share.rows.from, chunk_start), static_cast<int>(t & 1)};
    if (layer_.y) find_outputs(share, step);
    if constexpr (kTiles) return take_tall_step(share, step);
    constexpr int kMost = kRegisters == 32 ? 4 : 2;
    int64_t j = share.from;
    if (step.rows == 1) {
      for (; j + kMost <= share.to; j += kMost) step_tile<1, kMost>(share, step, j, 0);
    } else if (step.rows == 2 && kRegisters == 32) {
      for (; j + 2 <= share.to; j += 2) step_tile<2, 2>(share, step, j, 0);
    }
    for (; j < share.to; ++j) {
      deal<4>(step.rows, [&](int64_t from, int height) {
        GATEWISE_WITH_HEIGHT(height, 4, (step_tile<R, 1>(share, step, j, from)));
      });
    }
  }

  void find_outputs(const Share& share, const Step& step) {
    for (int64_t row = 0; row < step.rows; ++row) {
      const int64_t place = step.place + row, b = of_batch(share, row);
      const int64_t at = ragged_.source[static_cast<size_t>(place)] - b * n_.steps;
      share.outputs[row] = output(b, position(layer_, at));
    }
  }

  // Computes a tile of a step's gates and activates it.
  template <int R, int P>
  void step_tile(const Share& share, const Step& step, int64_t panel, int64_t from) {
    const int64_t gates_place = step.gates_place + from;
    // The sum over h starts at zero and is then added to the sum over x: two short sums round less.
    Vector<T> acc[R][4 * P];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int v = 0; v < 4 * P; ++v) acc[r][v] = Vector<T>{};
    }
    const int64_t depth = operands<S>(n_.units);
    sum_panels<R, 4 * P>(acc, left(step.now, share, 0, from), lane_rows_ * V, copies_, depth,
                         recurrent_ + panel * depth * 4 * V, depth * 4 * V);
    T tile[P][R][4 * V];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int v = 0; v < 4 * P; ++v) {
        const T* z = gates_at(panel + v / 4, gates_place + r) + v % 4 * V;
        store(tile[v / 4][r] + v % 4 * V, acc[r][v] + load(z));
      }
    }
    for (int p = 0; p < P; ++p) activate(share, step, panel + p, from, R, tile[p][0]);
  }

  // Gates of a tile whose activation is under way: `done` of `rows` rows.
  struct Activation {
    int64_t panel, from;
    int rows, done;
    T z[kTallest][4 * V];
  };

  // While one tile is multiplied, the gates of the tile before it are activated.
  void take_tall_step(const Share& share, const Step& step) {
    Activation activations[2];
    activations[1].rows = activations[1].done = 0;
    int now = 0;
    for (int64_t j = share.from; j < share.to; ++j) {
      deal_tall(step.rows, [&](int64_t from, int rows) {
        Activation &next = activations[now], &before = activations[1 - now];
        multiply_hidden(share, step, j, from, rows, next.z[0], before);
        activate_some(share, step, before, before.rows);
        next.panel = j;
        next.from = from;
        next.rows = rows;
        next.done = 0;
        now = 1 - now;
      });
    }
    activate_some(share, step, activations[1 - now], activations[1 - now].rows);
  }

  void activate_some(const Share& share, const Step& step, Activation& of, int rows) {
    rows = std::min(rows, of.rows - of.done);
    if (rows > 0) activate(share, step, of.panel, of.from + of.done, rows, of.z[of.done]);
    of.done += rows;
  }

  void multiply_hidden(const Share& share, const Step& step, int64_t panel, int64_t from, int rows,
                       T* sums, Activation& before) {
    const int64_t depth = right_operands<S>(n_.units);
    const LeftFactor<S> factor{left(step.now, share, 0, from), lane_rows_ * V, depth * lane_rows_};
    const T* z = gates_at(panel, step.gates_place + from);
    if (rows % 16 != 0) {  // there may be nothing behind it to fill tiles
      std::copy_n(z, rows * 4 * V, sums);
      z = sums;
    }
    const int64_t calls = count_calls<4>(rows, depth / V);
    const int some = static_cast<int>((before.rows + calls - 1) / calls);
    multiply_by_gates(rows, factor, copies_, recurrent_ + panel * depth * 4 * V, depth, z, sums,
                      [&] { activate_some(share, step, before, some); });
  }

  void activate(const Share& share, const Step& step, int64_t panel, int64_t from, int rows, T* z) {
    if (gate_.usual()) return activate_tile<true>(share, step, panel, from, rows, z);
    activate_tile<false>(share, step, panel, from, rows, z);
  }

  // The activations of c wait for those of the gates, so all rows of the tile take one after the
  // other: the processor then has several of them in flight. What does not depend on the row is in
  // local variables, because the compiler would read members again after each store.
  template <bool kUsual>
  void activate_tile(const Share& share, const Step& step, int64_t panel, int64_t from, int rows,
                     T* z) {
    const int64_t at = running(share, panel, from);
    const int64_t past = (panel * n_.places + step.place + from) * V;
    T* const cell = cell_ + at;
    T* gates = layer_.reserve ? gates_at(panel, step.gates_place + from) : nullptr;
    T* past_cell = past_cell_ + past;
    const Gates gate = gate_;
    for (int r = 0; r < rows; ++r) {
      T* const row = z + r * 4 * V;
      const Vector<T> zi = load(row), zf = load(row + V), zg = load(row + 2 * V);
      const Vector<T> zo = load(row + 3 * V), c_past = load(cell + r * V);
      const Vector<T> i = gate.gate<kUsual, T>(zi), f = gate.gate<kUsual, T>(zf);
      const Vector<T> g = gate.cell<kUsual, T>(zg), o = gate.gate<kUsual, T>(zo);
      store(cell + r * V, fused<T>(f, c_past, i * g));
      store(row, o);
      if (!gates) continue;
      store(gates, kUsual ? i : zi);
      store(gates + V, kUsual ? f : zf);
      store(gates + 2 * V, kUsual ? g : zg);
      store(gates + 3 * V, kUsual ? o : zo);
      store(past_cell, c_past);
      gates += 4 * V;
      past_cell += V;
    }
    const T* const hidden = hidden_[step.now] + at;
    T* const next = hidden_[1 - step.now] + at;
    T* const past_hidden = layer_.reserve ? past_hidden_ + past : nullptr;
    T* const* const outputs = layer_.y ? share.outputs + from : nullptr;
    const int columns = n_.columns(panel);
    for (int r = 0; r < rows; ++r) {
      const Vector<T> h = load(z + r * 4 * V) * gate.cell<kUsual, T>(load(cell + r * V));
      store(next + r * V, h);
      if (past_hidden) store(past_hidden + r * V, load(hidden + r * V));
      if (outputs) store_some(outputs[r] + panel * V, h, columns);
    }
    if (reads_hidden()) return;
    for (int r = 0; r < rows; ++r) {
      store_left(share, 1 - step.now, panel, from + r, load(next + r * V));
    }
  }

  T* output(int64_t b, int64_t position) const {
    return as(layer_.y) + b * layer_.y_batch_stride + position * layer_.y_step_stride;
  }

  void finish(const Share& share) {
    for (int64_t row = 0; row < share.rows.rows; ++row) {
      const int64_t b = of_batch(share, row);
      const int last = ragged_.length[static_cast<size_t>(sorted(share, row))] & 1;
      for (int64_t j = share.from; j < share.to; ++j) {
        const int64_t to = b * n_.units + j * V;
        const int64_t from = running(share, j, row);
        if (layer_.h) store_some(as(layer_.h) + to, load(hidden_[last] + from), n_.columns(j));
        if (layer_.c) store_some(as(layer_.c) + to, load(cell_ + from), n_.columns(j));
      }
      if (layer_.y && layer_.mask) fill_masked(share, b);
    }
  }

  void fill_masked(const Share& share, int64_t b) {
    const int64_t from = share.from * V, to = std::min(share.to * V, n_.units);
    const bool repeats = !layer_.zero_output;
    const T* before =
        repeats && layer_.start_output && layer_.h0 ? as(layer_.h0) + b * n_.units : nullptr;
    for (int64_t p = 0; p < n_.steps; ++p) {
      T* y = output(b, p);
      if (masked(layer_, b, position(layer_, p))) {
        for (int64_t u = from; u < to; ++u) y[u] = before ? before[u] : T(0);
      } else if (repeats) {
        before = y;
      }
    }
  }

  const gatewise_lstm layer_;
  const Sizes<T> n_;
  const Ragged ragged_;
  const Deal deal_;
  const Gates gate_;
  Barrier barrier_;
  const std::vector<Lane> lanes_;
  const int64_t lane_rows_;
  const int64_t copies_, input_copies_;
  int64_t chunk_, gates_places_ = 0;
  S *kernel_ = nullptr, *recurrent_ = nullptr, *left_[2] = {}, *inputs_ = nullptr;
  T *bias_ = nullptr, *hidden_[2] = {}, *cell_ = nullptr, *gates_ = nullptr;
  T *past_hidden_ = nullptr, *past_cell_ = nullptr, **outputs_ = nullptr;
};

template <class S>
int32_t run(const gatewise_lstm* layers, int32_t count, Team& team) {
  std::vector<std::unique_ptr<Forward<S>>> passes;
  for (int32_t n = 0; n < count; ++n) {
    const Deal deal = deal_team(layers[n], n, count, team.size());
    passes.push_back(std::make_unique<Forward<S>>(layers[n], deal));
  }
  Arena counter;
  for (auto& pass : passes) pass->lay_out(counter);
  void* block = team.scratch(counter.used());
  if (!block) return GATEWISE_NO_MEMORY;
  Arena arena(block);
  for (auto& pass : passes) pass->lay_out(arena);

  const auto packs = [](const auto& pass) { return pass->pack_tasks(); };
  const auto shares = [](const auto& pass) { return pass->shares(); };
  Tasks pack(count_tasks(passes, packs)), scan(count_tasks(passes, shares));
  team.run([&](int) {
    const FlushDenormals flush;
    [[maybe_unused]] const Tiles tiles;
    pack.share([&](int64_t n) {
      do_task(passes, n, packs, [](auto& pass, int64_t task) { pass->pack(task); });
    });
    scan.share([&](int64_t n) {
      do_task(passes, n, shares, [](auto& pass, int64_t share) { pass->run(share); });
    });
  });
  return GATEWISE_DONE;
}

}  // namespace

int32_t forward(const gatewise_lstm* layers, int32_t count, Team& team) {
  switch (layers->products) {
#ifndef GATEWISE_BFLOAT16_ONLY
    case GATEWISE_FULL:
      if (layers->double_precision) return run<double>(layers, count, team);
      return run<float>(layers, count, team);
#endif
    case GATEWISE_BFLOAT16X3:
      return run<SplitPair>(layers, count, team);
    default:
      return run<Pair>(layers, count, team);
  }
}

}  // namespace gatewise::GATEWISE_ISA
