// The engine's arithmetic, written for readability: slow, one sequence at a time, in higher
// precision than the arrays. It is the reference of the tests in this folder.

#ifndef GATEWISE_TESTS_NAIVE_H_
#define GATEWISE_TESTS_NAIVE_H_

#include "../gatewise.h"

// Like gatewise_lstm_forward and gatewise_lstm_backward, for valid arguments. The reserve is not
// used.
void naive_forward(const gatewise_lstm* layers, int32_t count);
void naive_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients, int32_t count);

#endif  // GATEWISE_TESTS_NAIVE_H_
