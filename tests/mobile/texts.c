/* A language model with a tokenizer: texts MODEL PROMPT MAX STOP writes a line for each piece, then `=`, the tokens of the
 * answer, why it ended and how many tokens the prompt had, and the answer of a second turn. An empty STOP is none. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "charsiug2p.h"

static char *message;

static void good(int32_t code) {
  if (code != CHARSIUG2P_CODE_OK) {
    fprintf(stderr, "error %" PRId32 ": %s\n", code, message);
    exit(1);
  }
}

/* As hexadecimal digits, because a text may have any character. */
static void print(const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) printf("%02x", *at);
  printf("\n");
}

static int32_t on_piece(void *user, const char *text, const int32_t *tokens, size_t count) {
  (void)tokens;
  *(size_t *)user += count;
  print(text);
  return 0;
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  const char *prompt = arguments[2], *stop = arguments[4];
  charsiug2p_library *library = NULL;
  charsiug2p_session *session = NULL;
  charsiug2p_conversation_handle *talk = NULL;
  charsiug2p_generation *generation = NULL;
  charsiug2p_answer answer;
  good(charsiug2p_open(NULL, &library, &message));
  good(charsiug2p_load(library, arguments[1], 1, &session, &message));
  good(charsiug2p_conversation(session, &talk, &message));
  charsiug2p_generation_options options;
  charsiug2p_generation_defaults(&options);
  options.max_tokens = (uint32_t)atoi(arguments[3]);
  options.stop_strings = &stop;
  options.stop_count = stop[0] != '\0';
  charsiug2p_prompt_part parts[] = {{prompt, 0, NULL, 0}, {"</s>", 1, NULL, 0}, {"</s>", 0, NULL, 0}};
  size_t told = 0;
  good(charsiug2p_generate(session, parts, 1, &options, talk, NULL, on_piece, &told, &generation, &message));
  good(charsiug2p_generation_get(generation, &answer, &message));
  if (told != answer.count || (answer.stop_string != NULL && strcmp(answer.stop_string, stop) != 0)) return 3;
  printf("=");
  for (size_t i = 0; i < answer.count; i++) printf(" %" PRId32, answer.tokens[i]);
  printf("\n%" PRId32 " %" PRIu64 "\n", answer.ended, answer.prompt_tokens);
  charsiug2p_free_generation(generation);
  /* The special token and its name as text, which is another prompt. */
  options.stop_count = 0;
  options.max_tokens = 3;
  good(charsiug2p_generate(session, parts + 1, 2, &options, talk, NULL, NULL, NULL, &generation, &message));
  good(charsiug2p_generation_get(generation, &answer, &message));
  printf("%" PRIu64 "\n", answer.prompt_tokens);
  charsiug2p_prompt_part none = {"<none>", 1, NULL, 0};
  if (charsiug2p_generate(session, &none, 1, &options, talk, NULL, NULL, NULL, &generation, &message) !=
      CHARSIUG2P_CODE_BAD_PROMPT)
    return 4;
  return 0;
}
