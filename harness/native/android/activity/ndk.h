/* What is used of the NDK, of bionic and of JNI. Their headers are not to be had without the NDK, but these shapes and
   numbers are Android's binary interface, which does not change: android/native_activity.h, android/native_window.h,
   android/input.h, android/looper.h, android/thermal.h, android/performance_hint.h, jni.h, and arm64's and x86-64's
   Linux. Functions whose arguments differ between systems (stat, for one) are not used. */
#ifndef HARNESS_NDK_H
#define HARNESS_NDK_H

typedef int int32;
typedef unsigned int uint32;
typedef __SIZE_TYPE__ size;
typedef __PTRDIFF_TYPE__ ssize;

typedef struct ANativeActivity ANativeActivity;
typedef struct ANativeWindow ANativeWindow;
typedef struct AInputQueue AInputQueue;
typedef struct AInputEvent AInputEvent;
typedef struct ALooper ALooper;

typedef struct {
    void (*start)(ANativeActivity *);
    void (*resume)(ANativeActivity *);
    void *(*save_instance_state)(ANativeActivity *, size *);
    void (*pause)(ANativeActivity *);
    void (*stop)(ANativeActivity *);
    void (*destroy)(ANativeActivity *);
    void (*window_focus_changed)(ANativeActivity *, int);
    void (*window_created)(ANativeActivity *, ANativeWindow *);
    void (*window_resized)(ANativeActivity *, ANativeWindow *);
    void (*window_redraw_needed)(ANativeActivity *, ANativeWindow *);
    void (*window_destroyed)(ANativeActivity *, ANativeWindow *);
    void (*input_queue_created)(ANativeActivity *, AInputQueue *);
    void (*input_queue_destroyed)(ANativeActivity *, AInputQueue *);
    void (*content_rectangle_changed)(ANativeActivity *, const void *);
    void (*configuration_changed)(ANativeActivity *);
    void (*low_memory)(ANativeActivity *);
} ANativeActivityCallbacks;

typedef void *const *const *Jni; /* a JNIEnv: a pointer to a table of functions */
enum { /* their places in the table */
    JNI_EXCEPTION_CLEAR = 17,
    JNI_GET_OBJECT_CLASS = 31,
    JNI_GET_METHOD_ID = 33,
    JNI_CALL_OBJECT_METHOD_A = 36,
    JNI_NEW_STRING_UTF = 167,
    JNI_GET_STRING_UTF_CHARS = 169,
    JNI_FUNCTIONS = 229,
};

struct ANativeActivity {
    ANativeActivityCallbacks *callbacks;
    void *vm;
    Jni env;
    void *object;
    const char *internal_data_path;
    const char *external_data_path;
    int32 sdk_version;
    void *instance;
    void *asset_manager;
    const char *obb_path;
};

typedef struct {
    int32 width, height, stride, format;
    void *bits;
    uint32 reserved[6];
} ANativeWindow_Buffer;

typedef struct {
    const char *file;
    void *base;
    const char *symbol;
    void *address;
} Dl_info;

enum { WINDOW_KEEP_SCREEN_ON = 0x80, WINDOW_SHOW_WHEN_LOCKED = 0x80000, WINDOW_TURN_SCREEN_ON = 0x200000 };
enum { FORMAT_RGBX_8888 = 2, LOOPER_POLL_CALLBACK = -2 };

/* libandroid.so */
void ANativeActivity_finish(ANativeActivity *);
void ANativeActivity_setWindowFlags(ANativeActivity *, uint32 add, uint32 remove);
void ANativeWindow_acquire(ANativeWindow *);
void ANativeWindow_release(ANativeWindow *);
int32 ANativeWindow_setBuffersGeometry(ANativeWindow *, int32 width, int32 height, int32 format);
int32 ANativeWindow_lock(ANativeWindow *, ANativeWindow_Buffer *, void *dirty);
int32 ANativeWindow_unlockAndPost(ANativeWindow *);
ALooper *ALooper_forThread(void);
void AInputQueue_attachLooper(AInputQueue *, ALooper *, int ident, int (*callback)(int, int, void *), void *data);
void AInputQueue_detachLooper(AInputQueue *);
int32 AInputQueue_getEvent(AInputQueue *, AInputEvent **);
int32 AInputQueue_preDispatchEvent(AInputQueue *, AInputEvent *);
void AInputQueue_finishEvent(AInputQueue *, AInputEvent *, int handled);

/* libdl.so */
int dladdr(const void *, Dl_info *);
void *dlsym(void *, const char *);

#ifndef HARNESS_HAS_LIBC
/* libc.so */
struct timespec {
    long tv_sec, tv_nsec;
};
int open(const char *, int, ...);
ssize read(int, void *, size);
ssize write(int, const void *, size);
long lseek(int, long, int);
int close(int);
int dup2(int, int);
int mkdir(const char *, unsigned);
int rename(const char *, const char *);
int chdir(const char *);
int fork(void);
int execve(const char *, char *const *, char *const *);
int waitpid(int, int *, int);
int kill(int, int);
int getpid(void);
int setpgid(int, int);
int prctl(int, ...);
int sched_setaffinity(int, size, const void *);
void _exit(int);
int nanosleep(const struct timespec *, struct timespec *);
int pthread_create(void *, const void *, void *(*)(void *), void *);
int pthread_mutex_lock(void *);
int pthread_mutex_unlock(void *);
int snprintf(char *, size, const char *, ...) __attribute__((format(printf, 3, 4)));
unsigned long long strtoull(const char *, char **, int);
size strlen(const char *);
char *strrchr(const char *, int);
int strcmp(const char *, const char *);
#endif

#endif
