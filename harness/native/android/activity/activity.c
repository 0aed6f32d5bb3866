/* The app's one activity: it shows a window, runs the runner that lies beside this library, and ends with its run.

   The runner is the very program that shell mode runs, as a process of this app: Android gives a process that an app
   starts the app's user, sandbox, group of the scheduler and cpuset. What is to be done comes as extras of the intent:

   folder     the run's folder, which the shell made; the shell counts in its file `alive` for as long as it follows
   name       of the folder for what the runner writes, below the app's folder of external files
   arguments  the runner's, one a line
   mask       of the cores that the runner may use, in hexadecimal digits; empty for all
   records    how many are expected, for the bar on the screen
   patience   seconds after which the run ends if the shell no longer counts

   In the runner's folder are, beside its own files, `pid` (of the app, of the runner), `process` (what Android makes of
   the runner), `system` (what it grants the app), `stdout`, `stderr`, and in the end `status`: `exit N`, `signal N`, or
   `error WORDS`. */
#include "ndk.h"

enum { PATH = 1024, ARGUMENTS = 64, EXTRA = 8192, BUFFER = 4096 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0100, O_TRUNC = 01000, O_CLOEXEC = 02000000 };
enum { SIGKILL = 9, WNOHANG = 1, PR_SET_PDEATHSIG = 1 };
enum { TICK_MS = 50, TICKS_A_LOOK = 20, TICKS_AWAY = 20, WIDTH = 90, HEIGHT = 160, BAR = 12 };
static const uint32 BACKGROUND = 0xff332211, EMPTY = 0xff665544, FULL = 0xff66cc66;

static struct {
    ANativeActivity *activity;
    long mutex[16]; /* zeros are a mutex that nobody holds */
    ANativeWindow *window;
    volatile int started, left, destroyed;
    volatile int runner; /* its process, 0 before and after */
    char folder[PATH], out[PATH], name[PATH], mask[64], records[32], patience[32], arguments[EXTRA], library[PATH];
    char *argv[ARGUMENTS + 2];
} app;

static const char *join(char *path, const char *folder, const char *name) {
    snprintf(path, PATH, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    char path[PATH], partial[PATH];
    /* The runner's process and the app's write at the same time. */
    snprintf(partial, PATH, "%s/.%s", app.out, name);
    int file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);
    if (file < 0) return;
    ssize done = write(file, text, strlen(text));
    close(file);
    if (done == (ssize)strlen(text)) rename(partial, join(path, app.out, name));
}

static int read_file(const char *path, char *text, int most) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize count = file < 0 ? -1 : read(file, text, most - 1);
    if (file >= 0) close(file);
    text[count > 0 ? count : 0] = 0;
    return count > 0;
}

/* ---- extras of the intent, by JNI; on the main thread */

#define JNI(index, type) ((type)(*env)[index])

typedef void *(*GetMethod)(Jni, void *class, const char *name, const char *signature);
typedef void *(*CallMethod)(Jni, void *object, void *method, void **arguments);

static void *call(Jni env, void *object, const char *method, const char *signature, void *argument) {
    void *arguments[1] = {argument};
    void *class = JNI(JNI_GET_OBJECT_CLASS, void *(*)(Jni, void *))(env, object);
    void *id = JNI(JNI_GET_METHOD_ID, GetMethod)(env, class, method, signature);
    void *found = 0;
    if (id) found = JNI(JNI_CALL_OBJECT_METHOD_A, CallMethod)(env, object, id, arguments);
    JNI(JNI_EXCEPTION_CLEAR, void (*)(Jni))(env);
    return found;
}

static void extra(Jni env, void *intent, const char *name, char *text, int most) {
    void *key = JNI(JNI_NEW_STRING_UTF, void *(*)(Jni, const char *))(env, name);
    void *value = key ? call(env, intent, "getStringExtra", "(Ljava/lang/String;)Ljava/lang/String;", key) : 0;
    const char *characters =
        value ? JNI(JNI_GET_STRING_UTF_CHARS, const char *(*)(Jni, void *, void *))(env, value, 0) : 0;
    text[0] = 0;
    if (characters) snprintf(text, most, "%s", characters);
}

static int read_extras(ANativeActivity *activity) {
    Jni env = activity->env;
    void *intent = call(env, activity->object, "getIntent", "()Landroid/content/Intent;", 0);
    if (!intent) return 0;
    extra(env, intent, "folder", app.folder, PATH);
    extra(env, intent, "name", app.name, PATH);
    extra(env, intent, "mask", app.mask, sizeof app.mask);
    extra(env, intent, "records", app.records, sizeof app.records);
    extra(env, intent, "patience", app.patience, sizeof app.patience);
    extra(env, intent, "arguments", app.arguments, EXTRA);
    /* What is written stays below the app's own folder, whoever started it. */
    return app.folder[0] == '/' && app.name[0] && app.name[0] != '.' && !strrchr(app.name, '/');
}

/* ---- the window: a bar that fills as records are written; the system scales these few pixels to the screen */

static void draw(int done, int total) {
    ANativeWindow_Buffer buffer;
    pthread_mutex_lock(app.mutex);
    if (app.window && ANativeWindow_lock(app.window, &buffer, 0) == 0) {
        int middle = buffer.height / 2, margin = buffer.width / 10, length = buffer.width - 2 * margin;
        int full = total > 0 ? (int)((long)length * (done < total ? done : total) / total) : 0;
        for (int y = 0; y < buffer.height; y++)
            for (int x = 0; x < buffer.width; x++) {
                int in_bar = y >= middle - BAR / 2 && y < middle + BAR / 2 && x >= margin && x < margin + length;
                uint32 color = !in_bar ? BACKGROUND : x < margin + full ? FULL : EMPTY;
                ((uint32 *)buffer.bits)[(long)y * buffer.stride + x] = color;
            }
        ANativeWindow_unlockAndPost(app.window);
    }
    pthread_mutex_unlock(app.mutex);
}

/* Lines of a file that grows, counted from where the last look ended. */
static int more_lines(const char *path, long *at) {
    static char text[BUFFER];
    int file = open(path, O_RDONLY | O_CLOEXEC), count = 0;
    if (file < 0) return 0;
    lseek(file, *at, 0);
    for (ssize got; (got = read(file, text, BUFFER)) > 0; *at += got)
        for (ssize i = 0; i < got; i++) count += text[i] == '\n';
    close(file);
    return count;
}

/* ---- the runner */

static void into(const char *name, int descriptor) {
    char path[PATH];
    int file = open(join(path, app.out, name), O_WRONLY | O_CREAT | O_TRUNC, 0660);
    if (file >= 0) dup2(file, descriptor);
}

/* What Android makes of this process, which is about to become the runner: its cpuset, its groups, its priority. */
static void note_process(void) {
    static const char *const names[] = {"status", "cgroup", "cpuset", "oom_score_adj", "stat", "timerslack_ns"};
    static char text[6 * BUFFER + 512], part[BUFFER];
    char path[PATH];
    int at = 0;
    for (int i = 0; i < 6; i++) {
        snprintf(path, PATH, "/proc/self/%s", names[i]);
        if (read_file(path, part, BUFFER)) at += snprintf(text + at, sizeof text - at, "@%s\n%s\n", names[i], part);
    }
    write_file("process", text);
}

/* What the system grants the app: hints of performance, and how hot the phone is. Older phones lack the functions. */
static void note_system(void) {
    char text[256];
    int at = 0;
    text[0] = 0;
    void *(*hints)(void) = dlsym(0, "APerformanceHint_getManager");
    long (*rate)(void *) = dlsym(0, "APerformanceHint_getPreferredUpdateRateNanos");
    void *manager = hints && rate ? hints() : 0;
    if (manager) at += snprintf(text + at, sizeof text - at, "@hint_rate_ns\n%ld\n", rate(manager));
    void *(*acquire)(void) = dlsym(0, "AThermal_acquireManager");
    int (*status)(void *) = dlsym(0, "AThermal_getCurrentThermalStatus");
    float (*headroom)(void *, int) = dlsym(0, "AThermal_getThermalHeadroom");
    void *thermal = acquire ? acquire() : 0;
    if (thermal && status) at += snprintf(text + at, sizeof text - at, "@thermal_status\n%d\n", status(thermal));
    if (thermal && headroom)
        at += snprintf(text + at, sizeof text - at, "@headroom\n%.3f\n", (double)headroom(thermal, 10));
    write_file("system", text);
}

static void become_runner(void) {
    static char *const environment[] = {"PATH=/system/bin", "HOME=/", 0};
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (app.mask[0]) {
        unsigned long long cores[16] = {strtoull(app.mask, 0, 16)};
        sched_setaffinity(0, sizeof cores, cores);
    }
    note_process();
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, 0);
    into("stdout", 1);
    into("stderr", 2);
    if (chdir(app.out) == 0) execve(app.argv[0], app.argv, environment);
    static const char words[] = "harness-start: the runner cannot be executed\n";
    write(2, words, sizeof words - 1);
    _exit(126);
}

/* Whether the shell still follows: it counts, and its folder is there. */
static int is_followed(void) {
    static char before[32];
    static int same;
    char path[PATH], now[32];
    if (!read_file(join(path, app.folder, "alive"), now, sizeof now) || strcmp(before, now) == 0)
        return same++ < (int)strtoull(app.patience, 0, 10);
    snprintf(before, sizeof before, "%s", now);
    same = 0;
    return 1;
}

static void follow(int runner) {
    char path[PATH];
    const struct timespec tick = {0, TICK_MS * 1000000L};
    int status = 0, done = 0, total = (int)strtoull(app.records, 0, 10);
    long at = 0;
    const char *why = 0;
    int away = 0;
    for (int ticks = 0; waitpid(runner, &status, WNOHANG) == 0; ticks++) {
        if (ticks % TICKS_A_LOOK == 0) {
            done += more_lines(join(path, app.out, app.argv[ARGUMENTS + 1]), &at);
            draw(done, total);
            if (!is_followed()) why = "nobody follows the run any more";
        }
        away = app.left ? away + 1 : 0;
        /* Android pauses an activity for a moment when it turns the screen on, or shows a question. */
        if (away > TICKS_AWAY || app.destroyed)
            why = "the app left the foreground, so that its times are no foreground app's";
        if (why) {
            kill(-runner, SIGKILL);
            waitpid(runner, &status, 0);
            break;
        }
        nanosleep(&tick, 0);
    }
    app.runner = 0;
    kill(-runner, SIGKILL); /* what it may have started */
    if (why) snprintf(path, PATH, "error %s\n", why);
    else if (status & 0x7f) snprintf(path, PATH, "signal %d\n", status & 0x7f);
    else snprintf(path, PATH, "exit %d\n", status >> 8 & 0xff);
    write_file("status", path);
}

/* The runner's arguments; the name behind --result is kept for the bar. */
static void take_apart(char *lines) {
    int count = 1;
    app.argv[0] = app.library;
    app.argv[ARGUMENTS + 1] = "";
    for (char *line = lines; *line && count < ARGUMENTS; count++) {
        app.argv[count] = line;
        while (*line && *line != '\n') line++;
        if (*line) *line++ = 0;
        if (strcmp(app.argv[count - 1], "--result") == 0) app.argv[ARGUMENTS + 1] = app.argv[count];
    }
    app.argv[count] = 0;
}

static void *supervise(void *nothing) {
    char text[64];
    take_apart(app.arguments);
    note_system();
    int runner = fork();
    if (runner == 0) become_runner();
    if (runner > 0) {
        app.runner = runner;
        setpgid(runner, runner);
        snprintf(text, sizeof text, "%d %d\n", getpid(), runner);
        write_file("pid", text);
        follow(runner);
    } else write_file("status", "error the app may start no process\n");
    if (!app.destroyed) ANativeActivity_finish(app.activity);
    return nothing;
}

/* ---- what Android calls, on the main thread */

static void window_created(ANativeActivity *activity, ANativeWindow *window) {
    long thread;
    pthread_mutex_lock(app.mutex);
    ANativeWindow_acquire(window);
    ANativeWindow_setBuffersGeometry(window, WIDTH, HEIGHT, FORMAT_RGBX_8888);
    app.window = window;
    pthread_mutex_unlock(app.mutex);
    draw(0, 1);
    if (!app.out[0] || app.started) return;
    app.started = 1;
    if (pthread_create(&thread, 0, supervise, 0) != 0) {
        write_file("status", "error the app may start no thread\n");
        ANativeActivity_finish(activity);
    }
}

static void window_destroyed(ANativeActivity *activity, ANativeWindow *window) {
    (void)activity;
    pthread_mutex_lock(app.mutex);
    if (app.window == window) app.window = 0;
    ANativeWindow_release(window);
    pthread_mutex_unlock(app.mutex);
}

/* Touches are taken and dropped: Android takes an app that leaves them for hung. */
static int take_input(int file, int events, void *queue) {
    AInputEvent *event;
    (void)file, (void)events;
    while (AInputQueue_getEvent(queue, &event) >= 0)
        if (!AInputQueue_preDispatchEvent(queue, event)) AInputQueue_finishEvent(queue, event, 0);
    return 1;
}

static void input_queue_created(ANativeActivity *activity, AInputQueue *queue) {
    (void)activity;
    AInputQueue_attachLooper(queue, ALooper_forThread(), LOOPER_POLL_CALLBACK, take_input, queue);
}

static void input_queue_destroyed(ANativeActivity *activity, AInputQueue *queue) {
    (void)activity;
    AInputQueue_detachLooper(queue);
}

static void paused(ANativeActivity *activity) {
    (void)activity;
    if (app.started) app.left = 1;
}

static void resumed(ANativeActivity *activity) {
    (void)activity;
    app.left = 0;
}

static void destroyed(ANativeActivity *activity) {
    (void)activity;
    app.left = app.destroyed = 1;
    int runner = app.runner;
    if (runner > 0) kill(-runner, SIGKILL);
}

__attribute__((visibility("default"))) void ANativeActivity_onCreate(ANativeActivity *, void *saved, size bytes);

void ANativeActivity_onCreate(ANativeActivity *activity, void *saved, size bytes) {
    const uint32 flags = WINDOW_KEEP_SCREEN_ON | WINDOW_SHOW_WHEN_LOCKED | WINDOW_TURN_SCREEN_ON;
    Dl_info here;
    char *slash;
    (void)saved, (void)bytes;
    app.activity = activity;
    app.started = app.left = app.destroyed = 0;
    app.out[0] = 0;
    activity->callbacks->window_created = window_created;
    activity->callbacks->window_destroyed = window_destroyed;
    activity->callbacks->input_queue_created = input_queue_created;
    activity->callbacks->input_queue_destroyed = input_queue_destroyed;
    activity->callbacks->resume = resumed;
    activity->callbacks->pause = paused;
    activity->callbacks->destroy = destroyed;
    ANativeActivity_setWindowFlags(activity, flags, 0);
    if (!read_extras(activity) || !activity->external_data_path) return;
    if (!dladdr((void *)ANativeActivity_onCreate, &here)) return;
    snprintf(app.library, PATH, "%s", here.file);
    if (!(slash = strrchr(app.library, '/'))) return;
    snprintf(slash + 1, PATH - (slash + 1 - app.library), "libharness_runner.so");
    join(app.out, activity->external_data_path, app.name);
    mkdir(app.out, 0770);
}
