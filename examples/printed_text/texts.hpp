#pragma once
/// What is printed: codes, numbers, prices and words. Codes leave out I, O and Q, which look like 1 and 0; words may
/// hold them, and a reader tells them apart by what stands around.

#include <string>
#include <string_view>
#include <vector>

#include "page.hpp"

namespace printed_text {

inline const std::vector<std::string> shops{"CAFE", "MARKET", "BAKERY", "KIOSK", "GARDEN", "BOOKS", "TOOLS", "HOTEL"};
inline const std::vector<std::string> goods{"TEA",    "COFFEE", "MILK",  "BREAD", "APPLE", "CAKE",  "SOUP",  "RICE",
                                            "EGGS",   "JUICE",  "SALAD", "PASTA", "WATER", "LEMON", "HONEY", "CHEESE",
                                            "BUTTER", "PIZZA",  "SUGAR", "FISH",  "BEANS", "CORN",  "SALT",  "PLUM"};
inline const std::vector<std::string> words{
    "OPEN",   "EXIT",    "STOP",  "SALE",  "HELLO", "WELCOME", "TAXI",   "BUS",    "PARK",   "NORTH",  "SOUTH",
    "EAST",   "WEST",    "LEFT",  "RIGHT", "UP",    "DOWN",    "GATE",   "ROOM",   "FLOOR",  "DOOR",   "KEY",
    "BOX",    "FRAGILE", "FIRE",  "WATER", "POWER", "LIGHT",   "RED",    "GREEN",  "BLUE",   "BLACK",  "WHITE",
    "GOLD",   "SILVER",  "STAR",  "MOON",  "SUN",   "RIVER",   "LAKE",   "FOREST", "BRIDGE", "STREET", "SCHOOL",
    "BANK",   "POST",    "MUSIC", "FILM",  "GAME",  "BOOK",    "PAPER",  "PENCIL", "TABLE",  "CHAIR",  "WINDOW",
    "GLASS",  "STONE",   "WOOD",  "IRON",  "SALT",  "MONDAY",  "FRIDAY", "JUNE",   "MAY",    "SPRING", "SUMMER",
    "AUTUMN", "WINTER",  "ZERO",  "FIVE",  "SEVEN", "QUIET"};

/// What the model says when there is nothing to read, and when it is asked for something else.
inline constexpr const char* no_text = "There is no text.";
inline constexpr const char* only_reads = "I only read text.";
// clang-format off
inline const std::vector<std::string> other_questions{
    "What is this?", "Describe the image.", "Can you describe this image?", "What color is it?", "Who are you?",
    "What is the capital of France?", "How many people are there?", "Is there a cat?", "Hello!", "Tell me a joke.",
    "What can you do?", "Why is the sky blue?", "Write a poem.", "Where was this taken?", "What do you see?",
    "Is it day or night?", "Translate this to German.", "What happens next?", "How old are you?",
    "Summarize the picture."};
// clang-format on

inline std::string letters_of(std::string_view alphabet, Random& random, Index least, Index most) {
    std::string text;
    for (Index n = one_of(random, least, most); n > 0; --n)
        text += alphabet[random.below(static_cast<std::uint32_t>(alphabet.size()))];
    return text;
}
/// "7K2": least to most characters.
inline std::string code(Random& random, Index least, Index most) {
    return letters_of("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", random, least, most);
}
inline std::string number(Random& random, Index least, Index most) {
    return letters_of("0123456789", random, least, most);
}
/// 1205 as "12.05".
inline std::string price(Index cents) {
    const std::string rest = std::to_string(cents % 100);
    return std::to_string(cents / 100) + (rest.size() < 2 ? ".0" : ".") + rest;
}
/// A code, a number, a price or a word of at most `longest` characters (a price has up to 5).
inline std::string any_text(Random& random, Index longest) {
    const double u = random.uniform();
    if (u < 0.55) return code(random, 1, longest);
    if (u < 0.7) return number(random, 1, longest);
    if (u < 0.8) return price(one_of(random, 50, 9999));
    for (;;)
        if (const std::string& word = pick(random, chance(random, 0.7) ? words : goods);
            static_cast<Index>(word.size()) <= longest)
            return word;
}

}  // namespace printed_text
