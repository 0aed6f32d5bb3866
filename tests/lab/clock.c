/* Makes a process's clock wrong by CLOCK_OFF_BY seconds (LD_PRELOAD). What measures durations stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t off(void) {
  const char *said = getenv("CLOCK_OFF_BY");
  return said ? atol(said) : 0;
}

static int real(clockid_t clock, struct timespec *found) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  return next(clock, found);
}

int clock_gettime(clockid_t clock, struct timespec *found) {
  int status = real(clock, found);
  if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) found->tv_sec += off();
  return status;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int status = clock_gettime(CLOCK_REALTIME, &now);
  if (!status) { found->tv_sec = now.tv_sec; found->tv_usec = now.tv_nsec / 1000; }
  return status;
}

time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}

/* Its deadline is a time of day, which Python before 3.11 reads from the wrong clock, and the kernel from its own. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
  static int (*next)(sem_t *, const struct timespec *);
  if (!next) next = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec there = *deadline;
  there.tv_sec -= off();
  return next(semaphore, &there);
}
