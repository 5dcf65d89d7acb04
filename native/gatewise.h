// The whole C interface of the engine: LSTM layers over batches of sequences, forward and backward.
//
// Arrays are row-major and hold `float` or `double` throughout, as `double_precision` says. The
// letters B, T, I, H stand for batch, steps, features, units. Gates lie in Keras's order i, f, c, o
// on the last axis of the weights:
//
//   z = x_t kernel + h_{t-1} recurrent_kernel + bias        [B, 4H]
//   i, f, o = recurrent_activation(z_i), (z_f), (z_o);  c_t = f c_{t-1} + i activation(z_c)
//   h_t = o activation(c_t)
//
// A masked step leaves h and c as they are. No function keeps a pointer after it returns, no output
// may overlap another array, and nothing needs to be zeroed before a call unless it says so.

#ifndef GATEWISE_H_
#define GATEWISE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GATEWISE_VERSION 1  // of this interface; grows with every change of it

enum gatewise_activation {
  GATEWISE_TANH = 0,
  GATEWISE_SIGMOID = 1,
  GATEWISE_RELU = 2,
  GATEWISE_HARD_SIGMOID = 3,  // Keras's: clip(x / 6 + 1/2, 0, 1)
  GATEWISE_SOFTSIGN = 4,
  GATEWISE_ELU = 5,  // alpha = 1
  GATEWISE_LINEAR = 6,
};

enum gatewise_status {
  GATEWISE_DONE = 0,
  GATEWISE_BAD_ARGUMENT = 1,  // a size below 1, an unknown activation, a pointer missing
  GATEWISE_NO_MEMORY = 2,
};

// One layer, what it reads and what its forward pass writes.
typedef struct gatewise_lstm {
  int64_t batch, steps, features, units;
  int32_t double_precision;
  int32_t activation, recurrent_activation;
  int32_t go_backwards;  // steps are processed last to first
  int32_t zero_output;   // y is 0 at a masked step, not the output of the step processed before
  int32_t start_output;  // what y repeats before the first step that is not masked: 1 h0, 0 zeros

  const void* x;                 // [B, T, I]
  const uint8_t* mask;           // [B, T], 0 where the step is masked; NULL: none is
  const void* h0;                // [B, H]; NULL: zeros
  const void* c0;                // [B, H]; NULL: zeros
  const void* kernel;            // [I, 4H]
  const void* recurrent_kernel;  // [H, 4H]
  const void* bias;              // [4H]; NULL: none
  const void* input_masks;       // [4, B, I], one for each gate, multiplies x; NULL: none
  const void* recurrent_masks;   // [4, B, H], one for each gate, multiplies h_{t-1}; NULL: none

  // The output of every step in the order of processing: element (b, t, u) of [B, T, H] is written
  // at y + b y_batch_stride + t y_step_stride + u, strides in elements, of any sign. NULL: not
  // wanted.
  void* y;
  int64_t y_batch_stride, y_step_stride;
  void* h;  // [B, H] the state after the last step; NULL: not wanted
  void* c;  // [B, H]; NULL: not wanted
  // What the backward pass needs: gatewise_reserve_size() elements, written by the forward pass and
  // consumed (overwritten) by the backward pass. NULL: there will be none.
  void* reserve;
} gatewise_lstm;

// The gradient of one layer: what it reads (NULL: zeros), and what it writes (NULL: not wanted).
typedef struct gatewise_gradient {
  const void* dy;  // as y, with its own strides
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

// GATEWISE_VERSION of the library, to be compared with that of this header.
int32_t gatewise_version(void);

// How many elements the reserve of one sequence takes; a layer's holds batch times as many.
int64_t gatewise_reserve_size(int64_t steps, int64_t units);

// Runs `count` layers at once: the directions of a bidirectional layer, or one. Returns a status.
int32_t gatewise_lstm_forward(const gatewise_lstm* layers, int32_t count);

// The gradients of `count` layers whose forward pass filled the reserve. Reads of `layers` what the
// forward pass read, and nothing of what it wrote but the reserve. Sums run in one fixed order: the
// result does not depend on the number of threads.
int32_t gatewise_lstm_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients,
                               int32_t count);

// Threads a call may use, its own included. At first: OMP_NUM_THREADS where set, else the cores of
// the affinity mask. A number below 1 goes back to that; 1024 are the most that are heard of.
int32_t gatewise_threads(void);
void gatewise_set_threads(int32_t threads);

// Lets the process keep the memory that it frees, up to 2 GiB, instead of giving each large array
// back to the system and asking for fresh pages at the next step. Where the C library has no such
// choice nothing happens.
void gatewise_keep_memory(void);

// "avx512", "avx2" or "portable": the best this machine runs, or what GATEWISE_ISA names.
const char* gatewise_isa(void);

#ifdef __cplusplus
}
#endif

#endif  // GATEWISE_H_
