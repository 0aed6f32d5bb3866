// How an executable of the virtual machine would be read from a file, which nothing here does: it is linked. In place of
// file_utils.cc, which brings a reader and a writer of JSON for other devices' kernels.
#include <fstream>
#include <iterator>
#include <string>

#include <tvm/ffi/error.h>

namespace tvm {
namespace runtime {

void LoadBinaryFromFile(const std::string& file_name, std::string* data) {
  std::ifstream file(file_name, std::ios::binary);
  data->assign(std::istreambuf_iterator<char>(file), {});
  if (!file) TVM_FFI_THROW(RuntimeError) << "cannot read " << file_name;
}

void SaveBinaryToFile(const std::string& file_name, const std::string& data) {
  std::ofstream file(file_name, std::ios::binary);
  file.write(data.data(), static_cast<std::streamsize>(data.size())).flush();
  if (!file) TVM_FFI_THROW(RuntimeError) << "cannot write " << file_name;
}

}  // namespace runtime
}  // namespace tvm
