// How the bindings describe a layer: whole numbers, in the order that engine/jax.py and
// engine/tensorflow.py write them.
#ifndef GATEWISE_NUMBERS_H_
#define GATEWISE_NUMBERS_H_

namespace gatewise {

enum Field {
  kActivation,
  kRecurrentActivation,
  kGoBackwards,
  kZeroOutput,
  kStartOutput,
  kFlip,  // y is stored in reversed time order, which is that of the other direction
  kProducts,
  kArrays,     // one bit per array that is present, in the order of engine/contract.py; see Bit
  kGradients,  // one bit per gradient that is wanted, in the order of DIFFERENTIABLE there
  kFields,
};

// The bits of kArrays for the arrays that may be absent.
enum Bit {
  kMask = 2,
  kH0 = 4,
  kC0 = 8,
  kBias = 64,
  kInputMasks = 128,
  kRecurrentMasks = 256,
};

}  // namespace gatewise

#endif  // GATEWISE_NUMBERS_H_
