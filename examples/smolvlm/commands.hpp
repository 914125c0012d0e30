#pragma once
/// The commands. Each takes the words after its name, returns the exit code, and throws for everything the user can do
/// wrong.

#include "args.hpp"

namespace cli {

int generate(const Words& words);
int tokenize(const Words& words);
int prompt(const Words& words);
int preprocess(const Words& words);
int trace(const Words& words);
int compare(const Words& words);
int grad(const Words& words);
int info(const Words& words);
int train(const Words& words);
int show(const Words& words);
int convert(const Words& words);
int quantize(const Words& words);

}  // namespace cli
