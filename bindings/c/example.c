/* Phonemes of words: example LANGUAGE WORD...
 *
 * docs/apps.md of the project describes how it is built and linked. */
#include <inttypes.h>
#include <stdio.h>

#include "charsiug2p.h"

static int failed(int32_t code, char *message) {
  fprintf(stderr, "error %" PRId32 ": %s\n", code, message);
  charsiug2p_free_text(message);
  return 1;
}

static int32_t print_word(void *user, size_t index, const char *word, const char *phonemes) {
  (void)index;
  fprintf(user, "%s\t%s\n", word, phonemes);
  return 0; /* anything else would end the call */
}

int main(int count, char **arguments) {
  if (count < 3) {
    fprintf(stderr, "example LANGUAGE WORD...\n");
    return 2;
  }
  const char *const *words = (const char *const *)(arguments + 2);
  char *message = NULL;
  charsiug2p_library *library = NULL;
  charsiug2p_session *session = NULL;
  int32_t code = charsiug2p_open(NULL, &library, &message);
  if (code == CHARSIUG2P_CODE_OK) code = charsiug2p_load(library, "g2p", 16, &session, &message);
  if (code == CHARSIUG2P_CODE_OK) {
    code = charsiug2p_stream(session, arguments[1], words, (size_t)(count - 2), NULL, print_word, stdout, &message);
  }
  int status = code == CHARSIUG2P_CODE_OK ? 0 : failed(code, message);
  charsiug2p_free_session(session);
  charsiug2p_free_library(library);
  return status;
}
