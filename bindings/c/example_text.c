/* The answer of a language model that has a tokenizer: example_text MODEL PROMPT
 *
 * docs/apps.md of the project describes how it is built and linked. */
#include <inttypes.h>
#include <stdio.h>

#include "charsiug2p.h"

static int32_t print_piece(void *user, const char *text, const int32_t *tokens, size_t count) {
  (void)tokens, (void)count;
  fputs(text, user);
  fflush(user);
  return 0; /* anything else would end the call */
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "example_text MODEL PROMPT\n");
    return 2;
  }
  char *message = NULL;
  charsiug2p_library *library = NULL;
  charsiug2p_session *session = NULL;
  charsiug2p_generation_options options;
  charsiug2p_generation_defaults(&options);
  options.max_tokens = 64;
  const charsiug2p_prompt_part prompt = {.text = arguments[2]};
  int32_t code = charsiug2p_open(NULL, &library, &message);
  if (code == CHARSIUG2P_CODE_OK) code = charsiug2p_load(library, arguments[1], 16, &session, &message);
  if (code == CHARSIUG2P_CODE_OK) {
    code = charsiug2p_generate(session, &prompt, 1, &options, NULL, NULL, print_piece, stdout, NULL, &message);
  }
  if (code == CHARSIUG2P_CODE_OK) {
    printf("\n");
  } else {
    fprintf(stderr, "error %" PRId32 ": %s\n", code, message);
    charsiug2p_free_text(message);
  }
  charsiug2p_free_session(session);
  charsiug2p_free_library(library);
  return code == CHARSIUG2P_CODE_OK ? 0 : 1;
}
