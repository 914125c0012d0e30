#include <smolvlm/io/atomic_file.hpp>
#include <smolvlm/io/mapped_file.hpp>

#include <sys/resource.h>

#include <csignal>

#include <doctest/doctest.h>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

std::ptrdiff_t entries(const TempDir& folder) {
    const std::filesystem::directory_iterator begin(folder.path());
    return std::distance(begin, std::filesystem::directory_iterator{});
}

}  // namespace

TEST_CASE("mapped_file: bytes read through the map are the file's, also after their pages were given back") {
    const TempDir folder;
    std::string text(20000, ' ');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
    const auto file = MappedFile::open(folder.write("f", text));
    const auto seen = [&] { return std::string(reinterpret_cast<const char*>(file->data()), text.size()); };
    CHECK(file->size() == 20000);
    CHECK(seen() == text);
    for (Index offset : {0, 1, 4096, 5000, 19999}) file->advise_dont_need(offset, 20000 - offset);
    file->advise_dont_need(100, 200);
    CHECK(seen() == text);
}

TEST_CASE("mapped_file: borrowed storage keeps the mapping alive and is never writable") {
    const TempDir folder;
    auto file = MappedFile::open(folder.write("f", "hello world"));
    const Storage storage = borrow(file, 6, 5);
    file.reset();
    std::filesystem::remove(folder / "f");
    CHECK(std::string(reinterpret_cast<const char*>(storage.data()), storage.capacity()) == "world");
    CHECK_FALSE(storage.writable_alone());
}

TEST_CASE("mapped_file: a missing file, a folder, a device and an empty file are errors that say so") {
    const TempDir folder;
    CHECK(contains(error_of([&] { MappedFile::open(folder / "none"); }), "none: cannot be opened: No such file"));
    CHECK(contains(error_of([&] { MappedFile::open(folder.path().string()); }), "is a folder"));
    CHECK(contains(error_of([&] { MappedFile::open("/dev/null"); }), "no regular file"));
    CHECK(contains(error_of([&] { MappedFile::open(folder.write("empty", "")); }), "is empty"));
}

TEST_CASE("atomic_file: nothing appears before commit, and an abandoned file leaves the old one and no litter") {
    const TempDir folder;
    const std::string path = folder.write("f", "old");
    const auto text = [&] {
        const auto file = MappedFile::open(path);
        return std::string(reinterpret_cast<const char*>(file->data()), static_cast<std::size_t>(file->size()));
    };
    {
        AtomicFile file(path);
        file.write("new");
        CHECK(text() == "old");
    }
    CHECK(text() == "old");
    CHECK(entries(folder) == 1);
    {
        AtomicFile file(path);
        file.write("ne");
        file.write("w");
        file.commit();
    }
    CHECK(text() == "new");
    CHECK(entries(folder) == 1);
}

TEST_CASE("atomic_file: a full disk is an error and leaves the old file and no litter") {
    const TempDir folder;
    const std::string path = folder.write("f", "old");
    // A limit on file sizes stands in for the full disk.
    struct rlimit before {};
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit limit = before;
    limit.rlim_cur = 10000;
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of([&] {
        AtomicFile file(path);
        for (int i = 0; i < 100; ++i) file.write(std::string(1000, 'x'));
        file.commit();
    });
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, old_handler);
    CHECK(contains(message, "f: cannot be written: "));
    CHECK(contains(message, "nothing was changed"));
    CHECK(MappedFile::open(path)->size() == 3);
    CHECK(entries(folder) == 1);
}

TEST_CASE("atomic_file: a missing folder, and a name that a folder or device has, are refused") {
    const TempDir folder;
    CHECK(contains(error_of([&] { AtomicFile(folder / "none/f"); }), "cannot be written: No such file"));
    CHECK(contains(error_of([&] { AtomicFile file(folder.path().string()); }), "no regular file"));
    CHECK(contains(error_of([&] { AtomicFile file("/dev/null"); }), "no regular file"));
}
