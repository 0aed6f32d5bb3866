// Runs one compiled kernel on the tensors of a file, under an emulator: the parts of TVM's runtime that a kernel
// needs, and nothing else.
//
//   emulated FILE
//
// FILE holds, in the machine's byte order, int64 count, then for each argument int64 kind. Kind 0 is a number: int64.
// Any other kind is a tensor: its bytes per element, then int64 DLPack type code, int64 dimensions, int64 extents..., and
// the elements. The kernel writes into the file itself.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/c_api.h>

enum { MOST = 32, ALIGNMENT = 64 };

int __tvm_ffi_kernel(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result);

// The room of a kernel's own buffers ends where no page is: whoever writes behind it is stopped.
static void* allocate(int device_type, int device_id, uint64_t bytes, int code, int bits) {
  (void)device_type, (void)device_id, (void)code, (void)bits;
  uint64_t page = 4096, pages = (bytes + page - 1) / page;
  uint8_t* start = mmap(NULL, (pages + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED || mprotect(start + pages * page, page, PROT_NONE) != 0) abort();
  uint64_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  uint8_t* room = start + pages * page - rounded;
  for (uint64_t at = 0; at < rounded; ++at) room[at] = 0xff;  // NaN: what is read must have been written
  return room;
}

static int release(int device_type, int device_id, void* room) {
  (void)device_type, (void)device_id, (void)room;
  return 0;
}

enum { TASKS = 3 };

typedef struct {
  void* sync;
  int32_t tasks;
} Group;

// The threads of a pool, one after the other.
static int launch(int (*body)(int task, Group* group, void* closure), void* closure, int tasks) {
  Group group = {NULL, tasks > 0 ? tasks : TASKS};
  for (int task = 0; task < group.tasks; ++task) {
    if (body(task, &group, closure) != 0) return -1;
  }
  return 0;
}

void* __TVMBackendParallelLaunch = (void*)launch;
void* __TVMBackendAllocWorkspace = (void*)allocate;
void* __TVMBackendFreeWorkspace = (void*)release;

void TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t at = 0; at < count; ++at) fputs(parts[at] ? parts[at] : "", stderr);
  fputc('\n', stderr);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int file = open(argv[1], O_RDWR);
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) return 2;
  uint8_t* bytes = mmap(NULL, facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) return 2;
  uint8_t* end = bytes + facts.st_size;
  int64_t* next = (int64_t*)bytes;
  int64_t count = *next++;
  TVMFFIAny args[MOST] = {0};
  DLTensor tensors[MOST] = {0};
  if (count > MOST) return 2;
  for (int64_t at = 0; at < count; ++at) {
    int64_t kind = *next++;
    if (kind == 0) {
      args[at].type_index = kTVMFFIInt;
      args[at].v_int64 = *next++;
      continue;
    }
    DLTensor* tensor = &tensors[at];
    tensor->dtype = (DLDataType){(uint8_t)*next++, (uint8_t)(8 * kind), 1};
    tensor->device = (DLDevice){kDLCPU, 0};
    tensor->ndim = (int32_t)*next++;
    tensor->shape = next;
    int64_t elements = 1;
    for (int32_t axis = 0; axis < tensor->ndim; ++axis) elements *= *next++;
    // Tensors begin at a multiple of the alignment that the kernels may count on.
    uint64_t offset = ((uint8_t*)next - bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    tensor->data = bytes + offset;
    next = (int64_t*)(bytes + offset + (elements * kind + 7) / 8 * 8);
    if ((uint8_t*)next > end) return 2;
    args[at].type_index = kTVMFFIDLTensorPtr;
    args[at].v_ptr = tensor;
  }
  TVMFFIAny result = {0};
  return __tvm_ffi_kernel(NULL, args, (int32_t)count, &result) == 0 ? 0 : 1;
}
