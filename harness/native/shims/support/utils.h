// Stand-in: the one helper of this header that the runtime uses.
#ifndef HARNESS_SHIMS_SUPPORT_UTILS_H_
#define HARNESS_SHIMS_SUPPORT_UTILS_H_

#include <algorithm>
#include <cctype>
#include <string>

namespace tvm {
namespace support {

inline bool IsNumber(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace support
}  // namespace tvm
#endif  // HARNESS_SHIMS_SUPPORT_UTILS_H_
