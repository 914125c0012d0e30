// smolvlm: a picture and a question in, an answer out; and the parts of that, one command each.
//
// Exit codes: 0 done, 1 compared tensors differ, 2 any error, told in one line on standard error.

#include "commands.hpp"
#include "program.hpp"

constexpr cli::Command commands[] = {
    {"generate", "pictures and a conversation in, the answer out", cli::generate},
    {"tokenize", "text to token ids and back", cli::tokenize},
    {"prompt", "the exact prompt that a conversation becomes", cli::prompt},
    {"preprocess", "pictures to the tiles and numbers that the model sees", cli::preprocess},
    {"trace", "every intermediate tensor of one pass through the model", cli::trace},
    {"compare", "two files of tensors, and where they first depart", cli::compare},
    {"grad", "the loss of a batch and its derivative by every parameter", cli::grad},
    {"train", "a model learns from conversations", cli::train},
    {"convert", "a checkpoint with weights of another width", cli::convert},
    {"quantize", "a checkpoint as a GGUF pair with quantised weights", cli::quantize},
    {"show", "a picture in the terminal", cli::show},
    {"info", "what a checkpoint is: architecture, tokens, sizes, memory", cli::info},
};

int main(int count, char** arguments) {
    return cli::run_program("smolvlm", commands, count, arguments);
}
