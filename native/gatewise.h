// The complete C interface of the engine: LSTM layers over batches of sequences, forward and
// backward, and one step at a time.
//
// All arrays are row-major and hold `float`, or `double` if `double_precision` is set. The letters
// B, T, I, H stand for batch, steps, features, units. The last axis of the weights holds the gates
// in Keras's order i, f, c, o:
//
//   z = x_t kernel + h_{t-1} recurrent_kernel + bias        [B, 4H]
//   i, f, o = recurrent_activation(z_i), (z_f), (z_o);  c_t = f c_{t-1} + i activation(z_c)
//   h_t = o activation(c_t)
//
// A masked step leaves h and c unchanged. No function keeps a pointer after it returns. No output
// may overlap another array. No array needs to be zeroed before a call.

#ifndef GATEWISE_H_
#define GATEWISE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GATEWISE_VERSION 3  // of this interface; every change of it increases it

enum gatewise_activation {
  GATEWISE_TANH = 0,
  GATEWISE_SIGMOID = 1,
  GATEWISE_RELU = 2,
  GATEWISE_HARD_SIGMOID = 3,  // Keras's: clip(x / 6 + 1/2, 0, 1)
  GATEWISE_SOFTSIGN = 4,
  GATEWISE_ELU = 5,  // alpha = 1
  GATEWISE_LINEAR = 6,
};

// The operands of the matrix products, whose sums and all other numbers are those of the arrays.
enum gatewise_products {
  GATEWISE_FULL = 0,      // as in the arrays
  GATEWISE_BFLOAT16 = 1,  // of float arrays only: rounded to bfloat16, as TF32 rounds on a GPU
  // Of float arrays only: the sum of two bfloat16, the products of the two lower ones left out.
  // Infinity becomes NaN in them.
  GATEWISE_BFLOAT16X3 = 2,
};

enum gatewise_status {
  GATEWISE_DONE = 0,
  // A size below 1, unknown activations or products, a missing pointer.
  GATEWISE_BAD_ARGUMENT = 1,
  GATEWISE_NO_MEMORY = 2,
};

// One layer: its inputs, and the outputs of its forward pass.
typedef struct gatewise_lstm {
  int64_t batch, steps, features, units;
  int32_t double_precision;
  int32_t products;
  int32_t activation, recurrent_activation;
  int32_t go_backwards;  // process the steps from last to first
  int32_t zero_output;   // at a masked step y is 0 instead of the previously processed output
  int32_t start_output;  // y at masked steps before the first unmasked one: 1 h0, 0 zeros

  const void* x;                 // [B, T, I]
  const uint8_t* mask;           // [B, T], 0 at masked steps; NULL: no step is masked
  const void* h0;                // [B, H]; NULL: zeros
  const void* c0;                // [B, H]; NULL: zeros
  const void* kernel;            // [I, 4H]
  const void* recurrent_kernel;  // [H, 4H]
  const void* bias;              // [4H]; NULL: none
  const void* input_masks;       // [4, B, I], one per gate, multiplies x; NULL: none
  const void* recurrent_masks;   // [4, B, H], one per gate, multiplies h_{t-1}; NULL: none

  // The output of every step in the order of processing: element (b, t, u) of [B, T, H] is written
  // to y + b y_batch_stride + t y_step_stride + u. Strides are in elements and may be negative.
  // NULL: not wanted.
  void* y;
  int64_t y_batch_stride, y_step_stride;
  void* h;  // [B, H] the final state; NULL: not wanted
  void* c;  // [B, H]; NULL: not wanted
  // Data for the backward pass: B gatewise_reserve_size() elements, written by the forward pass and
  // overwritten by the backward pass. NULL: there is no backward pass.
  void* reserve;
} gatewise_lstm;

// The gradient of one layer: its inputs (NULL: zeros) and its outputs (NULL: not wanted).
typedef struct gatewise_gradient {
  const void* dy;  // like y, with its own strides
  int64_t dy_batch_stride, dy_step_stride;
  const void* dh;  // [B, H]
  const void* dc;  // [B, H]

  void* dx;                 // [B, T, I]; 0 at masked steps
  void* dh0;                // [B, H]
  void* dc0;                // [B, H]
  void* dkernel;            // [I, 4H]
  void* drecurrent_kernel;  // [H, 4H]
  void* dbias;              // [4H]
} gatewise_gradient;

// How packed weights are stored.
enum gatewise_weights {
  GATEWISE_FLOAT32 = 0,
  // Rounded to 255 levels, with a scale for each column of the kernel and of the recurrent kernel.
  // The bias, the states and all sums are floats.
  GATEWISE_INT8 = 1,
};

// One layer of a stack for single steps, always of floats.
typedef struct gatewise_cell {
  int64_t features, units;  // after the first layer, features are the units of the layer before
  int32_t activation, recurrent_activation;
  const float* kernel;            // [I, 4H]
  const float* recurrent_kernel;  // [H, 4H]
  const float* bias;              // [4H]; NULL: none
} gatewise_cell;

// The arrays of one step. The states of all layers are side by side, in the order of the layers; U
// is the sum of their units. The output of the stack is the state h of the last layer.
typedef struct gatewise_states {
  const float* x;  // [B, I]
  const float* h;  // [B, U] before the step
  const float* c;  // [B, U]
  float* h_next;   // [B, U] after the step
  float* c_next;   // [B, U]
} gatewise_states;

// A stack of layers whose weights are packed.
typedef struct gatewise_cells gatewise_cells;

// GATEWISE_VERSION of the library. Compare it with that of this header.
int32_t gatewise_version(void);

// Elements of the reserve per sequence; the reserve of a layer holds B times as many.
int64_t gatewise_reserve_size(int64_t steps, int64_t units);

// Runs `count` layers at once: the two directions of a bidirectional layer, or one layer. Returns a
// status.
int32_t gatewise_lstm_forward(const gatewise_lstm* layers, int32_t count);

// Computes the gradients of `count` layers whose forward pass filled the reserve. Reads the inputs
// of the forward pass in `layers`, and of its outputs only the reserve. Sums run in one fixed
// order, so the result does not depend on the number of threads.
int32_t gatewise_lstm_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients,
                               int32_t count);

// Packs `count` layers, of which each reads the output of the one before, as gatewise_weights.
// gatewise_cells_free() releases the result. Returns a status.
int32_t gatewise_cells_pack(const gatewise_cell* layers, int32_t count, int32_t weights,
                            gatewise_cells** cells);

// One step of the stack for B rows, on the calling thread. Several threads may step the same cells.
// With GATEWISE_FLOAT32, the states are equal to the last bit to those of gatewise_lstm_forward().
// Returns a status.
int32_t gatewise_cells_step(const gatewise_cells* cells, int64_t batch,
                            const gatewise_states* states);

// Releases what gatewise_cells_pack() returned; NULL is allowed.
void gatewise_cells_free(gatewise_cells* cells);

// Threads per call, including the calling thread. The default is OMP_NUM_THREADS if it is set, else
// the number of cores in the affinity mask. A number below 1 restores the default; the maximum is
// 1024.
int32_t gatewise_threads(void);
void gatewise_set_threads(int32_t threads);

// Makes the process keep freed memory, up to 2 GiB, instead of returning each large array to the
// system and requesting new pages at the next step, and use large pages for 1 GiB of it. Threads
// that have not allocated memory yet share one heap. Has no effect if the C library does not
// support this.
void gatewise_keep_memory(void);

// "amx", "avx512bf16", "avx512", "avx2" or "portable": the one that GATEWISE_ISA names if this
// machine supports it, else the best one that it supports.
const char* gatewise_isa(void);

// Whether that instruction set computes these products faster than those of GATEWISE_FULL. Where it
// does not, it computes the same numbers slowly. Tiles of AMX are faster with both; batches of
// fewer than 8 sequences use GATEWISE_FULL in place of GATEWISE_BFLOAT16X3 there. AVX512-BF16 is
// faster with GATEWISE_BFLOAT16 on AMD's processors; three of its instructions take longer than the
// two of AVX-512 that they replace. On Intel's, one takes as long as two.
int32_t gatewise_has_products(int32_t products);

#ifdef __cplusplus
}
#endif

#endif  // GATEWISE_H_
