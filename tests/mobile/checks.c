/* Good and bad calls of the real library with three models: g2p, scaled_model.py's and a small language model. Each
 * failed check ends it.
 *
 * checks           everything but the four below
 * checks memory    a load with no memory left
 * checks corrupt   a load of a library whose model was damaged
 * checks generate TOKEN...     the tokens that follow these, 32 of them, in three ways
 * checks selftest ORDERS OUT   the orders of a file, run beside an open session */
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "charsiug2p.h"

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition);               \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

static _Thread_local char *message; /* of each thread its own */

/* Whether a call ended with this code, and gave a message with that text if it failed. */
static void ended(int line, int32_t code, int32_t wanted, const char *text) {
  if (code != wanted || (code != 0 && (message == NULL || strstr(message, text) == NULL))) {
    fprintf(stderr, "line %d: code %" PRId32 " instead of %" PRId32 ": %s\n", line, code, wanted, message ? message : "-");
    exit(1);
  }
  charsiug2p_free_text(message);
  message = NULL;
}
#define ENDED(call, wanted, text) ended(__LINE__, (call), CHARSIUG2P_CODE_##wanted, text)

static const char *const WORDS[] = {"Char", "siu", "internationalization"};

static charsiug2p_session *loaded(charsiug2p_library *library, const char *model) {
  charsiug2p_session *session = NULL;
  ENDED(charsiug2p_load(library, model, 16, &session, &message), OK, "");
  CHECK(session != NULL);
  return session;
}

struct rows {
  float x[6];
  float factor[2];
  uint64_t x_shape[2];
  uint64_t factor_shape[2];
  charsiug2p_tensor inputs[2];
};

static void fill(struct rows *rows) {
  *rows = (struct rows){{1, 2, 3, 4, 5, 6}, {2, 0.5}, {2, 3}, {2, 1}, {{0}}};
  rows->inputs[0] = (charsiug2p_tensor){
      "x", CHARSIUG2P_ELEMENT_FLOAT32, 2, rows->x_shape, sizeof rows->x, (const uint8_t *)rows->x};
  rows->inputs[1] = (charsiug2p_tensor){
      "factor", CHARSIUG2P_ELEMENT_FLOAT32, 2, rows->factor_shape, sizeof rows->factor, (const uint8_t *)rows->factor};
}

static void good_tensors(charsiug2p_session *session) {
  struct rows rows;
  fill(&rows);
  charsiug2p_tensors *outputs = NULL;
  ENDED(charsiug2p_run(session, rows.inputs, 2, NULL, &outputs, &message), OK, "");
  CHECK(charsiug2p_tensors_count(outputs) == 2);
  charsiug2p_tensor sums;
  ENDED(charsiug2p_tensors_get(outputs, 1, &sums, &message), OK, "");
  CHECK(strcmp(sums.name, "sums") == 0 && sums.element == CHARSIUG2P_ELEMENT_FLOAT32);
  CHECK(sums.rank == 1 && sums.shape[0] == 2 && sums.size == 2 * sizeof(float));
  float found[2];
  memcpy(found, sums.data, sizeof found);
  CHECK(found[0] == 12.0F && found[1] == 7.5F);
  ENDED(charsiug2p_tensors_get(outputs, 2, &sums, &message), BAD_ARGUMENT, "no tensor 2");
  charsiug2p_free_tensors(outputs);
}

static void *tensors_on_a_thread(void *session) {
  for (int i = 0; i < 100; i++) good_tensors(session);
  return NULL;
}

static void bad_tensors(charsiug2p_session *session) {
  struct rows rows;
  charsiug2p_tensors *outputs = NULL;
#define REFUSED(change, wanted, text)                                                     \
  do {                                                                                    \
    fill(&rows);                                                                          \
    change;                                                                               \
    ENDED(charsiug2p_run(session, rows.inputs, 2, NULL, &outputs, &message), wanted, text); \
    CHECK(outputs == NULL);                                                               \
  } while (0)
  REFUSED(rows.inputs[0].name = "y", WRONG_INPUTS, "[\"y\", \"factor\"]");
  REFUSED(rows.inputs[1].name = "x", WRONG_INPUTS, "the model takes");
  REFUSED(rows.inputs[0].element = CHARSIUG2P_ELEMENT_INT32, WRONG_TYPE, "holds int32, the model takes float32");
  REFUSED(rows.x_shape[1] = 4, WRONG_SHAPE, "[2, 4], the model takes [rows, 3]");
  REFUSED(rows.x_shape[0] = 3, WRONG_SIZE, "24 bytes, its shape needs 36");
  REFUSED(rows.x_shape[0] = UINT64_MAX, WRONG_SHAPE, "the model takes [rows, 3]");
  REFUSED(rows.inputs[0].rank = 1, WRONG_SHAPE, "[2]");
  REFUSED(rows.inputs[0].size = 23, WRONG_SIZE, "23 bytes");
  REFUSED(rows.inputs[0].element = 9, BAD_ARGUMENT, "9 is no element type");
  REFUSED(rows.inputs[0].name = "\xff", BAD_ARGUMENT, "not UTF-8");
  REFUSED(rows.inputs[0].name = NULL, BAD_ARGUMENT, "name is null");
  REFUSED(rows.inputs[0].data = NULL, BAD_ARGUMENT, "null");
  fill(&rows);
  ENDED(charsiug2p_run(session, rows.inputs, 1, NULL, &outputs, &message), WRONG_INPUTS, "[\"x\"]");
  ENDED(charsiug2p_run(session, NULL, 2, NULL, &outputs, &message), BAD_ARGUMENT, "inputs");
  ENDED(charsiug2p_run(session, rows.inputs, 2, NULL, NULL, &message), BAD_ARGUMENT, "out is null");
}

static int32_t stop_at_the_second(void *user, size_t index, const char *word, const char *phonemes) {
  CHECK(index == *(size_t *)user && strcmp(word, WORDS[index]) == 0 && phonemes[0] != '\0');
  ++*(size_t *)user;
  return index == 1;
}

static int32_t cancel_another(void *user, size_t index, const char *word, const char *phonemes) {
  (void)index, (void)word, (void)phonemes;
  charsiug2p_cancel(user);
  return 0;
}

static void words(charsiug2p_session *session) {
  charsiug2p_phonemes *phonemes = NULL;
  ENDED(charsiug2p_phonemize(session, "eng-us", WORDS, 3, NULL, &phonemes, &message), OK, "");
  for (size_t i = 0; i < 3; i++) printf("%s\n", charsiug2p_phonemes_get(phonemes, i));
  CHECK(charsiug2p_phonemes_get(phonemes, 3) == NULL);
  charsiug2p_free_phonemes(phonemes);
  phonemes = NULL;
  const char *tab = "a\tb", *bytes = "\xff", *none = NULL;
  ENDED(charsiug2p_phonemize(session, "xxx", WORDS, 3, NULL, &phonemes, &message), BAD_WORD, "\"xxx\"");
  ENDED(charsiug2p_phonemize(session, "eng-us", &tab, 1, NULL, &phonemes, &message), BAD_WORD, "a tab");
  ENDED(charsiug2p_phonemize(session, "eng-us", &bytes, 1, NULL, &phonemes, &message), BAD_ARGUMENT, "UTF-8");
  ENDED(charsiug2p_phonemize(session, "eng-us", &none, 1, NULL, &phonemes, &message), BAD_ARGUMENT, "null");
  CHECK(phonemes == NULL);
  size_t seen = 0;
  ENDED(charsiug2p_stream(session, "eng-us", WORDS, 3, NULL, stop_at_the_second, &seen, &message), CANCELLED, "cancelled");
  CHECK(seen == 2);
  ENDED(charsiug2p_stream(session, "eng-us", WORDS, 3, NULL, NULL, NULL, &message), BAD_ARGUMENT, "on_word is null");
  const char *many[64];
  for (size_t i = 0; i < 64; i++) many[i] = WORDS[i % 3];
  charsiug2p_cancellation_handle *cancellation = charsiug2p_cancellation();
  ENDED(charsiug2p_stream(session, "eng-us", many, 64, cancellation, cancel_another, cancellation, &message), CANCELLED,
        "cancelled");
  ENDED(charsiug2p_phonemize(session, "eng-us", WORDS, 3, cancellation, &phonemes, &message), CANCELLED, "cancelled");
  charsiug2p_free_cancellation(cancellation);
}

struct heard {
  int32_t tokens[256];
  size_t count;
  size_t most;
};

static int32_t hear(void *user, const char *text, const int32_t *tokens, size_t count) {
  struct heard *heard = user;
  CHECK(text[0] == '\0' && count == 1 && heard->count < 256); /* the model has no tokenizer */
  heard->tokens[heard->count++] = tokens[0];
  return heard->count == heard->most;
}

static charsiug2p_answer view(charsiug2p_generation *generation) {
  charsiug2p_answer answer;
  ENDED(charsiug2p_generation_get(generation, &answer, &message), OK, "");
  CHECK(strcmp(answer.text, "") == 0 && answer.stop_string == NULL && answer.nanoseconds > 0);
  return answer;
}

/* In one go, piece by piece, and in a conversation whose second call has one token of the prompt. */
static void generate(const int32_t *prompt, size_t count) {
  charsiug2p_library *library = NULL;
  ENDED(charsiug2p_open(NULL, &library, &message), OK, "");
  charsiug2p_session *session = loaded(library, "tiny_llama");
  charsiug2p_generation_options options;
  charsiug2p_generation_defaults(&options);
  CHECK(options.max_tokens == 256 && options.temperature == 0 && options.stop_count == 0);
  options.max_tokens = 32;
  charsiug2p_prompt_part whole = {NULL, 0, prompt, count}, most = {NULL, 0, prompt, count - 1};
  charsiug2p_prompt_part last = {NULL, 0, prompt + count - 1, 1};
  charsiug2p_generation *answer = NULL, *second = NULL;
  ENDED(charsiug2p_generate(session, &whole, 1, &options, NULL, NULL, NULL, NULL, &answer, &message), OK, "");
  charsiug2p_answer found = view(answer);
  CHECK(found.count == 32 && found.ended == CHARSIUG2P_END_LENGTH && found.prompt_tokens == count);
  for (size_t i = 0; i < found.count; i++) printf("%" PRId32 "%c", found.tokens[i], i + 1 < found.count ? ' ' : '\n');

  struct heard heard = {{0}, 0, 0};
  ENDED(charsiug2p_generate(session, &whole, 1, &options, NULL, NULL, hear, &heard, NULL, &message), OK, "");
  CHECK(heard.count == 32 && memcmp(heard.tokens, found.tokens, sizeof(int32_t) * 32) == 0);
  heard = (struct heard){{0}, 0, 3};
  ENDED(charsiug2p_generate(session, &whole, 1, &options, NULL, NULL, hear, &heard, NULL, &message), CANCELLED, "");
  CHECK(heard.count == 3);

  charsiug2p_conversation_handle *talk = NULL;
  ENDED(charsiug2p_conversation(session, &talk, &message), OK, "");
  options.max_tokens = 1;
  ENDED(charsiug2p_generate(session, &most, 1, &options, talk, NULL, NULL, NULL, &second, &message), OK, "");
  const int32_t first = view(second).tokens[0];
  charsiug2p_free_generation(second);
  options.max_tokens = 8;
  ENDED(charsiug2p_generate(session, &last, 1, &options, talk, NULL, NULL, NULL, &second, &message), OK, "");
  CHECK(view(second).read_tokens == 2 && view(second).prompt_tokens == count + 1);
  charsiug2p_prompt_part parts[3] = {most, {NULL, 0, &first, 1}, last};
  charsiug2p_generation *third = NULL;
  ENDED(charsiug2p_generate(session, parts, 3, &options, NULL, NULL, NULL, NULL, &third, &message), OK, "");
  CHECK(memcmp(view(second).tokens, view(third).tokens, sizeof(int32_t) * 8) == 0);
  charsiug2p_free_generation(second);
  charsiug2p_free_generation(third);

  const char *stop = "END", *bytes = "\xff";
  const int32_t outside = 256;
  charsiug2p_generation *none = NULL;
#define NOT_ANSWERED(part, wanted, text) \
  ENDED(charsiug2p_generate(session, &(part), 1, &options, NULL, NULL, NULL, NULL, &none, &message), wanted, text)
  NOT_ANSWERED(((charsiug2p_prompt_part){NULL, 0, NULL, 0}), BAD_PROMPT, "the prompt is empty");
  NOT_ANSWERED(((charsiug2p_prompt_part){NULL, 0, &outside, 1}), BAD_PROMPT, "outside the vocabulary of 256");
  NOT_ANSWERED(((charsiug2p_prompt_part){"Char", 0, NULL, 0}), BAD_PROMPT, "has no tokenizer");
  NOT_ANSWERED(((charsiug2p_prompt_part){"<s>", 1, NULL, 0}), BAD_PROMPT, "has no tokenizer");
  NOT_ANSWERED(((charsiug2p_prompt_part){bytes, 0, NULL, 0}), BAD_ARGUMENT, "not UTF-8");
  NOT_ANSWERED(((charsiug2p_prompt_part){NULL, 0, NULL, 3}), BAD_ARGUMENT, "null");
  options.stop_strings = &stop, options.stop_count = 1;
  NOT_ANSWERED(whole, BAD_OPTION, "stop_strings is 1 texts");
  options.stop_count = 0, options.top_p = 2;
  NOT_ANSWERED(whole, BAD_OPTION, "top_p is 2");
  int32_t long_prompt[192] = {0};
  NOT_ANSWERED(((charsiug2p_prompt_part){NULL, 0, long_prompt, 192}), BAD_OPTION, "");
  options.top_p = 1;
  NOT_ANSWERED(((charsiug2p_prompt_part){NULL, 0, long_prompt, 192}), CONTEXT_FULL, "the context of 192");
  charsiug2p_session *other = loaded(library, "tiny_llama"), *scaled = loaded(library, "scaled");
  ENDED(charsiug2p_generate(other, &whole, 1, NULL, talk, NULL, NULL, NULL, &none, &message), OTHER_CONVERSATION, "another");
  ENDED(charsiug2p_generate(scaled, &whole, 1, NULL, NULL, NULL, NULL, NULL, &none, &message), WRONG_KIND, "tensors");
  CHECK(none == NULL);
  charsiug2p_cancellation_handle *cancellation = charsiug2p_cancellation();
  charsiug2p_cancel(cancellation);
  ENDED(charsiug2p_generate(session, &whole, 1, NULL, NULL, cancellation, NULL, NULL, &none, &message), CANCELLED, "");
  charsiug2p_free_cancellation(cancellation);
  charsiug2p_free_conversation(talk);
  charsiug2p_free_generation(answer);
  charsiug2p_free_session(session);
  charsiug2p_free_session(other);
  charsiug2p_free_session(scaled);
  charsiug2p_free_library(library);
}

static void all(void) {
  charsiug2p_library *library = NULL;
  ENDED(charsiug2p_open("{", &library, &message), BAD_METADATA, "metadata");
  CHECK(library == NULL);
  ENDED(charsiug2p_open(NULL, &library, &message), OK, "");
  char *description = NULL;
  ENDED(charsiug2p_describe(library, &description, &message), OK, "");
  CHECK(strstr(description, "\"scaled\"") != NULL && strstr(description, "archive_sha256") != NULL);
  char *other = strdup("{\"kind\": \"tensors\", \"archive_sha256\": \"0\", \"target\": \"llvm\", \"tvm_version\": \"1\", "
                       "\"models\": [{\"name\": \"m\", \"prefix\": \"m_\", \"inputs\": [], \"outputs\": []}]}");
  charsiug2p_library *another = NULL;
  ENDED(charsiug2p_open(other, &another, &message), OTHER_BUILD, "of another build");
  free(other);
  charsiug2p_session *none = NULL;
  ENDED(charsiug2p_load(library, "sclaed", 16, &none, &message), UNKNOWN_MODEL, "g2p, tiny_llama, scaled");
  ENDED(charsiug2p_load(library, "scaled", 0, &none, &message), BAD_OPTION, "queue_capacity is 0");
  ENDED(charsiug2p_load(NULL, "scaled", 1, &none, &message), BAD_ARGUMENT, "library is null");
  CHECK(none == NULL);

  /* Two sessions of each model at once, one of them used by two threads. */
  charsiug2p_session *scaled = loaded(library, "scaled"), *second = loaded(library, "scaled");
  charsiug2p_session *g2p = loaded(library, "g2p");
  pthread_t threads[3];
  charsiug2p_session *used[] = {scaled, scaled, second};
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, tensors_on_a_thread, used[i]) == 0);
  words(g2p);
  for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  bad_tensors(scaled);
  charsiug2p_tensors *outputs = NULL;
  charsiug2p_phonemes *phonemes = NULL;
  struct rows rows;
  fill(&rows);
  ENDED(charsiug2p_run(g2p, rows.inputs, 2, NULL, &outputs, &message), WRONG_KIND, "takes words");
  ENDED(charsiug2p_phonemize(scaled, "eng-us", WORDS, 3, NULL, &phonemes, &message), WRONG_KIND, "takes tensors");

  charsiug2p_release_memory(library);
  good_tensors(scaled);
  ENDED(charsiug2p_warm_up(g2p, &message), OK, "");
  charsiug2p_close(scaled);
  charsiug2p_close(scaled);
  ENDED(charsiug2p_run(scaled, rows.inputs, 2, NULL, &outputs, &message), CLOSED, "\"scaled\" is closed");
  ENDED(charsiug2p_warm_up(scaled, &message), CLOSED, "closed");
  good_tensors(second);
  charsiug2p_free_session(scaled);
  charsiug2p_free_session(second);
  charsiug2p_free_library(library); /* the sessions that are left go on */
  ENDED(charsiug2p_warm_up(g2p, &message), OK, "");
  charsiug2p_free_session(g2p);
  charsiug2p_free_text(description);
}

/* The heap keeps what was freed, for small allocations; no new mapping can be had, such as a thread's stack. */
static void without_memory(void) {
  charsiug2p_library *library = NULL;
  ENDED(charsiug2p_open(NULL, &library, &message), OK, "");
  CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 30) && mallopt(M_MMAP_THRESHOLD, 1 << 28));
  void *kept = malloc(16 << 20);
  CHECK(kept != NULL);
  free(kept);
  struct rlimit limit = {1 << 20, RLIM_INFINITY};
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  charsiug2p_session *session = NULL;
  ENDED(charsiug2p_load(library, "g2p", 16, &session, &message), OUT_OF_MEMORY, "not enough memory");
  CHECK(session == NULL);
  limit.rlim_cur = RLIM_INFINITY;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  session = loaded(library, "g2p");
  charsiug2p_free_session(session);
  charsiug2p_free_library(library);
}

static void corrupt(void) {
  charsiug2p_library *library = NULL;
  ENDED(charsiug2p_open(NULL, &library, &message), OK, "");
  charsiug2p_session *session = NULL;
  ENDED(charsiug2p_load(library, "scaled", 16, &session, &message), CORRUPT_MODEL, "\"scaled\" is damaged");
  CHECK(session == NULL);
  session = loaded(library, "g2p"); /* the other model is whole */
  charsiug2p_free_session(session);
  charsiug2p_free_library(library);
}

static char *read_file(const char *name) {
  FILE *file = fopen(name, "rb");
  CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
  long size = ftell(file);
  CHECK(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
  char *content = calloc((size_t)size + 1, 1);
  CHECK(content != NULL && fread(content, 1, (size_t)size, file) == (size_t)size);
  fclose(file);
  return content;
}

/* Runs the orders of a file while a session is open, and writes the number of those that failed. */
static void self_test(const char *name, const char *out) {
  char *orders = read_file(name);
  charsiug2p_library *library = NULL;
  ENDED(charsiug2p_open(NULL, &library, &message), OK, "");
  charsiug2p_session *session = loaded(library, "g2p");
  size_t failed = 99;
  ENDED(charsiug2p_self_test(library, " \n", out, &failed, &message), NOT_TESTED, "no orders");
  ENDED(charsiug2p_self_test(library, orders, "no/such/folder", &failed, &message), NOT_TESTED, "no/such/folder");
  ENDED(charsiug2p_self_test(library, NULL, out, &failed, &message), BAD_ARGUMENT, "orders is null");
  ENDED(charsiug2p_self_test(NULL, orders, out, &failed, &message), BAD_ARGUMENT, "library is null");
  CHECK(failed == 99);
  ENDED(charsiug2p_self_test(library, orders, out, NULL, &message), OK, "");
  /* The second test replaces the file of the first. */
  ENDED(charsiug2p_self_test(library, orders, out, &failed, &message), OK, "");
  printf("%zu\n", failed);
  words(session);
  charsiug2p_free_session(session);
  charsiug2p_free_library(library);
  free(orders);
}

int main(int count, char **arguments) {
  const char *which = count > 1 ? arguments[1] : "";
  if (strcmp(which, "memory") == 0) {
    without_memory();
  } else if (strcmp(which, "corrupt") == 0) {
    corrupt();
  } else if (strcmp(which, "generate") == 0 && count > 3 && count < 100) {
    int32_t prompt[100];
    for (int i = 2; i < count; i++) prompt[i - 2] = (int32_t)strtol(arguments[i], NULL, 10);
    generate(prompt, (size_t)(count - 2));
  } else if (strcmp(which, "selftest") == 0 && count == 4) {
    self_test(arguments[2], arguments[3]);
  } else {
    all();
  }
  return 0;
}
