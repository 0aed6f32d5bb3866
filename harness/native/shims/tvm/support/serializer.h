// Stand-in: how values lie in a stream. Little endian; numbers and enums as they are in memory, containers as
// an unsigned 64-bit count and their elements, DLDataType and DLDevice member by member.
#ifndef HARNESS_SHIMS_TVM_SUPPORT_SERIALIZER_H_
#define HARNESS_SHIMS_TVM_SUPPORT_SERIALIZER_H_

#include <dlpack/dlpack.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/string.h>
#include <tvm/support/io.h>

#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the stream format is little endian");

namespace tvm {
namespace support {

template <typename T>
struct Serializer {
  static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>, "no stream format for this type");
  static constexpr bool enabled = true;
  static void Write(Stream* out, const T& value) {
    out->Write(static_cast<const void*>(&value), sizeof(T));
  }
  static bool Read(Stream* in, T* value) {
    return in->Read(static_cast<void*>(value), sizeof(T)) == sizeof(T);
  }
};

template <>
struct Serializer<DLDataType> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const DLDataType& type) {
    out->Write(type.code);
    out->Write(type.bits);
    out->Write(type.lanes);
  }
  static bool Read(Stream* in, DLDataType* type) {
    return in->Read(&type->code) && in->Read(&type->bits) && in->Read(&type->lanes);
  }
};

template <>
struct Serializer<DLDevice> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const DLDevice& device) {
    out->Write(static_cast<int32_t>(device.device_type));
    out->Write(static_cast<int32_t>(device.device_id));
  }
  static bool Read(Stream* in, DLDevice* device) {
    int32_t type = 0, id = 0;
    if (!in->Read(&type) || !in->Read(&id)) return false;
    device->device_type = static_cast<DLDeviceType>(type);
    device->device_id = id;
    return true;
  }
};

template <>
struct Serializer<std::string> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const std::string& text) {
    out->Write(static_cast<uint64_t>(text.size()));
    if (!text.empty()) out->Write(static_cast<const void*>(text.data()), text.size());
  }
  static bool Read(Stream* in, std::string* text) {
    uint64_t size = 0;
    if (!in->Read(&size)) return false;
    text->resize(size);
    return size == 0 || in->Read(static_cast<void*>(text->data()), size) == size;
  }
};

template <>
struct Serializer<ffi::String> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const ffi::String& text) { out->Write(std::string(text)); }
  static bool Read(Stream* in, ffi::String* text) {
    std::string buffer;
    if (!in->Read(&buffer)) return false;
    *text = ffi::String(std::move(buffer));
    return true;
  }
};

template <typename T>
struct Serializer<std::vector<T>> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const std::vector<T>& items) {
    out->Write(static_cast<uint64_t>(items.size()));
    for (const auto& item : items) out->Write(static_cast<const T&>(item));
  }
  static bool Read(Stream* in, std::vector<T>* items) {
    uint64_t size = 0;
    if (!in->Read(&size)) return false;
    items->resize(size);
    for (auto& item : *items) {
      if (!in->Read(&item)) return false;
    }
    return true;
  }
};

template <typename A, typename B>
struct Serializer<std::pair<A, B>> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const std::pair<A, B>& pair) {
    out->Write(pair.first);
    out->Write(pair.second);
  }
  static bool Read(Stream* in, std::pair<A, B>* pair) {
    return in->Read(&pair->first) && in->Read(&pair->second);
  }
};

template <typename K, typename V>
struct Serializer<std::unordered_map<K, V>> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const std::unordered_map<K, V>& map) {
    out->Write(static_cast<uint64_t>(map.size()));
    for (const auto& [key, value] : map) {
      out->Write(key);
      out->Write(value);
    }
  }
  static bool Read(Stream* in, std::unordered_map<K, V>* map) {
    uint64_t size = 0;
    if (!in->Read(&size)) return false;
    map->clear();
    while (size-- > 0) {
      std::pair<K, V> item;
      if (!in->Read(&item)) return false;
      map->insert(std::move(item));
    }
    return true;
  }
};

template <typename T>
struct Serializer<ffi::Array<T>> {
  static constexpr bool enabled = true;
  static void Write(Stream* out, const ffi::Array<T>& items) {
    out->Write(static_cast<uint64_t>(items.size()));
    for (const T& item : items) out->Write(item);
  }
  static bool Read(Stream* in, ffi::Array<T>* items) {
    std::vector<T> buffer;
    if (!in->Read(&buffer)) return false;
    *items = ffi::Array<T>(buffer.begin(), buffer.end());
    return true;
  }
};

template <typename T>
bool Stream::Read(T* value) {
  return Serializer<T>::Read(this, value);
}

template <typename T>
void Stream::Write(const T& value) {
  Serializer<T>::Write(this, value);
}

template <typename T>
bool Stream::ReadArray(T* values, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!Read(values + i)) return false;
  }
  return true;
}

template <typename T>
void Stream::WriteArray(const T* values, size_t count) {
  for (size_t i = 0; i < count; ++i) Write(values[i]);
}

}  // namespace support
}  // namespace tvm
#endif  // HARNESS_SHIMS_TVM_SUPPORT_SERIALIZER_H_
