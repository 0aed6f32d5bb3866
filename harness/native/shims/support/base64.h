// Stand-in: base64 around another stream, by tvm-ffi's own codec, the whole text at once.
#ifndef HARNESS_SHIMS_SUPPORT_BASE64_H_
#define HARNESS_SHIMS_SUPPORT_BASE64_H_

#include <tvm/ffi/extra/base64.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "bytes_io.h"

namespace tvm {
namespace support {

// Collects what is written; Finish() encodes it into the other stream.
class Base64OutStream : public Stream {
 public:
  explicit Base64OutStream(Stream* out) : out_(out) {}
  using Stream::Read;
  using Stream::Write;

  size_t Read(void*, size_t) final {
    TVM_FFI_THROW(InternalError) << "a stream for writing was read from";
    TVM_FFI_UNREACHABLE();
  }
  size_t Write(const void* data, size_t size) final {
    plain_.append(static_cast<const char*>(data), size);
    return size;
  }
  void Finish() {
    std::string text = ffi::Base64Encode(TVMFFIByteArray{plain_.data(), plain_.size()});
    out_->Write(static_cast<const void*>(text.data()), text.size());
    plain_.clear();
  }

 private:
  Stream* out_;
  std::string plain_;
};

// InitPosition() decodes all of the other stream; then it can be read.
class Base64InStream : public Stream {
 public:
  explicit Base64InStream(Stream* in) : in_(in) {}
  using Stream::Read;
  using Stream::Write;

  void InitPosition() {
    std::string text;
    char chunk[4096];
    while (size_t size = in_->Read(static_cast<void*>(chunk), sizeof(chunk))) text.append(chunk, size);
    ffi::Bytes decoded = ffi::Base64Decode(TVMFFIByteArray{text.data(), text.size()});
    plain_.assign(decoded.data(), decoded.size());
  }
  size_t Read(void* data, size_t size) final {
    size = std::min(size, plain_.size() - at_);
    if (size != 0) std::memcpy(data, plain_.data() + at_, size);
    at_ += size;
    return size;
  }
  size_t Write(const void*, size_t) final {
    TVM_FFI_THROW(InternalError) << "a stream for reading was written to";
    TVM_FFI_UNREACHABLE();
  }

 private:
  Stream* in_;
  std::string plain_;
  size_t at_ = 0;
};

}  // namespace support
}  // namespace tvm
#endif  // HARNESS_SHIMS_SUPPORT_BASE64_H_
