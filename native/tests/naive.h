// The engine's arithmetic once more, written to be read: slow, one sequence after the other, in
// more digits than it is asked for. It is the truth of the tests beside it.

#ifndef GATEWISE_TESTS_NAIVE_H_
#define GATEWISE_TESTS_NAIVE_H_

#include "../gatewise.h"

// As gatewise_lstm_forward and gatewise_lstm_backward, for arguments that are right; the reserve is
// neither written nor read.
void naive_forward(const gatewise_lstm* layers, int32_t count);
void naive_backward(const gatewise_lstm* layers, const gatewise_gradient* gradients, int32_t count);

#endif  // GATEWISE_TESTS_NAIVE_H_
