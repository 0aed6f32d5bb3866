/* Written by tools/write_bindings.py from rust/mobile/src/ffi.rs. Do not edit. */

#ifndef CHARSIUG2P_H
#define CHARSIUG2P_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 How a call ended. The numbers stay the same in later versions.
 */
enum charsiug2p_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  CHARSIUG2P_CODE_OK = 0,
  CHARSIUG2P_CODE_NOT_LINKED = 1,
  CHARSIUG2P_CODE_BAD_METADATA = 2,
  CHARSIUG2P_CODE_OTHER_BUILD = 3,
  CHARSIUG2P_CODE_UNKNOWN_MODEL = 4,
  CHARSIUG2P_CODE_MODEL_MISSING = 5,
  CHARSIUG2P_CODE_CORRUPT_MODEL = 6,
  CHARSIUG2P_CODE_OUT_OF_MEMORY = 7,
  CHARSIUG2P_CODE_UNSUPPORTED_CPU = 8,
  CHARSIUG2P_CODE_WRONG_KIND = 9,
  CHARSIUG2P_CODE_WRONG_INPUTS = 10,
  CHARSIUG2P_CODE_WRONG_TYPE = 11,
  CHARSIUG2P_CODE_WRONG_SHAPE = 12,
  CHARSIUG2P_CODE_WRONG_SIZE = 13,
  CHARSIUG2P_CODE_BAD_WORD = 14,
  CHARSIUG2P_CODE_BAD_OPTION = 15,
  CHARSIUG2P_CODE_BAD_ARGUMENT = 16,
  CHARSIUG2P_CODE_CLOSED = 17,
  CHARSIUG2P_CODE_CANCELLED = 18,
  CHARSIUG2P_CODE_QUEUE_FULL = 19,
  CHARSIUG2P_CODE_MODEL_FAILED = 20,
  CHARSIUG2P_CODE_PANIC = 21,
  CHARSIUG2P_CODE_NOT_TESTED = 22,
  CHARSIUG2P_CODE_BAD_PROMPT = 23,
  CHARSIUG2P_CODE_CONTEXT_FULL = 24,
  CHARSIUG2P_CODE_OTHER_CONVERSATION = 25,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum charsiug2p_code charsiug2p_code;
#else
typedef int32_t charsiug2p_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 The type of a tensor's elements.
 */
enum charsiug2p_element
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  CHARSIUG2P_ELEMENT_FLOAT64 = 0,
  CHARSIUG2P_ELEMENT_FLOAT32 = 1,
  CHARSIUG2P_ELEMENT_FLOAT16 = 2,
  CHARSIUG2P_ELEMENT_INT64 = 3,
  CHARSIUG2P_ELEMENT_INT32 = 4,
  CHARSIUG2P_ELEMENT_INT16 = 5,
  CHARSIUG2P_ELEMENT_INT8 = 6,
  CHARSIUG2P_ELEMENT_UINT8 = 7,
  CHARSIUG2P_ELEMENT_BOOL = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum charsiug2p_element charsiug2p_element;
#else
typedef int32_t charsiug2p_element;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 Why an answer ended.
 */
enum charsiug2p_end
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  CHARSIUG2P_END_LENGTH = 0,
  CHARSIUG2P_END_STOP_TOKEN = 1,
  CHARSIUG2P_END_STOP_STRING = 2,
  CHARSIUG2P_END_CONTEXT_FULL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum charsiug2p_end charsiug2p_end;
#else
typedef int32_t charsiug2p_end;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 Cancels calls. Any thread may use it.
 */
typedef struct charsiug2p_cancellation_handle charsiug2p_cancellation_handle;

/*
 A text that continues from call to call.
 */
typedef struct charsiug2p_conversation_handle charsiug2p_conversation_handle;

/*
 An answer.
 */
typedef struct charsiug2p_generation charsiug2p_generation;

/*
 The models of the app.
 */
typedef struct charsiug2p_library charsiug2p_library;

/*
 The phonemes of a call, in the words' order.
 */
typedef struct charsiug2p_phonemes charsiug2p_phonemes;

/*
 A loaded model. Any thread may use it.
 */
typedef struct charsiug2p_session charsiug2p_session;

/*
 The outputs of a call.
 */
typedef struct charsiug2p_tensors charsiug2p_tensors;

/*
 A tensor in memory of the caller's, or in that of the tensors it was got from.
 */
typedef struct {
  /*
   The input's or output's name, in UTF-8.
   */
  const char *name;
  /*
   A number of the element types.
   */
  int32_t element;
  /*
   How many extents.
   */
  size_t rank;
  /*
   The extents, the outermost first.
   */
  const uint64_t *shape;
  /*
   How many bytes.
   */
  size_t size;
  /*
   The elements, row-major and without gaps.
   */
  const uint8_t *data;
} charsiug2p_tensor;

/*
 Gets a word's phonemes. Anything but 0 ends the call, which then returns `Cancelled`.
 */
typedef int32_t (*charsiug2p_on_word)(void *user,
                                      size_t index,
                                      const char *word,
                                      const char *phonemes);

/*
 How an answer is generated. `charsiug2p_generation_defaults` fills it.
 */
typedef struct {
  /*
   The most tokens of the answer.
   */
  uint32_t max_tokens;
  /*
   Texts that end the answer, each ending in a NUL; null for none.
   */
  const char *const *stop_strings;
  /*
   How many.
   */
  size_t stop_count;
  /*
   0: the best token each time.
   */
  double temperature;
  /*
   Draws from so many of the most probable tokens only; 0 means all.
   */
  uint32_t top_k;
  /*
   Draws from the most probable tokens whose probabilities together reach this, 0 to 1.
   */
  double top_p;
  /*
   Draws from tokens that are at least this share as probable as the most probable one, 0 to 1.
   */
  double min_p;
  /*
   Makes tokens that the text has already less probable if it is above 1.
   */
  double repetition_penalty;
  /*
   The same seed draws the same tokens from the same text.
   */
  uint64_t seed;
} charsiug2p_generation_options;

/*
 A part of a prompt: text, a special token by its name, or token ids.
 */
typedef struct {
  /*
   Text in UTF-8 that ends in a NUL; null for token ids.
   */
  const char *text;
  /*
   Other than 0 if the text is the name of a special token.
   */
  int32_t special;
  /*
   Token ids; null for text.
   */
  const int32_t *tokens;
  /*
   How many.
   */
  size_t count;
} charsiug2p_prompt_part;

/*
 Gets a piece of an answer: text of whole characters, and tokens. Anything but 0 ends the call, which then returns
 `Cancelled`.
 */
typedef int32_t (*charsiug2p_on_piece)(void *user,
                                       const char *text,
                                       const int32_t *tokens,
                                       size_t count);

/*
 An answer, as long as its handle is not freed.
 */
typedef struct {
  /*
   Its text in UTF-8; empty for a model without a tokenizer.
   */
  const char *text;
  /*
   Its tokens.
   */
  const int32_t *tokens;
  /*
   How many.
   */
  size_t count;
  /*
   Why it ended.
   */
  int32_t ended;
  /*
   The stop string to which it came, or null.
   */
  const char *stop_string;
  /*
   How many tokens were before it.
   */
  uint64_t prompt_tokens;
  /*
   How many of them were read in this call.
   */
  uint64_t read_tokens;
  /*
   Until the first token was known.
   */
  uint64_t first_token_nanoseconds;
  /*
   How long the call took.
   */
  uint64_t nanoseconds;
} charsiug2p_answer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Opens the models. `metadata` is null for those that the library was built with, or the text of the archive's
 `system_lib_metadata.json`.

 # Safety
 `metadata` is null or ends in a NUL; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_open(const char *metadata,
                        charsiug2p_library **out,
                        char **message);

/*
 Writes a description of the models and versions as JSON, to be freed by `charsiug2p_free_text`.

 # Safety
 `library` is null or a handle of this library; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_describe(const charsiug2p_library *library, char **out, char **message);

/*
 Loads a model into a session of its own. `queue_capacity` is how many calls may wait, 1 to 1024.

 # Safety
 `library` is null or a handle of this library; `model` is null or ends in a NUL; `out` and `message` are null or can
 be written.
 */
int32_t charsiug2p_load(const charsiug2p_library *library,
                        const char *model,
                        uint32_t queue_capacity,
                        charsiug2p_session **out,
                        char **message);

/*
 Runs a model of tensors. `cancellation` may be null.

 # Safety
 Handles are null or of this library; `inputs` is null or as many views as `count`, whose pointers are null or lead
 to values of their types; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_run(const charsiug2p_session *session,
                       const charsiug2p_tensor *inputs,
                       size_t count,
                       const charsiug2p_cancellation_handle *cancellation,
                       charsiug2p_tensors **out,
                       char **message);

/*
 How many tensors there are; 0 for null.

 # Safety
 `tensors` is null or a handle of this library.
 */
size_t charsiug2p_tensors_count(const charsiug2p_tensors *tensors);

/*
 Writes a view of a tensor, which holds until the tensors are freed.

 # Safety
 `tensors` is null or a handle of this library; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_tensors_get(const charsiug2p_tensors *tensors,
                               size_t index,
                               charsiug2p_tensor *out,
                               char **message);

/*
 Phonemes of words. `cancellation` may be null.

 # Safety
 Handles are null or of this library; `words` is null or as many texts as `count`; texts are null or end in a NUL;
 `out` and `message` are null or can be written.
 */
int32_t charsiug2p_phonemize(const charsiug2p_session *session,
                             const char *language,
                             const char *const *words,
                             size_t count,
                             const charsiug2p_cancellation_handle *cancellation,
                             charsiug2p_phonemes **out,
                             char **message);

/*
 A word's phonemes, until they are freed; null for null or an index outside.

 # Safety
 `phonemes` is null or a handle of this library.
 */
const char *charsiug2p_phonemes_get(const charsiug2p_phonemes *phonemes, size_t index);

/*
 Calls `on_word` with each word's phonemes, on the caller's thread. `cancellation` may be null.

 # Safety
 As for `charsiug2p_phonemize`; `on_word` is null or can be called with `user`, and does not throw.
 */
int32_t charsiug2p_stream(const charsiug2p_session *session,
                          const char *language,
                          const char *const *words,
                          size_t count,
                          const charsiug2p_cancellation_handle *cancellation,
                          charsiug2p_on_word on_word,
                          void *user,
                          char **message);

/*
 Calls the model once with made-up input.

 # Safety
 `session` is null or a handle of this library; `message` is null or can be written.
 */
int32_t charsiug2p_warm_up(const charsiug2p_session *session, char **message);

/*
 Runs orders of `harness selftest orders` inside the app, and writes their records to the file `out`, for
 `harness selftest read`. `orders` is the text of that command's file. The number of orders
 that did not run to their end is written to `failed`, which may be null.

 # Safety
 `library` is null or a handle of this library; texts are null or end in a NUL; `failed` and `message` are null or can
 be written.
 */
int32_t charsiug2p_self_test(const charsiug2p_library *library,
                             const char *orders,
                             const char *out,
                             size_t *failed,
                             char **message);

/*
 For a low-memory signal: drops the loaded models of all sessions; their next calls load them again.

 # Safety
 `library` is null or a handle of this library.
 */
void charsiug2p_release_memory(const charsiug2p_library *library);

/*
 Ends a session: later calls of it return `Closed`. The handle is still to be freed.

 # Safety
 `session` is null or a handle of this library.
 */
void charsiug2p_close(const charsiug2p_session *session);

/*
 A new cancellation, for any number of calls.
 */
charsiug2p_cancellation_handle *charsiug2p_cancellation(void);

/*
 Ends the calls that it was given to with `Cancelled`.

 # Safety
 `cancellation` is null or a handle of this library.
 */
void charsiug2p_cancel(const charsiug2p_cancellation_handle *cancellation);

/*
 Frees the models' handle. Open sessions continue. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_library(charsiug2p_library *handle);

/*
 Frees a session, which ends after the call that runs. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_session(charsiug2p_session *handle);

/*
 Frees a cancellation. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_cancellation(charsiug2p_cancellation_handle *handle);

/*
 Frees outputs, and with them their views. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_tensors(charsiug2p_tensors *handle);

/*
 Frees phonemes. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_phonemes(charsiug2p_phonemes *handle);

/*
 Frees a conversation's handle; the session frees its memory. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_conversation(charsiug2p_conversation_handle *handle);

/*
 Frees an answer, and with it its view. Null is allowed.

 # Safety
 The handle is null or one of this library that was not freed, and no other call uses it.
 */
void charsiug2p_free_generation(charsiug2p_generation *handle);

/*
 Frees a message or a description. Null is allowed.

 # Safety
 The text is null or one that this library wrote, and was not freed.
 */
void charsiug2p_free_text(char *text);

/*
 Writes the options of an answer of 256 tokens at most, each of them the best one.

 # Safety
 `out` is null or can be written.
 */
void charsiug2p_generation_defaults(charsiug2p_generation_options *out);

/*
 Begins a conversation with a language model.

 # Safety
 `session` is null or a handle of this library; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_conversation(const charsiug2p_session *session,
                                charsiug2p_conversation_handle **out,
                                char **message);

/*
 Answers a prompt, and calls `on_piece` with each piece on the caller's thread, unless it is null. `options`,
 `conversation`, `cancellation` and `out` may be null.

 # Safety
 Handles are null or of this library; `prompt` is null or as many parts as `count`, whose pointers are null or lead to
 values of their types, and so are those of `options`; `on_piece` is null or can be called with `user`, and does not throw;
 `out` and `message` are null or can be written.
 */
int32_t charsiug2p_generate(const charsiug2p_session *session,
                            const charsiug2p_prompt_part *prompt,
                            size_t count,
                            const charsiug2p_generation_options *options,
                            const charsiug2p_conversation_handle *conversation,
                            const charsiug2p_cancellation_handle *cancellation,
                            charsiug2p_on_piece on_piece,
                            void *user,
                            charsiug2p_generation **out,
                            char **message);

/*
 Writes a view of an answer, which holds until the answer is freed.

 # Safety
 `generation` is null or a handle of this library; `out` and `message` are null or can be written.
 */
int32_t charsiug2p_generation_get(const charsiug2p_generation *generation,
                                  charsiug2p_answer *out,
                                  char **message);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CHARSIUG2P_H */
