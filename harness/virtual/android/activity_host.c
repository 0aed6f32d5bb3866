/* What a virtual device has in Android's place to run an app's native activity: a loader that is as strict as bionic's
   about what it loads, the functions that such a library may call, and the order of Android's calls.

   activity_host LIBRARY PACKAGE EXTERNAL [NAME VALUE] ...: the library to load, the package, the folder of its external
   files, the extras of the intent. The activity ends when it finishes itself; on SIGTERM it
   leaves the foreground, and on SIGUSR1 it comes back. */
#define _GNU_SOURCE
#define HARNESS_HAS_LIBC
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ndk.h"

enum { WIDTH = 90, HEIGHT = 160, MOST_ARGUMENTS = 128 };

static volatile sig_atomic_t finished, leaves, returns;
static char **extras, *library;
static struct {
    char *base;
    const Elf64_Sym *symbols;
    const char *names;
    const uint32_t *hash;
} loaded;

static _Noreturn void refuse(const char *what, const char *which) {
    fprintf(stderr, "dlopen failed: %s %s\n", what, which);
    exit(3);
}

/* ---- what Android has for the library */

struct ANativeWindow {
    int locked, width, height, posts;
    uint32 *bits;
};
static ANativeWindow window;

void ANativeActivity_finish(ANativeActivity *activity) { (void)activity, finished = 1; }
void ANativeActivity_setWindowFlags(ANativeActivity *activity, uint32 add, uint32 drop) {
    (void)activity, (void)add, (void)drop;
}
void ANativeWindow_acquire(ANativeWindow *of) { (void)of; }
void ANativeWindow_release(ANativeWindow *of) { (void)of; }
int32 ANativeWindow_setBuffersGeometry(ANativeWindow *of, int32 width, int32 height, int32 format) {
    if (format != FORMAT_RGBX_8888 || width <= 0 || height <= 0) return -22;
    of->bits = realloc(of->bits, sizeof(uint32) * (of->width = width) * (of->height = height));
    return 0;
}
int32 ANativeWindow_lock(ANativeWindow *of, ANativeWindow_Buffer *buffer, void *dirty) {
    (void)dirty;
    if (of->locked || !of->bits) return -22;
    *buffer = (ANativeWindow_Buffer){of->width, of->height, of->width, FORMAT_RGBX_8888, of->bits, {0}};
    of->locked = 1;
    return 0;
}
int32 ANativeWindow_unlockAndPost(ANativeWindow *of) {
    if (!of->locked) return -22;
    of->posts++;
    return of->locked = 0;
}
ALooper *ALooper_forThread(void) { return (ALooper *)&window; }
void AInputQueue_attachLooper(AInputQueue *q, ALooper *l, int i, int (*call)(int, int, void *), void *data) {
    (void)q, (void)l, (void)i;
    call(0, 0, data);
}
void AInputQueue_detachLooper(AInputQueue *queue) { (void)queue; }
int32 AInputQueue_getEvent(AInputQueue *queue, AInputEvent **event) { return (void)queue, *event = 0, -1; }
int32 AInputQueue_preDispatchEvent(AInputQueue *queue, AInputEvent *event) { return (void)queue, (void)event, 0; }
void AInputQueue_finishEvent(AInputQueue *queue, AInputEvent *event, int handled) {
    (void)queue, (void)event, (void)handled;
}

int dladdr(const void *address, Dl_info *info) {
    (void)address;
    *info = (Dl_info){library, loaded.base, 0, 0};
    return 1;
}

/* What is newer than Android 8, as a phone has it: hints that the hardware does not know, a cool phone. */
static void *manager(void) { return &window; }
static long hint_rate(void *of) { return (void)of, -1; }
static int thermal_status(void *of) { return (void)of, 0; }
static float headroom(void *of, int seconds) { return (void)of, (void)seconds, 0.5f; }

void *dlsym(void *handle, const char *name) {
    static const struct {
        const char *name;
        void *function;
    } newer[] = {{"APerformanceHint_getManager", manager}, {"APerformanceHint_getPreferredUpdateRateNanos", hint_rate},
                 {"AThermal_acquireManager", manager}, {"AThermal_getCurrentThermalStatus", thermal_status},
                 {"AThermal_getThermalHeadroom", headroom}};
    (void)handle;
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        if (strcmp(newer[i].name, name) == 0) return newer[i].function;
    return 0;
}

/* A program of the app: under an emulator, since this machine's kernel runs none of another processor; or a script. */
static int execute(const char *path, char *const *arguments, char *const *environment) {
    char *all[MOST_ARGUMENTS] = {"/system/bin/sh", (char *)path}, magic[SELFMAG] = "";
    int file = open(path, O_RDONLY), count = 2;
    if (file < 0 || read(file, magic, SELFMAG) < 0 || access(path, X_OK) != 0) return -1;
    close(file);
    if (memcmp(magic, ELFMAG, SELFMAG) == 0) all[0] = "/system/bin/qemu-aarch64";
    for (; arguments[count - 1] && count < MOST_ARGUMENTS - 1; count++) all[count] = arguments[count - 1];
    return execve(all[0], all, environment);
}

#define OWN(name) {#name, (void *)name}
static const struct {
    const char *name;
    void *function;
} functions[] = {
    OWN(ANativeActivity_finish), OWN(ANativeActivity_setWindowFlags), OWN(ANativeWindow_acquire),
    OWN(ANativeWindow_lock), OWN(ANativeWindow_release), OWN(ANativeWindow_setBuffersGeometry),
    OWN(ANativeWindow_unlockAndPost), OWN(ALooper_forThread), OWN(AInputQueue_attachLooper),
    OWN(AInputQueue_detachLooper), OWN(AInputQueue_finishEvent), OWN(AInputQueue_getEvent),
    OWN(AInputQueue_preDispatchEvent), OWN(dladdr), OWN(dlsym), OWN(_exit), OWN(chdir), OWN(close), OWN(dup2),
    {"execve", (void *)execute}, OWN(fork), OWN(getpid), OWN(kill), OWN(lseek), OWN(memcpy), OWN(memset),
    OWN(mkdir), OWN(nanosleep), OWN(open), OWN(prctl), OWN(pthread_create), OWN(pthread_mutex_lock),
    OWN(pthread_mutex_unlock), OWN(read), OWN(rename), OWN(sched_setaffinity), OWN(setpgid), OWN(snprintf),
    OWN(strcmp), OWN(strlen), OWN(strrchr), OWN(strtoull), OWN(waitpid), OWN(write),
};

/* ---- the loader */

static void *symbol(const char *name) {
    for (uint32_t i = 1; i < loaded.hash[1]; i++)
        if (loaded.symbols[i].st_shndx && strcmp(loaded.names + loaded.symbols[i].st_name, name) == 0)
            return loaded.base + loaded.symbols[i].st_value;
    return 0;
}

static void *wanted(const Elf64_Sym *of) {
    const char *name = loaded.names + of->st_name;
    if (of->st_shndx) return loaded.base + of->st_value;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(functions[i].name, name) == 0) return functions[i].function;
    refuse("cannot locate symbol", name);
}

static void relocate(const Elf64_Rela *of, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *of; i++) {
        char **place = (char **)(loaded.base + of[i].r_offset);
        const Elf64_Sym *named = loaded.symbols + ELF64_R_SYM(of[i].r_info);
        switch (ELF64_R_TYPE(of[i].r_info)) {
        case R_AARCH64_RELATIVE: *place = loaded.base + of[i].r_addend; break;
        case R_AARCH64_GLOB_DAT: case R_AARCH64_JUMP_SLOT: case R_AARCH64_ABS64:
            *place = (char *)wanted(named) + of[i].r_addend; break;
        default: refuse("unknown reloc type in", library);
        }
    }
}

static void load(const char *path) {
    static char file[1 << 20];
    int source = open(path, O_RDONLY);
    ssize_t bytes = source < 0 ? -1 : read(source, file, sizeof file);
    const Elf64_Ehdr *head = (void *)file;
    const Elf64_Phdr *parts = (void *)(file + head->e_phoff);
    size_t end = 0;
    if (bytes < (ssize_t)sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) refuse("bad ELF magic:", path);
    if (head->e_machine != EM_AARCH64) refuse("is for another machine:", path);
    if (head->e_phoff + head->e_phnum * sizeof *parts > (size_t)bytes) refuse("has no program headers:", path);
    for (int i = 0; i < head->e_phnum; i++) {
        if (parts[i].p_type == PT_TLS) refuse("has thread-local storage:", path);
        if (parts[i].p_type != PT_LOAD) continue;
        if ((parts[i].p_flags & (PF_W | PF_X)) == (PF_W | PF_X)) refuse("W+E load segments are not allowed:", path);
        if (parts[i].p_align < 0x4000) refuse("segments are not aligned to 16 KiB:", path);
        if (parts[i].p_offset + parts[i].p_filesz > (size_t)bytes) refuse("is cut short:", path);
        if (parts[i].p_vaddr + parts[i].p_memsz > end) end = parts[i].p_vaddr + parts[i].p_memsz;
    }
    loaded.base = mmap(0, end, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const Elf64_Dyn *dynamic = 0;
    const Elf64_Rela *relocations = 0, *jumps = 0;
    size_t relocation_bytes = 0, jump_bytes = 0;
    for (int i = 0; i < head->e_phnum; i++) {
        char *place = loaded.base + parts[i].p_vaddr;
        if (parts[i].p_type == PT_LOAD) memcpy(place, file + parts[i].p_offset, parts[i].p_filesz);
        if (parts[i].p_type == PT_DYNAMIC) dynamic = (void *)place;
    }
    if (!dynamic) refuse("has no dynamic section:", path);
    for (const Elf64_Dyn *one = dynamic; one->d_tag != DT_NULL; one++) {
        char *place = loaded.base + one->d_un.d_ptr;
        switch (one->d_tag) {
        case DT_SYMTAB: loaded.symbols = (void *)place; break;
        case DT_STRTAB: loaded.names = place; break;
        case DT_HASH: loaded.hash = (void *)place; break;
        case DT_RELA: relocations = (void *)place; break;
        case DT_RELASZ: relocation_bytes = one->d_un.d_val; break;
        case DT_JMPREL: jumps = (void *)place; break;
        case DT_PLTRELSZ: jump_bytes = one->d_un.d_val; break;
        case DT_TEXTREL: refuse("has text relocations:", path);
        default: break;
        }
    }
    if (!loaded.symbols || !loaded.names || !loaded.hash) refuse("has no symbols:", path);
    for (const Elf64_Dyn *one = dynamic; one->d_tag != DT_NULL; one++) {
        const char *name = loaded.names + one->d_un.d_val;
        if (one->d_tag != DT_NEEDED) continue;
        if (strcmp(name, "libc.so") && strcmp(name, "libdl.so") && strcmp(name, "libandroid.so"))
            refuse("library not found:", name);
    }
    relocate(relocations, relocation_bytes);
    relocate(jumps, jump_bytes);
    __builtin___clear_cache(loaded.base, loaded.base + end);
}

/* ---- JNI: the intent and its extras; every object is its own class, a string is its characters */

static char activity_object, intent_object;

static void exception_clear(Jni env) { (void)env; }
static void *object_class(Jni env, void *object) { return (void)env, object; }
static void *method_id(Jni env, void *class, const char *name, const char *signature) {
    (void)env, (void)signature;
    int known = class == &activity_object ? !strcmp(name, "getIntent") : !strcmp(name, "getStringExtra");
    return known ? class : 0;
}
static void *call_object_method(Jni env, void *object, void *method, void **arguments) {
    (void)env, (void)object;
    if (method == &activity_object) return &intent_object;
    for (char **one = extras; one[0] && one[1]; one += 2)
        if (strcmp(one[0], arguments[0]) == 0) return one[1];
    return 0;
}
static void *new_string(Jni env, const char *text) { return (void)env, (void *)text; }
static const char *string_characters(Jni env, void *text, void *copied) { return (void)env, (void)copied, text; }

static void leave(int signal) { (void)signal, leaves = 1; }
static void come_back(int signal) { (void)signal, returns = 1; }

int main(int count, char **arguments) {
    static void *table[JNI_FUNCTIONS];
    static ANativeActivityCallbacks callbacks;
    static ANativeActivity activity;
    static char name[16];
    void *const *jni = table;
    if (count < 4) return 2;
    library = arguments[1];
    extras = arguments + 4;
    snprintf(name, sizeof name, "%s", arguments[2]);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    signal(SIGTERM, leave);
    signal(SIGUSR1, come_back);
    table[JNI_EXCEPTION_CLEAR] = exception_clear;
    table[JNI_GET_OBJECT_CLASS] = object_class;
    table[JNI_GET_METHOD_ID] = method_id;
    table[JNI_CALL_OBJECT_METHOD_A] = call_object_method;
    table[JNI_NEW_STRING_UTF] = new_string;
    table[JNI_GET_STRING_UTF_CHARS] = string_characters;
    load(library);
    void (*create)(ANativeActivity *, void *, size_t) = symbol("ANativeActivity_onCreate");
    if (!create) refuse("undefined symbol:", "ANativeActivity_onCreate");
    activity.callbacks = &callbacks;
    activity.env = &jni;
    activity.object = &activity_object;
    activity.external_data_path = arguments[3];
    activity.internal_data_path = arguments[3];
    activity.sdk_version = 35;
    create(&activity, 0, 0);
    if (callbacks.start) callbacks.start(&activity);
    if (callbacks.resume) callbacks.resume(&activity);
    if (callbacks.input_queue_created) callbacks.input_queue_created(&activity, (AInputQueue *)&window);
    if (callbacks.window_created) callbacks.window_created(&activity, &window);
    const struct timespec moment = {0, 20 * 1000 * 1000};
    int left = 0;
    for (; !finished; nanosleep(&moment, 0)) {
        if (leaves && !left && callbacks.pause) callbacks.pause(&activity);
        left |= leaves;
        if (left && returns && callbacks.resume) callbacks.resume(&activity);
        if (returns) left = leaves = returns = 0;
    }
    if (callbacks.pause && !left) callbacks.pause(&activity);
    if (callbacks.window_destroyed) callbacks.window_destroyed(&activity, &window);
    if (callbacks.input_queue_destroyed) callbacks.input_queue_destroyed(&activity, (AInputQueue *)&window);
    if (callbacks.stop) callbacks.stop(&activity);
    if (callbacks.destroy) callbacks.destroy(&activity);
    printf("posted %d times\n", window.posts);
    return 0;
}
