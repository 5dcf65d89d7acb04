// The backward pass over whole sequences. A scan from the last step to the first replaces the
// activated gates of the reserve by their gradients, in place. The gradients of the weights, the
// bias and the inputs do not depend on the order of the steps; they follow as large products over
// all steps.

#include <memory>
#include <vector>

#include "layer.h"

namespace gatewise::GATEWISE_ISA {
namespace {

// Places per partial sum of a weight gradient. Partial sums are more accurate: a single running sum
// of floats over all places would lose a digit that XLA, which sums step by step, keeps. Also, the
// gates of one panel, 256 bytes per place, stay in a first-level cache.
// Tiles add up more of them, because their operands are rounded anyway.
constexpr int64_t kDepth = kTiles ? 256 : 64;
// So many places are summed up before the result, which is often larger than a cache, is read and
// written.
constexpr int64_t kSpan = kTiles ? 1024 : 512;
constexpr int64_t kBlock = 96;        // places per task of the input gradient
constexpr int64_t kRowsOfBlock = 48;  // rows that share each reading of weights

// The products take operands of type S.
template <class S>
class Backward {
 public:
  using T = Sum<S>;
  static constexpr int64_t V = kWidth<T>;

  Backward(const gatewise_lstm& layer, const gatewise_gradient& gradient, Deal deal)
      : layer_(layer),
        gradient_(gradient),
        n_(layer),
        ragged_(layer),
        reserve_(layer.reserve, n_),
        deal_(deal),
        gate_{layer.activation, layer.recurrent_activation},
        barrier_(deal.shares()),
        lanes_(divide(ragged_, deal.lanes())),
        lane_rows_(most_rows(lanes_)),
        copies_(layer.recurrent_masks ? 4 : 1),
        input_copies_(layer.input_masks ? 4 : 1),
        span_(std::min(kSpan, (ragged_.places() + kDepth - 1) / kDepth * kDepth)) {}

  void lay_out(Arena& arena, int team) {
    team_ = team;
    recurrent_ = arena.take<S>(n_.panels * gate_depth() * V);
    if (gradient_.dx) kernel_ = arena.take<S>(n_.feature_panels * gate_depth() * V);
    cell_ = arena.take<T>(deal_.lanes() * n_.panels * lane_rows_ * V);
    rows_ = arena.take<Row>(deal_.members * lane_rows_);
    lefts_ = arena.take<S>(team * left_size());
    sums_ = arena.take<T>(team * kPanels * V * 4 * V);
    if (kReadsReserve) return;
    for (S*& gates : running_gates_)
      gates = arena.take<S>(deal_.lanes() * lane_rows_ * gate_depth());
    rights_ = arena.take<S>(team * right_size());
  }

  // Before the scan: transposes the weights, one task per panel of units and of features.
  int64_t pack_tasks() const { return n_.panels + (gradient_.dx ? n_.feature_panels : 0); }
  void pack(int64_t task) {
    if (task < n_.panels) {
      pack_transposed(recurrent_ + task * gate_depth() * V, as(layer_.recurrent_kernel), task,
                      n_.columns(task));
    } else {
      task -= n_.panels;
      pack_transposed(kernel_ + task * gate_depth() * V, as(layer_.kernel), task,
                      n_.feature_columns(task));
    }
  }

  // One share per member.
  int64_t shares() const { return deal_.members; }
  void scan(int64_t number) {
    Share share{};
    share.lane = deal_.by_units ? 0 : static_cast<int>(number);
    share.from = deal_.by_units ? n_.panels * number / deal_.members : 0;
    share.to = deal_.by_units ? n_.panels * (number + 1) / deal_.members : n_.panels;
    share.rows = lanes_[static_cast<size_t>(share.lane)];
    share.now = rows_ + number * lane_rows_;
    if (kTiles && share.to == n_.panels) {
      for (int64_t t : {0, 1}) clear_padding(running_gates(share, t), lane_rows_);
    }
    for (int64_t t = ragged_.longest - 1; t >= 0; --t) {
      take_step(share, t);
      barrier_.wait();
    }
    finish(share);
  }

  // After the scan, in any order: the gradients of blocks of weights, of the bias and of the
  // inputs.
  int64_t tasks() const { return weight_tasks() + bias_tasks() + input_tasks(); }
  void task(int64_t task, int member) {
    if (task < weight_tasks()) return weights(task, member);
    task -= weight_tasks();
    if (task < input_tasks()) return inputs(task, member);
    bias(task - input_tasks());
  }

 private:
  // Panels of a left factor per task of the weight gradients. With tiles, converting the gates
  // takes longer than reading the left factor.
  static constexpr int64_t kPanels = (kTiles ? 256 : 128) / V;
  // Whether products read the numbers of the reserve as they are. Otherwise a part of them is
  // converted to operands before it is read.
  static constexpr bool kReadsReserve = kTerms<S> == 1;
  static constexpr int64_t kGates = 4 * V / kTerms<S>;    // operands of the gates of one panel
  static constexpr int64_t kRights = kDepth / kTerms<S>;  // operands of kDepth places

  // What the gates of a row need at the current step, whatever their panel.
  struct Row {
    int64_t b, place, position;
    const T* dy;
    bool last;
  };

  struct Share {
    int lane;
    int64_t from, to;
    Lane rows;
    Row* now;  // [rows]
  };

  static const T* as(const void* pointer) { return static_cast<const T*>(pointer); }
  static T* as(void* pointer) { return static_cast<T*>(pointer); }

  // Operands of the gates of one place. Tiles want whole panels for each gate.
  int64_t gate_depth() const {
    return kTiles ? 4 * operand_panels<S>(n_.units) * V : n_.panels * kGates;
  }
  static int64_t sorted(const Share& share, int64_t row) { return share.rows.from + row; }
  int64_t of_batch(const Share& share, int64_t row) const {
    return ragged_.row[static_cast<size_t>(sorted(share, row))];
  }
  int64_t first(int64_t t) const { return ragged_.first[static_cast<size_t>(t)]; }
  T* running(const Share& share, int64_t panel, int64_t row) const {
    return cell_ + ((share.lane * n_.panels + panel) * lane_rows_ + row) * V;
  }
  T* gates_at(int64_t panel, int64_t place) const {
    return reserve_.gates + (panel * n_.places + place) * 4 * V;
  }

  // Where the operands of the gates of a panel begin, among those of one place; from there to those
  // of the next gate.
  int64_t gates_of(int64_t panel) const { return kTiles ? panel * kGates / 4 : panel * kGates; }
  int64_t next_gate() const { return kTiles ? gate_depth() / 4 : kGates / 4; }

  // Packs the V rows of weights [rows, 4H] from row panel V on into to[panels of units][4][operands
  // of V units][V], or, on tiles, [4][panels of operands of units][V][V].
  void pack_transposed(S* all, const T* weights, int64_t panel, int columns) {
    if constexpr (kTiles) std::fill_n(all, gate_depth() * V, S{});
    for (int64_t j = 0; j < n_.panels; ++j) {
      for (int64_t g = 0; g < 4; ++g) {
        S* const to = all + (gates_of(j) + g * next_gate()) * V;
        const T* from = weights + (panel * V * 4 + g) * n_.units + j * V;
        S row[kGates / 4];
        for (int64_t v = 0; v < V; ++v, from += 4 * n_.units) {
          store_terms<S>(row, v < columns ? load_some(from, n_.columns(j)) : Vector<T>{});
          for (int64_t u = 0; u < kGates / 4; ++u) set_operand(to + u * V, v, row[u]);
        }
      }
    }
  }

  // The gradients of the gates of some rows as operands, [panels][rows][4][operands of V units].
  struct Left {
    const S* data;
    int64_t row_stride, panel_stride;
  };

  // tile[R][N][V] += scale_of(r, n, left right). `left`: the gradients of the gates; `right`: the
  // transposed weights. The sum runs over `count` operands of one gate, or of all gates of one
  // panel. N is the number of panels of the result.
  template <int R, int N, class ScaleOf>
  GATEWISE_INLINE void add_gates(T* tile, const S* left, int64_t row_stride, const S* right,
                                 int64_t count, ScaleOf scale_of) const {
    Vector<T> acc[R][N];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n) acc[r][n] = Vector<T>{};
    }
    multiply<S, R, N, 1>(acc, left, row_stride, 1, right, V, gate_depth() * V, count);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n, tile += V) store(tile, load(tile) + scale_of(r, n, acc[r][n]));
    }
  }

  // tile[rows][N][V]: the sum of these over all panels of gates, in partial sums for the same
  // reason as kDepth. All rows take one panel after the other, whose weights stay in a first-level
  // cache. With dropout, each gate's part is multiplied by its mask. mask_of(r) is the mask of the
  // first gate for that row; `gate_stride` is the offset from one gate's mask to the next.
  template <int N, class MaskOf, class Columns>
  void gradient_tile(T* tile, int64_t rows, Left gates, const S* right, int64_t copies,
                     MaskOf mask_of, int64_t gate_stride, Columns columns) const {
    std::fill_n(tile, rows * N * V, T(0));
    for (int64_t j = 0; j < n_.panels; ++j, right += kGates * V) {
      deal<N>(rows, [&](int64_t from, int height) {
        const S* left = gates.data + j * gates.panel_stride + from * gates.row_stride;
        const auto mask = [&](int r) { return mask_of(static_cast<int>(from) + r); };
        GATEWISE_WITH_HEIGHT(height, N,
                             (add_panel<R, N>(tile + from * N * V, left, gates.row_stride, right, j,
                                              copies, mask, gate_stride, columns)));
      });
    }
  }

  template <int R, int N, class MaskOf, class Columns>
  GATEWISE_INLINE void add_panel(T* tile, const S* left, int64_t row_stride, const S* right,
                                 int64_t panel, int64_t copies, MaskOf mask_of, int64_t gate_stride,
                                 Columns columns) const {
    const int64_t units = n_.columns(panel);
    if (copies == 1 && units == V) {
      return add_gates<R, N>(tile, left, row_stride, right, kGates,
                             [](int, int, Vector<T> part) { return part; });
    }
    // The sum must exclude the padding units of the last panel: their gradients are zero, but
    // zero times a value that is not finite would be NaN.
    for (int64_t g = 0; g < 4; ++g) {
      add_gates<R, N>(tile, left + g * kGates / 4, row_stride, right + g * kGates / 4 * V,
                      operands<S>(units), [&](int r, int n, Vector<T> part) {
                        if (copies == 1) return part;
                        return part * load_some(mask_of(r) + g * gate_stride + n * V, columns(n));
                      });
    }
  }

  // gradient_tile() on tiles, for which `left` holds the gates as panels of operands.
  template <int N, class MaskOf, class Columns, class Meanwhile>
  void tall_gradient_tile(T (&tile)[kTallest][N][V], int rows, LeftFactor<S> left, const S* right,
                          int64_t copies, MaskOf mask_of, int64_t gate_stride, Columns columns,
                          Meanwhile meanwhile) const {
    const int64_t panels = gate_depth() / V;
    const RightFactor<S> weights{right, gate_depth() * V};
    if (copies == 1) {
      return multiply_on_tiles<N>(rows, left, weights, panels, nullptr, reinterpret_cast<T*>(tile),
                                  N * V, meanwhile);
    }
    std::memset(tile, 0, sizeof tile);
    for (int64_t g = 0; g < 4; ++g) {
      T part[kTallest][N][V];
      const LeftFactor<S> of_gate{left.data + g * panels / 4 * left.panel, left.panel, 0};
      const RightFactor<S> of_gates{right + g * gate_depth() / 4 * V, gate_depth() * V};
      multiply_on_tiles<N>(rows, of_gate, of_gates, panels / 4, nullptr, reinterpret_cast<T*>(part),
                           N * V, meanwhile);
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < N; ++n) {
          const Vector<T> mask = load_some(mask_of(r) + g * gate_stride + n * V, columns(n));
          store(tile[r][n], load(tile[r][n]) + load(part[r][n]) * mask);
        }
      }
    }
  }

  // Calls tile(N, panel) for the panels [from, to) in groups of N = 4, 2 or 1. With 16 registers a
  // group of 4 would need flat tiles, which read more of the right factor.
  template <class Tile>
  GATEWISE_INLINE static void by_panels(int64_t from, int64_t to, Tile tile) {
    if constexpr (kRegisters == 32) {
      for (; from + 4 <= to; from += 4) tile(std::integral_constant<int, 4>{}, from);
    }
    for (; from + 2 <= to; from += 2) tile(std::integral_constant<int, 2>{}, from);
    for (; from < to; ++from) tile(std::integral_constant<int, 1>{}, from);
  }

  void take_step(const Share& share, int64_t t) {
    const int64_t rows = share.rows.of(ragged_.rows_at(t));
    const int64_t onward = share.rows.of(ragged_.rows_at(t + 1));
    for (int64_t row = 0; row < rows; ++row) share.now[row] = find_row(share, t, row);
    if constexpr (kTiles) return take_tall_step(share, t, onward, rows);
    by_panels(share.from, share.to, [&](auto group, int64_t panel) {
      constexpr int N = decltype(group)::value;
      T tile[kRowsOfBlock * N * V];
      for (int64_t from = 0; from < onward; from += kRowsOfBlock) {
        const int64_t some = std::min(kRowsOfBlock, onward - from);
        hidden_tile<N>(tile, some, share, t + 1, panel, from);
        for (int64_t r = 0; r < some; ++r) {
#pragma GCC unroll 32
          for (int n = 0; n < N; ++n) {
            pass(share, t, panel + n, from + r, tile + (r * N + n) * V);
          }
        }
      }
      const T none[V] = {};
      for (int64_t row = onward; row < rows; ++row) {
#pragma GCC unroll 32
        for (int n = 0; n < N; ++n) pass(share, t, panel + n, row, none);
      }
    });
  }

  // Gradients of h on tiles that have not all passed the gates: `done` of `rows` rows by `panels`
  // panels.
  struct Passage {
    int64_t panel, from;
    int rows, panels, done;
    T through[kTallest * 4][V];
  };

  // While one tile is multiplied, the gradients of the tile before it pass the gates.
  void take_tall_step(const Share& share, int64_t t, int64_t onward, int64_t rows) {
    Passage passages[2];
    passages[1].rows = passages[1].panels = passages[1].done = 0;
    int now = 0;
    by_panels(share.from, share.to, [&](auto group, int64_t panel) {
      constexpr int N = decltype(group)::value;
      deal_tall(onward, [&](int64_t from, int height) {
        Passage &next = passages[now], &before = passages[1 - now];
        const int64_t calls = count_calls<N>(height, gate_depth() / V);
        const int some = static_cast<int>((before.rows * before.panels + calls - 1) / calls);
        tall_hidden_tile<N>(reinterpret_cast<T(&)[kTallest][N][V]>(next.through), height, share,
                            t + 1, panel, from, [&] { pass_some(share, t, before, some); });
        pass_some(share, t, before, before.rows * before.panels);
        next.panel = panel;
        next.from = from;
        next.rows = height;
        next.panels = N;
        next.done = 0;
        now = 1 - now;
      });
      const T none[V] = {};
      for (int64_t row = onward; row < rows; ++row) {
        for (int n = 0; n < N; ++n) pass(share, t, panel + n, row, none);
      }
    });
    Passage& last = passages[1 - now];
    pass_some(share, t, last, last.rows * last.panels);
  }

  void pass_some(const Share& share, int64_t t, Passage& of, int count) {
    const int end = std::min(of.done + count, of.rows * of.panels);
    for (; of.done < end; ++of.done) {
      const int n = of.done / of.rows, r = of.done % of.rows;
      pass(share, t, of.panel + n, of.from + r, of.through[r * of.panels + n]);
    }
  }

  Row find_row(const Share& share, int64_t t, int64_t row) const {
    const int64_t s = sorted(share, row), b = of_batch(share, row), place = first(t) + s;
    const int64_t step = ragged_.source[static_cast<size_t>(place)] - b * n_.steps;
    const int64_t at = position(layer_, step);
    const T* dy = as(gradient_.dy);
    if (dy) dy += b * gradient_.dy_batch_stride + at * gradient_.dy_step_stride;
    return {b, place, at, dy, t + 1 == ragged_.length[static_cast<size_t>(s)]};
  }

  // The part of the gradients of h_{t-1} that flows through the gates of step t.
  template <int N>
  void hidden_tile(T* tile, int64_t rows, const Share& share, int64_t t, int64_t panel,
                   int64_t from) const {
    gradient_tile<N>(
        tile, rows, step_gates(share, t, from), recurrent_ + panel * gate_depth() * V, copies_,
        [&](int r) {
          return as(layer_.recurrent_masks) + of_batch(share, from + r) * n_.units + panel * V;
        },
        n_.batch * n_.units, [&](int n) { return n_.columns(panel + n); });
  }

  template <int N, class Meanwhile>
  void tall_hidden_tile(T (&tile)[kTallest][N][V], int rows, const Share& share, int64_t t,
                        int64_t panel, int64_t from, Meanwhile meanwhile) const {
    const LeftFactor<S> gates{running_gates(share, t) + from * V, lane_rows_ * V, 0};
    tall_gradient_tile<N>(
        tile, rows, gates, recurrent_ + panel * gate_depth() * V, copies_,
        [&](int r) {
          return as(layer_.recurrent_masks) + of_batch(share, from + r) * n_.units + panel * V;
        },
        n_.batch * n_.units, [&](int n) { return n_.columns(panel + n); }, meanwhile);
  }

  // The gradients of the gates of step t, from a row on.
  Left step_gates(const Share& share, int64_t t, int64_t row) const {
    if constexpr (kReadsReserve) {
      return {gates_at(0, first(t) + sorted(share, row)), 4 * V, n_.places * 4 * V};
    } else {
      return {running_gates(share, t) + row * kGates, kGates, lane_rows_ * kGates};
    }
  }
  // Where the scan keeps the gradients of step t as operands, for step t - 1.
  S* running_gates(const Share& share, int64_t t) const {
    return running_gates_[t & 1] + share.lane * lane_rows_ * gate_depth();
  }

  void pass(const Share& share, int64_t t, int64_t panel, int64_t row, const T* through) {
    if (gate_.usual()) return pass_gates<true>(share, t, panel, row, through);
    pass_gates<false>(share, t, panel, row, through);
  }

  // Computes the gradients of the gates from that of c and from that of h. `through` is the part of
  // the latter that flows through the next step.
  template <bool kUsual>
  void pass_gates(const Share& share, int64_t t, int64_t panel, int64_t row, const T* through) {
    const Row& now = share.now[row];
    const int64_t place = now.place;
    const int columns = n_.columns(panel);
    Vector<T> dh = load(through), dc = Vector<T>{};
    if (now.dy) dh += output_gradient(now, panel);
    if (now.last) {
      const int64_t at = now.b * n_.units + panel * V;
      if (gradient_.dh) dh += load_some(as(gradient_.dh) + at, columns);
      if (gradient_.dc) dc = load_some(as(gradient_.dc) + at, columns);
    } else {
      dc = load(running(share, panel, row));
    }
    T* gates = gates_at(panel, place);
    const Vector<T> zi = load(gates), zf = load(gates + V), zg = load(gates + 2 * V);
    const Vector<T> zo = load(gates + 3 * V);
    const Vector<T> past = load(reserve_.cell + (panel * n_.places + place) * V);
    // The usual gates are stored activated, which is all that their derivatives need.
    const Vector<T> i = kUsual ? zi : gate_.gate<kUsual, T>(zi);
    const Vector<T> f = kUsual ? zf : gate_.gate<kUsual, T>(zf);
    const Vector<T> g = kUsual ? zg : gate_.cell<kUsual, T>(zg);
    const Vector<T> o = kUsual ? zo : gate_.gate<kUsual, T>(zo);
    const Vector<T> c = fused<T>(f, past, i * g), activated = gate_.cell<kUsual, T>(c);
    dc += dh * o * gate_.cell_derivative<kUsual, T>(c, activated);
    store(gates, dc * g * gate_.gate_derivative<kUsual, T>(zi, i));
    store(gates + V, dc * past * gate_.gate_derivative<kUsual, T>(zf, f));
    store(gates + 2 * V, dc * i * gate_.cell_derivative<kUsual, T>(zg, g));
    store(gates + 3 * V, dh * activated * gate_.gate_derivative<kUsual, T>(zo, o));
    store(running(share, panel, row), dc * f);
    if constexpr (!kReadsReserve) {
      convert_gates(running_gates(share, t), panel, row, lane_rows_, gates, columns);
    }
  }

  // Converts the gradients of the gates of one row and panel to operands, among those of `rows`.
  void convert_gates(S* to, int64_t panel, int64_t row, int64_t rows, const T* gates,
                     int columns) const {
#pragma GCC unroll 32
    for (int g = 0; g < 4; ++g) {
      const Vector<T> gradient = only<T>(load(gates + g * V), columns);
      if constexpr (kTiles) {
        store_panel<S>(to + g * rows * next_gate(), panel, row, rows, gradient);
      } else {
        store_terms<S>(to + (panel * rows + row) * kGates + g * next_gate(), gradient);
      }
    }
  }

  // Tiles read whole panels of operands, and nothing else is written behind the last panel of
  // units.
  void clear_padding(S* to, int64_t rows) const {
    if (n_.panels % kTerms<S> == 0) return;
    constexpr T none[4 * V] = {};
    for (int64_t row = 0; row < rows; ++row) {
      convert_gates(to, n_.panels, row, rows, none, static_cast<int>(V));
    }
  }

  // The gradient of the output of a row and of the masked positions after it that repeat it.
  Vector<T> output_gradient(const Row& now, int64_t panel) const {
    const Vector<T> sum = load_some(now.dy + panel * V, n_.columns(panel));
    if (!layer_.mask || layer_.zero_output) return sum;
    return sum + repeated_gradient(now.b, now.position + 1, panel);
  }

  Vector<T> repeated_gradient(int64_t b, int64_t position, int64_t panel) const {
    Vector<T> sum{};
    for (; position < n_.steps; ++position) {
      if (!masked(layer_, b, gatewise::position(layer_, position))) break;
      sum += load_some(as(gradient_.dy) + b * gradient_.dy_batch_stride +
                           position * gradient_.dy_step_stride + panel * V,
                       n_.columns(panel));
    }
    return sum;
  }

  void finish(const Share& share) {
    if (gradient_.dh0) {
      const int64_t rows = share.rows.of(ragged_.rows_at(0));
      by_panels(share.from, share.to, [&](auto group, int64_t panel) {
        constexpr int N = decltype(group)::value;
        if constexpr (kTiles) {
          deal_tall(rows, [&](int64_t from, int height) {
            T tile[kTallest][N][V];
            tall_hidden_tile<N>(tile, height, share, 0, panel, from, [] {});
            for (int r = 0; r < height; ++r) {
              for (int n = 0; n < N; ++n) store_start(share, panel + n, from + r, load(tile[r][n]));
            }
          });
        } else {
          T tile[kRowsOfBlock * N * V];
          for (int64_t from = 0; from < rows; from += kRowsOfBlock) {
            const int64_t some = std::min(kRowsOfBlock, rows - from);
            hidden_tile<N>(tile, some, share, 0, panel, from);
            for (int64_t n = 0; n < some * N; ++n) {
              store_start(share, panel + n % N, from + n / N, load(tile + n * V));
            }
          }
        }
        for (int64_t row = rows; row < share.rows.rows; ++row) {
#pragma GCC unroll 32
          for (int n = 0; n < N; ++n) {
            const int64_t at = of_batch(share, row) * n_.units + (panel + n) * V;
            store_start(share, panel + n, row,
                        gradient_.dh ? load_some(as(gradient_.dh) + at, n_.columns(panel + n))
                                     : Vector<T>{});
          }
        }
      });
    }
    if (!gradient_.dc0) return;
    for (int64_t row = 0; row < share.rows.rows; ++row) {
      const bool none = ragged_.length[static_cast<size_t>(sorted(share, row))] == 0;
      for (int64_t j = share.from; j < share.to; ++j) {
        const int64_t at = of_batch(share, row) * n_.units + j * V;
        Vector<T> dc{};
        if (!none) {
          dc = load(running(share, j, row));
        } else if (gradient_.dc) {
          dc = load_some(as(gradient_.dc) + at, n_.columns(j));
        }
        store_some(as(gradient_.dc0) + at, dc, n_.columns(j));
      }
    }
  }

  void store_start(const Share& share, int64_t panel, int64_t row, Vector<T> dh) {
    const int64_t b = of_batch(share, row);
    if (gradient_.dy && layer_.mask && !layer_.zero_output && layer_.start_output) {
      dh += repeated_gradient(b, 0, panel);
    }
    store_some(as(gradient_.dh0) + b * n_.units + panel * V, dh, n_.columns(panel));
  }

  // The gradients of the recurrent kernel and the kernel. A task covers kPanels panels of rows,
  // first of units and then of features, so that the gates are not read too often, and a part of
  // the columns, so that there are enough tasks for all members.
  int64_t unit_panels() const { return gradient_.drecurrent_kernel ? n_.panels : 0; }
  int64_t row_panels() const { return unit_panels() + (gradient_.dkernel ? n_.feature_panels : 0); }
  int64_t blocks() const { return (row_panels() + kPanels - 1) / kPanels; }
  int64_t parts() const {
    return std::min<int64_t>(n_.panels, team_ == 1 || kTiles ? team_ : 2 * team_);
  }
  int64_t weight_tasks() const { return blocks() * parts(); }

  // One panel of rows of a gradient of weights.
  struct Rows {
    bool of_kernel;
    int64_t panel, count, copies;
    T* result;
  };
  Rows rows_at(int64_t n) const {
    if (n < unit_panels()) {
      return {false, n, n_.columns(n), copies_,
              as(gradient_.drecurrent_kernel) + n * V * 4 * n_.units};
    }
    n -= unit_panels();
    return {true, n, n_.feature_columns(n), input_copies_,
            as(gradient_.dkernel) + n * V * 4 * n_.units};
  }

  void weights(int64_t task, int member) {
    const int64_t part = task % parts(), from = task / parts() * kPanels;
    const int64_t to = std::min(from + kPanels, row_panels());
    const int64_t start = n_.panels * part / parts(), end = n_.panels * (part + 1) / parts();
    S* const lefts = lefts_ + member * left_size();
    const int64_t stride = left_size() / kPanels;
    const int64_t places = ragged_.places();
    if (places == 0 && part == 0) {
      for (int64_t p = from; p < to; ++p) {
        std::fill_n(rows_at(p).result, rows_at(p).count * 4 * n_.units, T(0));
      }
    }
    for (int64_t first = 0; first < places; first += span_) {
      const int64_t count = std::min(span_, places - first);
      for (int64_t p = from; p < to; ++p) {
        pack_left(lefts + (p - from) * stride, rows_at(p), first, count);
      }
      for (int64_t j = start; j < end; ++j) {
        for (int64_t q = 0; q < count; q += kDepth) {
          const int64_t depth = std::min(kDepth, count - q);
          const S* right = right_gates(j, first + q, depth, member);
          for (int64_t p = from; p < to; ++p) {
            const Rows rows = rows_at(p);
            const S* left = lefts + (p - from) * stride + q / kTerms<S> * V;
            if constexpr (kReadsReserve) {
              if (!rows.of_kernel && copies_ == 1) {
                left = reserve_.hidden + (rows.panel * n_.places + first + q) * V;
              }
            }
            add_weights(sums_at(member, p - from), rows, left, right, q == 0, depth);
          }
        }
        for (int64_t p = from; p < to; ++p) {
          store_weights(rows_at(p), j, sums_at(member, p - from), first == 0);
        }
      }
    }
  }

  // The sums of one panel of rows and one of gates: [V][4][V].
  T* sums_at(int64_t member, int64_t panel) const {
    return sums_ + (member * kPanels + panel) * V * 4 * V;
  }

  // sums (+)= the product of one panel of rows and one of gates, over `depth` places.
  void add_weights(T* sums, const Rows& rows, const S* left, const S* right, bool first,
                   int64_t depth) const {
    if constexpr (kTiles) {
      const int64_t count = right_operands<S>(depth);
      const LeftFactor<S> lefts{left, V * V, span_ / kTerms<S> * V};
      const RightFactor<S> gates{right, count * V};
      const T* from = first ? nullptr : sums;
      if (rows.copies == 4) {
        multiply_on_tiles<4, true>(V, lefts, gates, count / V, from, sums, 4 * V, [] {});
      } else {
        multiply_on_tiles<4>(V, lefts, gates, count / V, from, sums, 4 * V, [] {});
      }
    } else {
      deal<4>(rows.count, [&](int64_t row, int height) {
        T* const to = sums + row * 4 * V;
        GATEWISE_WITH_HEIGHT(height, 4,
                             (weight_tile<R>(to, left + row, rows.copies, right, first, depth)));
      });
    }
  }

  // Adds the sums of one panel of gates to the gradient, unless they are the first.
  void store_weights(const Rows& rows, int64_t panel, const T* sums, bool first) const {
    const int columns = n_.columns(panel);
    T* to = rows.result + panel * V;
    for (int64_t n = 0; n < rows.count * 4; ++n, to += n_.units, sums += V) {
      store_some(to, first ? load(sums) : load_some(to, columns) + load(sums), columns);
    }
  }

  int64_t left_size() const {
    return kPanels * std::max(copies_, input_copies_) * span_ / kTerms<S> * V;
  }

  int64_t right_size() const { return std::max(kRights * 4 * V, kBlock * gate_depth()); }

  // The gradients of the gates of one panel at `depth` places, as operands whose terms are places.
  const S* right_gates(int64_t panel, int64_t place, int64_t depth, int member) const {
    const T* gates = gates_at(panel, place);
    if constexpr (kReadsReserve) {
      return gates;
    } else {
      S* const rights = rights_ + member * right_size();
      const int64_t count = right_operands<S>(depth);
      for (int64_t k = 0; k < count; ++k) {
        const int64_t term = k * kTerms<S>;
        for (int64_t g = 0; g < 4; ++g) {
          const auto row = [&](int64_t m) { return load(gates + (m * 4 + g) * V); };
          store<S>(rights + place_of_right<S>(k, g, count),
                   term < depth ? take_terms<S>(term, depth, row) : Vector<S>{});
        }
      }
      return rights;
    }
  }

  // Packs one panel of the inputs or of h_{t-1}, as operands whose terms are places, into
  // to[copies][operands][V], or, on tiles, to[copies][panels of operands][V][V].
  void pack_left(S* to, const Rows& rows, int64_t place, int64_t depth) {
    const bool of_kernel = rows.of_kernel;
    const int64_t panel = rows.panel, copies = rows.copies;
    if (kReadsReserve && !of_kernel && copies == 1) return;
    const int columns = static_cast<int>(rows.count);
    const int64_t width = of_kernel ? n_.features : n_.units;
    const T* masks = as(of_kernel ? layer_.input_masks : layer_.recurrent_masks);
    for (int64_t g = 0; g < copies; ++g) {
      const auto row = [&](int64_t k) {
        const int64_t source = ragged_.source[static_cast<size_t>(place + k)];
        const Vector<T> left = of_kernel
                                   ? load_some(as(layer_.x) + source * width + panel * V, columns)
                                   : load(reserve_.hidden + (panel * n_.places + place + k) * V);
        if (copies == 1) return left;
        const T* mask = masks + (g * n_.batch + source / n_.steps) * width + panel * V;
        return left * load_some(mask, columns);
      };
      S* copy = to + g * span_ / kTerms<S> * V;
      if constexpr (kTiles) {
        for (int64_t k = 0; k < depth; k += V * kTerms<S>, copy += V * V) {
          Vector<S> block[V];
          for (int64_t n = 0; n < V; ++n) {
            const int64_t term = k + n * kTerms<S>;
            block[n] = term < depth ? take_terms<S>(term, depth, row) : Vector<S>{};
          }
          transpose(block);
          for (int64_t n = 0; n < V; ++n) store(copy + n * V, block[n]);
        }
        continue;
      }
      for (int64_t k = 0; k < depth; k += kTerms<S>, copy += V) {
        store_operands<S>(copy, take_terms<S>(k, depth, row));
      }
    }
  }

  template <int R>
  void weight_tile(T* to, const S* left, int64_t copies, const S* right, bool first,
                   int64_t depth) const {
    Vector<T> acc[R][4];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int g = 0; g < 4; ++g) {
        acc[r][g] = Vector<T>{};
      }
    }
    const int64_t count = operands<S>(depth);
    if (copies == 4) {
      multiply<S, R, 4, 4, true>(acc, left, 1, V, right, 4 * V, 0, count, span_ / kTerms<S> * V);
    } else {
      multiply<S, R, 4, 4>(acc, left, 1, V, right, 4 * V, 0, count);
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 32
      for (int g = 0; g < 4; ++g) {
        T* const at = to + (4 * r + g) * V;
        store(at, first ? acc[r][g] : load(at) + acc[r][g]);
      }
    }
  }

  int64_t bias_tasks() const { return gradient_.dbias ? n_.panels : 0; }
  void bias(int64_t panel) {
    Vector<T> sum[4] = {};
    const T* gates = gates_at(panel, 0);
    for (int64_t from = 0; from < ragged_.places(); from += kDepth) {
      Vector<T> part[4] = {};
      const int64_t to = std::min(from + kDepth, ragged_.places());
      for (int64_t q = from; q < to; ++q, gates += 4 * V) {
#pragma GCC unroll 32
        for (int g = 0; g < 4; ++g) part[g] += load(gates + g * V);
      }
#pragma GCC unroll 32
      for (int g = 0; g < 4; ++g) sum[g] += part[g];
    }
    for (int64_t g = 0; g < 4; ++g) {
      store_some(as(gradient_.dbias) + g * n_.units + panel * V, sum[g], n_.columns(panel));
    }
  }

  // One task per block of places, and a last one for the masked steps, whose gradient is zero.
  int64_t input_blocks() const {
    return gradient_.dx ? (ragged_.places() + kBlock - 1) / kBlock : 0;
  }
  int64_t input_tasks() const { return input_blocks() + (gradient_.dx && layer_.mask ? 1 : 0); }
  void inputs(int64_t task, int member) {
    if (task == input_blocks()) return clear_masked();
    const int64_t from = task * kBlock, count = std::min(kBlock, ragged_.places() - from);
    const Left gates = block_gates(from, count, member);
    by_panels(0, n_.feature_panels, [&](auto group, int64_t panel) {
      constexpr int N = decltype(group)::value;
      if constexpr (kTiles) {
        deal_tall(count, [&](int64_t row, int height) {
          const LeftFactor<S> left{gates.data + row * V, kBlock * V, 0};
          tall_input_tile<N>(panel, from + row, height, left);
        });
        return;
      }
      for (int64_t row = 0; row < count; row += kRowsOfBlock) {
        const Left rows{gates.data + row * gates.row_stride, gates.row_stride, gates.panel_stride};
        input_tile<N>(panel, from + row, std::min(kRowsOfBlock, count - row), rows);
      }
    });
  }

  // The gradients of the gates at `count` places.
  Left block_gates(int64_t place, int64_t count, int member) const {
    if constexpr (kReadsReserve) {
      return {gates_at(0, place), 4 * V, n_.places * 4 * V};
    } else {
      S* const block = rights_ + member * right_size();
      for (int64_t j = 0; j < n_.panels; ++j) {
        for (int64_t k = 0; k < count; ++k) {
          convert_gates(block, j, k, kBlock, gates_at(j, place + k), n_.columns(j));
        }
      }
      if (kTiles) clear_padding(block, kBlock);
      return {block, kGates, kBlock * kGates};
    }
  }

  template <int N>
  void input_tile(int64_t panel, int64_t place, int64_t rows, Left gates) {
    T tile[kRowsOfBlock * N * V];
    const auto source = [&](int64_t r) { return ragged_.source[static_cast<size_t>(place + r)]; };
    gradient_tile<N>(
        tile, rows, gates, kernel_ + panel * gate_depth() * V, input_copies_,
        [&](int r) {
          return as(layer_.input_masks) + source(r) / n_.steps * n_.features + panel * V;
        },
        n_.batch * n_.features, [&](int n) { return n_.feature_columns(panel + n); });
    for (int64_t r = 0; r < rows; ++r) {
      T* to = as(gradient_.dx) + source(r) * n_.features + panel * V;
#pragma GCC unroll 32
      for (int n = 0; n < N; ++n) {
        store_some(to + n * V, load(tile + (r * N + n) * V), n_.feature_columns(panel + n));
      }
    }
  }

  template <int N>
  void tall_input_tile(int64_t panel, int64_t place, int rows, LeftFactor<S> gates) {
    T tile[kTallest][N][V];
    const auto source = [&](int r) { return ragged_.source[static_cast<size_t>(place + r)]; };
    tall_gradient_tile<N>(
        tile, rows, gates, kernel_ + panel * gate_depth() * V, input_copies_,
        [&](int r) {
          return as(layer_.input_masks) + source(r) / n_.steps * n_.features + panel * V;
        },
        n_.batch * n_.features, [&](int n) { return n_.feature_columns(panel + n); }, [] {});
    for (int r = 0; r < rows; ++r) {
      T* to = as(gradient_.dx) + source(r) * n_.features + panel * V;
      for (int n = 0; n < N; ++n) {
        store_some(to + n * V, load(tile[r][n]), n_.feature_columns(panel + n));
      }
    }
  }

  void clear_masked() {
    for (int64_t step = 0; step < n_.batch * n_.steps; ++step) {
      if (layer_.mask[step]) continue;
      std::fill_n(as(gradient_.dx) + step * n_.features, n_.features, T(0));
    }
  }

  const gatewise_lstm layer_;
  const gatewise_gradient gradient_;
  const Sizes<T> n_;
  const Ragged ragged_;
  const Reserve<T> reserve_;
  const Deal deal_;
  const Gates gate_;
  Barrier barrier_;
  const std::vector<Lane> lanes_;
  const int64_t lane_rows_;
  const int64_t copies_, input_copies_, span_;
  int team_ = 1;
  S *recurrent_ = nullptr, *kernel_ = nullptr, *lefts_ = nullptr, *rights_ = nullptr;
  S* running_gates_[2] = {};
  T *cell_ = nullptr, *sums_ = nullptr;
  Row* rows_ = nullptr;
};

template <class S>
int32_t run(const gatewise_lstm* layers, const gatewise_gradient* gradients, int32_t count,
            Team& team) {
  std::vector<std::unique_ptr<Backward<S>>> passes;
  for (int32_t n = 0; n < count; ++n) {
    const Deal deal = deal_team(layers[n], n, count, team.size());
    passes.push_back(std::make_unique<Backward<S>>(layers[n], gradients[n], deal));
  }
  Arena counter;
  for (auto& pass : passes) pass->lay_out(counter, team.size());
  void* block = team.scratch(counter.used());
  if (!block) return GATEWISE_NO_MEMORY;
  Arena arena(block);
  for (auto& pass : passes) pass->lay_out(arena, team.size());

  const auto packs = [](const auto& pass) { return pass->pack_tasks(); };
  const auto shares = [](const auto& pass) { return pass->shares(); };
  const auto sums = [](const auto& pass) { return pass->tasks(); };
  Tasks pack(count_tasks(passes, packs)), scan(count_tasks(passes, shares));
  Tasks rest(count_tasks(passes, sums));
  team.run([&](int member) {
    const FlushDenormals flush;
    [[maybe_unused]] const Tiles tiles;
    pack.share([&](int64_t n) {
      do_task(passes, n, packs, [](auto& pass, int64_t task) { pass->pack(task); });
    });
    scan.share([&](int64_t n) {
      do_task(passes, n, shares, [](auto& pass, int64_t share) { pass->scan(share); });
    });
    rest.share([&](int64_t n) {
      do_task(passes, n, sums, [&](auto& pass, int64_t task) { pass->task(task, member); });
    });
  });
  return GATEWISE_DONE;
}

}  // namespace

int32_t backward(const gatewise_lstm* layers, const gatewise_gradient* gradients, int32_t count,
                 Team& team) {
  switch (layers->products) {
#ifndef GATEWISE_BFLOAT16_ONLY
    case GATEWISE_FULL:
      if (layers->double_precision) return run<double>(layers, gradients, count, team);
      return run<float>(layers, gradients, count, team);
#endif
    case GATEWISE_BFLOAT16X3:
      return run<SplitPair>(layers, gradients, count, team);
    default:
      return run<Pair>(layers, gradients, count, team);
  }
}

}  // namespace gatewise::GATEWISE_ISA
