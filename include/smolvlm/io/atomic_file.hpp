#pragma once
/// A file that appears under its name whole or not at all: written beside it under a temporary name, then renamed.
/// A full disk, an exception or a crash half-way leaves whatever stood there before.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

class AtomicFile {
public:
    /// Throws ValueError when the folder cannot be written to, or when a folder or device has that name.
    explicit AtomicFile(std::string path)
        : path_(std::move(path)), temporary_(path_ + ".part" + std::to_string(::getpid())) {
        struct stat status {};
        SMOLVLM_CHECK(::stat(path_.c_str(), &status) != 0 || S_ISREG(status.st_mode), ValueError, path_,
                      ": cannot be written: it is no regular file");
        file_ = std::fopen(temporary_.c_str(), "wb");
        SMOLVLM_CHECK(file_, ValueError, path_, ": cannot be written: ", std::strerror(errno));
    }
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile() {
        if (!file_) return;
        std::fclose(file_);
        std::remove(temporary_.c_str());
    }

    void write(std::span<const std::byte> bytes) {
        check(std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size());
    }
    void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

    /// Makes the file appear. Throws ValueError, and then nothing has changed, when not all bytes reached the disk.
    void commit() {
        check(std::fflush(file_) == 0 && ::fsync(::fileno(file_)) == 0);
        check(std::rename(temporary_.c_str(), path_.c_str()) == 0);
        std::fclose(std::exchange(file_, nullptr));
    }

private:
    void check(bool ok) const {
        SMOLVLM_CHECK(ok, ValueError, path_, ": cannot be written: ", std::strerror(errno), "; nothing was changed");
    }

    std::string path_, temporary_;
    std::FILE* file_ = nullptr;
};

}  // namespace smolvlm
