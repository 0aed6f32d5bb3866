// Stand-in: conversions between half and single precision, by the compiler's own half type.
#ifndef HARNESS_SHIMS_BUILTIN_FP16_H_
#define HARNESS_SHIMS_BUILTIN_FP16_H_

#include <cstdint>
#include <cstring>

template <typename From, typename FromBits, int FromMantissa, typename To, typename ToBits, int ToMantissa>
static inline To __truncXfYf2__(From value) {
  static_assert(ToMantissa == 10 && sizeof(To) == 2, "rounds to half precision only");
  const _Float16 half = static_cast<_Float16>(value);
  To bits;
  std::memcpy(&bits, &half, sizeof(bits));
  return bits;
}

template <typename From, typename FromBits, int FromMantissa, typename To, typename ToBits, int ToMantissa>
static inline To __extendXfYf2__(From bits) {
  static_assert(FromMantissa == 10 && sizeof(From) == 2, "widens from half precision only");
  _Float16 half;
  std::memcpy(&half, &bits, sizeof(half));
  return static_cast<To>(half);
}

#endif  // HARNESS_SHIMS_BUILTIN_FP16_H_
