/* Preloaded into Debian's adbd, which was built for machines that are devices of their own.
 *
 * - It listens on every interface and on vsock: here only on loopback.
 * - It asks Android's property service for what it reports to the adb server: here it reads the file that getprop reads.
 * - The commands it runs must not inherit the preload.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PROPERTIES "/framework/props"
#define PROPERTY_VALUE_MAX 92

__attribute__((constructor)) static void forget_preload(void) { unsetenv("LD_PRELOAD"); }

// A hangup is how adbd ends a command whose client has gone. Under nohup every process would inherit that it is ignored.
__attribute__((constructor)) static void heed_hangups(void) { signal(SIGHUP, SIG_DFL); }

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    static int (*real_bind)(int, const struct sockaddr *, socklen_t);
    if (!real_bind) *(void **)&real_bind = dlsym(RTLD_NEXT, "bind");

    if (address->sa_family == AF_VSOCK) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in local = *(const struct sockaddr_in *)address;
        local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real_bind(fd, (struct sockaddr *)&local, sizeof local);
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 local = *(const struct sockaddr_in6 *)address;
        /* The mapped address: the server connects to 127.0.0.1. */
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &local.sin6_addr);
        return real_bind(fd, (struct sockaddr *)&local, sizeof local);
    }
    return real_bind(fd, address, length);
}

int __system_property_get(const char *name, char *value) {
    char line[512];
    size_t length = strlen(name);
    FILE *file = fopen(PROPERTIES, "re");
    value[0] = '\0';
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            line[strcspn(line, "\n")] = '\0';
            snprintf(value, PROPERTY_VALUE_MAX, "%s", line + length + 1);
        }
    }
    if (file) fclose(file);
    return (int)strlen(value);
}
